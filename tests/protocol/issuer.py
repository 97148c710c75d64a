"""An outside issuer of tokens, with its keys on a real socket."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from memory.conf import JwtConf
from tests.app.memory.people import maria

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, STRANGERS_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


class Issuer:
    """An issuer's key server on a real socket."""

    def __init__(self) -> None:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        keys = json.dumps({"keys": [{**public, "kid": "1", "use": "sig"}]}).encode()
        self.asked = 0
        issuer = self

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.conf = JwtConf(self.url + "/", self.url + "/keys", "https://agent.example.com/mcp")
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def token(self, key: Any = KEY, algorithm: str = "RS256", kid: str = "1", **changes: Any) -> str:
        """A token for Maria, which may read; a claim given as ``None`` is left out."""
        claims = {
            "iss": self.conf.issuer,
            "aud": self.conf.audience,
            "sub": "desk-7",
            "exp": int(time.time()) + 600,
            "scope": "openid read",
            "callers": [str(maria().id)],
            **changes,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, key, algorithm, headers={"kid": kid})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.close()

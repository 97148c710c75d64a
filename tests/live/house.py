"""A whole product in processes of its own, as `make run` starts it, in a data folder and on ports of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from voiceagent.embedded import state
from voiceagent.embedded.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from voiceagent.sandbox.control import SandboxServer

ROOT = Path(__file__).resolve().parents[2]
#: The carrier's account of those who bring their own phone network.
ACCOUNT, TOKEN = "AC" + "0" * 32, "t" * 32
#: Keys for all vendors: no stand-ins are started. Their addresses refuse.
ALL_KEYS = {
    "CARTESIA_API_KEY": "test-key",
    "CARTESIA_BASE_URL": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "test-key",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "test-token",
    "TWILIO_API_BASE_URL": "http://127.0.0.1:9",
}


def scripted_keys(sandbox: SandboxServer, cartesia_key: str, openai_key: str) -> dict[str, str]:
    """Keys and addresses of the stand-ins in ``sandbox``."""
    return {
        "CARTESIA_API_KEY": cartesia_key,
        "CARTESIA_BASE_URL": sandbox.url,
        "OPENAI_API_KEY": openai_key,
        "OPENAI_BASE_URL": sandbox.openai_url,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_API_BASE_URL": sandbox.url,
    }


#: A test machine has other things to do: what is late there says nothing of the product.
NO_OVERLOAD = {"OVERLOAD_LAG_MS": "0"}


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """A clean environment: nothing of the developer's, no ``.env``."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"DATA_DIR": str(data_dir), "ENV_FILE": os.devnull, "PYTHONUNBUFFERED": "1"} | NO_OVERLOAD | extra


def remove_outside(data_dir: Path) -> None:
    """Delete what root's PostgreSQL has put outside the data folder."""
    import shutil

    home = Postgres(data_dir, print).home
    if not home.is_relative_to(data_dir):
        shutil.rmtree(home, ignore_errors=True)


def _asked[T](question: Callable[[], T], nobody: T) -> T:
    """What a process says of itself; ``nobody`` once it has ended, whether or not its parent has waited for it."""
    try:
        return question()
    except psutil.Error:
        return nobody


class House:
    """A running `make run`; use it as a context manager."""

    def __init__(self, data_dir: Path, **extra: str) -> None:
        self.data_dir = data_dir
        self.port = int(extra.pop("PORT", 0)) or state.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environment(data_dir, PORT=str(self.port), **extra)
        self.output = data_dir.with_name(data_dir.name + ".out")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start without waiting."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "voiceagent.run"],
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def wait_for(self, text: str, timeout_s: float = 60) -> str:
        """Wait until the console shows ``text``; all that it has shown so far."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while text not in (shown := self.shown()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{shown}"
            assert time.monotonic() < deadline, f"{text!r} not shown within {timeout_s} s:\n{shown}"
            time.sleep(0.05)
        return shown

    def shown(self) -> str:
        """What the console has shown."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all below it, the embedded servers included."""
        assert self.process is not None
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pythons(self) -> list[psutil.Process]:
        """Our own of these: all but the embedded servers, whatever they call themselves, and what has just ended."""
        return [process for process in self.processes() if "python" in Path(_asked(process.exe, "")).name]

    def part(self, mark: str) -> psutil.Process:
        """The process that has this in its command line."""
        found = [process for process in self.processes() if mark in " ".join(_asked(process.cmdline, []))]
        assert found, f"no process with {mark}"
        return found[0]

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 30) -> int:
        """End it with a signal; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """End it and all below it with SIGKILL: a worker whose broker died with it would wait for that for ever."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        self.wait_for("Ready after")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(signal.SIGINT)
        finally:
            remove_outside(self.data_dir)

    def _end(self, number: int) -> None:
        remains = self.processes()
        try:
            self.stop(number)
        finally:
            for process in remains:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

"""One child process: started again when it dies, ended in order, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voiceagent.embedded.process import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PR_SET_PDEATHSIG = 1
_HEALTH_POLL_S = 0.05
_STEADY_S = 60.0
_LONGEST_PAUSE_S = 30.0
_QUICK_DEATHS_TO_EXPLAIN = 3
_LOG_BYTES_KEPT = 20 * 1024 * 1024

# Loaded before any fork: between fork and exec nothing may be imported.
_PRCTL = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)


class ChildError(Exception):
    """A child keeps dying; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run. ``orphan_signal`` is what the kernel sends the child when the supervisor is gone."""

    name: str
    argv: tuple[str, ...]
    log: Path
    health_port: int | None = None
    orphan_signal: int = signal.SIGKILL
    patience_s: float = 8.0


class Child:
    """Keeps one process running until ``stop``."""

    def __init__(self, spec: Spec, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.spec = spec
        self._environ = dict(environ)
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._stopping = False
        self.quick_deaths = 0

    @property
    def pid(self) -> int | None:
        """The running process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        """Begin to keep it running."""
        rotate(self.spec.log)
        self._keeper = asyncio.create_task(self._keep(), name=self.spec.name)

    async def ready(self, timeout_s: float) -> None:
        """Wait until ``/healthz`` answers 200. Raises ChildError if it keeps dying or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not (self.pid and await _is_healthy(self.spec.health_port)):
            if self.quick_deaths >= _QUICK_DEATHS_TO_EXPLAIN:
                raise ChildError(f"{self.spec.name} does not start:\n{tail(self.spec.log)}")
            if time.monotonic() > deadline:
                raise ChildError(f"{self.spec.name} is not ready after {timeout_s:.0f} s:\n{tail(self.spec.log)}")
            await asyncio.sleep(_HEALTH_POLL_S)

    def urge(self) -> None:
        """Say once more that it is to end: there is no more time for what it waits for."""
        if self._stopping and self._process is not None and self._process.returncode is None:
            _send(self._process, signal.SIGTERM)

    async def stop(self) -> None:
        """Ask it to end, wait for its patience, then kill it."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            _send(process, signal.SIGTERM)
            try:
                async with asyncio.timeout(self.spec.patience_s):
                    await process.wait()
            except TimeoutError:
                self._say(f"{self.spec.name} did not end within {self.spec.patience_s:.0f} s: killed.")
                self.kill()
                await process.wait()
        tasks = [task for task in (self._keeper, self._returning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def kill(self) -> None:
        """End it at once, with whatever it has started."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _keep(self) -> None:
        while True:
            started = time.monotonic()
            code = await self._run()
            if self._returning is not None:
                self._returning.cancel()
            if self._stopping:
                return
            self.quick_deaths = 1 if time.monotonic() - started > _STEADY_S else self.quick_deaths + 1
            pause_s = min(0.25 * 2**self.quick_deaths, _LONGEST_PAUSE_S)
            self._say(f"{self.spec.name} ended ({_reason(code)}); starting it again in {pause_s:g} s.")
            if self.quick_deaths % _QUICK_DEATHS_TO_EXPLAIN == 0:
                self._say(f"{self.spec.name} keeps dying. The end of {self.spec.log}:\n{tail(self.spec.log)}")
            await asyncio.sleep(pause_s)
            if self.spec.health_port is not None:
                self._returning = asyncio.create_task(self._tell_of_return())

    async def _tell_of_return(self) -> None:
        while not (self.pid and await _is_healthy(self.spec.health_port)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(_HEALTH_POLL_S)
        self._say(f"{self.spec.name} runs again.")

    async def _run(self) -> int:
        with self.spec.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environ,
                process_group=0,  # a terminal's Ctrl-C is for the supervisor, which ends its children in order
                preexec_fn=self._tie_to_us(),
            )
        return await self._process.wait()

    def _tie_to_us(self) -> Callable[[], None]:
        parent, number = os.getpid(), int(self.spec.orphan_signal)

        def tie() -> None:
            if _PRCTL is not None:
                _PRCTL(_PR_SET_PDEATHSIG, number)
                if os.getppid() != parent:
                    os._exit(1)

        return tie


def python(*arguments: str) -> tuple[str, ...]:
    """A command line for this very interpreter."""
    return (sys.executable, *arguments)


def rotate(log: Path) -> None:
    """Put a large log aside, keeping one."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _reason(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


async def _is_healthy(port: int | None) -> bool:
    """Whether ``GET /healthz`` on a loopback port answers 200."""
    if port is None:
        return True
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]

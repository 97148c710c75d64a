"""A server to measure: a real process of ours on a core of its own, everything else on the other.

Embedded PostgreSQL and Valkey, the scripted stand-ins and the load share the other core. Data lies under ``var/bench``.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voiceagent.embedded import state
from voiceagent.embedded.profile import install_defaults
from voiceagent.embedded.servers import running
from voiceagent.sandbox.carrier import Carrier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = ROOT / "var" / "bench"
SERVER_CORE, OTHER_CORE = 0, max(os.cpu_count() or 1, 1) - 1
START_S = 60.0
#: The demonstration agent, and one that differs in waiting for the certain end of a turn.
SPECULATIVE_NUMBER, PATIENT_NUMBER = "+15005550006", "+15005550007"
_PATIENT_AGENT = f"""
from calls.models import Agent, AgentNumber
if not AgentNumber.objects.filter(number="{PATIENT_NUMBER}").exists():
    agent = Agent.objects.get(numbers__number="{SPECULATIVE_NUMBER}")
    agent.pk, agent._state.adding, agent.name = None, True, "Patient"
    agent.policy = {{"speculative": False}}
    agent.save()
    AgentNumber.objects.create(agent=agent, number="{PATIENT_NUMBER}")
"""


@dataclass(frozen=True)
class Rig:
    """The running parts: the server's address and process id, the stand-ins' address, the carrier's account."""

    url: str
    pid: int
    sandbox_url: str
    account_sid: str
    auth_token: str

    @asynccontextmanager
    async def carrier(self) -> AsyncIterator[Carrier]:
        """The phone network, registered with the stand-in so that hang-ups reach its calls."""
        async with Carrier(
            self.url, account_sid=self.account_sid, auth_token=self.auth_token, rest_url=self.sandbox_url
        ) as carrier:
            yield carrier

    def cpu_s(self) -> float:
        """CPU seconds the server has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """The server's resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def metrics(self) -> dict[str, float]:
        """The server's metrics by sample name with labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own loopback server
            lines = answer.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}


@contextmanager
def rig(max_calls: int = 100) -> Iterator[Rig]:
    """Start everything, and stop it at the end. The calling process is put on the other core."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {OTHER_CORE})
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_URL", "REDIS_URL"))},
        "DATA_DIR": str(DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "voiceagent.settings.embedded",
        "ENV_FILE": os.devnull,
        "LOG_FORMAT": "json",
        "MAX_CALLS": str(max_calls),
    }
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    with running({"DATA_DIR": str(DATA_DIR)}) as servers:
        environ["PORT"] = str(state.free_port())
        environ.update(servers.addresses())
        install_defaults(environ)
        _run(environ, "-m", "voiceagent.prepare", str(DATA_DIR / "facts.json"))
        _run(environ, "manage.py", "shell", "-c", _PATIENT_AGENT)
        sandbox_url = environ["CARTESIA_BASE_URL"]
        port = sandbox_url.rsplit(":", 1)[1]
        with (
            _process(environ, "sandbox", "-m", "voiceagent.sandbox", "--port", port, "--engines", "scripted"),
            _process(environ, "web", "-m", "voiceagent.web", core=SERVER_CORE) as web,
            _process(environ, "worker", "-m", "celery", "-A", "voiceagent", "worker", "--concurrency", "1"),
        ):
            url = f"http://127.0.0.1:{environ['PORT']}"
            for address in (f"{sandbox_url}/healthz", f"{url}/healthz"):
                _wait_for(address)
            yield Rig(url, web.pid, sandbox_url, environ["TWILIO_ACCOUNT_SID"], environ["TWILIO_AUTH_TOKEN"])


def p95(values: Sequence[float]) -> float:
    """The 95th percentile; the value itself where there is one only."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def run[T](work: object) -> T:  # type: ignore[type-var]
    """``asyncio.run`` for a bench's coroutine."""
    return asyncio.run(work)  # type: ignore[arg-type]


def _run(environ: dict[str, str], *arguments: str) -> None:
    with (DATA_DIR / "prepare.log").open("ab") as log:
        subprocess.run([sys.executable, *arguments], env=environ, cwd=ROOT, check=True, stdout=log, stderr=log)


@contextmanager
def _process(
    environ: dict[str, str], name: str, *arguments: str, core: int = OTHER_CORE
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *arguments]
    pinned = (os.cpu_count() or 1) > 1
    with (DATA_DIR / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if pinned else None,
        )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:  # noqa: S310 - our own loopback server
                if answer.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)

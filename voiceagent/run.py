"""`make run`: everything the product needs, started in order, watched, and stopped in order.

Order of a start: claim the folder and the port, embedded servers, then vendor stand-ins and web server load while the
database is prepared; worker and scheduler last. Order of a stop: who takes calls first, who
archives them next, what both stand on last. The first Ctrl-C lets calls finish, the second does not wait for them,
the third kills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from voiceagent.bootstrap import BASE_DIR, EMBEDDED, read_env_file
from voiceagent.conf import SiteConf, calls_conf, house_conf
from voiceagent.embedded import state
from voiceagent.embedded.process import ServerError, tail
from voiceagent.embedded.profile import install_defaults, made_data_dir, needs_sandbox
from voiceagent.embedded.servers import Servers
from voiceagent.env import Env, EnvError
from voiceagent.supervise.child import Child, ChildError, Spec, python, rotate
from voiceagent.supervise.claim import StartError, check_port, only_run
from voiceagent.supervise.lines import follow
from voiceagent.supervise.record import until_archived

if TYPE_CHECKING:
    from pathlib import Path

WEB_READY_S = 60
# The first start of the engines reads a few hundred megabytes from a cold disk.
SANDBOX_READY_S = 180
WATCH_S = 2.0
WORKER_PROCESSES = 2
_VENDOR_NAMES = {"CARTESIA_API_KEY": "Cartesia", "OPENAI_API_KEY": "OpenAI", "TWILIO_AUTH_TOKEN": "Twilio"}


def say(line: str) -> None:
    """One line to the console, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Run:
    """One run of the product, from the claims to the last process ended."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._embedded = os.environ.setdefault("DJANGO_SETTINGS_MODULE", EMBEDDED) == EMBEDDED
        read_env_file()
        self._dir = made_data_dir(os.environ)
        self._sandboxed = needs_sandbox(os.environ) if self._embedded else []
        # Before the defaults go in: what the user named is not started.
        self._servers = Servers(self._dir, dict(os.environ), say) if self._embedded else None
        self._site = self._configure()
        self._url = f"http://{_reachable(self._site.bind_host)}:{self._site.port}"
        self._children: list[Child] = []
        self._told = 0
        self._hurry = asyncio.Event()
        self._followers: list[asyncio.Task[None]] = []
        # Written when the database is ready; the web server loads until then.
        self._facts = self._dir / "facts.json"

    def _configure(self) -> SiteConf:
        """Fill in the defaults and look at every value before anything is started. Raises EnvError."""
        if self._embedded:
            if self._sandboxed and state.is_listening(state.sandbox_port(self._dir)):
                state.new_port(self._dir, "sandbox")
            install_defaults(os.environ)
        env = Env(os.environ)
        site = house_conf(env).site
        env.check()
        return site

    def start(self) -> int:
        """Run until told to stop; the exit code."""
        sandbox_url = f"http://127.0.0.1:{state.sandbox_port(self._dir)}" if self._sandboxed else ""
        with ExitStack() as stack:
            stack.enter_context(only_run(self._dir, self._url, sandbox_url))
            check_port(self._site.bind_host, self._site.port)
            if self._servers is not None:
                say("Starting PostgreSQL and Valkey.")
            stack.enter_context(self._servers.used() if self._servers else nullcontext())
            self._follow_moved_ports()
            code = asyncio.run(self._supervise())
        say("Stopped.")
        return code

    def _follow_moved_ports(self) -> None:
        """A server whose port was taken has moved: the addresses given to the children must be the new ones."""
        if self._servers is not None:
            os.environ.update(self._servers.addresses())

    async def _supervise(self) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop, stop)
        work = asyncio.create_task(self._serve())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not work.done():
                say("\nStopping.")
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        finally:
            told.cancel()
            await self._stop()
            for follower in self._followers:
                follower.cancel()
            await asyncio.gather(*self._followers, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error
        return 0

    def _told_to_stop(self, stop: asyncio.Event) -> None:
        self._told += 1
        stop.set()
        if self._told == 2:
            say("Stopping at once; the calls end here.")
            self._hurry.set()
            for child in self._named("web"):
                child.urge()
        elif self._told > 2:
            for child in self._children:
                child.kill()

    def _named(self, *names: str) -> list[Child]:
        return [child for child in self._children if child.spec.name in names]

    async def _serve(self) -> None:
        if self._sandboxed:
            say("Starting the local stand-ins for " + self._stand_ins() + ".")
            self._keep(self._sandbox())
        say("Preparing the database and loading the web server.")
        self._facts.unlink(missing_ok=True)
        self._keep(self._web())
        facts = await self._prepare()
        for child in reversed(self._children):
            await child.ready(SANDBOX_READY_S if child.spec.name == "sandbox" else WEB_READY_S)
        # Nobody waits for these: what they would do first waits in Redis. So the web server has the processors.
        self._keep(self._worker())
        self._keep(self._beat())
        self._announce(facts)
        # Not part of this task: they tell of the stop as well.
        self._followers += [asyncio.create_task(follow(self._log(name), say)) for name in ("web", "worker")]
        await self._watch_servers()

    def _keep(self, spec: Spec) -> None:
        child = Child(spec, os.environ | {"LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}, say)
        self._children.append(child)
        child.start()

    async def _prepare(self) -> dict[str, Any]:
        """Bring the database up to date. Raises StartError with what went wrong."""
        log = self._log("prepare")
        rotate(log)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *python("-m", "voiceagent.prepare", str(self._facts)),
                cwd=BASE_DIR,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"DATABASE_POOL_SIZE": "0"},  # one connection does, and a pool is slow to end
                process_group=0,
            )
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
        if code != 0:
            raise StartError(f"The database could not be prepared:\n{tail(log, 20)}")
        return state.read_json(self._facts)

    async def _watch_servers(self) -> None:
        """Bring back an embedded server that was killed."""
        while True:
            await asyncio.sleep(WATCH_S)
            for name in await asyncio.to_thread(self._servers.recover) if self._servers else ():
                say(f"{name} had died; it runs again.")

    async def _stop(self) -> None:
        """Who takes calls first, who archives them next, the stand-ins last."""
        told_ms = time.time_ns() // 1_000_000
        await self._end("web", "beat")
        if self._named("worker"):
            redis_url = calls_conf(Env(os.environ)).redis_url
            await until_archived(redis_url, told_ms, self._hurry, say)
        await self._end("worker")
        await self._end("sandbox")

    async def _end(self, *names: str) -> None:
        await asyncio.gather(*(child.stop() for child in self._named(*names)))

    # The parts --------------------------------------------------------------------------------------------------

    def _web(self) -> Spec:
        return Spec(
            "web",
            python("-m", "voiceagent.web", str(self._facts)),
            self._log("web"),
            self._site.port,
            patience_s=self._site.stop_s + 2.0,
        )

    def _worker(self) -> Spec:
        options = (
            "--concurrency",
            str(WORKER_PROCESSES),
            "--without-gossip",
            "--without-mingle",
            "--hostname",
            "worker@%h",
        )
        argv = python("-m", "voiceagent.background", "worker", *options)
        # SIGQUIT: a worker that is told to end at once takes its pool with it, which a killed one would leave.
        return Spec("worker", argv, self._log("worker"), orphan_signal=signal.SIGQUIT)

    def _beat(self) -> Spec:
        schedule = str(self._dir / "beat-schedule")
        return Spec(
            "beat",
            python("-m", "voiceagent.background", "beat", "--schedule", schedule, "--pidfile", ""),
            self._log("beat"),
        )

    def _sandbox(self) -> Spec:
        port = state.sandbox_port(self._dir)
        argv = python("-m", "voiceagent.sandbox", "--port", str(port), "--data-dir", str(self._dir))
        return Spec("sandbox", argv, self._log("sandbox"), port)

    def _log(self, name: str) -> Path:
        return self._dir / "logs" / f"{name}.log"

    # What a person reads ----------------------------------------------------------------------------------------

    def _stand_ins(self) -> str:
        return ", ".join(_VENDOR_NAMES[key] for key in self._sandboxed)

    def _metrics(self) -> str:
        """Where each process is scraped."""
        host = _reachable(self._site.metrics_host)
        ports = (self._site.worker_metrics_port, self._site.scheduler_metrics_port)
        return "  ".join([f"{self._url}/metrics", *(f"http://{host}:{port}/metrics" for port in ports if port)])

    def _announce(self, facts: dict[str, Any]) -> None:
        login = ""
        if facts.get("user"):
            login = f"user {facts['user']}, password {facts['password'] or '(the one you set)'}"
        rows = [
            ("Console", f"{self._url}{facts['console']}" if facts["console"] else ""),
            ("Admin", f"{self._url}/admin/"),
            ("Login", login),
            ("Number", ", ".join(facts["numbers"]) or "none yet: make an agent in the admin"),
            ("Call it", "make call (in another shell)" if facts["numbers"] else ""),
            ("Stand-ins", f"{self._stand_ins()} (no keys in .env)" if self._sandboxed else ""),
            ("Metrics", self._metrics()),
            ("Logs", str(self._dir / "logs")),
        ]
        say(f"\nReady after {time.monotonic() - self._begun:.1f} s. Ctrl-C stops everything.\n")
        for name, value in rows:
            if value:
                say(f"  {name:<10}{value}")
        say("")
        for warning in facts.get("warnings", ()):
            say(f"Warning: {warning}\n")


def _reachable(host: str) -> str:
    """The address to reach a listener by from this machine."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def main() -> int:
    """The exit code: 0 stopped as told, 1 could not start or failed, 2 configuration."""
    try:
        return Run().start()
    except EnvError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (StartError, ChildError, ServerError) as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

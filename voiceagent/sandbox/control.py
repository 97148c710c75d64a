"""The stand-in in a test: :class:`SandboxServer` in this process, :class:`SandboxClient` for one elsewhere."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

from voiceagent.sandbox.api import change_settings
from voiceagent.sandbox.engines.scripted import ScriptedEngines
from voiceagent.sandbox.script import Fault, FaultKind, Reply, Rule, Settings, ToolCall, TurnEvent
from voiceagent.sandbox.server import WARM, build_app
from voiceagent.sandbox.state import STATE, Entry, Namespace, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from voiceagent.sandbox.engines.base import Engines

__all__ = [
    "Fault", "Handle", "Reply", "Rule", "SandboxClient", "SandboxServer", "SandboxThread", "Settings", "ToolCall", "TurnEvent",
]  # fmt: skip


class Handle:
    """One credential's namespace, to be instructed and read directly (same process)."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    @property
    def key(self) -> str:
        """The API key (or account SID) that a client must send to land here."""
        return self._namespace.key

    def configure(self, **sections: dict[str, Any]) -> None:
        """Change settings: ``configure(stt={"end_ms": 400}, llm={"first_token_ms": 0})``."""
        change_settings(self._namespace, sections)

    def fault(self, endpoint: str, kind: FaultKind, **options: Any) -> Fault:
        """Make the next matching request (or ``times`` of them, 0 for all) go wrong."""
        fault = Fault(endpoint=endpoint, kind=kind, **options)
        self._namespace.faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """No more faults."""
        self._namespace.faults.clear()

    def reply(self, text: str = "", **options: Any) -> None:
        """Queue a scripted answer of the model; see :class:`Reply`."""
        self._namespace.settings.llm.replies.append(Reply(text=text, **options))

    def utterances(self, *texts: str) -> None:
        """What speech is recognised as, in order, on every connection."""
        self._namespace.settings.stt.utterances = list(texts)

    def script_turns(self, *events: tuple[float, str] | tuple[float, str, str]) -> None:
        """Events of the next recognition connection as ``(at_ms, type[, transcript])``."""
        script = [
            TurnEvent.model_validate(dict(zip(("at_ms", "type", "transcript"), event, strict=False)))
            for event in events
        ]
        self._namespace.settings.stt.scripts.append(script)

    def journal(self, endpoint: str = "*") -> list[Entry]:
        """What was received, oldest first; entries go on changing while their request runs."""
        return self._namespace.journal.of(endpoint)

    async def wait_for(self, endpoint: str, count: int = 1, timeout_s: float = 5.0, **facts: Any) -> list[Entry]:
        """At least ``count`` entries whose fields equal ``facts``. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = [e for e in self.journal(endpoint) if all(e.get(name) == facts[name] for name in facts)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.005)


class SandboxServer:
    """The server on a free port of the loopback interface, in the running event loop. An async context manager."""

    def __init__(self, engines: Engines | None = None, defaults: Settings | None = None, port: int = 0) -> None:
        self._app = build_app(engines or ScriptedEngines(), defaults)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        self._wanted_port = port
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._wanted_port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        await self._app[WARM].wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Base address, for Cartesia and Twilio."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Base address of sockets."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """``base_url`` of the OpenAI SDK."""
        return f"{self.url}/v1"

    @property
    def state(self) -> State:
        """All namespaces."""
        return self._app[STATE]

    def handle(self, key: str | None = None) -> Handle:
        """A namespace, a fresh one unless the credential is given."""
        return Handle(self.state.namespace(key or f"test-{uuid.uuid4().hex}"))


class SandboxThread:
    """The server in a thread with a loop of its own, for tests that have none. A context manager."""

    def __init__(self, engines: Engines | None = None, defaults: Settings | None = None) -> None:
        self._engines, self._defaults = engines, defaults
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self.server: SandboxServer
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def __enter__(self) -> SandboxServer:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self.server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        async def serve() -> None:
            try:
                self.server = SandboxServer(self._engines, self._defaults)
                await self.server.__aenter__()
            except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits
                self._failure = failure
                return
            finally:
                self._started.set()
            await self._stop.wait()
            await self.server.__aexit__(None, None, None)

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())


class SandboxClient:
    """The control API of a server in another process."""

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self._base = f"{url.rstrip('/')}/_sandbox/ns/{key}"
        self._session = session

    async def configure(self, **sections: dict[str, Any]) -> dict[str, Any]:
        """As :meth:`Handle.configure`; returns all settings."""
        settings: dict[str, Any] = await self._ask("PATCH", "/settings", sections)
        return settings

    async def fault(self, endpoint: str, kind: FaultKind, **options: Any) -> Any:
        """As :meth:`Handle.fault`; returns the faults that wait."""
        return await self._ask("POST", "/faults", {"endpoint": endpoint, "kind": kind, **options})

    async def clear_faults(self) -> Any:
        """No more faults."""
        return await self._ask("DELETE", "/faults")

    async def journal(self, endpoint: str = "*") -> list[Entry]:
        """What was received, oldest first."""
        found: list[Entry] = await self._ask("GET", f"/journal?endpoint={endpoint}")
        return found

    async def wait_for(
        self, endpoint: str, where: Callable[[Entry], bool] = bool, count: int = 1, timeout_s: float = 5.0
    ) -> list[Entry]:
        """At least ``count`` entries that fit. Raises ``TimeoutError``."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = [entry for entry in await self.journal(endpoint) if where(entry)]
                    if len(found) >= count:
                        return found
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(
                f"the journal of {endpoint} did not come to {count} such entries in {timeout_s:g} s"
            ) from None

    async def reset(self) -> None:
        """Forget settings, faults and journal."""
        await self._ask("DELETE", "")

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, self._base + path, json=body) as response:
            answer = await response.json()
            if response.status != 200:
                raise ValueError(answer.get("error", f"status {response.status}"))
            return answer

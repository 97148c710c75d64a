"""How the MCP server is served beside Django and Channels, by servers with a lifespan (uvicorn) and without (Daphne).

The SDK's session manager must run in a task that lives as long as the loop. Where the server sends a lifespan, that
starts it; where it sends none, the first request does. What is not addressed to the MCP server goes on unchanged.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from twisted.internet.defer import Deferred

from memory.conf import METADATA_PATH, PATH, McpConf
from memory.manager import current
from memory.mcp import desk, server
from memory.mcp.gate import MOST_BODY_BYTES, Gate, KnownHosts
from memory.mcp.grants import Scope
from memory.mcp.tokens import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer
    from starlette.types import Receive, Send
    from starlette.types import Scope as Request


@dataclass(frozen=True, slots=True)
class _Run:
    """A session manager that serves in one event loop, until ``ending``."""

    app: ASGIApp
    task: asyncio.Task[None]
    ready: asyncio.Event
    ending: asyncio.Event


class Mount:
    """An MCP server as an ASGI application, in one event loop after the other.

    ``build`` makes the server anew for each run: a session manager of the SDK runs once. ``guard`` is put in front.
    ``sessions`` keeps a session for each client of a revision before 2026-07-28, in this process; without them every
    request stands for itself, and nothing can be asked back of such a client.
    """

    def __init__(
        self, build: Callable[[], MCPServer], guard: Callable[[ASGIApp], ASGIApp], *, sessions: bool = False
    ) -> None:
        self._build = build
        self._guard = guard
        self._sessions = sessions
        self._run: _Run | None = None

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve a request; the first one starts what was not started."""
        run = await self.start()
        await run.app(scope, receive, send)

    async def start(self) -> _Run:
        """Start, where that has not happened in this loop."""
        run = self._run
        if run is None or run.task.get_loop() is not asyncio.get_running_loop() or run.task.done():
            run = self._run = self._begin()
            self._end_with_daphne(run)
        started = asyncio.create_task(run.ready.wait())
        await asyncio.wait({started, run.task}, return_when=asyncio.FIRST_COMPLETED)
        if run.task.done():
            started.cancel()
            run.task.result()
        return run

    def _end_with_daphne(self, run: _Run) -> None:
        """Daphne ends its reactor, not our task; and as long as that runs, threads of the SDK wait for work and hold up
        the process's end."""
        reactor = sys.modules.get("twisted.internet.reactor")
        if getattr(reactor, "running", False):

            def end() -> Any:
                run.ending.set()
                return Deferred.fromFuture(run.task)

            reactor.addSystemEventTrigger("before", "shutdown", end)  # type: ignore[union-attr]

    async def stop(self) -> None:
        """End the streams that are open, and the run."""
        run, self._run = self._run, None
        if run is not None and run.task.get_loop() is asyncio.get_running_loop():
            run.ending.set()
            await run.task

    def _begin(self) -> _Run:
        built = self._build()
        app = built.streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=not self._sessions,
            max_request_body_size=MOST_BODY_BYTES,
            # KnownHosts has looked, and knows Django's patterns.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        ready, ending = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with built.session_manager.run():
                ready.set()
                await ending.wait()

        return _Run(self._guard(app), asyncio.create_task(serve(), name="mcp"), ready, ending)


class Outer:
    """ASGI: the MCP server and its metadata at their paths, the lifespan around both, everything else to ``app``."""

    def __init__(self, app: ASGIApp, mount: Mount, conf: McpConf) -> None:
        self._app = app
        self._mount = mount
        self._served = KnownHosts(mount)
        self._metadata = KnownHosts(JSONResponse(metadata(conf), headers={"Cache-Control": "public, max-age=3600"}))

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "lifespan":
            await self._mount.start()
            try:
                await self._app(scope, receive, send)
            finally:
                await self._mount.stop()
            return
        path = scope["path"] if scope["type"] == "http" else ""
        if path in (PATH, PATH + "/"):
            await self._served({**scope, "path": PATH, "raw_path": PATH.encode()}, receive, send)
        elif path.startswith(METADATA_PATH.removesuffix(PATH)):
            await self._metadata(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def memory_mount(conf: McpConf) -> Mount:
    """The memory's server, for holders of tokens."""
    verifier = Verifier(conf)
    return Mount(
        lambda: server.build(current()),
        lambda app: Gate(app, verifier, conf.metadata_url, server.needs, desk.refused),
    )


def metadata(conf: McpConf) -> dict[str, object]:
    """What clients may learn of this server (RFC 9728). Without an outside issuer it names no authorization server:
    tokens are then issued in the admin only."""
    return {
        "resource": conf.resource_url,
        "resource_name": "Memory of the voice agent",
        "bearer_methods_supported": ["header"],
        "scopes_supported": [scope.value for scope in Scope],
        **({"authorization_servers": [conf.jwt.issuer]} if conf.jwt else {}),
    }

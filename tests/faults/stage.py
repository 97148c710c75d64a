"""Many lines in one process: each with its own runtime, vendors' credentials, carrier and proxy, on one real server.

The server listens on a port for every line; which runtime answers is told by the port that a request came in at. So lines share
what a process shares, and no fault of one reaches another.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.db import connections

from calls import consumers, tasks, views
from calls.media.vad import Batch
from calls.models import Call
from calls.runtime import Runtime
from tests.faults.proxy import Proxy
from tests.line.conftest import serving
from voiceagent import wiring
from voiceagent.sandbox.carrier import Carrier, PhoneCall
from voiceagent.sandbox.control import Handle, Reply, Rule, SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from calls.conf import CallsConf

NUMBER = "+15005550006"
TOKEN = "t" * 32

_here: ContextVar[Runtime] = ContextVar("_here")


@dataclass
class Line:
    """What a test of one line touches. ``vendors`` is the proxy in front of all of them."""

    url: str
    runtime: Runtime
    carrier: Carrier
    vendors: Proxy
    cartesia: Handle
    openai: Handle
    twilio: Handle
    archived: list[str]

    def call(self, caller: str = "+15550001111") -> PhoneCall:
        """A call that has not rung yet."""
        return self.carrier.call(caller=caller, called=NUMBER)

    def answers(self, *pairs: tuple[str, Reply]) -> None:
        """What the model says to what."""
        self.openai.configure(llm={"rules": [Rule(contains=text, reply=reply).model_dump() for text, reply in pairs]})

    def forget_failures(self) -> None:
        """No breaker remembers what was."""
        for breaker in self.runtime.breakers:
            breaker.reset("test", "another cell")

    async def row(self, phone: PhoneCall, timeout_s: float = 15.0) -> Call:
        """The call's row once it is archived."""
        async with asyncio.timeout(timeout_s):
            while phone.call_sid not in self.archived:  # noqa: ASYNC110 - told in a thread
                await asyncio.sleep(0.05)
        return await Call.objects.aget(call_sid=phone.call_sid)


class Stage:
    """Server and stand-ins, without a line yet. Made by ``open_stage``."""

    def __init__(self, conf: CallsConf, sandbox: SandboxServer, ports: list[int], stack: AsyncExitStack) -> None:
        self.sandbox = sandbox
        self.runtimes: dict[int, Runtime] = {}
        self.windows = Batch(10)
        self._conf, self._ports, self._stack = conf, ports, stack

    def forget_requests(self, *of: Handle) -> None:
        """The stand-ins' journals, which a test of many calls would fill. All, or those of one line: others read theirs."""
        for key in [handle.key for handle in of] or self.sandbox.state.keys():
            self.sandbox.state.namespace(key).journal.entries.clear()

    async def line(self, archive: Callable[[str], None] | None = None) -> Line:
        """One more line; ``archive`` in place of archiving at once. The stage closes it."""
        port = self._ports.pop()
        vendors = await self._stack.enter_async_context(Proxy(self.sandbox.port))
        cartesia, openai = self.sandbox.handle(), self.sandbox.handle()
        account = f"AC{port:032x}"
        url, vendor_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{vendors.port}"
        conf = self._conf
        conf = replace(
            conf,
            cartesia=replace(conf.cartesia, api_key=cartesia.key, base_url=vendor_url),
            openai=replace(conf.openai, api_key=openai.key, base_url=f"{vendor_url}/v1"),
            twilio=replace(
                conf.twilio, account_sid=account, auth_token=TOKEN, public_base_url=url, api_base_url=vendor_url
            ),
        )
        archived: list[str] = []

        def archive_now(call_sid: str) -> None:
            try:
                tasks.archive(call_sid)
            finally:
                connections.close_all()
            archived.append(call_sid)

        runtime = wiring.build_for(conf, archive or archive_now)
        runtime.windows = self.windows  # one model run for all lines, as for all calls of a process
        self.runtimes[port] = runtime
        await runtime.start()
        self._stack.push_async_callback(runtime.aclose)
        carrier = await self._stack.enter_async_context(
            Carrier(url, account_sid=account, auth_token=TOKEN, rest_url=self.sandbox.url)
        )
        twilio = self.sandbox.handle(account)
        return Line(url, runtime, carrier, vendors, cartesia, openai, twilio, archived)


@asynccontextmanager
async def open_stage(conf: CallsConf, lines: int, patch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A server with room for so many lines, and the stand-ins. Closes all lines."""
    from voiceagent.asgi import application

    async def current() -> Runtime:
        return _here.get()

    patch.setattr(views, "current", current)
    patch.setattr(consumers, "current", current)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(lines)]

    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(SandboxServer())
        stage = Stage(conf, sandbox, [sock.getsockname()[1] for sock in sockets], stack)

        async def by_port(scope: Any, receive: Any, send: Any) -> None:
            _here.set(stage.runtimes[scope["server"][1]])
            await application(scope, receive, send)

        await stack.enter_async_context(serving(by_port, sockets))
        yield stage

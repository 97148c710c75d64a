"""A whole line in one loop: our server on a real socket, the vendors' stand-in, the carrier, PostgreSQL and Valkey.

Only the broker is left out: a finished call is archived by the task's own function, in the thread that would queue it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.db import connections

from calls import runtime
from calls.breakerrules import OPERATIONS, Rules
from calls.breakers import Breakers
from calls.conf import TraceConf
from calls.core.policy import TurnPolicy
from calls.models import Agent, AgentNumber, Call
from calls.phrasebook import shipped_audio
from calls.runtime import Runtime
from calls.tasks import archive
from memory import modelspans
from tests.line.receiver import Receiver
from voiceagent import telemetry, wiring
from voiceagent.conf import TelemetryConf
from voiceagent.sandbox.carrier import Carrier, PhoneCall
from voiceagent.sandbox.control import Handle, Reply, Rule, SandboxServer
from voiceagent.web import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from calls.conf import CallsConf
    from voiceagent.otlp import Telemetry

NUMBER = "+15005550006"
ACCOUNT = "AC" + "0" * 32


@dataclass
class Line:
    """Everything a test of a whole call touches."""

    url: str
    runtime: Runtime
    carrier: Carrier
    sandbox: SandboxServer
    ears: Handle
    model: Handle
    archived: list[str]
    second: Handle

    def call(self, caller: str = "+15550001111", **options: Any) -> PhoneCall:
        """A call that has not rung yet."""
        return self.carrier.call(caller=caller, called=NUMBER, **options)

    def answers(self, *pairs: tuple[str, Reply]) -> None:
        """What the model says to what; a speculative request and its successor get the same answer."""
        rules = [Rule(contains=text, reply=reply).model_dump() for text, reply in pairs]
        self.model.configure(llm={"rules": rules})

    async def archived_call(self, phone: PhoneCall, timeout_s: float = 10.0) -> Call:
        """The call's row once it is archived."""
        async with asyncio.timeout(timeout_s):
            while phone.call_sid not in self.archived:  # noqa: ASYNC110 - told in a thread
                await asyncio.sleep(0.02)
        return await Call.objects.select_related("agent_version").aget(call_sid=phone.call_sid)


#: Where the recorded phrase speaks without a pause for more than a second.
_FLUENT_FROM = 47 * 160


@cache
def speech(ms: int = 900) -> bytes:
    """Somebody talking for about ``ms`` (at most 1,400): a fluent stretch of a recorded phrase."""
    return shipped_audio("en", "trouble")[_FLUENT_FROM : _FLUENT_FROM + ms * 8]


#: The breakers of a line: neither calls that fail beside each other nor a busy machine may cut off the others.
NEVER_OPEN = {name: Rules(opens=False) for name in OPERATIONS}
#: The deadlines of an agent whose test is not about them: its vendors share a loop and a busy machine with it.
PATIENT = {"first_token_ms": 15_000, "first_audio_ms": 15_000, "patience_ms": 0}


def policy(**changes: Any) -> dict[str, Any]:
    """A turn policy as an agent's field holds it."""
    built = replace(TurnPolicy(), **changes)
    return {name: getattr(built, name) for name in built.__dataclass_fields__}


def make_agent(**changes: Any) -> Agent:
    """The agent that answers the line."""
    fields: dict[str, Any] = {
        "name": "Test line",
        "instructions": "Be brief.",
        "greeting": "Hello there, this is the test line.",
        "voice": "f786b574-daa5-4673-aa0c-cbe3e8534c02",
        "tools": ["book_table", "end_call"],
        "policy": policy(**PATIENT),
    }
    agent = Agent.objects.create(**{**fields, **changes})
    AgentNumber.objects.create(agent=agent, number=NUMBER)
    return agent


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """The agent that answers the line."""
    return make_agent()


@pytest.fixture
async def line(
    agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Any
) -> AsyncIterator[Line]:
    """A running line. Vendors are ``scripted``: fixed delays, what is heard is set by ``line.ears``."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    async with AsyncExitStack() as stack:
        yield await open_line(stack, calls_conf, unused_tcp_port)
    await sync_to_async(connections.close_all)()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of traces that takes what it is sent."""
    made = Receiver()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def kept() -> TraceConf:
    """What is kept of the calls on a traced line; a test may say otherwise."""
    return TraceConf(share=1.0, slow_turn_ms=60_000)


@pytest.fixture
def traced(receiver: Receiver, kept: TraceConf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """This process traces to ``receiver``, and sends often."""
    from voiceagent import otlp

    monkeypatch.setattr(otlp, "SEND_EVERY_MS", 50)
    monkeypatch.setattr(otlp, "SEND_TIMEOUT_S", 1.0)
    started = otlp.Telemetry(TelemetryConf(receiver.url, {"api-key": "k1"}, "voiceagent", kept), "web")
    monkeypatch.setattr(telemetry, "_started", started)
    monkeypatch.setattr(modelspans, "_tracer", started.provider.get_tracer("voiceagent.memory"))
    yield started
    started.stop(0.5)


@pytest.fixture
async def traced_line(
    agent: Agent, traced: Telemetry, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Any
) -> AsyncIterator[Line]:
    """A running line whose requests and calls are traced."""
    from voiceagent import asgi

    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    async with AsyncExitStack() as stack:
        yield await open_line(stack, calls_conf, unused_tcp_port, asgi.house(traced))
    await sync_to_async(connections.close_all)()


async def open_line(
    stack: AsyncExitStack,
    conf: CallsConf,
    port: int,
    app: Any = None,
    send_archive: Callable[[str], None] | None = None,
    **limits: Any,
) -> Line:
    """Start server, stand-ins and carrier; ``stack`` stops them.

    ``app`` in place of the product's own application, ``send_archive`` in place of archiving at once. Breakers never open.
    """
    sandbox = await stack.enter_async_context(SandboxServer())
    cartesia, openai, second = sandbox.handle(), sandbox.handle(), sandbox.handle()
    fallback = conf.openai.fallback and replace(conf.openai.fallback, api_key=second.key, base_url=sandbox.openai_url)
    url = f"http://127.0.0.1:{port}"
    conf = replace(
        conf,
        cartesia=replace(conf.cartesia, api_key=cartesia.key, base_url=sandbox.url),
        openai=replace(conf.openai, api_key=openai.key, base_url=sandbox.openai_url, fallback=fallback),
        twilio=replace(
            conf.twilio, account_sid=ACCOUNT, auth_token="t" * 32, public_base_url=url, api_base_url=sandbox.url
        ),
        # However busy the machine is that tests run on: a test of the busy answer asks for it.
        limits=replace(conf.limits, **{"overload_lag_ms": 0, **limits}),
    )
    archived: list[str] = []

    def archive_now(call_sid: str) -> None:
        try:
            archive(call_sid)
        finally:
            connections.close_all()
        archived.append(call_sid)

    async def build() -> Runtime:
        return wiring.build_for(conf, send_archive or archive_now, Breakers(NEVER_OPEN))

    from voiceagent.asgi import application

    runtime.provide(build)
    stack.push_async_callback(runtime.close_current)
    built = await runtime.current()
    await stack.enter_async_context(serving(app or application, [socket.create_server(("127.0.0.1", port))]))
    carrier = await stack.enter_async_context(
        Carrier(url, account_sid=ACCOUNT, auth_token="t" * 32, rest_url=sandbox.url)
    )
    return Line(url, built, carrier, sandbox, cartesia, openai, archived, second)


@asynccontextmanager
async def serving(app: Any, sockets: list[socket.socket]) -> AsyncIterator[None]:
    """The ASGI application on real sockets, in this loop."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(server.serve(sockets))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def talk() -> Callable[[int], bytes]:
    """``talk(ms)``: that much speech."""
    return speech

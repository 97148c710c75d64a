"""What all calls of a process share, built once in its event loop.

``voiceagent.wiring`` knows how to build it and hands a factory to ``provide``; consumer and views ask ``current``.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from channels.db import database_sync_to_async
from redis.asyncio import Redis

from calls import metrics, phrasebook
from calls.actor import ToolRunner
from calls.breakers import Breakers
from calls.conf import CallsConf
from calls.control import Control
from calls.core.events import HangUpAsked
from calls.core.policy import AgentProfile
from calls.core.state import Phase
from calls.eventlog import LogWriter
from calls.livefeed import LiveFeed
from calls.logcontext import enter
from calls.loopwatch import LoopWatch
from calls.media.vad import Batch, VadConf
from calls.ports import AudioSink, CallControl, CallMemory, Ear, Memory, Model, Post, Voice
from calls.providers.twilio.signature import SignatureChecker
from calls.registry import Registry
from calls.services import phrases
from calls.services.carrier import open_answered
from calls.session import Session
from calls.tickets import Tickets
from calls.tracing import Traces, from_text, id_of

if TYPE_CHECKING:
    from calls.ports import CarrierOut
    from calls.tickets import Ticket

_log = structlog.get_logger(__name__)

#: At a stop: how long a stream that was promised is waited for, and a call that was asked twice to end.
_PROMISED_S = 5.0
_LAST_CALL_S = 1.0
#: How long calls have for their end where nobody drained before the runtime is closed.
_CLOSING_S = 10.0
_DRAIN_POLL_S = 0.05
#: How long a prefetch of a caller's memory may last; by then its call has begun, or never will.
_PREFETCH_S = 30.0
#: How long a call's first words may be held up by phrases that are not in memory yet.
_PHRASES_S = 0.3
#: How long the carrier may wait for a recording that it is to play.
_OWN_PHRASE_S = 2.0


@dataclass
class Runtime:
    """The process's shared parts. ``start`` before the first call, ``aclose`` after the last."""

    conf: CallsConf
    redis: Redis
    tickets: Tickets
    signatures: SignatureChecker
    registry: Registry
    log_writer: LogWriter
    model: Model
    control: CallControl
    make_ear: Callable[[AgentProfile, Post], Ear]
    make_voice: Callable[[AgentProfile, AudioSink, Post], Voice]
    run_tool: ToolRunner
    disk: Executor
    database: Executor
    recordings_dir: Path
    process_name: str
    vad: VadConf = VadConf()
    windows: Batch = field(default_factory=Batch)
    memory: Memory | None = None
    traces: Traces = field(default_factory=Traces)
    breakers: Breakers = field(default_factory=Breakers)
    feed: LiveFeed | None = None
    operators: Control | None = None
    closers: tuple[Callable[[], Awaitable[object]], ...] = ()
    loop_watch: LoopWatch = field(default_factory=LoopWatch)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> None:
        """Start what runs beside the calls. What is loaded by now stays: it need not be searched for garbage again."""
        gc.collect()
        gc.freeze()
        metrics.LOG_WAITING.set_function(lambda: self.log_writer.waiting)
        metrics.MAILBOX_WAITING.set_function(
            lambda: sum(len(session.actor.mailbox) for session in list(self.registry.live.values()))
        )
        metrics.CALLS_CAPACITY.set(self.registry.max_calls)
        self._background(self.log_writer.run(), "log-writer")
        if self.feed is not None:
            self._background(self.feed.run(), "live-feed")
        if self.operators is not None:
            self._background(self.operators.run(), "control")
        self.loop_watch = LoopWatch(on_beat=partial(self.registry.observe, "loop_lag"))
        self._background(self.loop_watch.run(), "loop-watch")
        self.warm_model()

    def begin(self, ticket: Ticket, carrier: CarrierOut) -> Session | None:
        """A session for a stream that has shown its ticket; ``None`` where the registry refuses it.

        Nothing may be built before that is known: a session opens its log, which only its end closes.
        """
        if self.registry.refusal(ticket.call_sid):
            return None
        trace = from_text(ticket.trace)
        place = enter(ticket.call_sid, id_of(trace))
        session = Session(self, ticket, carrier, trace, place)
        self.registry.claim(ticket.call_sid, session)
        metrics.CALLS_LIVE.inc()
        if not ticket.is_test:
            metrics.CALLS_ANSWERED.inc()
        self._background(self._run(session), f"call:{ticket.call_sid}")
        self.in_background(
            open_answered,
            call_sid=ticket.call_sid,
            from_number=ticket.from_number,
            to_number=ticket.to_number,
            direction=ticket.direction,
            account_sid=ticket.account_sid,
            agent_version_id=ticket.agent_version_id,
            trace_id=id_of(trace),
            is_test=ticket.is_test,
        )
        return session

    async def in_database[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a synchronous service in the database threads of our own, never on the shared one."""
        call = database_sync_to_async(function, thread_sensitive=False, executor=self.database)
        result: R = await call(*args, **kwargs)
        return result

    def in_background[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """As ``in_database``, without waiting: a failure is logged, and the call never knows."""

        async def guarded() -> None:
            try:
                await self.in_database(function, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the database may be away; the archive completes the row
                _log.warning("database.write_failed", what=function.__name__, error=type(error).__name__)

        self._background(guarded(), f"database:{function.__name__}")

    def ring(self, call_sid: str, number: str, locale: str) -> None:
        """A call will come from this number: have its caller's memory prefetched, without waiting."""
        memory = self.memory
        if memory is None:
            return

        async def guarded() -> None:
            try:
                async with asyncio.timeout(_PREFETCH_S):
                    await memory.ring(call_sid, number, locale)
            except Exception as error:  # noqa: BLE001 - a call without memory is still a call
                _log.warning("memory.prefetch_failed", call_sid=call_sid, error=type(error).__name__)

        self._background(guarded(), f"ring:{call_sid}")

    def fetch_phrases(self, agent: AgentProfile) -> None:
        """Have the agent's own phrases in memory by the time its call begins, without waiting."""
        if missing := phrasebook.missing(agent):
            self.in_background(phrases.load, missing)

    async def await_phrases(self, agent: AgentProfile) -> None:
        """A call begins here that may have rung elsewhere: wait a moment for its phrases. Shipped ones serve for what is late."""
        missing = phrasebook.missing(agent)
        if not missing:
            return
        try:
            async with asyncio.timeout(_PHRASES_S):
                await self.in_database(phrases.load, missing)
        except Exception as error:  # noqa: BLE001 - the database may be away; the call has the shipped ones
            _log.warning("phrases.not_loaded", count=len(missing), error=type(error).__name__)

    async def own_phrase(self, digest: str) -> bytes | None:
        """A recording of an agent's own by its digest; ``None`` if there is none, or it cannot be had in time."""
        audio = phrasebook.at_hand(digest)
        if audio is None:
            try:
                async with asyncio.timeout(_OWN_PHRASE_S):
                    await self.in_database(phrases.load, [digest])
            except Exception as error:  # noqa: BLE001 - the database may be away
                _log.warning("phrases.not_loaded", count=1, error=type(error).__name__)
            audio = phrasebook.at_hand(digest)
        return audio

    def operators_changed(self, call_sid: str) -> None:
        """Operators did something to this call: their pages are told."""
        if self.operators is not None:
            self.operators.changed(call_sid)

    def open_memory(self, ticket: Ticket) -> CallMemory | None:
        """The memory of the caller whose call begins; ``None`` where there is none to be had."""
        if self.memory is None:
            return None
        try:
            return self.memory.open(
                ticket.call_sid, ticket.caller_number, ticket.agent.language, reads_only=ticket.reads_only
            )
        except Exception as error:  # noqa: BLE001 - a call without memory is still a call
            _log.error("memory.not_opened", call_sid=ticket.call_sid, error=type(error).__name__)
            return None

    def warm_model(self, *_: object) -> None:
        """The caller begins to speak: an answer will be wanted soon."""
        self._background(self.model.warm(), "warm-model")

    async def drain(self, grace_s: float, closing_s: float, hurry: asyncio.Event) -> None:
        """Take no new calls; those in progress may go on for up to ``grace_s``, then each is asked to end.

        Returns when the last is on record, ``closing_s`` after that at the latest. ``hurry`` ends both times at once.
        """
        self.registry.drain(min(grace_s, _PROMISED_S))
        if waiting := self.registry.expected:
            _log.info("drain.begun", calls=waiting, seconds=grace_s)
        await self._until_empty(grace_s, hurry)
        self.registry.drain(0)
        if (waiting := self.registry.expected) and not hurry.is_set():
            _log.info("drain.closing", calls=waiting, seconds=closing_s)
        asked: set[str] = set()
        await self._until_empty(closing_s, hurry, lambda: self._say_goodbye(asked))
        for session in list(self.registry.live.values()):
            for _ in range(2):  # asked again, a call ends without further words
                session.actor.mailbox.post(HangUpAsked(by="drain"))
        await self._until_empty(_LAST_CALL_S, asyncio.Event())

    def _say_goodbye(self, asked: set[str]) -> None:
        """Ask every call to end that was not asked yet. One that is still connecting would end without a word."""
        for call_sid, session in list(self.registry.live.items()):
            state = session.actor.state
            if call_sid in asked or state.phase is Phase.CONNECTING:
                continue
            asked.add(call_sid)
            if not state.ending:  # who says goodbye already is not cut short
                session.actor.mailbox.post(HangUpAsked(by="drain"))

    async def _until_empty(
        self, limit_s: float, hurry: asyncio.Event, each_time: Callable[[], object] = lambda: None
    ) -> None:
        deadline = time.monotonic() + limit_s
        while self.registry.expected and not hurry.is_set() and time.monotonic() < deadline:
            each_time()
            await asyncio.sleep(_DRAIN_POLL_S)

    async def aclose(self) -> None:
        """End the calls in progress with a recorded reason, then close everything."""
        await self.drain(0, _CLOSING_S, asyncio.Event())
        await self.log_writer.aclose()
        for task in self._tasks:
            task.cancel()
        parts = [part.aclose for part in (self.feed, self.memory) if part is not None]
        for close in (self.model.aclose, self.control.aclose, *parts, *self.closers, self.redis.aclose):
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - the rest must be closed all the same
                _log.warning("runtime.close_failed", error=type(error).__name__)
        self.disk.shutdown(wait=True)
        self.database.shutdown(wait=False, cancel_futures=True)

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            self.registry.ended(session.ticket.call_sid)
            metrics.CALLS_LIVE.dec()

    def _background(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# --- the process's one runtime ------------------------------------------------------------------------------------

Factory = Callable[[], Awaitable[Runtime]]


class _Provider:
    def __init__(self) -> None:
        self.factory: Factory | None = None
        self.building: asyncio.Task[Runtime] | None = None


_provider = _Provider()


def provide(factory: Factory) -> None:
    """Say how the runtime is built; it is built at the first ``current``. One that another factory made is not it."""
    _provider.factory, _provider.building = factory, None


def current_if_built() -> Runtime | None:
    """The runtime, if there is one already."""
    task = _provider.building
    return task.result() if task is not None and task.done() and not task.cancelled() and not task.exception() else None


async def current() -> Runtime:
    """The process's runtime, built at the first call. A failed build is tried again by the next caller."""
    task = _provider.building
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        if _provider.factory is None:
            raise LookupError("no runtime was provided: voiceagent.wiring does that")
        # What runs beside the calls belongs to none of them, nor to the request that happened to come first.
        task = _provider.building = asyncio.create_task(_build(_provider.factory), context=contextvars.Context())
    return await asyncio.shield(task)


async def drain_current(grace_s: float, closing_s: float, hurry: asyncio.Event) -> None:
    """Drain the runtime, if there is one; it stays open."""
    runtime = current_if_built()
    if runtime is not None:
        await runtime.drain(grace_s, closing_s, hurry)


async def close_current() -> None:
    """Close the runtime, if there is one."""
    runtime = current_if_built()
    _provider.building = None
    if runtime is not None:
        await runtime.aclose()


async def _build(factory: Factory) -> Runtime:
    runtime = await factory()
    await runtime.start()
    return runtime

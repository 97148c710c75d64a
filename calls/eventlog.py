"""The event log: every event and command of every call, in Redis within 100 ms, without the call ever waiting.

``EventLog`` belongs to one call and subscribes to its bus; noting a step is one append to a list. ``LogWriter``
belongs to the process: one task that takes what all calls noted, encodes it and sends it in one trip, at most every
``flush_ms``. One writer for all calls, because a trip per call and interval would cost more CPU than the audio path.

While Redis is away entries wait in memory, up to ``max_entries`` for each call (some hours of talk). Beyond that new
entries are dropped and counted; sequence numbers go on, so the gap is visible in the archive. What was kept is
the beginning, which still replays.

The newest step of each write carries a digest of its state: making one for every step would cost more than the step.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson
import structlog
from redis.exceptions import RedisError, ResponseError

from calls import metrics
from calls.core.state import State
from calls.logkeys import HEARTBEAT_MS, checked_sid
from calls.logwire import TAKEN, Noted, Wire, share_of
from calls.replay.digest import StateDigest, layout_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from redis.asyncio import Redis

    from calls.bus import StepTaken

_log = structlog.get_logger(__name__)

SendArchive = Callable[[str], None]

_LAYOUT = layout_of(State)
_LAYOUT_JSON = orjson.dumps(_LAYOUT).decode()


@dataclass(frozen=True, slots=True)
class LogConf:
    """Bounds of the log. ``flush_ms``: longest time a noted entry waits while Redis answers.

    ``batch`` entries go into one trip, so that encoding never holds the loop for long.
    """

    flush_ms: int = 40
    heartbeat_ms: int = HEARTBEAT_MS
    max_entries: int = 200_000
    batch: int = 200
    retry_min_ms: int = 100
    retry_max_ms: int = 1_000
    close_ms: int = 3_000


class EventLog:
    """The log of one call. Use on the event loop's thread only."""

    def __init__(self, writer: LogWriter, call_sid: str, meta: Mapping[str, str]) -> None:
        self.call_sid = checked_sid(call_sid)
        self.owner = uuid4().hex
        self.dropped = 0
        self._writer = writer
        self._meta: dict[str, str] = {**meta, "state_layout": _LAYOUT_JSON}
        self._digests = StateDigest(State, _LAYOUT, orjson.dumps)
        self._unsigned: State | None = None
        self._noted: deque[Noted] = deque()
        self._waiting = 0
        self._seq = 0
        self._closed = False
        self._context = contextvars.copy_context()
        self._drained = asyncio.Event()

    def on_step(self, step: StepTaken, _step: StepTaken | None = None) -> None:
        """Note a step: subscribe this to ``StepTaken``. Costs about a microsecond and does no I/O."""
        count = 1 + len(step.commands)
        first, self._seq = self._seq + 1, self._seq + count
        if self._waiting + count > self._writer.conf.max_entries:
            self._drop(count)
            return
        self._waiting += count
        state = step.state
        self._noted.append(
            Noted(first, step.seq, step.wall_ms, step.event, step.commands, state.mode.value, state.turn)
        )
        self._unsigned = state
        self._writer.wake()

    def add_fact(self, name: str, value: str) -> None:
        """Put one more fact about the call into its meta."""
        self._meta[name] = value
        self._writer.wake()

    @property
    def waiting(self) -> int:
        """Entries noted and not yet in Redis."""
        return self._waiting

    async def aclose(self, end_reason: str = "") -> bool:
        """Flush and hand the call over to the archive; ``False`` if Redis did not take everything in time.

        The writer goes on trying then, for as long as the process lives. ``end_reason`` counts where no entry says how
        the call ended: the actor raised, or the log was full.
        """
        if not self._closed:
            self._closed = True
            self._context = contextvars.copy_context()
            self._meta["ended_wall_ms"] = str(_now_ms())
            if end_reason:
                self._meta["end_reason"] = end_reason
            self._writer.wake()
        try:
            async with asyncio.timeout(self._writer.conf.close_ms / 1000):
                await self._drained.wait()
        except TimeoutError:
            _log.warning("eventlog.close_waits", call_sid=self.call_sid, entries=self._waiting)
            return False
        return True

    def _drop(self, count: int) -> None:
        if not self.dropped:
            _log.error("eventlog.full", call_sid=self.call_sid, max_entries=self._writer.conf.max_entries)
        self.dropped += count
        metrics.LOG_DROPPED.inc(count)

    # --- the writer's side ----------------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Closed, and nothing left to write."""
        return self._closed and not self._noted and not self._meta

    @property
    def has_news(self) -> bool:
        """Whether anything is to be written."""
        return bool(self._noted or self._meta)

    def pending_meta(self) -> dict[str, str]:
        """Facts not yet written."""
        return dict(self._meta)

    def head(self, limit: int) -> list[Noted]:
        """The oldest steps with together about ``limit`` entries, at least one; they stay until ``settle``."""
        self._sign()
        taken: list[Noted] = []
        count = 0
        for noted in self._noted:
            taken.append(noted)
            count += noted.count
            if count >= limit:
                break
        return taken

    def _sign(self) -> None:
        """Give the newest step the digest of its state. A state that has none costs the record that check alone."""
        state, self._unsigned = self._unsigned, None
        if state is None:
            return
        try:
            self._noted[-1] = replace(self._noted[-1], digest=self._digests.of(state))
        except Exception as error:  # noqa: BLE001 - the logs of all calls wait for this one
            _log.error("eventlog.no_digest", call_sid=self.call_sid, error=type(error).__name__)

    def settle(self, steps: int, meta: Mapping[str, str]) -> None:
        """These steps and facts are in Redis."""
        for _ in range(steps):
            self._waiting -= self._noted.popleft().count
        for name, value in meta.items():
            if self._meta.get(name) == value:
                del self._meta[name]

    def lose(self, entries: int) -> None:
        """Another log of this call was first, and its entries count."""
        if not self.dropped:
            _log.error("eventlog.stream_taken", call_sid=self.call_sid)
        self.dropped += entries
        metrics.LOG_DROPPED.inc(entries)

    @property
    def context(self) -> contextvars.Context:
        """What log lines and traces say of whoever closed it, for what is done about the call afterwards."""
        return self._context.copy()

    def finish(self) -> None:
        """Everything is written and the archive was told."""
        self._drained.set()


class LogWriter:
    """Writes the logs of all calls of a process.

    Start ``run()`` once as a task; ``open`` a log for each call; ``await aclose()`` at the end. ``send_archive`` is
    called in ``executor`` when a call's log is complete; if it raises, the sweeper finds the call. The client needs a
    ``socket_timeout``: that is what bounds a Redis that hangs.
    """

    def __init__(
        self, redis: Redis, send_archive: SendArchive, executor: Executor | None = None, conf: LogConf | None = None
    ) -> None:
        self.conf = conf or LogConf()
        self._wire = Wire(redis)
        self._send_archive = send_archive
        self._executor = executor
        self._logs: dict[EventLog, None] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._stopped = asyncio.Event()
        self._next_heartbeat = 0.0
        self._retry_ms = 0
        self._behind = False
        self._sending: set[asyncio.Task[None]] = set()

    def open(self, call_sid: str, meta: Mapping[str, str]) -> EventLog:
        """The log of a new call. ``meta`` has the fields of ``call:{sid}:meta``; written with the first flush."""
        log = EventLog(self, call_sid, meta)
        self._logs[log] = None
        self._next_heartbeat = 0.0
        self.wake()
        return log

    def wake(self) -> None:
        """There is something to write."""
        if not self._wake.is_set():
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Entries of all calls that are not yet in Redis. May be asked from any thread."""
        return sum(log.waiting for log in list(self._logs))

    @property
    def is_away(self) -> bool:
        """Whether the last attempt to reach Redis failed."""
        return self._retry_ms > 0

    async def run(self) -> None:
        """Write until ``aclose``; a failing Redis is tried again for ever, at most every ``retry_max_ms``."""
        try:
            while await self._once():
                pass
        finally:
            self._stopped.set()

    async def _once(self) -> bool:
        """Wait and write once. Whether to go on."""
        await self._pause()
        self._wake.clear()
        try:
            more = await self._flush()
        except (RedisError, OSError) as error:
            self._away(error)
            return not self._closing
        except Exception as error:  # noqa: BLE001 - a bug here must not end the logs of all calls
            _log.exception("eventlog.writer_failed")
            self._away(error)
            return not self._closing
        self._back()
        self._behind = more
        return more or not self._closing

    async def aclose(self, timeout_ms: int = 5_000) -> int:
        """Write what is left, stop ``run`` and wait for the archive's messages. Gives the entries that were lost."""
        self._closing = True
        self.wake()
        deadline = time.monotonic() + timeout_ms / 1000
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1000):
                await self._stopped.wait()
        if self._sending:
            await asyncio.wait(self._sending, timeout=max(0.0, deadline - time.monotonic()))
        return self.waiting

    async def _pause(self) -> None:
        """Until there is something to write: entries, a heartbeat, or the next attempt at a Redis that was away."""
        if self._behind:
            await asyncio.sleep(0)
            return
        if self._retry_ms:
            await asyncio.sleep(0 if self._closing else self._retry_ms / 1000)
            return
        until_beat = max(0.0, self._next_heartbeat - time.monotonic()) if self._logs else None
        try:
            async with asyncio.timeout(until_beat):
                await self._wake.wait()
        except TimeoutError:
            return
        if not self._closing:
            await asyncio.sleep(self.conf.flush_ms / 1000)

    async def _flush(self) -> bool:
        """One trip to Redis. Whether more is waiting. Raises what Redis or its connection raises; nothing is lost then."""
        shares = self._shares()
        beat = bool(self._logs) and time.monotonic() >= self._next_heartbeat
        if not shares and not beat:
            return False
        written = [share_of(log.call_sid, log.owner, meta, steps) for log, meta, steps in shares]
        alive = {log.call_sid for log in self._logs} if beat else ()
        if beat:
            # Before the trip: a call that opens during it asks for a heartbeat of its own.
            self._next_heartbeat = time.monotonic() + self.conf.heartbeat_ms / 1000
        try:
            answers = await self._wire.send(written, alive, _now_ms())
        except BaseException:
            self._next_heartbeat = 0.0
            raise
        for (log, meta, steps), answer in zip(shares, answers, strict=True):
            if not answer or answer == TAKEN:
                self._settle(log, meta, steps, taken=answer == TAKEN)
        if refusals := [answer for answer in answers if answer and answer != TAKEN]:
            raise ResponseError(refusals[0].decode(errors="replace"))
        return any(log.has_news for log in self._logs)

    def _shares(self) -> list[tuple[EventLog, dict[str, str], list[Noted]]]:
        """What goes into the next trip. A call that fills it goes last the next time, or it could starve the others."""
        shares: list[tuple[EventLog, dict[str, str], list[Noted]]] = []
        budget = self.conf.batch
        for log in [log for log in self._logs if log.has_news]:
            if budget <= 0:
                break
            steps = log.head(budget)
            budget -= sum(noted.count for noted in steps)
            shares.append((log, log.pending_meta(), steps))
            self._logs[log] = self._logs.pop(log)
        return shares

    def _settle(self, log: EventLog, meta: dict[str, str], steps: list[Noted], *, taken: bool) -> None:
        """This share is written, or belongs to a call that another log has."""
        if taken:
            log.lose(sum(noted.count for noted in steps))
        log.settle(len(steps), meta)
        if log.is_done:
            self._logs.pop(log, None)
            self._hand_over(log)

    def _hand_over(self, log: EventLog) -> None:
        """Tell the archive. ``aclose`` of the log returns when that was tried."""
        task = asyncio.create_task(self._tell_archive(log), name=f"archive:{log.call_sid}", context=log.context)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _tell_archive(self, log: EventLog) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, log.context.run, self._send_archive, log.call_sid)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the sweeper will find the call
            _log.warning("eventlog.archive_not_sent", call_sid=log.call_sid, error=type(error).__name__)
        finally:
            log.finish()

    def _away(self, error: Exception) -> None:
        self._behind = False
        if not self._retry_ms:
            _log.warning("eventlog.redis_away", error=type(error).__name__, entries=self.waiting)
        self._retry_ms = min(max(self.conf.retry_min_ms, self._retry_ms * 2), self.conf.retry_max_ms)

    def _back(self) -> None:
        if self._retry_ms:
            _log.info("eventlog.redis_back", entries=self.waiting)
        self._retry_ms = 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

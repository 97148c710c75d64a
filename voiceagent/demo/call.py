"""One call of the demonstration: the real actor, gate, memory, recorder and event log, around it a scripted caller on virtual time.

What comes of it is what a call leaves behind in Redis, as the log's writer would have sent it: shares with a digest each,
stamped with the times of the past in which the call is said to have been.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calls.actor import Parts, SessionActor
from calls.bus import Bus, StepTaken
from calls.callcheck import CallCheck
from calls.callermemory import OneCaller
from calls.eventlog import EventLog, LogConf
from calls.logwire import share_of
from calls.mailbox import Clock, Mailbox
from calls.media.gate import Gate
from calls.media.recorder import Recorder
from calls.memoryfeed import MemoryFeed
from calls.tools import run_tool
from memory.embedding.port import Embedder
from memory.live import CallMemory, Resources
from memory.stores.l1 import L1
from voiceagent.demo.caller import Act, ScriptedCaller
from voiceagent.demo.carrier import CarrierControl, PlayingCarrier
from voiceagent.demo.speech import Speak, silently
from voiceagent.demo.vendors import PersonaModel, SlowMemory, SpokenVoice, ToldEar, Troubles
from voiceagent.demo.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.core.policy import AgentProfile
    from voiceagent.sandbox.script import LlmSettings

#: Stands in the column ``process`` of every call of the demonstration.
PROCESS = "demo"
_RECALL_MS = 60
_WRITTEN_EVERY_S = 0.04
_MOST_ENTRIES = 1 << 30


@dataclass(frozen=True, slots=True)
class Ordered:
    """A call that is to be. ``seed`` decides whatever its script leaves open; ``is_recorded``: whether there is sound of it."""

    call_sid: str
    from_number: str
    to_number: str
    began_at: datetime
    acts: tuple[Act, ...]
    seed: int
    pitch: float = 1.0
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class House:
    """What the calls of a demonstration share."""

    embedder: Embedder
    l1: L1
    threads: Executor
    speak: Speak
    recordings_dir: Path


class _Here(Executor):
    """Does what it is given at once: a recorder's files are written in order."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class _Keeper:
    """In place of the process's log writer: keeps what it would have sent."""

    conf = LogConf(max_entries=_MOST_ENTRIES)

    def __init__(self) -> None:
        self.shares: list[list[Any]] = []

    def wake(self) -> None:
        """It looks by itself."""

    def write(self, log: EventLog) -> None:
        """One write: all that was noted since the last."""
        if not log.has_news:
            return
        facts, steps = log.pending_meta(), log.head(_MOST_ENTRIES)
        self.shares.append(share_of(log.call_sid, log.owner, facts, steps))
        log.settle(len(steps), facts)


def hold(order: Ordered, agent: AgentProfile, version_id: int, rules: LlmSettings, house: House) -> list[list[Any]]:
    """Hold a call to its end. Its event log, as shares for ``calls.logwire``; its sound lies with the recordings."""
    return run(_held(order, agent, version_id, rules, house))


async def _held(
    order: Ordered, agent: AgentProfile, version_id: int, rules: LlmSettings, house: House
) -> list[list[Any]]:
    loop = asyncio.get_running_loop()
    rng = random.Random(order.seed)  # noqa: S311 - a demonstration that can be repeated
    began_ms = round(order.began_at.timestamp() * 1000)
    clock = Clock(loop.time)
    mailbox, bus, troubles = Mailbox(clock), Bus(_raise), Troubles()
    recorder = Recorder(house.recordings_dir, order.call_sid, clock.now_ms, _Here()) if order.is_recorded else None
    speak = house.speak if order.is_recorded else silently
    carrier = PlayingCarrier(mailbox.post)
    gate = Gate(carrier, mailbox.post, recorder, lambda _: None)
    memory = SlowMemory(_memory(order, agent, house, loop), rng, troubles)
    parts = Parts(
        ToldEar(mailbox.post),
        SpokenVoice(gate, mailbox.post, speak, rng, troubles),
        PersonaModel(rules, rng, troubles),
        CarrierControl(mailbox.post),
        carrier,
        gate,
        run_tool,
        memory,
    )
    today = order.began_at.strftime("%A, %d %B %Y")
    actor = SessionActor(order.call_sid, agent, parts, mailbox, clock, bus, today, _RECALL_MS)
    keeper = _Keeper()
    log = EventLog(keeper, order.call_sid, _meta(order, version_id, began_ms))  # type: ignore[arg-type]
    # The actor stamps steps with the time of day that it is; this call was another day.
    bus.subscribe(StepTaken, lambda step, _: log.on_step(replace(step, wall_ms=began_ms + step.event.at_ms)))
    CallCheck(bus, order.call_sid, log.add_fact)
    feed = MemoryFeed(memory, bus, mailbox.post, order.call_sid)
    await asyncio.sleep(0.01)
    await feed.greet()
    feeding = asyncio.ensure_future(feed.run())
    writing = asyncio.ensure_future(_write_on(keeper, log))
    caller = ScriptedCaller(actor, carrier, clock, mailbox.post, speak, rng, troubles, recorder, order.pitch)
    calling = asyncio.ensure_future(caller.play(order.acts))
    reason = await actor.run()
    for task in (feeding, writing, calling):
        task.cancel()
    await asyncio.gather(feeding, writing, calling, return_exceptions=True)
    if calling.done() and not calling.cancelled() and (error := calling.exception()) is not None:
        raise error
    await feed.aclose()
    if recorder is not None:
        recorder.close().result()
    log.add_fact("ended_wall_ms", str(began_ms + clock.now_ms()))
    log.add_fact("end_reason", reason)
    keeper.write(log)
    return keeper.shares


async def _write_on(keeper: _Keeper, log: EventLog) -> None:
    while True:
        await asyncio.sleep(_WRITTEN_EVERY_S)
        keeper.write(log)


def _memory(order: Ordered, agent: AgentProfile, house: House, loop: asyncio.AbstractEventLoop) -> OneCaller:
    resources = Resources(
        house.embedder,
        house.l1,
        house.threads,
        house.threads,
        house.threads,
        clock=loop.time,
        now=lambda: order.began_at + timedelta(seconds=loop.time()),
    )
    return OneCaller(CallMemory(resources, order.call_sid, order.from_number, agent.language))


def _meta(order: Ordered, version_id: int, began_ms: int) -> dict[str, str]:
    return {
        "from_number": order.from_number,
        "to_number": order.to_number,
        "account_sid": "AC" + "0" * 32,
        "direction": "inbound",
        "agent_version_id": str(version_id),
        "started_wall_ms": str(began_ms),
        "process": PROCESS,
        "recording": order.call_sid,
    }


def _raise(error: BaseException) -> None:
    raise error

"""A call around the real actor, mailbox, bus and gate: only what lies outside the process is a double.

Each double does what its port says, after a delay, and keeps what it was asked with the time of it. It cannot show how
a vendor's own protocol misbehaves; the contract tests can.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from calls.actor import Parts, SessionActor
from calls.bus import Bus, StepTaken
from calls.core import events as e
from calls.core.commands import AskModel
from calls.core.speech import BYTES_PER_MS
from calls.core.state import Card, State
from calls.mailbox import CAPACITY, Clock, Mailbox
from calls.media.gate import Gate
from calls.memoryfeed import MemoryFeed
from calls.ports import Forgotten, MemoryRefused, RecallResult, Remembered
from calls.replay.invariants import Checker
from calls.tools import run_tool
from tests.unit.core.world import MS_PER_CHAR, agent
from voiceagent.demo.carrier import CarrierControl, PlayingCarrier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from calls.core.policy import AgentProfile
    from calls.ports import Post
    from calls.tools import ToolContext

#: What a model does in one request: each waits so many milliseconds, then posts text, a tool's name, or raises.
Script = list[tuple[int, "str | Tool | Exception"]]


@dataclass(frozen=True)
class Tool:
    """A function call in a script."""

    name: str
    call_id: str = "c1"
    arguments: str = "{}"


@dataclass
class ScriptedModel:
    """Answers each request with the next script, ``Yes. `` when there is none."""

    scripts: list[Script] = field(default_factory=list)
    asked: list[AskModel] = field(default_factory=list)
    cancelled: int = 0

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        self.asked.append(ask)
        script: Script = self.scripts.pop(0) if self.scripts else [(200, "Yes. ")]
        try:
            for delay_ms, part in script:
                await asyncio.sleep(delay_ms / 1000)
                match part:
                    case Exception():
                        raise part
                    case Tool():
                        post(
                            e.ModelToolCall(
                                turn=ask.turn,
                                epoch=ask.epoch,
                                call_id=part.call_id,
                                name=part.name,
                                arguments=part.arguments,
                            )
                        )
                    case _:
                        post(e.ModelText(turn=ask.turn, epoch=ask.epoch, text=part))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        post(e.ModelFinished(turn=ask.turn, epoch=ask.epoch, reason="stop"))

    async def aclose(self) -> None:
        """Nothing is open."""


class ScriptedVoice:
    """Speaks 60 ms a character, 100 ms after the text. ``deaf`` goes on sending after a cancel; ``mute`` never speaks."""

    def __init__(self, gate: Gate, post: Post) -> None:
        self._gate, self._post = gate, post
        self._at_ms: dict[int, int] = {}
        self._queue: asyncio.Queue[tuple[int, int, str | None]] = asyncio.Queue()
        self.cancelled: set[int] = set()
        self.said: list[tuple[int, str]] = []
        self.fails_at_say: Exception | None = None
        self.deaf = self.mute = False

    async def run(self) -> None:
        while True:
            turn, epoch, text = await self._queue.get()
            await asyncio.sleep(0.1)
            if not self.mute and (self.deaf or epoch not in self.cancelled):
                self._speak(turn, epoch, text)

    def _speak(self, turn: int, epoch: int, text: str | None) -> None:
        if text is None:
            self._gate.finished(turn, epoch)
            return
        start = self._at_ms.get(epoch, 0)
        words, at = [], start
        for word in text.split():
            words.append(e.TimedWord(word, at, at + len(word) * MS_PER_CHAR))
            at = words[-1].end_ms + MS_PER_CHAR
        self._at_ms[epoch] = at
        self._post(e.WordsTimed(turn=turn, epoch=epoch, words=tuple(words)))
        for word in words:
            ms = word.end_ms + MS_PER_CHAR - word.start_ms
            self._gate.audio(turn, epoch, bytes([epoch]) * (ms * BYTES_PER_MS))

    def say(self, turn: int, epoch: int, text: str) -> None:
        if self.fails_at_say is not None:
            raise self.fails_at_say
        self.said.append((epoch, text))
        self._queue.put_nowait((turn, epoch, text))

    def end(self, turn: int, epoch: int) -> None:
        self._queue.put_nowait((turn, epoch, None))

    def cancel(self, turn: int, epoch: int) -> None:
        self.cancelled.add(epoch)

    async def aclose(self) -> None:
        """Nothing is open."""


class SilentEar:
    """Hears nothing by itself: the test posts what is heard."""

    def __init__(self) -> None:
        self.finalized = 0
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True

    def feed(self, audio: bytes) -> None:
        """Audio does not matter here."""

    def finalize(self) -> None:
        self.finalized += 1

    async def aclose(self) -> None:
        """Nothing is open."""


class VirtualMemory:
    """A caller's memory in virtual time: each answer after ``delay_ms``, or an exception; it keeps what it was told.

    Whether a row fits is whether it shares a word; real search is the memory's own affair. What was noted is a double.
    """

    def __init__(self, card: Card | None = None, rows: tuple[e.Recalled, ...] = ()) -> None:
        self.known, self.rows = card or Card(), list(rows)
        self.is_at_hand = card is not None
        self.on_card: Callable[[Card], object] = lambda _: None
        self.delay_ms = 5
        self.fails: Exception | None = None
        self.heard: list[str] = []
        self.noted: list[tuple[str, str, int, int]] = []
        self.asked: list[tuple[str, int]] = []
        self.remembered: dict[str, tuple[str, int, str]] = {}
        self.cancelled = 0
        self.closed = False

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay_ms / 1000)
        if self.fails is not None:
            raise self.fails

    async def card(self) -> Card:
        if not self.is_at_hand:
            await self._answer()
        return self.known

    def hear(self, text: str) -> None:
        self.heard.append(text)

    async def recall(self, text: str, deadline_ms: int) -> RecallResult:
        self.asked.append((text, deadline_ms))
        try:
            await self._answer()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        words = set(text.lower().split())
        said = " ".join(noted for _, noted, _, _ in self.noted)
        found = []
        for row in self.rows:
            if words & set(row.text.lower().split()):
                double = row.text in said
                found.append(replace(row, in_prompt=not double, why_not="duplicate" if double else ""))
        return RecallResult(tuple(found), "full", self.delay_ms)

    def note(self, role: str, text: str, turn: int, at_ms: int) -> None:
        self.noted.append((role, text, turn, at_ms))

    async def remember(self, text: str, key: str, turn: int, said: str) -> Remembered:
        await self._answer()
        if key not in self.remembered:
            self.remembered[key] = (text, turn, said)
            self.rows.append(e.Recalled(id=key, level="L1", kind="fact", text=text))
            self._change(f"{self.known.text}\n{text}".strip())
        return Remembered("kept", text, key)

    async def forget(self, what: str, key: str, turn: int) -> Forgotten:
        await self._answer()
        gone = tuple(row.text for row in self.rows if what in row.text)
        if not gone:
            raise MemoryRefused(f"there is nothing about {what}")
        self.rows = [row for row in self.rows if row.text not in gone]
        lines = [line for line in self.known.text.splitlines() if what not in line]
        self._change("\n".join(lines))
        return Forgotten(gone)

    def _change(self, text: str) -> None:
        self.known = Card(self.known.name, text)
        self.on_card(self.known)

    async def aclose(self) -> None:
        self.closed = True


class Line:
    """One call with all its parts. ``tools`` says what each function does."""

    def __init__(
        self,
        profile: AgentProfile,
        capacity: int = CAPACITY,
        memory: VirtualMemory | None = None,
        recall_ms: int = 30,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.clock = Clock(loop.time)
        self.mailbox = Mailbox(self.clock, capacity)
        self.errors: list[BaseException] = []
        self.steps: list[StepTaken] = []
        self.bus = Bus(self.errors.append)
        self.bus.subscribe(StepTaken, lambda step, _: self.steps.append(step))
        self.dropped_bytes = 0
        self.carrier = PlayingCarrier(self.post)
        self.gate = Gate(self.carrier, self.post, None, self._count)
        self.ear, self.voice, self.model = SilentEar(), ScriptedVoice(self.gate, self.post), ScriptedModel()
        self.control = CarrierControl(self.post)
        self.tools: dict[str, Callable[[ToolContext], Awaitable[tuple[str, str]]]] = {}
        self.ran: list[ToolContext] = []
        self.memory = memory
        self.feed = MemoryFeed(memory, self.bus, self.post, "CA1") if memory is not None else None
        parts = Parts(self.ear, self.voice, self.model, self.control, self.carrier, self.gate, self._run_tool, memory)
        self.actor = SessionActor("CA1", profile, parts, self.mailbox, self.clock, self.bus, "Monday", recall_ms)

    def post(self, event: e.Event) -> None:
        self.mailbox.post(event)

    def _count(self, size: int) -> None:
        self.dropped_bytes += size

    async def _run_tool(self, name: str, arguments: str, context: ToolContext) -> tuple[str, str]:
        self.ran.append(context)
        if name in self.tools:
            return await self.tools[name](context)
        return await run_tool(name, arguments, context)

    async def wait(self, ms: int) -> None:
        """Let the time of the call pass."""
        await asyncio.sleep(ms / 1000)

    async def say(self, text: str, ms: int = 800) -> None:
        """The caller speaks: detector, recogniser, end of turn."""
        self.starts()
        await self.wait(ms)
        self.post(e.WordsHeard(text=text))
        self.post(e.SpeechEnded(voiced_until_ms=self.clock.now_ms()))
        await self.wait(300)
        self.post(e.TurnEnded(text=text))

    def starts(self) -> None:
        """The detector hears the caller."""
        self.post(e.SpeechStarted(voiced_at_ms=self.clock.now_ms()))

    def of[V](self, kind: type[V]) -> list[V]:
        """All events and commands of a kind, in order."""
        values = [value for step in self.steps for value in (step.event, *step.commands)]
        return [value for value in values if isinstance(value, kind)]

    def sent(self, what: str) -> list[tuple[int, Any]]:
        """When this was put on the wire, and its value."""
        return [(at, value) for at, kind, value in self.carrier.wire if kind == what]


@asynccontextmanager
async def call(
    profile: AgentProfile | None = None,
    capacity: int = CAPACITY,
    prepare: Callable[[Line], None] = lambda _: None,
    memory: VirtualMemory | None = None,
    recall_ms: int = 30,
) -> AsyncIterator[Line]:
    """A running call; at its end the invariants are checked, and that no task is left."""
    line = Line(profile or agent(), capacity, memory, recall_ms)
    prepare(line)
    before = asyncio.all_tasks()
    feeding = None
    if line.feed is not None:
        await line.feed.greet()
        feeding = asyncio.create_task(line.feed.run())
    running = asyncio.create_task(line.actor.run())
    await asyncio.sleep(0)  # the call has begun; ``prepare`` posts what comes before
    try:
        yield line
    except BaseException:
        running.cancel()
        if feeding is not None:
            feeding.cancel()
        raise
    if not running.done():
        line.post(e.CarrierGone(how="stop"))
    await running
    if feeding is not None:
        feeding.cancel()
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    assert not left, left
    check(line)


def check(line: Line) -> None:
    """Hold the steps against the invariants."""
    checker, state = Checker(), State()
    for step in line.steps:
        checker.watch(state, step.event, step.commands, step.state)
        state = step.state
    assert [step.seq for step in line.steps] == list(range(1, len(line.steps) + 1))

"""The small world of the core's scenarios, around the real actor, mailbox, bus and gate in virtual time.

A scenario is written once, against ``tests.unit.core.world``. Here the same acts reach the core by the mailbox: the model's
words come from the task that the actor made for its request and cancels, a function's outcome from its task, audio
passes the gate, timers are the loop's. The carrier plays, keeps what was on the wire, and knows what was heard.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.actor import Parts, SessionActor
from calls.bus import Bus, StepTaken
from calls.codecs.twilio import parse_mark_name
from calls.core import events as e
from calls.core.commands import CancelTimer, Recall, SetTimer
from calls.core.speech import BYTES_PER_MS
from calls.core.state import Card
from calls.mailbox import Clock, Mailbox
from calls.media.gate import Gate
from calls.ports import Forgotten, RecallResult, Remembered
from calls.replay.invariants import Invariant, Violation
from tests.unit.core.fuzz import Watched
from tests.unit.core.world import MS_PER_CHAR
from voiceagent.demo.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from calls.core.commands import AskModel, Command, TurnClosed
    from calls.core.policy import AgentProfile
    from calls.ports import Post
    from calls.tools import ToolContext

#: How long the carrier needs to end a call that it was asked to end.
HANG_UP_S = 0.05
#: How often the next act comes before this one's letter was read, once a scenario hurries.
BACKLOG = 0.3
GAP_BYTES = MS_PER_CHAR * BYTES_PER_MS


class MsClock(Clock):
    """Of whole milliseconds, which sums of fractions of a second just miss."""

    def now_ms(self) -> int:
        return round((self._time() - self._start) * 1000)

    def now_us(self) -> int:
        return self.now_ms() * 1000


@dataclass
class Stretch:
    """Audio of one epoch at the carrier: played from ``starts_ms`` to ``ends_ms``, which a clear brings forward."""

    epoch: int
    starts_ms: int
    ends_ms: int


class Spoken(NamedTuple):
    """A word in an epoch's audio, and the byte at which it has been said."""

    word: str
    until_bytes: int


class StagedModel:
    """Answers when the scenario says so, for as long as its request is not cancelled."""

    def __init__(self) -> None:
        self.requests: dict[tuple[int, int], asyncio.Queue[e.Event]] = {}

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        key, queue = (ask.turn, ask.epoch), asyncio.Queue[e.Event]()
        self.requests[key] = queue
        try:
            while True:
                event = await queue.get()
                post(event)
                if isinstance(event, e.ModelFinished | e.ModelFailed):
                    return
        finally:
            if self.requests.get(key) is queue:
                del self.requests[key]

    async def aclose(self) -> None:
        """Nothing is open."""


class StagedMemory:
    """Answers a recall when the scenario says so; a card is posted by the scenario itself."""

    def __init__(self, latest: Callable[[], Recall]) -> None:
        self._latest = latest
        self.on_card: Callable[[Card], object] = lambda card: None
        self.recalls: dict[tuple[int, int], asyncio.Future[RecallResult]] = {}

    async def card(self) -> Card:
        return Card()

    def hear(self, text: str) -> None:
        """It prepares nothing."""

    async def recall(self, text: str, deadline_ms: int) -> RecallResult:
        asked = self._latest()
        key = asked.turn, asked.epoch
        answer = self.recalls[key] = asyncio.get_running_loop().create_future()
        try:
            return await answer
        finally:
            self.recalls.pop(key, None)

    def note(self, role: str, text: str, turn: int, at_ms: int) -> None:
        """Nothing is looked up in it."""

    async def remember(self, text: str, key: str, turn: int, said: str) -> Remembered:
        return Remembered("kept", text, key)

    async def forget(self, what: str, key: str, turn: int) -> Forgotten:
        return Forgotten()

    async def aclose(self) -> None:
        """Nothing is open."""


class Quiet:
    """Ear and voice: what they hear and say is the scenario's."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def feed(self, audio: bytes) -> None:
        """Nobody listens."""

    def finalize(self) -> None:
        """The scenario has the words."""

    def say(self, turn: int, epoch: int, text: str) -> None:
        """The scenario sees the command."""

    def end(self, turn: int, epoch: int) -> None:
        """As for ``say``."""

    def cancel(self, turn: int, epoch: int) -> None:
        """As for ``say``: late audio is sent all the same."""

    async def aclose(self) -> None:
        """Nothing is open."""


class StagedCarrier:
    """Plays what it is sent, gives marks back when they are reached or cleared; ends the call when asked to."""

    def __init__(self, loop: VirtualLoop, clock: Clock, post: Post, errors: list[BaseException]) -> None:
        self._loop, self._clock, self._post, self._errors = loop, clock, post, errors
        self._cleared_epoch = 0
        self._marks: dict[str, asyncio.TimerHandle] = {}
        self._bytes = 0
        self.sent: list[Stretch] = []
        self.sent_bytes: defaultdict[int, int] = defaultdict(int)
        self.epochs: defaultdict[int, list[int]] = defaultdict(list)
        self.plays_until_ms = 0
        self.pieces = 0
        self.gone = False

    def media(self, payload: bytes) -> None:
        self._bytes = len(payload)

    def mark(self, name: str) -> None:
        mark = parse_mark_name(name)
        assert mark is not None
        if mark.epoch <= self._cleared_epoch:
            late = f"media of epoch {mark.epoch} after the clear of {self._cleared_epoch}"
            self._errors.append(Violation(Invariant.IMMEDIATE_BARGE_IN, late))
        starts_ms = max(self.plays_until_ms, self._clock.now_ms())
        self.plays_until_ms = starts_ms + self._bytes // BYTES_PER_MS
        self.pieces += 1
        self.sent.append(Stretch(mark.epoch, starts_ms, self.plays_until_ms))
        self.sent_bytes[mark.epoch] += self._bytes
        if mark.epoch not in self.epochs[mark.turn]:
            self.epochs[mark.turn].append(mark.epoch)
        in_s = (self.plays_until_ms - self._clock.now_ms()) / 1000
        self._marks[name] = self._loop.call_later(in_s, self._return, name)

    def clear(self) -> None:
        now_ms = self._clock.now_ms()
        self.plays_until_ms = now_ms
        self._cleared_epoch = max(self.sent_bytes, default=0)
        for stretch in self.sent:
            stretch.starts_ms, stretch.ends_ms = min(stretch.starts_ms, now_ms), min(stretch.ends_ms, now_ms)
        for name in list(self._marks):
            self._marks[name].cancel()
            self._loop.call_soon(self._return, name)

    def close(self, code: int = 1000) -> None:
        self.gone = True

    def heard_bytes(self, epoch: int, at_ms: int) -> int:
        """How much of an epoch's audio had been played."""
        played = (min(x.ends_ms, at_ms) - x.starts_ms for x in self.sent if x.epoch == epoch)
        return sum(max(0, ms) for ms in played) * BYTES_PER_MS

    def lose_marks(self) -> None:
        """None of those that are outstanding comes back."""
        for handle in self._marks.values():
            handle.cancel()
        self._marks.clear()

    def _return(self, name: str) -> None:
        del self._marks[name]
        mark = parse_mark_name(name)
        assert mark is not None
        self._post(e.MarkReturned(turn=mark.turn, epoch=mark.epoch, piece=mark.piece))

    async def hang_up(self, call_sid: str) -> None:
        await asyncio.sleep(HANG_UP_S)
        self._post(e.CarrierGone(how="stop"))

    async def redirect(self, call_sid: str, twiml: str) -> None:
        await self.hang_up(call_sid)

    async def aclose(self) -> None:
        """Nothing is open."""


class Stage(Watched):
    """One call of the real actor on this loop."""

    def __init__(self, loop: VirtualLoop, profile: AgentProfile | None = None, recall_ms: int = 0) -> None:
        self.loop = loop
        self.rng: Random | None = None
        self.errors: list[BaseException] = []
        self._in_one_go = False
        self._spoken: defaultdict[int, list[Spoken]] = defaultdict(list)
        self._given_bytes: defaultdict[int, int] = defaultdict(int)
        self._wordless: set[int] = set()
        self._outcomes: dict[str, asyncio.Future[tuple[str, str]]] = {}
        super().__init__(profile, recall_ms)

    def begin(self, profile: AgentProfile, recall_ms: int) -> None:
        clock = MsClock(self.loop.time)
        self.clock, self.mailbox = clock, Mailbox(clock)
        bus = Bus(self.errors.append)
        bus.subscribe(StepTaken, self._heard_of)
        self.carrier = StagedCarrier(self.loop, clock, self.mailbox.post, self.errors)
        self.gate = Gate(self.carrier, self.mailbox.post, None, lambda size: None)
        self.requests, self.memory = StagedModel(), StagedMemory(lambda: self.of(Recall)[-1])
        memory = self.memory if recall_ms else None
        parts = Parts(
            Quiet(), Quiet(), self.requests, self.carrier, self.carrier, self.gate, self._run_tool, memory
        )  # fmt: skip
        self.actor = SessionActor("CA1", profile, parts, self.mailbox, clock, bus, "", recall_ms)
        self.running = self.loop.create_task(self.actor.run())
        self.wait(0)

    def close(self) -> None:
        """The caller hangs up, if the call is not over. Nothing of it may be left."""
        if not self.over:
            self.feed(e.CarrierGone(how="stop"))
        self.wait(2000)
        assert self.running.result() == self.end_reason
        assert not asyncio.all_tasks(self.loop)

    # --- driving

    def feed(self, event: e.Event) -> tuple[Command, ...]:
        first = len(self.steps)
        self._deliver(event)
        if self._in_one_go or (self.rng is not None and self.rng.random() < BACKLOG):
            return ()
        self.wait(0)
        return next((step[2] for step in self.steps[first:] if type(step[1]) is type(event)), ())

    def hurry(self, rng: Random) -> None:
        self.rng = rng

    def _deliver(self, event: e.Event) -> None:
        """By the task that answers the request, where there is one; else as what was on its way when that was cancelled."""
        match event:
            case e.ModelText() | e.ModelToolCall() | e.ModelFinished() | e.ModelFailed() | e.ModelAttemptFailed():
                queue = self.requests.requests.get((event.turn, event.epoch))
                if queue is not None:
                    queue.put_nowait(event)
                    return
            case e.MemoryRecalled() if (event.turn, event.epoch) in self.memory.recalls:
                found = RecallResult(event.items, event.outcome, event.took_ms)
                self.memory.recalls.pop((event.turn, event.epoch)).set_result(found)
                return
            case e.ToolSettled() if event.call_id in self._outcomes:
                self._outcomes.pop(event.call_id).set_result((event.outcome, event.output))
                return
        self.mailbox.post(event)

    def wait(self, ms: int) -> None:
        self.loop.run_for(ms)
        self.now = self.clock.now_ms()
        for error in self.errors:
            raise error

    def _heard_of(self, taken: StepTaken, _waited: object) -> None:
        before = self.state
        self.now = taken.event.at_ms
        if isinstance(taken.event, e.TimerFired):
            armed = self.timers.get(taken.event.timer)
            if armed is not None and armed.key == taken.event.key:
                del self.timers[taken.event.timer]
        for command in taken.commands:
            match command:
                case SetTimer(name, _, _):
                    self.timers[name] = command
                case CancelTimer(name):
                    self.timers.pop(name, None)
        self.plays_until, self.pieces = self.carrier.plays_until_ms, self.carrier.pieces
        self._took(before, taken.event, taken.commands, taken.state)
        self._watch()

    async def _run_tool(self, name: str, arguments: str, context: ToolContext) -> tuple[str, str]:
        call_id = context.key.rsplit(":", 1)[1]
        outcome = self._outcomes[call_id] = self.loop.create_future()
        try:
            return await outcome
        finally:
            self._outcomes.pop(call_id, None)

    # --- the vendors

    def settle_tools(self, output: str = '{"ok":true}') -> None:
        self.wait(0)
        super().settle_tools(output)

    def voice(self, *, finish: bool = True, words: int = 10**9) -> None:
        self._in_one_go = True
        try:
            super().voice(finish=finish, words=words)
        finally:
            self._in_one_go = False
        self.wait(0)

    def audio(self, turn: int, epoch: int, size_bytes: int, word: str = "") -> bool:
        before = self.carrier.pieces
        self._given_bytes[epoch] += size_bytes
        if word:
            self._spoken[epoch].append(Spoken(word, self._given_bytes[epoch] - GAP_BYTES))
        else:
            self._wordless.add(epoch)
        self.gate.audio(turn, epoch, bytes(size_bytes))
        sent = self.carrier.pieces > before
        if not self._in_one_go:
            self.wait(0)
        return sent

    def finish_voice(self, turn: int, epoch: int) -> None:
        self.gate.finished(turn, epoch)

    # --- the carrier

    def heard_words(self, turn: int, at_ms: int) -> list[str]:
        return [
            spoken.word
            for epoch in self.carrier.epochs[turn]
            for spoken in self._spoken[epoch]
            if spoken.until_bytes <= self.carrier.heard_bytes(epoch, at_ms)
        ]

    def _measurable(self, turn: TurnClosed) -> bool:
        """Whether all its audio had words: what the actor itself gave the gate, phrases and tones, has none."""
        epochs = self.carrier.epochs[turn.turn]
        return all(x not in self._wordless and self.carrier.sent_bytes[x] <= self._given_bytes[x] for x in epochs)

    def unplayed(self) -> bool:
        return self.carrier.plays_until_ms > self.now

    def lose_marks(self) -> None:
        self.carrier.lose_marks()

    def at_the_last_mark(self, *acts: Callable[[], Any], mark_first: bool) -> None:
        """The mark is posted by the loop; what comes before it in its tick is posted a moment, but no millisecond, earlier."""
        self.wait(self.plays_until - self.now - 1)
        name, handle = next(reversed(self.carrier._marks.items()))
        handle.cancel()
        self.wait(1)
        mark: Callable[[], Any] = lambda: self.carrier._return(name)  # noqa: E731 - one of several acts
        self._in_one_go = True
        for act in (mark, *acts) if mark_first else (*acts, mark):
            act()
        self._in_one_go = False
        self.wait(0)


@contextmanager
def stages() -> Iterator[Callable[..., Stage]]:
    """A loop, and what makes one call after the other on it. Each ends, and nothing of it may be left."""
    loop, made = VirtualLoop(), list[Stage]()

    def make(profile: AgentProfile | None = None, recall_ms: int = 0) -> Stage:
        end()
        made.append(Stage(loop, profile, recall_ms))
        return made[-1]

    def end() -> None:
        while made:
            made.pop().close()

    try:
        yield make
        end()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_for(0)
        loop.close()

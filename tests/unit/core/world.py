"""A small world around the pure core: a gate, a carrier that plays, a voice and a model that answer, on a clock of our own.

It is the second driver of the core (the actor is the first) and shares nothing with it, so that what both show holds
of the core. It knows what the caller really heard, word by word: the carrier plays what passes the gate, and a clear
flushes the rest.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from calls.core import events as e
from calls.core.commands import (
    AskModel,
    CancelTimer,
    CancelVoice,
    Clear,
    CloseGate,
    Command,
    EndCall,
    EndSay,
    LendGate,
    OpenGate,
    PlayPhrase,
    PlayTones,
    Recall,
    RunTool,
    Say,
    SetTimer,
    TurnClosed,
)
from calls.core.machine import step
from calls.core.policy import AgentProfile, ToolSpec, TurnPolicy
from calls.core.speech import BYTES_PER_MS
from calls.core.state import Phase, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MS_PER_CHAR = 60
PHRASE_MS = 2000
TONE_MS = 200
SLOW = 10**9

TOOLS = (
    ToolSpec("lookup", "Look something up.", "{}", "read"),
    ToolSpec("book_table", "Book a table.", "{}", "reversible"),
    ToolSpec("pay", "Pay.", "{}", "irreversible"),
    ToolSpec("send_dtmf", "Press keys.", "{}", "irreversible"),
    ToolSpec("end_call", "End the call.", "{}", "irreversible"),
    ToolSpec("transfer_call", "Transfer the call.", "{}", "irreversible"),
)


def agent(greeting: str = "", transfer_to: str = "", **policy: object) -> AgentProfile:
    """An agent with every kind of tool."""
    return AgentProfile(
        name="Test",
        version=1,
        instructions="Be brief.",
        greeting=greeting,
        voice="v",
        tools=TOOLS,
        transfer_to=transfer_to,
        policy=TurnPolicy(**policy),  # type: ignore[arg-type]
    )


@dataclass
class Piece:
    """Audio at the carrier: when it is played from and to, and the word in it, whose end is ``word_end_ms``."""

    turn: int
    epoch: int
    number: int
    ends_ms: int
    word: str = ""
    word_end_ms: int = SLOW
    flushed: bool = False


@dataclass
class Held:
    """Audio that waits behind the gate: size and word of each piece."""

    turn: int
    pieces: list[tuple[int, str]] = field(default_factory=list)
    finished: bool = False


class World:
    """Feeds events to the core and keeps what it commanded."""

    def __init__(
        self, profile: AgentProfile | None = None, recall_ms: int = 0, card: tuple[str, str] | None = None
    ) -> None:
        self.state = State()
        self.now = 0
        self.commands: list[Command] = []
        self.by_kind: defaultdict[type, list[Command]] = defaultdict(list)
        self.steps: list[tuple[State, e.Event, tuple[Command, ...], State]] = []
        self.timers: dict[str, SetTimer] = {}
        self.open_epoch = 0
        self.dead_epoch = 0
        self.held: dict[int, Held] = {}
        self.queue: list[Piece] = []
        self.plays_until = 0
        self.pieces = 0
        self.played: defaultdict[int, list[Piece]] = defaultdict(list)
        self.voiced: defaultdict[int, int] = defaultdict(int)
        self.voiced_ms: defaultdict[int, int] = defaultdict(int)
        self._mailbox: deque[e.Event] = deque()
        self._busy = False
        if card is not None:
            self.feed(e.CardLoaded(name=card[0], text=card[1]))
        self.begin(profile or agent(), recall_ms)

    # --- driving

    def begin(self, profile: AgentProfile, recall_ms: int) -> None:
        """The call starts."""
        self.feed(e.CallStarted(call_sid="CA1", agent=profile, recall_ms=recall_ms))

    def feed(self, event: e.Event) -> tuple[Command, ...]:
        """One event, now, and what follows at once. Returns the commands of this event.

        What an obeyed command causes is an event of its own, taken after the step is carried out, as in a mailbox.
        """
        self._mailbox.append(event)
        if self._busy:
            return ()
        self._busy, first = True, len(self.steps)
        try:
            while self._mailbox:
                self._step(replace(self._mailbox.popleft(), at_ms=self.now))
        finally:
            self._busy = False
        return self.steps[first][2]

    def _step(self, event: e.Event) -> None:
        before = self.state
        after, commands = step(before, event)
        self._took(before, event, commands, after)
        for command in commands:
            self._obey(command)

    def _took(self, before: State, event: e.Event, commands: tuple[Command, ...], after: State) -> None:
        self.state = after
        self.steps.append((before, event, commands, after))
        self.commands += commands
        for command in commands:
            self.by_kind[type(command)].append(command)

    def hurry(self, rng: Random) -> None:
        """From here on what is fed may come before earlier letters were read, where letters can wait: not here."""

    def wait(self, ms: int) -> None:
        """Let time pass: marks come back and timers fire when due."""
        until = self.now + ms
        while True:
            due = [(timer.due_ms, 1, name) for name, timer in self.timers.items()]
            due += [(self.queue[0].ends_ms, 0, "")] if self.queue else []
            if not due or min(due)[0] > until:
                break
            at, kind, name = min(due)
            self.now = max(self.now, at)
            if kind == 0:
                piece = self.queue.pop(0)
                self.feed(e.MarkReturned(turn=piece.turn, epoch=piece.epoch, piece=piece.number))
            else:
                timer = self.timers.pop(name)
                self.feed(e.TimerFired(timer=name, key=timer.key))
        self.now = until

    # --- the caller

    def starts(self) -> tuple[Command, ...]:
        """The detector hears the caller begin."""
        return self.feed(e.SpeechStarted(voiced_at_ms=max(0, self.now - 60)))

    def stops(self) -> tuple[Command, ...]:
        """The detector hears the caller stop."""
        return self.feed(e.SpeechEnded(voiced_until_ms=self.now))

    def say(self, text: str, ms: int = 800, settle_ms: int = 500) -> None:
        """The caller says ``text``: detector, recogniser, end of turn."""
        self.starts()
        self.feed(e.TurnOpened())
        self.wait(ms)
        self.feed(e.WordsHeard(text=text))
        self.stops()
        self.wait(settle_ms)
        self.feed(e.TurnEnded(text=text))

    # --- the vendors

    def model(self, *texts: str, finish: str = "stop", tools: Sequence[tuple[str, str]] = ()) -> None:
        """The model answers the latest request."""
        ask = self.ask
        for text in texts:
            self.feed(e.ModelText(turn=ask.turn, epoch=ask.epoch, text=text))
        for number, (name, arguments) in enumerate(tools):
            call_id = f"call{len(self.commands)}-{number}"
            self.feed(e.ModelToolCall(turn=ask.turn, epoch=ask.epoch, call_id=call_id, name=name, arguments=arguments))
        if finish:
            self.feed(e.ModelFinished(turn=ask.turn, epoch=ask.epoch, reason="tool_calls" if tools else finish))

    def voice(self, *, finish: bool = True, words: int = SLOW) -> None:
        """The voice speaks what was said in the newest epoch and not yet spoken, at most ``words`` of it."""
        last = self.of(Say)[-1]
        turn, epoch = last.turn, last.epoch
        text = "".join(c.text for c in self.of(Say) if c.epoch == epoch)
        at, timed = self.voiced_ms[epoch], []
        found = list(re.finditer(r"\S+\s*", text[self.voiced[epoch] :]))[:words]
        for match in found:
            word = match.group().rstrip()
            timed.append(e.TimedWord(word, at, at + len(word) * MS_PER_CHAR))
            at = timed[-1].end_ms + MS_PER_CHAR
        self.voiced[epoch] += found[-1].end() if found else len(text) - self.voiced[epoch]
        if timed:
            self.voiced_ms[epoch] = at
            self.feed(e.WordsTimed(turn=turn, epoch=epoch, words=tuple(timed)))
            for word in timed:
                self.audio(turn, epoch, (word.end_ms + MS_PER_CHAR - word.start_ms) * BYTES_PER_MS, word.text)
        if finish and self.voiced[epoch] >= len(text) and any(c.epoch == epoch for c in self.of(EndSay)):
            self.finish_voice(turn, epoch)

    def answer(self, *texts: str) -> None:
        """Model and voice at once."""
        self.model(*texts)
        self.voice()

    def settle_tools(self, output: str = '{"ok":true}') -> None:
        """Every running tool succeeds."""
        for command in self.of(RunTool):
            if command.call_id in self.state.running_tools:
                self.feed(e.ToolSettled(call_id=command.call_id, outcome="ok", output=output))

    # --- the memory

    def recall(self, *items: e.Recalled, outcome: str = "full") -> tuple[Command, ...]:
        """The memory answers the latest recall."""
        return self.recall_of(self.of(Recall)[-1], *items, outcome=outcome)

    def recall_of(self, asked: Recall, *items: e.Recalled, outcome: str = "full") -> tuple[Command, ...]:
        """The memory answers this recall, however old."""
        return self.feed(e.MemoryRecalled(turn=asked.turn, epoch=asked.epoch, outcome=outcome, took_ms=12, items=items))

    # --- the gate and the carrier

    def audio(self, turn: int, epoch: int, size_bytes: int, word: str = "") -> bool:
        """A piece of audio arrives at the gate, with a word that ends ``MS_PER_CHAR`` before it. Whether it was sent."""
        if epoch <= self.dead_epoch:
            return False
        if epoch != self.open_epoch:
            self.held.setdefault(epoch, Held(turn)).pieces.append((size_bytes, word))
            return False
        self.pieces += 1
        self.plays_until = max(self.plays_until, self.now) + size_bytes // BYTES_PER_MS
        piece = Piece(turn, epoch, self.pieces, self.plays_until, word, self.plays_until - MS_PER_CHAR)
        self.queue.append(piece)
        self.played[turn].append(piece)
        self.feed(e.AudioSent(turn=turn, epoch=epoch, piece=piece.number, size_bytes=size_bytes))
        return True

    def finish_voice(self, turn: int, epoch: int) -> None:
        """The voice has given all audio of the epoch."""
        if epoch <= self.dead_epoch:
            return
        if epoch == self.open_epoch:
            self.feed(e.VoiceFinished(turn=turn, epoch=epoch))
        else:
            self.held.setdefault(epoch, Held(turn)).finished = True

    def heard_words(self, turn: int, at_ms: int) -> list[str]:
        """What the caller had really heard of a turn."""
        return [p.word for p in self.played[turn] if p.word and not p.flushed and p.word_end_ms <= at_ms]

    def unplayed(self) -> bool:
        """Whether the carrier still has something to play."""
        return any(not piece.flushed for piece in self.queue)

    def _obey(self, command: Command) -> None:
        match command:
            case OpenGate(turn, epoch):
                self._open(turn, epoch)
            case CloseGate(_):
                self.open_epoch = 0
            case CancelVoice(_, epoch):
                self._drop(epoch)
            case Clear(epoch):
                self._drop(epoch)
                self._clear()
            case LendGate(epoch):
                self._drop(epoch)
                self.open_epoch = 0
            case SetTimer(timer, _, _):
                self.timers[timer] = command
            case CancelTimer(timer):
                self.timers.pop(timer, None)
            case PlayPhrase(turn, epoch, _):
                self.audio(turn, epoch, PHRASE_MS * BYTES_PER_MS)
                self.finish_voice(turn, epoch)
            case PlayTones(turn, epoch, digits):
                self.audio(turn, epoch, len(digits) * TONE_MS * BYTES_PER_MS)
                self.finish_voice(turn, epoch)
            case EndCall(_):
                self.timers.clear()
            case _:
                pass

    def _open(self, turn: int, epoch: int) -> None:
        if epoch <= self.dead_epoch:
            return
        self.open_epoch = epoch
        held = self.held.pop(epoch, Held(turn))
        for size_bytes, word in held.pieces:
            self.audio(turn, epoch, size_bytes, word)
        if held.finished:
            self.finish_voice(turn, epoch)

    def _drop(self, epoch: int) -> None:
        self.dead_epoch = max(self.dead_epoch, epoch)
        self.held = {number: held for number, held in self.held.items() if number > epoch}

    def _clear(self) -> None:
        self.plays_until = self.now
        for piece in self.queue:
            if piece.ends_ms > self.now:
                piece.flushed = piece.word_end_ms > self.now
                piece.ends_ms = self.now

    def lose_marks(self) -> None:
        """The carrier gives back none of the marks that are outstanding."""
        self.queue.clear()

    def at_the_last_mark(self, *acts: Callable[[], object], mark_first: bool) -> None:
        """What is done in the very tick in which the last mark comes back, before or after it."""
        self.wait(self.plays_until - self.now - 1)
        last = self.queue.pop()
        mark = e.MarkReturned(turn=last.turn, epoch=last.epoch, piece=last.number)
        self.now += 1
        for act in (lambda: self.feed(mark), *acts) if mark_first else (*acts, lambda: self.feed(mark)):
            act()

    # --- what was commanded

    def of[C: Command](self, kind: type[C]) -> list[C]:
        """All commands of a kind so far."""
        return self.by_kind[kind]  # type: ignore[return-value]

    @property
    def ask(self) -> AskModel:
        """The latest request to the model."""
        return self.of(AskModel)[-1]

    @property
    def closed(self) -> list[TurnClosed]:
        """The turns that ended."""
        return self.of(TurnClosed)

    @property
    def end_reason(self) -> str:
        """Why the call ended, empty while it goes on."""
        ends = self.of(EndCall)
        return ends[0].reason if ends else ""

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.state.phase is Phase.ENDED

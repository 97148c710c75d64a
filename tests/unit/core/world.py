"""A small world around the pure core: a carrier that plays, a voice and a model that answer, on a clock of our own.

It is the second driver of the core (the actor is the first) and shares nothing with it, so that what both show holds
of the core.
"""

from __future__ import annotations

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
    OpenGate,
    PlayPhrase,
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
    from collections.abc import Sequence

MS_PER_CHAR = 60

TOOLS = (
    ToolSpec("lookup", "Look something up.", "{}", "read"),
    ToolSpec("book_table", "Book a table.", "{}", "reversible"),
    ToolSpec("pay", "Pay.", "{}", "irreversible"),
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


class World:
    """Feeds events to the core and keeps what it commanded; the carrier plays what passes the gate."""

    def __init__(self, profile: AgentProfile | None = None) -> None:
        self.state = State()
        self.now = 0
        self.commands: list[Command] = []
        self.gate_epoch = 0
        self.dead_epoch = 0
        self.queue: list[tuple[int, int, int, int]] = []
        self.plays_until = 0
        self.pieces = 0
        self.timers: dict[str, SetTimer] = {}
        self.spoken: list[tuple[int, str]] = []
        self.steps: list[tuple[State, e.Event, tuple[Command, ...], State]] = []
        self.feed(e.CallStarted(call_sid="CA1", agent=profile or agent()))

    # --- driving

    def feed(self, event: e.Event) -> tuple[Command, ...]:
        """One event, now."""
        stamped = type(event)(**{**_fields(event), "at_ms": self.now})
        before = self.state
        self.state, commands = step(before, stamped)
        self.steps.append((before, stamped, commands, self.state))
        self.commands += commands
        for command in commands:
            self._obey(command)
        return commands

    def wait(self, ms: int) -> None:
        """Let time pass: marks come back and timers fire when due."""
        until = self.now + ms
        while True:
            due = [(timer.due_ms, 1, name) for name, timer in self.timers.items()]
            due += [(self.queue[0][3], 0, "")] if self.queue else []
            if not due or min(due)[0] > until:
                break
            at, kind, name = min(due)
            self.now = max(self.now, at)
            if kind == 0:
                turn, epoch, piece, _ = self.queue.pop(0)
                self.feed(e.MarkReturned(turn=turn, epoch=epoch, piece=piece))
            else:
                timer = self.timers.pop(name)
                self.feed(e.TimerFired(timer=name, key=timer.key))
        self.now = until

    # --- the caller

    def say(self, text: str, ms: int = 800, settle_ms: int = 500) -> None:
        """The caller says ``text``: detector, recogniser, end of turn."""
        self.feed(e.SpeechStarted(voiced_at_ms=self.now - 60))
        self.feed(e.TurnOpened())
        self.wait(ms)
        self.feed(e.WordsHeard(text=text))
        self.feed(e.SpeechEnded(voiced_until_ms=self.now))
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

    def voice(self, *, finish: bool = True) -> None:
        """The voice speaks everything that was said in the newest epoch and not yet spoken."""
        says = [c for c in self.commands if isinstance(c, Say)]
        epoch = says[-1].epoch
        turn = says[-1].turn
        text = "".join(c.text for c in says if c.epoch == epoch)
        done = sum(len(t) for ep, t in self.spoken if ep == epoch)
        start_ms = done * MS_PER_CHAR
        words, at = [], start_ms
        for word in text[done:].split(" "):
            end = at + max(1, len(word)) * MS_PER_CHAR
            if word:
                words.append(e.TimedWord(word, at, end))
            at = end + MS_PER_CHAR
        self.spoken.append((epoch, text[done:]))
        if words:
            self.feed(e.WordsTimed(turn=turn, epoch=epoch, words=tuple(words)))
            for word in words:
                self.audio(turn, epoch, (word.end_ms + MS_PER_CHAR - word.start_ms) * BYTES_PER_MS)
        if finish and any(isinstance(c, EndSay) and c.epoch == epoch for c in self.commands):
            self.feed(e.VoiceFinished(turn=turn, epoch=epoch))

    def audio(self, turn: int, epoch: int, size_bytes: int) -> bool:
        """A piece of audio arrives at the gate. Whether it was let through."""
        if epoch <= self.dead_epoch or epoch != self.gate_epoch:
            return False
        self.pieces += 1
        self.plays_until = max(self.plays_until, self.now) + size_bytes // BYTES_PER_MS
        self.queue.append((turn, epoch, self.pieces, self.plays_until))
        self.feed(e.AudioSent(turn=turn, epoch=epoch, piece=self.pieces, size_bytes=size_bytes))
        return True

    def answer(self, *texts: str) -> None:
        """Model and voice at once."""
        self.model(*texts)
        self.voice()

    # --- what was commanded

    def of[C: Command](self, kind: type[C]) -> list[C]:
        """All commands of a kind so far."""
        return [c for c in self.commands if isinstance(c, kind)]

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

    def _obey(self, command: Command) -> None:
        match command:
            case OpenGate(_, epoch):
                self.gate_epoch = epoch
            case CloseGate(_):
                self.gate_epoch = 0
            case CancelVoice(_, epoch):
                self.dead_epoch = max(self.dead_epoch, epoch)
            case Clear(epoch):
                self.dead_epoch = max(self.dead_epoch, epoch)
                self.plays_until = self.now
                flushed, self.queue = self.queue, []
                self.queue = [(turn, ep, piece, self.now) for turn, ep, piece, _ in flushed]
            case SetTimer(timer, _, _):
                self.timers[timer] = command
            case CancelTimer(timer):
                self.timers.pop(timer, None)
            case PlayPhrase(turn, epoch, _):
                if self.audio(turn, epoch, 2000 * BYTES_PER_MS):
                    self.feed(e.VoiceFinished(turn=turn, epoch=epoch))
            case EndCall(_):
                self.timers.clear()
            case _:
                pass

    def settle_tools(self, output: str = '{"ok":true}') -> None:
        """Every running tool succeeds."""
        for command in self.of(RunTool):
            if command.call_id in self.state.running_tools:
                self.feed(e.ToolSettled(call_id=command.call_id, outcome="ok", output=output))

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.state.phase is Phase.ENDED


def _fields(event: e.Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}

"""The invariants of a call as a checker that watches its steps.

Fed with every step of a run (state before, event, commands, state after), it raises ``Violation`` naming the invariant.
The eighth check, that a record replays, is a property of whole runs and lives with the tests that make them.
"""

from __future__ import annotations

from calls.core.commands import (
    AskModel,
    CancelModel,
    CancelVoice,
    Clear,
    Command,
    EndCall,
    OpenGate,
    RunTool,
    Say,
    StaleDropped,
    TurnClosed,
)
from calls.core.events import (
    AudioSent,
    Event,
    MarkReturned,
    ModelFailed,
    ModelFinished,
    ModelText,
    ModelToolCall,
    SpeechStarted,
    ToolSettled,
    VoiceFailed,
    VoiceFinished,
    WordsTimed,
)
from calls.core.state import Mode, Phase, State

OF_AN_EPOCH = (
    ModelText,
    ModelToolCall,
    ModelFinished,
    ModelFailed,
    AudioSent,
    WordsTimed,
    VoiceFinished,
    VoiceFailed,
    MarkReturned,
)


class Violation(AssertionError):
    """An invariant does not hold; the message names it."""


class Checker:
    """Watches one call."""

    def __init__(self) -> None:
        self.closed_turns: set[tuple[int, str]] = set()
        self.cleared_epoch = 0
        self.started: dict[str, int] = {}
        self.settled: set[str] = set()
        self.ended = False

    def watch(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        """One step. Raises ``Violation``."""
        self._isolation(before, event, commands, after)
        self._barge_in(before, event, commands)
        self._once(commands)
        self._heard(commands)
        self._alive(after)
        self._tools(event, commands, after)

    def _isolation(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        if before.phase is not Phase.ACTIVE or not isinstance(event, OF_AN_EPOCH):
            return
        reply = before.reply
        if reply is not None and (event.turn, event.epoch) == (reply.turn, reply.epoch):
            return
        if after != before or any(not isinstance(c, StaleDropped) for c in commands):
            raise Violation(f"turn isolation: {event} is not current and yet changed something: {commands}")

    def _barge_in(self, before: State, event: Event, commands: tuple[Command, ...]) -> None:
        kinds = {type(c) for c in commands}
        if (
            isinstance(event, SpeechStarted)
            and before.mode is Mode.SPEAKING
            and before.reply is not None
            and before.reply.interruptible
            and not {CancelModel, CancelVoice, Clear} <= kinds
        ):
            raise Violation(f"immediate barge-in: {commands}")
        for command in commands:
            if isinstance(command, Clear):
                self.cleared_epoch = max(self.cleared_epoch, command.epoch)
            elif isinstance(command, OpenGate | Say | AskModel) and command.epoch <= self.cleared_epoch:
                raise Violation(f"immediate barge-in: {command} is of a cleared epoch")

    def _once(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, TurnClosed):
                key = (command.turn, "")
                if key in self.closed_turns:
                    raise Violation(f"exactly once: turn {command.turn} ended twice: {command}")
                self.closed_turns.add(key)
            if isinstance(command, EndCall):
                if self.ended:
                    raise Violation("exactly once: the call ended twice")
                self.ended = True

    def _heard(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, TurnClosed) and not command.generated_text.startswith(command.heard_text):
                raise Violation(f"heard truth: {command}")

    def _alive(self, after: State) -> None:
        if after.phase is Phase.ACTIVE and not after.timers:
            raise Violation("no dead state: nothing is armed")
        names = {timer.name for timer in after.timers}
        reply = after.reply
        if reply is not None and reply.confirmed and after.phase is Phase.ACTIVE:
            wanted = {"verdict", "turn_end", "dtmf"} if reply.held else {"reply"}
            if not names & wanted and not (reply.held and after.caller.speaking):
                raise Violation(f"no dead state: {after.mode} without {sorted(wanted)}, only {sorted(names)}")
        if after.cut is not None and not names & {"verdict", "turn_end", "dtmf"}:
            raise Violation(f"no dead state: a stopped reply without a verdict, only {sorted(names)}")
        if reply is not None and not reply.confirmed and not names & {"turn_end", "verdict"}:
            raise Violation(f"no dead state: a speculative reply without an end, only {sorted(names)}")
        if after.mode is Mode.LISTENING and after.phase is Phase.ACTIVE and reply is None and after.cut is None:
            caller = after.caller
            if not names & {"idle", "turn_end", "dtmf"} and not caller.speaking and not caller.open:
                raise Violation(f"no dead state: LISTENING for ever, only {sorted(names)}")

    def _tools(self, event: Event, commands: tuple[Command, ...], after: State) -> None:
        for command in commands:
            if isinstance(command, RunTool):
                if command.call_id in self.started:
                    raise Violation(f"tools settle: {command.call_id} ran twice")
                self.started[command.call_id] = command.turn
                spec = next(t for t in after.agent.tools if t.name == command.name) if after.agent else None
                reply = after.reply
                if spec and spec.effect == "irreversible" and (reply is None or not reply.confirmed):
                    raise Violation(f"tools settle: {command.name} ran from a turn that is not sure")
        if isinstance(event, ToolSettled):
            self.settled.add(event.call_id)

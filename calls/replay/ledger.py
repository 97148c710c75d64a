"""What was commanded, kept apart from what the core believes: one step's account, and what is carried to the next.

Commands are taken one by one, each held against what is known at its place; at the end of the step the account must agree
with the state.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.core import commands as c
from calls.core import events as e
from calls.core.state import END_REASONS, Phase
from calls.core.state import Work as Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.core.commands import Command, Message
    from calls.core.events import Event
    from calls.core.state import Reply, State


class Invariant(IntEnum):
    """What must hold after every step, by its agreed number. ``REPLAY`` is held against whole records."""

    TURN_ISOLATION = 1
    IMMEDIATE_BARGE_IN = 2
    EXACTLY_ONCE = 3
    HEARD_TRUTH = 4
    NO_DEAD_STATE = 5
    TOOLS_SETTLE = 6
    REPLAY = 7

    @property
    def words(self) -> str:
        """The name as people write it: ``immediate barge-in``."""
        return self.name.lower().replace("_in", "-in").replace("_", " ")


class Violation(AssertionError):
    """An invariant does not hold. The message names it and may quote the call: it belongs into no log."""

    def __init__(self, invariant: Invariant, detail: str) -> None:
        super().__init__(f"{invariant.words}: {detail}")
        self.invariant = invariant


class Books(NamedTuple):
    """What no state tells: the epochs up to which all is dead or cleared, the last turn closed, keys of tools that ran."""

    dead_epoch: int = 0
    cleared_epoch: int = 0
    last_closed: int = -1
    keys: frozenset[str] = frozenset()


class VoiceText(NamedTuple):
    """The text that the voice has in an epoch, and whether it was told that this is all."""

    epoch: int = 0
    text: str = ""
    complete: bool = False


OUTCOMES = frozenset(
    {"answered", "interrupted", "superseded", "failed_to_fallback", "call_ended", "overridden", "with_operator"}
)


class Ledger:
    """The account of one step. What a step does not touch is not built: most steps touch next to nothing."""

    __slots__ = (
        "at_ms", "before", "cleared_epoch", "closed", "dead_epoch", "ended", "found", "keys", "last_closed", "lent", "recalling",
        "requested", "running", "spoken", "state", "timers", "told",
    )  # fmt: skip

    def __init__(self, books: Books, before: State, event: Event, after: State) -> None:
        self.dead_epoch, self.cleared_epoch, self.last_closed, self.keys = books
        self.before = before
        self.state = after
        self.at_ms = event.at_ms
        self.found: list[Violation] = []
        self.closed: tuple[c.TurnClosed, ...] = ()
        self.ended = before.phase is Phase.ENDED
        self.lent = before.phase is Phase.OPERATOR
        self.told: set[str] = set()
        self.requested = request_of(before.reply)
        self.recalling = recall_of(before.reply)
        self.running: set[str] | None = None
        self.timers: dict[str, int] | None = None
        self.spoken: VoiceText | None = None
        over = _OVER.get(type(event))
        if over is not None and not self.ended:
            over(self, event)

    # --- what the event itself ends

    def _request_over(self, event: e.ModelFinished | e.ModelFailed) -> None:
        if (event.turn, event.epoch) == self.requested:
            self.requested = None

    def _recall_over(self, event: e.MemoryRecalled) -> None:
        if (event.turn, event.epoch) == self.recalling:
            self.recalling = None

    def _tool_settled(self, event: e.ToolSettled) -> None:
        self._running().discard(event.call_id)

    def _timer_fired(self, event: e.TimerFired) -> None:
        timers = self._timers()
        if timers.get(event.timer) == event.key:
            del timers[event.timer]
            if event.timer == "recall":
                self.recalling = None

    # --- the account

    def _running(self) -> set[str]:
        if self.running is None:
            self.running = set(self.before.running_tools)
        return self.running

    def _timers(self) -> dict[str, int]:
        if self.timers is None:
            self.timers = {timer.name: timer.key for timer in self.before.timers}
        return self.timers

    def _spoken(self, epoch: int) -> VoiceText:
        spoken = self.spoken or voice_of(self.before.reply)
        return spoken if spoken.epoch == epoch else VoiceText(epoch)

    def books(self) -> Books:
        """What is carried on."""
        return Books(self.dead_epoch, self.cleared_epoch, self.last_closed, self.keys)

    def broken(self, invariant: Invariant, detail: str) -> None:
        """This does not hold."""
        self.found.append(Violation(invariant, detail))

    def take(self, command: Command) -> None:
        """The next command."""
        if self.ended and type(command) is not c.StaleDropped:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} after the end of the call")
        look = _LOOK.get(type(command))
        if look is not None:
            look(self, command)

    def agrees(self) -> None:
        """At the end of the step the core must believe the same."""
        before, after = self.before, self.state
        if self.lent is not (after.phase is Phase.OPERATOR):
            self.broken(Invariant.IMMEDIATE_BARGE_IN, f"the gate is lent: {self.lent}, in {after.phase}")
        if self.requested != (wanted := request_of(after.reply)):
            self.broken(Invariant.NO_DEAD_STATE, f"{self.requested} is in flight, the core believes {wanted}")
        if self.recalling != (awaited := recall_of(after.reply)):
            self.broken(Invariant.NO_DEAD_STATE, f"{self.recalling} is recalled, the core believes {awaited}")
        if self.timers is not None or after.timers is not before.timers:
            self._timers_agree()
        if self.running is not None or after.running_tools is not before.running_tools:
            self._tools_agree()
        if after.reply is not None and (self.spoken is not None or after.reply is not before.reply):
            self._voice_agrees(after.reply)

    def _timers_agree(self) -> None:
        believed = {timer.name: timer.key for timer in self.state.timers}
        if self._timers() != believed:
            self.broken(Invariant.NO_DEAD_STATE, f"timers are {self.timers}, the core believes {believed}")

    def _tools_agree(self) -> None:
        if self._running() != {*self.state.running_tools}:
            self.broken(Invariant.TOOLS_SETTLE, f"{self.running} run, the core believes {self.state.running_tools}")

    def _voice_agrees(self, reply: Reply) -> None:
        if reply.phrase:
            return  # a recorded phrase needs no voice
        believed = voice_of(reply)
        if self._spoken(reply.epoch) != believed:
            self.broken(
                Invariant.HEARD_TRUTH, f"the voice got {self._spoken(reply.epoch)}, the core believes {believed}"
            )

    # --- model and voice

    def _clear(self, command: c.Clear) -> None:
        self.cleared_epoch = max(self.cleared_epoch, command.epoch)
        self.dead_epoch = max(self.dead_epoch, command.epoch)

    def _cancel_voice(self, command: c.CancelVoice) -> None:
        self.dead_epoch = max(self.dead_epoch, command.epoch)

    def _lend_gate(self, command: c.LendGate) -> None:
        self._clear(c.Clear(command.epoch))
        self.lent = True

    def _take_gate_back(self, _command: c.TakeGateBack) -> None:
        self.lent = False

    def _intervened(self, command: c.Intervened) -> None:
        self.told.add(command.key)

    def _must_live(self, command: Any) -> None:
        if command.epoch <= self.dead_epoch:
            self.broken(Invariant.IMMEDIATE_BARGE_IN, f"{command} is of a dead epoch")

    def _say(self, command: c.Say) -> None:
        self._must_live(command)
        epoch, text, complete = self._spoken(command.epoch)
        if complete:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} after the last text of its epoch")
        self.spoken = VoiceText(epoch, text + command.text, complete)

    def _end_say(self, command: c.EndSay) -> None:
        epoch, text, complete = self._spoken(command.epoch)
        if complete or not text:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} twice, or without text")
        self.spoken = VoiceText(epoch, text, complete=True)

    def _recall(self, command: c.Recall) -> None:
        self._must_live(command)
        if self.requested is not None or self.recalling is not None:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} while {self.requested or self.recalling} is in flight")
        self.recalling = command.turn, command.epoch

    def _ask_model(self, command: c.AskModel) -> None:
        if command.epoch <= self.cleared_epoch:
            self.broken(Invariant.IMMEDIATE_BARGE_IN, f"{command} is of a cleared epoch")
        if self.requested is not None or self.recalling is not None:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} while {self.requested or self.recalling} is in flight")
        self.requested = command.turn, command.epoch
        self.found += flaws(command.messages)

    def _cancel_model(self, command: c.CancelModel) -> None:
        if self.requested is not None and self.requested[1] <= command.epoch:
            self.requested = None
        if self.recalling is not None and self.recalling[1] <= command.epoch:
            self.recalling = None

    # --- tools and timers

    def _run_tool(self, command: c.RunTool) -> None:
        if command.key in self.keys or command.call_id in self._running():
            self.broken(Invariant.TOOLS_SETTLE, f"{command.call_id} ran twice")
        self.keys |= {command.key}
        self._running().add(command.call_id)
        agent, reply = self.state.agent, self.state.reply
        effect = next((tool.effect for tool in agent.tools if tool.name == command.name), "") if agent else ""
        sure = reply is not None and reply.confirmed and not reply.held
        silent = effect != "irreversible" or not self.state.caller.speaking
        if not effect or (effect != "read" and not (sure and silent)):
            self.broken(Invariant.TOOLS_SETTLE, f"{command.name} ran from a turn that is not sure")

    def _cancel_tool(self, command: c.CancelTool) -> None:
        if command.call_id not in self._running():
            self.broken(Invariant.TOOLS_SETTLE, f"{command} is not running")

    def _set_timer(self, command: c.SetTimer) -> None:
        if command.due_ms < self.at_ms:
            self.broken(Invariant.NO_DEAD_STATE, f"{command} lies in the past of {self.at_ms}")
        self._timers()[command.timer] = command.key

    def _cancel_timer(self, command: c.CancelTimer) -> None:
        if self._timers().pop(command.timer, None) is None:
            self.broken(Invariant.NO_DEAD_STATE, f"{command} is not armed")

    # --- ends

    def _turn_closed(self, command: c.TurnClosed) -> None:
        if command.turn <= self.last_closed or command.outcome not in OUTCOMES:
            self.broken(Invariant.EXACTLY_ONCE, f"{command}, closed up to {self.last_closed}")
        if not command.generated_text.startswith(command.heard_text):
            self.broken(Invariant.HEARD_TRUTH, f"{command}")
        self.closed += (command,)
        self.last_closed = max(self.last_closed, command.turn)

    def _hang_up(self, command: c.HangUp) -> None:
        if command.reason not in END_REASONS:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} has no documented reason")

    def _end_call(self, command: c.EndCall) -> None:
        self.ended = True
        if command.reason not in END_REASONS:
            self.broken(Invariant.EXACTLY_ONCE, f"{command} has no documented reason")


_OVER: dict[type[Event], Callable[[Ledger, Any], None]] = {
    e.ModelFinished: Ledger._request_over,
    e.ModelFailed: Ledger._request_over,
    e.MemoryRecalled: Ledger._recall_over,
    e.ToolSettled: Ledger._tool_settled,
    e.TimerFired: Ledger._timer_fired,
}
_LOOK: dict[type[Command], Callable[[Ledger, Any], None]] = {
    c.Clear: Ledger._clear,
    c.CancelVoice: Ledger._cancel_voice,
    c.LendGate: Ledger._lend_gate,
    c.TakeGateBack: Ledger._take_gate_back,
    c.Intervened: Ledger._intervened,
    c.OpenGate: Ledger._must_live,
    c.PlayPhrase: Ledger._must_live,
    c.PlayTones: Ledger._must_live,
    c.Say: Ledger._say,
    c.EndSay: Ledger._end_say,
    c.Recall: Ledger._recall,
    c.AskModel: Ledger._ask_model,
    c.CancelModel: Ledger._cancel_model,
    c.RunTool: Ledger._run_tool,
    c.CancelTool: Ledger._cancel_tool,
    c.SetTimer: Ledger._set_timer,
    c.CancelTimer: Ledger._cancel_timer,
    c.TurnClosed: Ledger._turn_closed,
    c.HangUp: Ledger._hang_up,
    c.EndCall: Ledger._end_call,
}


def request_of(reply: Reply | None) -> tuple[int, int] | None:
    """Turn and epoch of the model's request that a reply waits for; none while it is put off for the memory."""
    if reply is None or reply.model is not Stage.RUNNING or reply.recall is Stage.RUNNING:
        return None
    return reply.turn, reply.epoch


def recall_of(reply: Reply | None) -> tuple[int, int] | None:
    """Turn and epoch of the recall that a reply waits for."""
    return (reply.turn, reply.epoch) if reply is not None and reply.recall is Stage.RUNNING else None


def voice_of(reply: Reply | None) -> VoiceText:
    """What the core believes the voice to have."""
    if reply is None or reply.phrase:
        return VoiceText()
    return VoiceText(reply.epoch, reply.text[reply.playback.text_from : reply.said], reply.say_ended)


def flaws(messages: tuple[Message, ...]) -> list[Violation]:
    """Why a vendor would refuse this request: instructions stand first, and each call once, directly before its output."""
    found = []
    if [message.role for message in messages[:1]] != ["developer"]:
        found.append(Violation(Invariant.TOOLS_SETTLE, f"{messages[:1]} opens a request"))
    open_call, seen = "", set[str]()
    for message in messages:
        if open_call != message.call_id:
            found.append(Violation(Invariant.TOOLS_SETTLE, f"{message} where the output of {open_call!r} should be"))
        calls = [call.call_id for call in message.tool_calls]
        if len(calls) > 1 or seen & {*calls}:
            found.append(Violation(Invariant.TOOLS_SETTLE, f"{calls} stand together or twice in a request"))
        seen.update(calls)
        open_call = calls[0] if calls else ""
        if not message.text.strip() and not calls:
            found.append(Violation(Invariant.HEARD_TRUTH, f"{message} is empty"))
    if open_call:
        found.append(Violation(Invariant.TOOLS_SETTLE, f"{open_call} has no output in a request"))
    return found

"""The invariants of a call as a checker that watches its steps.

Fed with every step of a run (state before, event, commands, state after), it raises ``Violation`` naming the invariant.
It keeps its own books: what was asked, said, cancelled, begun and closed. That a record replays is a property of whole
runs and lives with the tests that make them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from calls.core import commands as c
from calls.core import events as e
from calls.core import wording
from calls.core.state import END_REASONS, Mode, Phase, State, mode_of

if TYPE_CHECKING:
    from calls.core.commands import Command, Message
    from calls.core.events import Event

OF_AN_EPOCH = (
    e.ModelText,
    e.ModelToolCall,
    e.ModelFinished,
    e.ModelFailed,
    e.AudioSent,
    e.WordsTimed,
    e.VoiceFinished,
    e.VoiceFailed,
    e.MarkReturned,
)
OUTCOMES = ("answered", "interrupted", "superseded", "failed_to_fallback", "call_ended")
STARTS = (e.SpeechStarted, e.TurnOpened)


class Violation(AssertionError):
    """An invariant does not hold; the message names it."""


class Checker:
    """Watches one call."""

    def __init__(self) -> None:
        self.begun: set[int] = set()
        self.closed: set[int] = set()
        self.dead_epoch = 0
        self.cleared_epoch = 0
        self.asked: c.AskModel | None = None
        self.said: defaultdict[int, str] = defaultdict(str)
        self.said_last: set[int] = set()
        self.keys: set[str] = set()
        self.unsettled: set[str] = set()
        self.timers: dict[str, int] = {}
        self.ended = False

    def watch(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        """One step. Raises ``Violation``."""
        self._isolation(before, event, commands, after)
        self._barge_in(before, event, commands, after)
        self._request_over(event)
        for command in commands:
            self._command(command, after)
        self._once(before, commands, after)
        self._heard(before, commands, after)
        self._caller_is_heard(before, event, commands, after)
        self._voice_gets_the_text(after)
        self._alive(after)
        self._timers(event, commands, after)
        self._tools(event, commands, after)

    # --- 1: turn isolation

    def _isolation(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        if before.phase in (Phase.CONNECTING, Phase.ENDED) or not isinstance(event, OF_AN_EPOCH):
            return
        reply = before.reply
        if (
            event.epoch > self.cleared_epoch
            and reply is not None
            and (event.turn, event.epoch) == (reply.turn, reply.epoch)
        ):
            return
        if after != before or any(not isinstance(command, c.StaleDropped) for command in commands):
            raise Violation(f"turn isolation: {event} is not current and yet changed something: {commands}")

    # --- 2: immediate barge-in

    def _barge_in(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        if not isinstance(event, STARTS) or before.mode is not Mode.SPEAKING or before.reply is None:
            return
        if not before.reply.interruptible:
            return
        epoch = before.reply.epoch
        if {(type(x), x.epoch) for x in commands if isinstance(x, c.CancelModel | c.CancelVoice | c.Clear)} != {
            (c.CancelModel, epoch),
            (c.CancelVoice, epoch),
            (c.Clear, epoch),
        }:
            raise Violation(f"immediate barge-in: {commands}")
        if after.mode is not Mode.LISTENING:
            raise Violation(f"immediate barge-in: {after.mode} after it")

    def _command(self, command: Command, after: State) -> None:
        if self.ended and not isinstance(command, c.StaleDropped):
            raise Violation(f"exactly once: {command} after the end of the call")
        match command:
            case c.Clear(epoch):
                self.dead_epoch = max(self.dead_epoch, epoch)
                self.cleared_epoch = max(self.cleared_epoch, epoch)
            case c.CancelVoice(_, epoch):
                self.dead_epoch = max(self.dead_epoch, epoch)
            case c.OpenGate(_, epoch) | c.PlayPhrase(_, epoch, _):
                self._must_live(command, epoch)
            case c.Say(_, epoch, text):
                self._must_live(command, epoch)
                if epoch in self.said_last:
                    raise Violation(f"exactly once: {command} after the last text of its epoch")
                self.said[epoch] += text
            case c.EndSay(_, epoch):
                if epoch in self.said_last or not self.said[epoch]:
                    raise Violation(f"exactly once: {command} twice, or without text")
                self.said_last.add(epoch)
            case c.AskModel(_, epoch, messages, _):
                if epoch <= self.cleared_epoch:
                    raise Violation(f"immediate barge-in: {command} is of a cleared epoch")
                if self.asked is not None:
                    raise Violation(f"exactly once: {command} while {self.asked} is in flight")
                self.asked = command
                well_formed(messages)
            case c.CancelModel(_, epoch):
                if self.asked is not None and self.asked.epoch <= epoch:
                    self.asked = None
            case c.EndCall(reason):
                self.ended = True
                if reason not in END_REASONS or after.phase is not Phase.ENDED:
                    raise Violation(f"exactly once: {command} in {after.phase}")
            case c.HangUp(reason):
                if reason not in END_REASONS:
                    raise Violation(f"exactly once: {command} has no documented reason")
            case _:
                pass

    def _must_live(self, command: Command, epoch: int) -> None:
        if epoch <= self.dead_epoch:
            raise Violation(f"immediate barge-in: {command} is of a dead epoch")

    def _request_over(self, event: Event) -> None:
        """A request is over when it says so; the step itself may make the next one."""
        if isinstance(event, e.ModelFinished | e.ModelFailed) and self.asked is not None:
            if (event.turn, event.epoch) == (self.asked.turn, self.asked.epoch):
                self.asked = None

    # --- 3: exactly once

    def _once(self, before: State, commands: tuple[Command, ...], after: State) -> None:
        for state in (before, after):
            self.begun |= {reply.turn for reply in (state.reply, state.cut) if reply is not None and reply.confirmed}
        for command in commands:
            if isinstance(command, c.TurnClosed):
                if command.turn in self.closed or command.outcome not in OUTCOMES:
                    raise Violation(f"exactly once: {command}")
                self.closed.add(command.turn)
        current = {reply.turn for reply in (after.reply, after.cut) if reply is not None and reply.confirmed}
        if self.begun - self.closed - current or current & self.closed:
            raise Violation(f"exactly once: begun {self.begun}, closed {self.closed}, current {current}")
        if after.cut is not None and after.reply is not None and after.reply.confirmed:
            raise Violation("exactly once: a reply while a stopped one awaits its verdict")
        if self.ended and current:
            raise Violation(f"exactly once: {current} open after the end of the call")

    # --- 4: heard truth

    def _heard(self, before: State, commands: tuple[Command, ...], after: State) -> None:
        closed = [command for command in commands if isinstance(command, c.TurnClosed)]
        for command in closed:
            if not command.generated_text.startswith(command.heard_text):
                raise Violation(f"heard truth: {command}")
        added = after.history[len(before.history) :]
        if [(m.role, m.call_id) for m in after.history[: len(before.history)]] != [
            (m.role, m.call_id) for m in before.history
        ]:
            raise Violation("heard truth: the history was rewritten")
        shown = " ".join(message.text for message in added if message.role == "assistant").split()
        if shown != " ".join(command.heard_text for command in closed).split():
            raise Violation(f"heard truth: {shown} in the history for {closed}")

    def _caller_is_heard(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        """What the caller said is answered, or kept for later, unless it only acknowledged over our speech."""
        if not isinstance(event, e.TurnEnded) or before.phase is not Phase.ACTIVE or before.agent is None:
            return
        agent, said = before.agent, wording.plain(event.text)
        texts = [after.reply.user_text if after.reply else "", after.caller.kept]
        texts += [command.user_text for command in commands if isinstance(command, c.TurnClosed)]
        kept = wording.plain(" ".join(texts))
        done = wording.plain(before.caller.timed_out)
        over_speech = before.reply is not None or before.cut is not None
        acknowledges = not wording.takes_floor(event.text, agent.language, agent.policy.min_words)
        if said not in kept and said.removeprefix(done).strip() not in kept and not (over_speech and acknowledges):
            raise Violation(f"exactly once: {event.text!r} was lost; there is {kept!r}")

    def _voice_gets_the_text(self, after: State) -> None:
        reply = after.reply
        if reply is None or reply.phrase:
            return
        text = reply.text[reply.playback.text_from : reply.said]
        if self.said[reply.epoch] != text:
            raise Violation(f"heard truth: the voice got {self.said[reply.epoch]!r} of {text!r}")

    # --- 5: no dead state

    def _alive(self, after: State) -> None:
        if after.mode is not mode_of(after):
            raise Violation(f"no dead state: {after.mode} is not what the reply says")
        if after.phase in (Phase.CONNECTING, Phase.ENDED):
            return
        names = {timer.name for timer in after.timers}
        if after.phase is Phase.ENDING:
            return self._armed(names, {"hangup"}, "hanging up")
        self._armed(names, {"max_call"}, "active")
        reply, cut, caller = after.reply, after.cut, after.caller
        if reply is not None and reply.confirmed:
            self._armed(names, {"verdict", "turn_end", "dtmf"} if reply.held else {"reply"}, after.mode)
        if reply is not None and not reply.confirmed:
            self._armed(names, {"turn_end", "verdict"}, "a speculative reply")
        if cut is not None:
            self._armed(names, {"verdict", "turn_end", "dtmf"}, "a stopped reply")
        if after.ending:
            if cut is None and (reply is None or not reply.confirmed):
                raise Violation(f"no dead state: {after.ending} is to follow a reply that is not there")
            if cut is None and not reply.held:
                self._armed(names, {"goodbye", "reply"}, "a goodbye")
        if reply is None and cut is None and not caller.speaking:
            self._armed(names, {"idle", "turn_end", "dtmf"}, "LISTENING")
        return None

    def _armed(self, names: set[str], wanted: set[str], what: str) -> None:
        if not names & wanted:
            raise Violation(f"no dead state: {what} without any of {sorted(wanted)}, only {sorted(names)}")

    def _timers(self, event: Event, commands: tuple[Command, ...], after: State) -> None:
        """What the driver has armed is what the core believes to be armed."""
        if isinstance(event, e.TimerFired) and self.timers.get(event.timer) == event.key:
            del self.timers[event.timer]
        for command in commands:
            if isinstance(command, c.SetTimer):
                self.timers[command.timer] = command.key
                if command.due_ms < event.at_ms:
                    raise Violation(f"no dead state: {command} lies in the past of {event.at_ms}")
            elif isinstance(command, c.CancelTimer):
                del self.timers[command.timer]
        if self.timers != {timer.name: timer.key for timer in after.timers}:
            raise Violation(f"no dead state: timers are {self.timers}, the core believes {after.timers}")

    # --- 6: tools settle

    def _tools(self, event: Event, commands: tuple[Command, ...], after: State) -> None:
        if isinstance(event, e.ToolSettled):
            self.unsettled.discard(event.call_id)
        for command in commands:
            if isinstance(command, c.RunTool):
                self._tool_runs(command, after)
            elif isinstance(command, c.CancelTool) and command.call_id not in self.unsettled:
                raise Violation(f"tools settle: {command} is not running")
        if self.unsettled != set(after.running_tools):
            raise Violation(f"tools settle: {self.unsettled} run, the core believes {after.running_tools}")
        if self.ended and self.unsettled - {x.call_id for x in commands if isinstance(x, c.CancelTool)}:
            raise Violation(f"tools settle: {self.unsettled} neither settled nor cancelled at the end")

    def _tool_runs(self, command: c.RunTool, after: State) -> None:
        if command.key in self.keys or command.call_id in self.unsettled:
            raise Violation(f"tools settle: {command.call_id} ran twice")
        self.keys.add(command.key)
        self.unsettled.add(command.call_id)
        spec = next(tool for tool in after.agent.tools if tool.name == command.name) if after.agent else None
        reply = after.reply
        sure = reply is not None and reply.confirmed and not reply.held
        if spec is None or (spec.effect == "irreversible" and (not sure or after.caller.speaking)):
            raise Violation(f"tools settle: {command.name} ran from a turn that is not sure")
        if spec.effect == "reversible" and not sure:
            raise Violation(f"tools settle: {command.name} ran from a turn that is not sure")


def well_formed(messages: tuple[Message, ...]) -> None:
    """A request that a vendor admits: instructions first, each call once and directly followed by its output."""
    if messages[0].role != "developer":
        raise Violation(f"tools settle: {messages[0]} opens a request")
    open_call, seen = "", set[str]()
    for message in messages:
        if open_call and message.call_id != open_call:
            raise Violation(f"tools settle: {open_call} has no output in a request")
        if message.call_id and not open_call:
            raise Violation(f"tools settle: {message} is the output of nothing")
        open_call = message.tool_calls[0].call_id if message.tool_calls else ""
        if open_call in seen or len(message.tool_calls) > 1:
            raise Violation(f"tools settle: {open_call} stands twice in a request")
        seen |= {open_call} - {""}
        if not message.text.strip() and not message.tool_calls:
            raise Violation(f"heard truth: {message} is empty")
    if open_call:
        raise Violation(f"tools settle: {open_call} has no output in a request")


def whole_run_heard(turn: c.TurnClosed, words: list[str]) -> None:
    """Held against what the carrier really played: neither more nor less entered the record. Raises ``Violation``."""
    if "".join(turn.heard_text.split()) != "".join(words):
        raise Violation(f"heard truth: {words} were heard of turn {turn.turn}, recorded is {turn.heard_text!r}")

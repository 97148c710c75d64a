"""The invariants of a call as a checker that watches its steps.

``inspect`` looks at one step (state before, event, commands, state after) and says what does not hold. What a state tells
is taken from the state before, whose agreement with the commands was checked a step earlier; only what no state
tells is kept, in ``Books``. So a search copies and compares checkers for nothing, and one violation does not drag
others after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from calls.core import commands as c
from calls.core import events as e
from calls.core import wording
from calls.core.state import Mode, Phase, State, mode_of
from calls.replay.ledger import Books, Invariant, Ledger, Violation, recall_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from calls.core.commands import Command, Message
    from calls.core.events import Event
    from calls.core.state import Reply

__all__ = ["Books", "Checker", "Invariant", "Violation", "inspect"]


class Checker:
    """Watches one call from its first step on."""

    __slots__ = ("books",)

    def __init__(self, books: Books | None = None) -> None:
        self.books = books or Books()

    def watch(self, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
        """One step. Raises the first ``Violation``."""
        for violation in self.collect(before, event, commands, after):
            raise violation

    def collect(
        self, before: State, event: Event, commands: tuple[Command, ...], after: State
    ) -> tuple[Violation, ...]:
        """One step. All that does not hold."""
        self.books, found = inspect(self.books, before, event, commands, after)
        return found

    def copy(self) -> Checker:
        """One that goes on from here by itself."""
        return Checker(self.books)

    def key(self) -> Books:
        """Hashable. Checkers with equal keys judge whatever follows alike."""
        return self.books


def inspect(
    books: Books, before: State, event: Event, commands: tuple[Command, ...], after: State
) -> tuple[Books, tuple[Violation, ...]]:
    """One step: the books after it, and what does not hold."""
    ledger = Ledger(books, before, event, after)
    look = _ON_EVENT.get(type(event))
    if look is not None:
        look(ledger, before, event, commands, after)
    for command in commands:
        ledger.take(command)
    ledger.agrees()
    if after is not before:
        _turns(ledger, before, after)
        _history(ledger, before, after)
        _alive(ledger, after)
        _operators(ledger, before, event, after)
    if before.phase is not Phase.ENDED and (ledger.ended or after.phase is Phase.ENDED):
        _end(ledger, commands, after)
    return ledger.books(), tuple(ledger.found)


def _isolation(ledger: Ledger, before: State, event: Any, commands: tuple[Command, ...], after: State) -> None:
    """What is not of the current epoch changes nothing but a counter."""
    reply = before.reply
    current = reply is not None and (event.turn, event.epoch) == (reply.turn, reply.epoch)
    if not current or event.epoch <= ledger.cleared_epoch:
        _changes_nothing(ledger, before, event, commands, after)


def _changes_nothing(ledger: Ledger, before: State, event: Event, commands: tuple[Command, ...], after: State) -> None:
    if before.phase in (Phase.CONNECTING, Phase.ENDED):
        return
    if after != before or any(type(command) is not c.StaleDropped for command in commands):
        ledger.broken(Invariant.TURN_ISOLATION, f"{event} is not current and yet changed something: {commands}")


def _recalled(
    ledger: Ledger, before: State, event: e.MemoryRecalled, commands: tuple[Command, ...], after: State
) -> None:
    """What was recalled for the reply that waits for it goes into its request; all else comes too late."""
    if before.reply is None or (event.turn, event.epoch) != recall_of(before.reply):
        _changes_nothing(ledger, before, event, commands, after)
    elif not any(isinstance(command, c.AskModel) for command in commands):
        ledger.broken(Invariant.NO_DEAD_STATE, f"{event} was awaited, and no request followed: {commands}")


def _card(ledger: Ledger, before: State, event: e.CardLoaded, commands: tuple[Command, ...], after: State) -> None:
    """A card changes what is known of the caller, and nothing of the conversation."""
    if before.phase in (Phase.CONNECTING, Phase.ACTIVE, Phase.OPERATOR) and (
        commands or replace(after, card=before.card) != before
    ):
        ledger.broken(Invariant.TURN_ISOLATION, f"{event} led to {commands}")


def _barge_in(ledger: Ledger, before: State, _event: Event, commands: tuple[Command, ...], after: State) -> None:
    """The caller's speech over a reply stops it in the same step."""
    reply = before.reply
    if reply is None or before.mode is not Mode.SPEAKING or not reply.interruptible:
        return
    wanted = {(kind, reply.epoch) for kind in (c.CancelModel, c.CancelVoice, c.Clear)}
    given = {(type(x), x.epoch) for x in commands if isinstance(x, c.CancelModel | c.CancelVoice | c.Clear)}
    if given != wanted or after.mode is not Mode.LISTENING:
        ledger.broken(Invariant.IMMEDIATE_BARGE_IN, f"{commands}, then {after.mode}")


def _caller_is_heard(
    ledger: Ledger, before: State, event: e.TurnEnded, commands: tuple[Command, ...], after: State
) -> None:
    """What the caller said is answered, or kept for later, unless it only acknowledged over our speech."""
    if before.phase not in (Phase.ACTIVE, Phase.OPERATOR) or before.agent is None:
        return
    if before.phase is Phase.OPERATOR and event.text.strip() == before.caller.ended:
        return  # told twice
    said = wording.plain(event.text)
    texts = [after.reply.user_text if after.reply else "", after.caller.kept]
    texts += [command.user_text for command in commands if isinstance(command, c.TurnClosed)]
    kept = wording.plain(" ".join(texts))
    if said in kept or said.removeprefix(wording.plain(before.caller.timed_out)).strip() in kept:
        return
    over_speech = before.reply is not None or before.cut is not None
    if not over_speech or wording.takes_floor(event.text, before.agent.language, before.agent.policy.min_words):
        ledger.broken(Invariant.EXACTLY_ONCE, f"{event.text!r} was lost; there is {kept!r}")


def _listens(
    ledger: Ledger, before: State, event: e.OperatorListening, commands: tuple[Command, ...], after: State
) -> None:
    """Nobody's listening changes a call."""
    if before.phase is not Phase.ENDED and (commands or after != before):
        ledger.broken(Invariant.TURN_ISOLATION, f"{event} led to {commands}")


def _taken_over(
    ledger: Ledger, before: State, event: e.OperatorTookOver, commands: tuple[Command, ...], after: State
) -> None:
    """Who takes the floor has it in the same step: what the caller would hear of us is stopped. Two never have it."""
    if before.operator and after.operator != before.operator:
        ledger.broken(Invariant.EXACTLY_ONCE, f"{event} took the floor from {before.operator}")
    if before.phase is Phase.ACTIVE and after.phase is Phase.OPERATOR and before.mode is Mode.SPEAKING:
        kinds = {type(command) for command in commands}
        if not kinds >= {c.CancelModel, c.CancelVoice, c.Clear, c.LendGate}:
            ledger.broken(Invariant.IMMEDIATE_BARGE_IN, f"{event} led to {commands}")


def _operators(ledger: Ledger, before: State, event: Event, after: State) -> None:
    """Nothing that an operator asked for is lost without a word, and while one has the floor the assistant does nothing."""
    asked = _waiting(before) | ({event.key} if isinstance(event, e.OperatorWhispered | e.OperatorSaid) else set())
    if asked and (lost := asked - _waiting(after) - ledger.told) and before.phase not in (Phase.ENDING, Phase.ENDED):
        ledger.broken(Invariant.EXACTLY_ONCE, f"{lost} of operators are lost")
    if bool(after.operator) is not (after.phase is Phase.OPERATOR):
        ledger.broken(Invariant.EXACTLY_ONCE, f"{after.operator!r} has the floor in {after.phase}")
    if after.operator and (after.reply is not None or after.cut is not None or after.sayings):
        ledger.broken(Invariant.IMMEDIATE_BARGE_IN, f"a reply while {after.operator} has the floor")


def _waiting(state: State) -> set[str]:
    """Keys of notes that no turn has shown yet, and of sentences that are not said."""
    found = {text.key for text in (*state.notes, *state.sayings)}
    if state.reply is not None and not state.reply.confirmed:
        found |= {note.key for note in state.reply.notes}
    return found | {reply.saying.key for reply in (state.reply, state.cut) if reply is not None and reply.saying}


_ON_EVENT: dict[type[Event], Callable[[Ledger, State, Any, tuple[Command, ...], State], None]] = {
    e.SpeechStarted: _barge_in,
    e.TurnOpened: _barge_in,
    e.TurnEnded: _caller_is_heard,
    e.CardLoaded: _card,
    e.MemoryRecalled: _recalled,
    e.OperatorListening: _listens,
    e.OperatorTookOver: _taken_over,
    e.ModelText: _isolation,
    e.ModelToolCall: _isolation,
    e.ModelFinished: _isolation,
    e.ModelAttemptFailed: _isolation,
    e.ModelFailed: _isolation,
    e.AudioSent: _isolation,
    e.WordsTimed: _isolation,
    e.VoiceFinished: _isolation,
    e.VoiceFailed: _isolation,
    e.MarkReturned: _isolation,
}


def _turns(ledger: Ledger, before: State, after: State) -> None:
    """A turn that was begun stays until it is closed."""
    current = _confirmed(after)
    lost = [turn for turn in _confirmed(before) if turn not in current]
    for turn in ledger.closed:
        if turn.turn in lost:
            lost.remove(turn.turn)
    if lost or any(turn <= ledger.last_closed for turn in current):
        ledger.broken(Invariant.EXACTLY_ONCE, f"lost {lost}, current {current}, closed up to {ledger.last_closed}")
    if after.cut is not None and after.reply is not None and after.reply.confirmed:
        ledger.broken(Invariant.EXACTLY_ONCE, "a reply while a stopped one awaits its verdict")


def _confirmed(state: State) -> list[int]:
    return [reply.turn for reply in (state.reply, state.cut) if reply is not None and reply.confirmed]


def _end(ledger: Ledger, commands: tuple[Command, ...], after: State) -> None:
    """The call ends with one reason, and leaves nothing open or running."""
    if not (ledger.ended and after.phase is Phase.ENDED) or _confirmed(after):
        ledger.broken(Invariant.EXACTLY_ONCE, f"{after.phase}, ended is {ledger.ended}, open are {_confirmed(after)}")
    left = {*after.running_tools} - {command.call_id for command in commands if isinstance(command, c.CancelTool)}
    if left:
        ledger.broken(Invariant.TOOLS_SETTLE, f"{left} neither settled nor cancelled at the end")


def _history(ledger: Ledger, before: State, after: State) -> None:
    """The history only grows, by what was heard of the turns that closed."""
    old, new = before.history, after.history
    if new is old and not ledger.closed:
        return
    if len(new) < len(old) or any(a is not b and _place(a) != _place(b) for a, b in zip(old, new, strict=False)):
        ledger.broken(Invariant.HEARD_TRUTH, "the history was rewritten")
    shown = " ".join(message.text for message in new[len(old) :] if message.role == "assistant").split()
    if shown != " ".join(turn.heard_text for turn in ledger.closed).split():
        ledger.broken(Invariant.HEARD_TRUTH, f"{shown} in the history for {ledger.closed}")


def _place(message: Message) -> tuple[str, str]:
    return message.role, message.call_id


def _alive(ledger: Ledger, after: State) -> None:
    """Something is in flight or a deadline armed that leads on from here."""
    if after.mode is not mode_of(after):
        ledger.broken(Invariant.NO_DEAD_STATE, f"{after.mode} is not what the reply says")
    names = [timer.name for timer in after.timers]
    if ("recall" in names) is not (recall_of(after.reply) is not None):
        ledger.broken(Invariant.NO_DEAD_STATE, f"{recall_of(after.reply)} is recalled with {names}")
    for what, wanted in _deadlines(after):
        if wanted.isdisjoint(names):
            ledger.broken(Invariant.NO_DEAD_STATE, f"{what} without any of {sorted(wanted)}, only {names}")


_WORDS_AWAITED = frozenset({"verdict", "turn_end", "dtmf"})
_REPLY = frozenset({"reply"})


def _deadlines(state: State) -> Iterable[tuple[str, frozenset[str]]]:
    """What would last for ever but for one of these timers."""
    if state.phase is Phase.ENDING:
        yield "hanging up", frozenset({"hangup"})
    if state.phase not in (Phase.ACTIVE, Phase.OPERATOR):
        return
    yield state.phase, frozenset({"max_call", "goodbye"})
    if state.phase is Phase.OPERATOR:
        return
    if state.cut is not None:
        yield "a stopped reply", _WORDS_AWAITED
    if state.reply is None:
        if state.cut is None and not state.caller.speaking:
            yield "LISTENING", frozenset({"idle", "turn_end", "dtmf"})
    elif not state.reply.confirmed:
        yield "a speculative reply", frozenset({"turn_end", "verdict"})
    else:
        yield state.mode, _WORDS_AWAITED if state.reply.held else _REPLY
    if state.ending and state.cut is None:
        yield from _of_a_goodbye(state.reply)


def _of_a_goodbye(reply: Reply | None) -> Iterable[tuple[str, frozenset[str]]]:
    if reply is None or not reply.confirmed:
        yield "an end that is to follow no reply", frozenset()
    elif not reply.held:
        yield "a goodbye", frozenset({"goodbye", "reply"})

"""The turn logic of a call, whole, as a table.

Theory of operation
-------------------
A call is CONNECTING until its stream is ours, ACTIVE while it lasts, ENDING once the carrier was asked to end it, and
ENDED; in OPERATOR a person of ours speaks with the caller. While it is ACTIVE, somebody has the floor: LISTENING, THINKING or SPEAKING (``calls.core.state`` says what
each means). One row of ``TABLE`` says what an event does in a mode and which modes may follow; ``step`` looks the row
up, runs its handler on a workbench, derives the mode anew and checks it against the row. A handler is a small function
in ``hearing`` (the caller's sounds and words), ``recalling`` (what is known of the caller), ``answering`` (what model, tools
and voice do to a reply), ``operating`` (what our own people do) or ``ending`` (the call around the turns); they stand on ``replies`` and ``closing`` (how a reply begins, goes on and ends) and ``tooling``
(its functions). None reads a clock, draws a number or waits: time is in the event, a timer is a command out and an
event in. ``docs/scenarios.md`` says for every known scenario which function decides it.

Four rules carry the rest:

1. *Epochs.* Each attempt at speaking has a number. What answers a request carries it; what is not of the current
   epoch changes nothing but a counter. A clear kills every epoch up to its own.
2. *The gate.* Audio reaches the carrier only while its epoch is open. A speculative reply, and one the caller talks
   into before it is audible, waits behind the gate, so that letting it go or dropping it is one command.
3. *Stop first, judge later.* Any sound of the caller stops an audible reply in the same step: cancel model, cancel
   voice, clear. The words decide afterwards: none, or a back-channel, and the reply goes on at the first unheard
   word; anything else closes it as interrupted, cut at what was heard.
4. *A deadline on everything.* A recall has its milliseconds, a reply a watch, a stopped reply a verdict, an open turn an end, a silence its
   prompt, a goodbye its limit, a hang-up its grace. No state waits for one event alone.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.core import answering, ending, hearing, operating, recalling
from calls.core import events as e
from calls.core.state import END_REASONS, Mode, Phase, State, mode_of
from calls.core.work import Work

if TYPE_CHECKING:
    from calls.core.commands import Command
    from calls.core.events import Event

Handler = Callable[[Work, Any], None]
L, T, S, OP = Mode.LISTENING, Mode.THINKING, Mode.SPEAKING, Mode.OPERATOR


class IllegalEvent(ValueError):
    """An event that this phase of the call does not admit, or whose value means nothing; the state is unchanged."""


class BrokenRule(AssertionError):
    """A handler led to a mode its row does not admit: our own bug, found at once."""


class Row(NamedTuple):
    """What an event does in a mode: its handler, and the modes that may follow."""

    handler: Handler
    then: frozenset[Mode]


def row(handler: Handler, *then: Mode) -> Row:
    """A row of the table."""
    return Row(handler, frozenset(then))


#: Mode -> class of event -> row. What every mode treats alike is in ``ALWAYS``.
TABLE: dict[Mode, dict[type[Event], Row]] = {
    L: {
        e.SpeechStarted: row(hearing.speech_in_silence, L),
        e.TurnOpened: row(hearing.turn_opened_in_silence, L),
        e.WordsHeard: row(hearing.words_in_silence, L, T),
        e.EagerEnd: row(hearing.eager_end, L, T),
        e.TurnEnded: row(hearing.turn_ended_in_silence, L, T),
        e.SpeechEnded: row(hearing.speech_ended, L, T),
    },
    T: {
        e.SpeechStarted: row(hearing.speech_over_thinking, T, L),
        e.TurnOpened: row(hearing.turn_opened_over_thinking, T, L),
        e.WordsHeard: row(hearing.words_over_thinking, T, L),
        e.EagerEnd: row(hearing.eager_end_over_reply, T, L),
        e.TurnEnded: row(hearing.turn_ended_over_thinking, T, L),
        e.SpeechEnded: row(hearing.speech_ended, T, L),
    },
    S: {
        e.SpeechStarted: row(hearing.speech_over_speech, L, S),
        e.TurnOpened: row(hearing.turn_opened_over_speech, L, S),
        e.WordsHeard: row(hearing.words_over_speech, S, L),
        e.EagerEnd: row(hearing.eager_end_over_reply, S, L),
        e.TurnEnded: row(hearing.turn_ended_over_speech, S, T),
        e.SpeechEnded: row(hearing.speech_ended, S),
    },
}

ALWAYS: dict[type[Event], Row] = {
    e.TurnResumed: row(hearing.turn_resumed, L, T, S),
    e.CardLoaded: row(recalling.card_loaded, L, T, S),
    e.MemoryRecalled: row(recalling.memory_recalled, L, T, S),
    e.ModelText: row(answering.model_text, L, T, S),
    e.ModelToolCall: row(answering.model_tool_call, L, T, S),
    e.ModelFinished: row(answering.model_finished, L, T, S),
    e.ModelAttemptFailed: row(answering.model_attempt_failed, L, T, S),
    e.ModelFailed: row(answering.model_failed, L, T, S),
    e.ToolSettled: row(answering.tool_settled, L, T, S),
    e.AudioSent: row(answering.audio_sent, L, T, S),
    e.WordsTimed: row(answering.words_timed, L, T, S),
    e.VoiceFinished: row(answering.voice_finished, L, T, S),
    e.VoiceFailed: row(answering.voice_failed, L, T, S),
    e.MarkReturned: row(answering.mark_returned, L, T, S),
    e.DtmfPressed: row(hearing.dtmf, L, T, S),
    e.EarFailed: row(hearing.ear_failed, L, T, S),
    e.EarReady: row(hearing.ear_ready, L, T, S),
    e.TimerFired: row(ending.timer_fired, L, T, S),
    e.HangUpAsked: row(ending.hang_up_asked, L, T),
    e.CarrierGone: row(ending.carrier_gone, L),
    e.ErrorRaised: row(ending.error_raised, L, T, S),
    e.OperatorListening: row(ending.recorded_only, L, T, S),
    e.OperatorWhispered: row(operating.whispered, L, T, S),
    e.OperatorSaid: row(operating.said, L, T, S),
    e.OperatorTookOver: row(operating.took_over, OP, L, T, S),
    e.OperatorConnected: row(ending.late, L, T, S),
    e.OperatorHandedBack: row(operating.not_theirs, L, T, S),
}
for _rows in TABLE.values():
    _rows.update(ALWAYS)

#: What still counts outside ACTIVE; anything else is dropped and counted, or illegal before the start.
AROUND: dict[Phase, dict[type[Event], Row]] = {
    Phase.CONNECTING: {
        e.CallStarted: row(ending.call_started, L, T),
        e.CarrierGone: row(ending.carrier_gone, L),
        e.HangUpAsked: row(ending.ended_early, L),
        e.EarReady: row(ending.recorded_only, L),
        e.CardLoaded: row(recalling.card_loaded, L),
        e.ErrorRaised: row(ending.error_raised, L),
        e.OperatorListening: row(ending.recorded_only, L),
    },
    Phase.OPERATOR: {
        e.SpeechStarted: row(hearing.speech_for_operator, OP),
        e.SpeechEnded: row(hearing.speech_ended_for_operator, OP),
        e.TurnOpened: row(hearing.turn_opened_in_silence, OP),
        e.WordsHeard: row(hearing.words_in_silence, OP),
        e.EagerEnd: row(hearing.eager_end_for_operator, OP),
        e.TurnEnded: row(hearing.turn_ended_for_operator, OP),
        e.DtmfPressed: row(hearing.dtmf, OP),
        e.EarFailed: row(hearing.ear_failed_for_operator, OP),
        e.EarReady: row(hearing.ear_ready, OP),
        e.CardLoaded: row(recalling.card_loaded, OP),
        e.ToolSettled: row(ending.late_tool, OP),
        e.TimerFired: row(ending.timer_fired, OP, T),
        e.HangUpAsked: row(ending.hang_up_asked, L, T),
        e.CarrierGone: row(ending.carrier_gone, L),
        e.ErrorRaised: row(ending.error_raised, OP),
        e.OperatorListening: row(ending.recorded_only, OP),
        e.OperatorWhispered: row(operating.whispered, OP),
        e.OperatorSaid: row(operating.not_now, OP),
        e.OperatorTookOver: row(operating.took_over_again, OP),
        e.OperatorConnected: row(operating.connected, OP),
        e.OperatorHandedBack: row(operating.handed_back, L, T, OP),
    },
    Phase.ENDING: {
        e.CarrierGone: row(ending.carrier_gone, L),
        e.TimerFired: row(ending.timer_fired, L),
        e.ToolSettled: row(ending.late_tool, L),
        e.ErrorRaised: row(ending.error_raised, L),
        e.OperatorListening: row(ending.recorded_only, L),
    },
    Phase.ENDED: {},
}


#: Fields of events whose values decide something, and those that mean anything.
VALUES: dict[type[Event], tuple[str, Container[str]]] = {
    e.CarrierGone: ("how", ending.GONE_REASONS),
    e.HangUpAsked: ("by", END_REASONS),
    e.ToolSettled: ("outcome", {"ok", "error", "timeout", "cancelled"}),
    e.OperatorSaid: ("when", {"now", "next_pause"}),
    e.DtmfPressed: ("digit", {*"0123456789*#ABCD"}),
    e.MemoryRecalled: ("outcome", {"full", "words", "late", "empty", "failed"}),
}


def step(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    """The next state and what is to be done, in order.

    Raises ``IllegalEvent`` for an event that a call in this phase cannot have or that says nothing known (the caller's
    state stands), and ``BrokenRule`` where the table itself is violated.
    """
    found = _row(state, event)
    _check(event)
    work = Work(state, event.at_ms)
    found.handler(work, event)
    mode = mode_of(work.state)
    if mode not in found.then:
        raise BrokenRule(f"{type(event).__name__} in {state.mode} led to {mode}")
    if mode is not work.state.mode:
        work.set(mode=mode)
    return work.state, tuple(work.out)


def _check(event: Event) -> None:
    name, known = VALUES.get(type(event), ("", ()))
    if name and (value := getattr(event, name)) not in known:
        raise IllegalEvent(f"{type(event).__name__} with {name} {value!r}, which means nothing")


def _row(state: State, event: Event) -> Row:
    kind = type(event)
    if state.phase is Phase.ACTIVE:
        found = TABLE[state.mode].get(kind)
    else:
        found = AROUND[state.phase].get(kind)
        if found is None and state.phase is not Phase.CONNECTING:
            return row(ending.late, *Mode)
    if found is None:
        raise IllegalEvent(f"{kind.__name__} is not admitted while the call is {state.phase}")
    return found

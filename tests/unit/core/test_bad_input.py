"""What must not be: each kind of event in each state that does not admit it, of another turn, from the future, told twice.

It raises a named error or is counted, and the state is what it was. ``PLACES`` are the states that a call can be in, with
all that can be in flight there; the kinds of events are those of the record, so that a new one is tried too.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from calls.core import events as e
from calls.core.commands import RunTool, StaleDropped
from calls.core.machine import VALUES, IllegalEvent, step
from calls.core.policy import AgentProfile, PolicyError, ToolSpec, TurnPolicy
from calls.core.record import EVENT_TYPES
from calls.core.state import Mode, Phase, State
from tests.unit.core.world import World, agent

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = "We have a table for two at seven and another one at eight, both are by the window. "

#: One event of each kind, as it could come at a time when it means something.
USUAL: dict[type[e.Event], e.Event] = {
    type(event): event
    for event in (
        e.CallStarted(call_sid="CA1", agent=agent()),
        e.CardLoaded(name="Ada", text=""),
        e.MemoryRecalled(turn=1, epoch=1, outcome="full", took_ms=40),
        e.MarkReturned(turn=1, epoch=1, piece=1),
        e.DtmfPressed(digit="1"),
        e.CarrierGone(how="stop"),
        e.SpeechStarted(voiced_at_ms=0),
        e.SpeechEnded(voiced_until_ms=0),
        e.TurnOpened(),
        e.WordsHeard(text="a table"),
        e.EagerEnd(text="a table"),
        e.TurnResumed(),
        e.TurnEnded(text="a table"),
        e.EarFailed(kind="cut"),
        e.EarReady(),
        e.ModelText(turn=1, epoch=1, text="Yes. "),
        e.ModelToolCall(turn=1, epoch=1, call_id="c1", name="pay", arguments="{}"),
        e.ModelFinished(turn=1, epoch=1, reason="stop"),
        e.ModelAttemptFailed(turn=1, epoch=1, kind="server"),
        e.ModelFailed(turn=1, epoch=1, kind="cut"),
        e.ToolSettled(call_id="c1", outcome="ok", output="{}"),
        e.AudioSent(turn=1, epoch=1, piece=1, size_bytes=800),
        e.WordsTimed(turn=1, epoch=1, words=(e.TimedWord("Yes.", 0, 100),)),
        e.VoiceFinished(turn=1, epoch=1),
        e.VoiceFailed(turn=1, epoch=1, kind="cut"),
        e.TimerFired(timer="idle", key=1),
        e.HangUpAsked(by="operator"),
        e.OperatorListening(by="ada", on=True),
        e.OperatorWhispered(key="k1", by="ada", text="Offer the terrace."),
        e.OperatorSaid(key="k2", by="ada", text="We are open.", when="now"),
        e.OperatorTookOver(key="k3", by="ada"),
        e.OperatorConnected(by="ada", on=False),
        e.OperatorHandedBack(key="k4", by="ada", summary="It is settled."),
        e.ErrorRaised(where="Say", error="OSError"),
    )
}
#: What answers a request, and so carries its turn and epoch.
OF_A_REQUEST = [kind for kind in USUAL if "epoch" in {field.name for field in fields(kind)}]
#: What names something in flight in another way.
NAMED: dict[type[e.Event], dict[str, object]] = {
    e.ToolSettled: {"call_id": "nobody's"},
    e.TimerFired: {"key": 10_000},
}


# --- states ---------------------------------------------------------------------------------------------------------------


def _connecting() -> World:
    w = World()
    w.state = State()
    return w


def _listening() -> World:
    return World()


def _heard() -> World:
    w = World()
    w.starts()
    w.feed(e.WordsHeard(text="is there"))
    return w


def _guessing() -> World:
    w = _heard()
    w.feed(e.EagerEnd(text="is there a table"))
    w.model("Yes, there is one. ", finish="")
    return w


def _thinking() -> World:
    w = World()
    w.say("is there a table")
    return w


def _recalling() -> World:
    w = World(recall_ms=200)
    w.say("is there a table")
    return w


def _held() -> World:
    w = _thinking()
    w.model("Yes, there is one. ", finish="")
    w.starts()
    return w


def _waiting_for_a_tool() -> World:
    w = _thinking()
    w.model(tools=[("book_table", "{}")])
    return w


def _speaking() -> World:
    w = _thinking()
    w.model(LONG, finish="")
    w.voice(finish=False)
    w.wait(1000)
    return w


def _stopped() -> World:
    w = _speaking()
    w.starts()
    return w


def _resumed() -> World:
    w = _stopped()
    w.stops()
    w.wait(2000)
    return w


def _notice() -> World:
    w = World(agent(greeting="This call is recorded. How can I help you? ", greeting_interruptible=False))
    w.voice()
    return w


def _with_operator() -> World:
    w = _speaking()
    w.feed(e.OperatorTookOver(key="k0", by="ada"))
    return w


def _ending() -> World:
    w = World()
    w.feed(e.HangUpAsked(by="operator"))
    return w


def _ended() -> World:
    w = _ending()
    w.feed(e.CarrierGone(how="stop"))
    return w


PLACES: dict[str, Callable[[], World]] = {
    "connecting": _connecting,
    "listening": _listening,
    "words heard": _heard,
    "a guess": _guessing,
    "recalling": _recalling,
    "thinking": _thinking,
    "held": _held,
    "waiting for a tool": _waiting_for_a_tool,
    "speaking": _speaking,
    "stopped": _stopped,
    "resumed": _resumed,
    "a notice": _notice,
    "an operator's": _with_operator,
    "ending": _ending,
    "ended": _ended,
}
ACTIVE = {name: place for name, place in PLACES.items() if name not in ("connecting", "ending", "ended")}


def unchanged(w: World, event: e.Event) -> None:
    """It is refused by a named error, or counted as what it is; in both cases nothing else happened."""
    before, event = w.state, replace(event, at_ms=w.now)
    try:
        after, commands = step(before, event)
    except IllegalEvent as refused:
        assert type(event).__name__ in str(refused)
    else:
        assert commands == (StaleDropped(type(event).__name__),)
        assert after == before
    assert w.state is before


def test_the_places_are_what_they_are_called() -> None:
    phases = {name: place().state.phase for name, place in PLACES.items()}
    assert {phases[name] for name in ACTIVE} == {Phase.ACTIVE, Phase.OPERATOR}
    assert [name for name in ACTIVE if phases[name] is Phase.OPERATOR] == ["an operator's"]
    assert [phases[name] for name in ("connecting", "ending", "ended")] == [Phase.CONNECTING, Phase.ENDING, Phase.ENDED]
    modes = {name: place().state.mode for name, place in ACTIVE.items()}
    assert [name for name, mode in modes.items() if mode is Mode.SPEAKING] == ["speaking", "a notice"]
    assert {"recalling", "thinking", "held", "waiting for a tool", "resumed"} == {
        n for n, mode in modes.items() if mode is Mode.THINKING
    }
    assert _stopped().state.cut is not None
    assert _guessing().state.reply is not None


def test_every_kind_of_event_is_tried() -> None:
    assert {*USUAL} == {*EVENT_TYPES.values()}


# --- a state that does not admit it -----------------------------------------------------------------------------------------

#: What a phase admits; everything else is tried there.
ADMITTED = {
    "connecting": {
        e.CallStarted,
        e.CardLoaded,
        e.CarrierGone,
        e.HangUpAsked,
        e.EarReady,
        e.ErrorRaised,
        e.OperatorListening,
    },
    "ending": {e.CarrierGone, e.ErrorRaised, e.OperatorListening},
    "ended": set[type[e.Event]](),
}
NOT_ADMITTED = [(name, kind) for name, admitted in ADMITTED.items() for kind in USUAL if kind not in admitted]


@pytest.mark.parametrize(
    ("place", "kind"), NOT_ADMITTED, ids=[f"{kind.__name__}-{name}" for name, kind in NOT_ADMITTED]
)
def test_what_a_phase_does_not_admit(place: str, kind: type[e.Event]) -> None:
    unchanged(PLACES[place](), USUAL[kind])


@pytest.mark.parametrize("place", ACTIVE)
def test_a_second_start_of_a_call(place: str) -> None:
    unchanged(PLACES[place](), USUAL[e.CallStarted])


@pytest.mark.parametrize("place", [name for name in ACTIVE if name != "a guess"])
def test_a_guess_that_is_taken_back_where_none_is_made(place: str) -> None:
    unchanged(PLACES[place](), e.TurnResumed())


@pytest.mark.parametrize(
    "kind",
    [
        e.ModelText,
        e.ModelToolCall,
        e.ModelFinished,
        e.ModelAttemptFailed,
        e.ModelFailed,
        e.VoiceFinished,
        e.VoiceFailed,
        e.MarkReturned,
    ],
)
def test_what_nobody_was_asked_for(kind: type[e.Event]) -> None:
    """The model has finished and nothing was given to the voice."""
    w = _waiting_for_a_tool()
    unchanged(w, replace(USUAL[kind], turn=w.ask.turn, epoch=w.ask.epoch))  # type: ignore[call-arg]


# --- another turn -------------------------------------------------------------------------------------------------------------

#: How much later or earlier than what is in flight.
OFF = {
    "of the epoch before": (0, -1),
    "of the turn before": (-1, 0),
    "from the future": (1, 1),
    "of a later epoch": (0, 1),
}


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("kind", OF_A_REQUEST, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ACTIVE)
def test_what_belongs_to_another_turn_or_epoch(place: str, kind: type[e.Event], off: str) -> None:
    w = PLACES[place]()
    reply = w.state.reply or w.state.cut
    turn, epoch = (reply.turn, reply.epoch) if reply else (w.state.turn, w.state.epoch)
    later_turn, later_epoch = OFF[off]
    unchanged(w, replace(USUAL[kind], turn=turn + later_turn, epoch=epoch + later_epoch))  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ACTIVE)
def test_what_names_nothing_in_flight(place: str, kind: type[e.Event]) -> None:
    unchanged(PLACES[place](), replace(USUAL[kind], **NAMED[kind]))


@pytest.mark.parametrize("kind", OF_A_REQUEST, ids=lambda kind: kind.__name__)
def test_what_a_stopped_reply_still_gets(kind: type[e.Event]) -> None:
    w = _stopped()
    assert w.state.cut is not None
    unchanged(w, replace(USUAL[kind], turn=w.state.cut.turn, epoch=w.state.cut.epoch))  # type: ignore[call-arg]


# --- told twice -----------------------------------------------------------------------------------------------------------------


def _of(w: World, kind: type[e.Event], **values: Any) -> e.Event:
    reply = w.state.reply
    assert reply is not None
    return replace(USUAL[kind], turn=reply.turn, epoch=reply.epoch, **values)


def _newest_piece(w: World) -> int:
    assert w.state.reply is not None
    return w.state.reply.playback.outstanding[-1].number


#: In which state an event is told twice, and the event.
TWICE: dict[str, tuple[Callable[[], World], Callable[[World], e.Event]]] = {
    "a function call": (_thinking, lambda w: _of(w, e.ModelToolCall)),
    "a function call of a guess": (_guessing, lambda w: _of(w, e.ModelToolCall)),
    "the model's end": (_speaking, lambda w: _of(w, e.ModelFinished)),
    "the model's failure": (_speaking, lambda w: _of(w, e.ModelFailed)),
    "a tool's outcome": (
        _waiting_for_a_tool,
        lambda w: replace(USUAL[e.ToolSettled], call_id=w.of(RunTool)[0].call_id),
    ),
    "a piece of audio": (_speaking, lambda w: _of(w, e.AudioSent, piece=_newest_piece(w) + 1)),
    "the first piece of audio": (_resumed, lambda w: _of(w, e.AudioSent, piece=w.pieces + 1)),
    "the times of words": (_speaking, lambda w: _of(w, e.WordsTimed, words=(e.TimedWord("x", 9000, 9100),))),
    "the voice's end": (_speaking, lambda w: _of(w, e.VoiceFinished)),
    "the voice's failure": (_speaking, lambda w: _of(w, e.VoiceFailed)),
    "what was recalled": (_recalling, lambda w: _of(w, e.MemoryRecalled)),
    "a mark": (_speaking, lambda w: _of(w, e.MarkReturned, piece=w.queue[0].number)),
    "a timer": (_listening, lambda w: e.TimerFired(timer=w.state.timers[0].name, key=w.state.timers[0].key)),
    "a guess": (_heard, lambda _: e.EagerEnd(text="is there a table")),
    "a guess taken back": (_guessing, lambda _: e.TurnResumed()),
    "the end of a turn": (_heard, lambda _: e.TurnEnded(text="is there a table")),
    "the end of a turn over a notice": (_notice, lambda _: e.TurnEnded(text="is there a table")),
    "the end of a turn that was guessed": (_guessing, lambda _: e.TurnEnded(text="is there a table")),
    "the end of a turn over a reply": (_speaking, lambda _: e.TurnEnded(text="and outside?")),
    "the end of a turn with an operator": (_with_operator, lambda _: e.TurnEnded(text="and outside?")),
    "the start of the call": (_connecting, lambda _: USUAL[e.CallStarted]),
    "the end of the stream": (_speaking, lambda _: e.CarrierGone(how="stop")),
    "a request to hang up": (_speaking, lambda _: e.HangUpAsked(by="operator")),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_is_told_twice_counts_once(name: str) -> None:
    place, event_in = TWICE[name]
    w = place()
    event = replace(event_in(w), at_ms=w.now)
    before = w.state
    w.state, _ = step(before, event)
    assert w.state != before, "the first time it means something"
    unchanged(w, event)


def test_a_later_piece_and_further_words_are_none_of_it() -> None:
    w = _speaking()
    words = (e.TimedWord("x", 9000, 9100), e.TimedWord("y", 9100, 9200))
    w.feed(_of(w, e.WordsTimed, words=words[:1]))
    w.feed(_of(w, e.WordsTimed, words=words))
    assert w.state.reply is not None
    assert w.state.reply.playback.words[-2:] == words


def test_a_call_that_a_later_request_makes_again_is_another_one() -> None:
    """Some servers count their calls anew in every response."""
    w = _thinking()
    call = e.ModelToolCall(turn=1, epoch=1, call_id="c1", name="lookup", arguments="{}")
    for _ in range(2):
        w.feed(call)
        w.feed(e.ModelFinished(turn=1, epoch=1, reason="tool_calls"))
        w.settle_tools()
    assert [run.call_id for run in w.of(RunTool)] == ["c1", "c1-2"]


def test_a_call_after_a_resume_is_another_one_too() -> None:
    w = _speaking()
    w.feed(_of(w, e.ModelToolCall, name="lookup"))
    w.starts()
    w.stops()
    w.wait(2000)
    w.feed(_of(w, e.ModelToolCall, name="lookup"))
    assert [run.call_id for run in w.of(RunTool)] == ["c1", "c1-2"]


def test_the_same_words_in_a_turn_of_their_own_are_no_repetition() -> None:
    w = _thinking()
    w.answer("We do. ")
    w.feed(e.TurnOpened())
    w.feed(e.TurnEnded(text="is there a table"))
    assert w.ask.turn == 2


#: What the caller does and who it is, told again in the same instant.
CALLERS = (e.SpeechStarted, e.SpeechEnded, e.TurnOpened, e.WordsHeard, e.CardLoaded)


@pytest.mark.parametrize("kind", CALLERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ACTIVE)
def test_the_caller_heard_twice_in_one_instant_is_heard_once(place: str, kind: type[e.Event]) -> None:
    """It can seldom be told from a caller who says more, so it may be uncounted; it changes nothing all the same."""
    w = PLACES[place]()
    event = replace(USUAL[kind], at_ms=w.now)
    once, _ = step(w.state, event)
    twice, commands = step(once, event)
    assert twice == once
    assert {*commands} <= {StaleDropped(kind.__name__)}


# --- values that mean nothing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_a_value_that_means_nothing(kind: type[e.Event]) -> None:
    w = _waiting_for_a_tool()
    name, known = VALUES[kind]
    assert getattr(USUAL[kind], name) in known
    before = w.state
    with pytest.raises(IllegalEvent, match=f"^{kind.__name__} with {name} 'nonsense', which means nothing$"):
        step(before, replace(USUAL[kind], **{name: "nonsense"}))
    unchanged(w, replace(USUAL[kind], **{name: ""}))


@pytest.mark.parametrize("size_bytes", [0, -1])
def test_a_piece_of_no_audio(size_bytes: int) -> None:
    w = _speaking()
    unchanged(w, _of(w, e.AudioSent, piece=99, size_bytes=size_bytes))


# --- a policy that makes no sense ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", fields(TurnPolicy), ids=lambda field: field.name)
def test_a_policy_value_of_another_type(field: Any) -> None:
    """Also a number for a switch and a switch for a number, which Python would take."""
    for wrong in ("7", 7, 7.5, True, None):
        if type(wrong) is not type(field.default):
            with pytest.raises(
                PolicyError, match=f"^{field.name} must be {type(field.default).__name__}, not {wrong!r}$"
            ):
                TurnPolicy(**{field.name: wrong})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "name of a function must not be empty"),
        ({"effect": "harmless"}, "effect of pay must be one of read, reversible, irreversible, not 'harmless'"),
        ({"timeout_ms": 0}, "timeout_ms of pay must be above 0, not 0"),
        ({"timeout_ms": "8000"}, "timeout_ms of pay must be int, not '8000'"),
    ],
)
def test_a_function_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=f"^{message}$"):
        ToolSpec(**{"name": "pay", "description": "Pay.", "parameters": "{}", **values})


def test_an_agent_with_two_functions_of_one_name() -> None:
    pay = ToolSpec("pay", "Pay.", "{}")
    with pytest.raises(PolicyError, match=r"^tools must have each function once, not pay twice$"):
        AgentProfile("A", 1, "i", "g", "v", tools=(pay, pay))

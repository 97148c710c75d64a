"""The acceptance scenarios of the session core, each as one conversation. Every one happened to some voice agent.

Each is held twice in virtual time: with the core alone, and through the real actor, mailbox and gate around it. J, two calls
for one slot, is the registry's and stands in ``tests/unit/test_registry.py``.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from calls.core import events as e
from calls.core.commands import (
    AskModel,
    CancelModel,
    CancelTool,
    CancelVoice,
    Clear,
    Command,
    HangUp,
    LendGate,
    OpenGate,
    PlayPhrase,
    Recall,
    RunTool,
    Say,
    StaleDropped,
)
from calls.core.history import INTERRUPTED_NOTE
from calls.core.state import Mode, Phase
from tests.actor.stage import stages
from tests.unit.core.fuzz import Watched
from tests.unit.core.test_interleavings import STORIES
from tests.unit.core.world import MS_PER_CHAR, World, agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = "We have a table for two at seven and another one at eight, both are by the window. "
QUESTION = "We are open on that day. Does Tuesday work? "
SPOKEN_MS = len(LONG) * MS_PER_CHAR


@pytest.fixture(params=["core", "actor"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Makes a call under the eyes of the invariants."""
    if request.param == "core":
        yield Watched
        return
    with stages() as stage:
        yield stage


@pytest.fixture
def w(call: Callable[..., World]) -> World:
    """A call without a greeting."""
    return call()


def speaking(w: World, text: str = LONG, *, finish: str = "stop") -> None:
    """A reply is wholly at the carrier, nothing of it heard yet."""
    w.say("is there a table")
    w.model(text, finish=finish)
    w.voice()
    assert w.state.mode is Mode.SPEAKING


def roles(w: World) -> list[tuple[str, str]]:
    """The latest request as roles and texts, without the instructions."""
    return [(message.role, message.text) for message in w.ask.messages[1:]]


def kinds(commands: tuple[Command, ...]) -> list[type[Command]]:
    return [type(command) for command in commands]


# --- A: stale audio ---------------------------------------------------------------------------------------------------


def test_A1_the_caller_speaks_over_a_reply_that_is_wholly_at_the_carrier(w: World) -> None:
    speaking(w)
    w.wait(1000)
    turn, epoch = w.ask.turn, w.ask.epoch
    commands = w.starts()
    assert commands[:3] == (CancelModel(turn, epoch), CancelVoice(turn, epoch), Clear(epoch))
    assert w.state.mode is Mode.LISTENING
    sent = w.pieces
    assert not w.audio(turn, epoch, 1600)
    assert w.pieces == sent
    assert not w.unplayed()


def test_A2_marks_that_a_clear_returns_are_flushed_not_heard(w: World) -> None:
    w.say("goodbye")
    w.model("Goodbye and thank you for the call. ", tools=[("end_call", "{}")])
    w.voice()
    w.wait(1000)
    heard = w.heard_words(1, w.now)
    outstanding = w.state.reply.playback.outstanding if w.state.reply else ()
    assert heard == ["Goodbye", "and"]
    assert len(outstanding) > 2
    w.starts()
    before = w.state
    for piece in outstanding:
        commands = w.feed(e.MarkReturned(turn=1, epoch=w.ask.epoch, piece=piece.number))
        assert commands == (StaleDropped("MarkReturned"),)
    assert w.state == before
    assert w.of(HangUp) == []
    assert "idle" not in w.timers
    w.feed(e.WordsHeard(text="wait a moment"))
    w.stops()
    w.feed(e.TurnEnded(text="wait a moment"))
    assert w.closed[-1].heard_text == "Goodbye and"
    assert w.of(HangUp) == []


def test_A3_late_audio_of_a_reply_that_was_never_heard_is_not_mixed_into_the_next(w: World) -> None:
    w.say("is there a table")
    w.model("Yes, there is one. ")
    old = w.ask.epoch
    w.say("for four people")
    assert w.ask.epoch > old
    w.model("For four I have one at nine. ")
    assert not w.audio(1, old, 1600)
    assert w.feed(e.AudioSent(turn=1, epoch=old, piece=99, size_bytes=1600)) == (StaleDropped("AudioSent"),)
    assert w.feed(e.VoiceFinished(turn=1, epoch=old)) == (StaleDropped("VoiceFinished"),)
    w.voice()
    w.wait(10_000)
    assert [t.heard_text for t in w.closed] == ["For four I have one at nine."]


def test_A4_a_voice_that_keeps_sending_after_a_cancel_is_not_heard_and_its_waste_recorded(w: World) -> None:
    w.say("is there a table")
    w.model(LONG)
    w.voice(words=4)
    w.wait(500)
    epoch = w.ask.epoch
    w.starts()
    for _ in range(20):
        assert not w.audio(1, epoch, 8000)
        assert w.feed(e.WordsTimed(turn=1, epoch=epoch, words=())) == (StaleDropped("WordsTimed"),)
    w.feed(e.WordsHeard(text="stop that"))
    w.feed(e.TurnEnded(text="stop that"))
    turn = w.closed[-1]
    assert turn.heard_text == "We have"
    assert turn.wasted_chars == len(LONG) - len("We have")


# --- B: what was heard, in the right order ----------------------------------------------------------------------------


def test_B1_the_next_prompt_shows_the_reply_cut_at_the_last_heard_word(w: World) -> None:
    speaking(w)
    w.wait(1000)
    heard = " ".join(w.heard_words(1, w.now))
    assert heard == "We have a table"
    w.say("no, tomorrow")
    assert roles(w) == [
        ("user", "is there a table"),
        ("assistant", heard),
        ("developer", INTERRUPTED_NOTE),
        ("user", "no, tomorrow"),
    ]
    assert (w.closed[-1].outcome, w.closed[-1].heard_text) == ("interrupted", heard)


@pytest.mark.parametrize("mark_first", [True, False])
def test_B2_a_sentence_heard_in_the_tick_of_the_interruption_is_in_the_history(w: World, mark_first: bool) -> None:
    w.say("is there a table")
    w.model("Yes, there is. ", finish="")
    w.voice()
    w.at_the_last_mark(w.starts, mark_first=mark_first)
    w.feed(e.WordsHeard(text="and at eight"))
    w.stops()
    w.feed(e.TurnEnded(text="and at eight"))
    assert ("assistant", "Yes, there is.") in roles(w)
    assert [c.text for c in w.of(Say)] == ["Yes, there is. "]


def test_B3_nothing_heard_leaves_no_assistant_text(w: World) -> None:
    speaking(w)
    w.say("actually, tomorrow")
    assert [text for role, text in roles(w) if role == "assistant"] == []
    assert (w.closed[-1].outcome, w.closed[-1].heard_text) == ("interrupted", "")


# --- C: exactly one reply ---------------------------------------------------------------------------------------------


def test_C1_a_second_final_amends_a_turn_whose_reply_is_inaudible(w: World) -> None:
    w.say("I want a table")
    first = w.ask.epoch
    w.model("For how many? ")
    w.wait(300)
    w.feed(e.TurnEnded(text="for two"))
    assert roles(w) == [("user", "I want a table for two")]
    assert w.ask.turn == 1
    assert w.ask.epoch > first
    w.answer("A table for two, certainly. ")
    w.wait(10_000)
    assert [(t.turn, t.outcome, t.user_text) for t in w.closed] == [(1, "answered", "I want a table for two")]


def test_C1_a_second_final_interrupts_a_reply_that_is_audible(w: World) -> None:
    speaking(w, "For how many people would that be? ")
    w.wait(300)
    commands = w.feed(e.TurnEnded(text="for two"))
    assert Clear(1) in commands
    assert [(t.turn, t.outcome, t.heard_text) for t in w.closed] == [(1, "interrupted", "For")]
    w.answer("A table for two, certainly. ")
    w.wait(10_000)
    assert [(t.turn, t.outcome, t.user_text) for t in w.closed[1:]] == [(2, "answered", "for two")]


@pytest.mark.parametrize("wait_ms", [0, 200, 2000, 20_000])
def test_C2_a_final_after_the_time_out_is_never_lost(w: World, wait_ms: int) -> None:
    w.starts()
    w.feed(e.WordsHeard(text="I want"))
    w.stops()
    w.wait(7000)
    assert roles(w) == [("user", "I want")]
    w.answer("Yes? ")
    w.wait(wait_ms)
    w.feed(e.TurnEnded(text="I want a table for two"))
    users = " ".join(text for role, text in roles(w) if role == "user")
    assert users == "I want a table for two"


def test_C4_only_the_last_of_seven_guesses_becomes_audible(w: World) -> None:
    text = ""
    epochs = []
    for word in "I would like a table for two".split():
        text = f"{text} {word}".strip()
        w.feed(e.EagerEnd(text=text))
        epochs.append(w.ask.epoch)
        w.wait(400)
    assert w.of(OpenGate) == []
    for epoch in epochs[:-1]:
        w.feed(e.ModelText(turn=1, epoch=epoch, text="An early answer. "))
        assert not w.audio(1, epoch, 1600)
    w.model("A table for two. ")
    w.voice()
    assert w.pieces == 0
    w.feed(e.TurnEnded(text=text))
    assert [c.epoch for c in w.of(OpenGate)] == epochs[-1:]
    w.wait(5000)
    assert [(t.outcome, t.heard_text) for t in w.closed] == [("answered", "A table for two.")]


# --- D: never stuck, never deaf ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["stop", ""], ids=["all generated", "still generating"])
def test_D1_a_cough_costs_no_word(w: World, finish: str) -> None:
    speaking(w, "Would you like the table by the window, or ", finish=finish)
    w.wait(1000)
    heard = w.heard_words(1, w.now)
    w.starts()
    stopped = w.now
    w.wait(200)
    w.stops()
    w.wait(1300)
    assert w.now - stopped <= (w.state.agent.policy.verdict_ms if w.state.agent else 0)
    assert w.state.mode is Mode.THINKING
    assert w.of(Say)[-1].text == " the table by the window, " + ("or " if finish else "")
    if not finish:
        assert w.ask.turn == 1
        w.model("the one outside? ")
    w.voice()
    w.wait(20_000)
    said = "Would you like the table by the window, or" + ("" if finish else " the one outside?")
    assert heard == ["Would", "you", "like"]
    assert [(t.turn, t.outcome, t.heard_text) for t in w.closed[:1]] == [(1, "answered", said)]


def test_D3_a_caller_who_goes_on_after_a_pause_gets_an_audible_reply(w: World) -> None:
    w.say("my name is John")
    w.model("Hello John, ")
    w.starts()
    w.feed(e.WordsHeard(text="Doe"))
    w.stops()
    w.feed(e.TurnEnded(text="Doe"))
    assert roles(w) == [("user", "my name is John Doe")]
    w.answer("Hello Mr Doe. ")
    assert w.unplayed()
    w.wait(5000)
    assert [(t.outcome, t.heard_text) for t in w.closed] == [("answered", "Hello Mr Doe.")]


def test_D3_a_reply_without_media_does_not_outlast_its_deadline(w: World) -> None:
    speaking(w)
    w.lose_marks()
    w.wait(SPOKEN_MS + 1500 + 10)
    assert w.state.mode is Mode.LISTENING
    assert w.closed[-1].outcome == "answered"


def test_D4_a_failure_of_ours_in_one_turn_does_not_touch_the_next(w: World) -> None:
    speaking(w)
    w.starts()
    before = w.state
    assert w.feed(e.ErrorRaised(where="CancelVoice", error="RuntimeError")) == ()
    assert w.state == before
    w.feed(e.WordsHeard(text="no, tomorrow"))
    w.stops()
    w.feed(e.TurnEnded(text="no, tomorrow"))
    w.answer("Tomorrow, then. ")
    w.wait(5000)
    assert w.closed[-1].outcome == "answered"


def test_D6_words_over_a_notice_that_may_not_be_interrupted_are_answered_after_it(call: Callable[..., World]) -> None:
    w = call(agent(greeting="This call is recorded. How can I help you? ", greeting_interruptible=False))
    w.voice()
    w.wait(300)
    w.say("I want a table", ms=300, settle_ms=200)
    w.say("for two", ms=300, settle_ms=200)
    assert w.of(Clear) == []
    assert w.of(AskModel) == []
    w.wait(5000)
    assert [(t.kind, t.outcome) for t in w.closed] == [("greeting", "answered")]
    assert roles(w)[-1] == ("user", "I want a table for two")
    assert len(w.of(AskModel)) == 1


# --- E: tools under interruption --------------------------------------------------------------------------------------


def test_E1_an_end_of_call_from_a_turn_committed_too_early_does_not_hang_up(w: World) -> None:
    w.starts()
    w.feed(e.TurnEnded(text="that was all"))
    w.model("Goodbye! ", tools=[("end_call", "{}")])
    assert w.of(HangUp) == []
    commands = w.feed(e.WordsHeard(text="except for one thing"))
    assert HangUp not in kinds(commands)
    w.stops()
    w.feed(e.TurnEnded(text="except for one thing"))
    assert w.state.phase is Phase.ACTIVE
    w.answer("Yes? ")
    w.wait(5000)
    assert w.of(HangUp) == []
    assert w.closed[-1].outcome == "answered"


@pytest.mark.parametrize("first", ["cancel", "settled"])
def test_E2_a_tool_settles_whatever_order_cancel_and_outcome_take(w: World, first: str) -> None:
    speaking(w, "One moment please, I look it up. ", finish="")
    w.model(tools=[("lookup", "{}")])
    run = w.of(RunTool)[0]
    if first == "settled":
        w.settle_tools('{"free":true}')
    w.say("no, stop that")
    if first == "cancel":
        assert [c.call_id for c in w.of(CancelTool)] == [run.call_id]
        w.feed(e.ToolSettled(call_id=run.call_id, outcome="cancelled", output='{"error":"cancelled"}'))
    assert w.state.running_tools == ()
    outputs = [json.loads(m.text) for m in w.state.history if m.call_id == run.call_id]
    assert outputs == [{"free": True} if first == "settled" else {"error": "cancelled"}]


def test_E3_the_result_of_a_tool_survives_the_interruption_of_its_answer(w: World) -> None:
    w.say("book a table")
    w.model(tools=[("book_table", '{"n":2}')])
    w.settle_tools('{"reference":"A1"}')
    w.answer("Your table is booked. ")
    w.say("and the parking?")
    assert ("tool", '{"reference":"A1"}') in roles(w)
    w.answer("There is parking. ")
    w.wait(5000)
    assert [c.name for c in w.of(RunTool)] == ["book_table"]


def test_E4_requests_made_while_a_slow_tool_runs_are_well_formed(w: World) -> None:
    speaking(w, "One moment please. ", finish="")
    w.model(tools=[("book_table", "{}")])
    run = w.of(RunTool)[0]
    for number in range(3):
        w.say(f"hello number {number}")
        called = {call.call_id for message in w.ask.messages for call in message.tool_calls}
        given = {message.call_id for message in w.ask.messages if message.role == "tool"}
        assert called == given == {run.call_id}
    w.feed(e.ToolSettled(call_id=run.call_id, outcome="ok", output='{"reference":"A1"}'))
    w.say("is it booked")
    assert ("tool", '{"reference":"A1"}') in roles(w)
    assert len(w.of(RunTool)) == 1


# --- F: false interruptions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words_first", [True, False])
def test_F1_a_back_channel_resumes_the_reply_at_the_same_word(w: World, words_first: bool) -> None:
    speaking(w)
    w.wait(1200)
    heard = " ".join(w.heard_words(1, w.now))
    w.starts()
    w.wait(400)
    if words_first:
        w.feed(e.WordsHeard(text="Mhm."))
        w.stops()
    else:
        w.stops()
        w.feed(e.WordsHeard(text="Mhm."))
    assert w.of(Say)[-1].text == LONG.removeprefix(heard)
    w.voice()
    w.feed(e.TurnEnded(text="Mhm."))
    w.wait(20_000)
    assert [(t.outcome, t.heard_text) for t in w.closed[:1]] == [("answered", LONG.strip())]
    assert len(w.of(AskModel)) == 1


def test_F2_yes_over_the_tail_of_a_question_is_its_answer(w: World) -> None:
    speaking(w, QUESTION)
    w.wait(len("We are open on that day. Does Tuesday") * MS_PER_CHAR)
    assert w.heard_words(1, w.now)[-1] == "Tuesday"
    w.starts()
    w.wait(300)
    w.feed(e.WordsHeard(text="Yes."))
    w.stops()
    w.feed(e.TurnEnded(text="Yes."))
    assert w.ask.turn == 2
    assert roles(w)[-1] == ("user", "Yes.")
    assert w.closed[0].heard_text == "We are open on that day. Does Tuesday"


# --- G: timers and the end of a call ----------------------------------------------------------------------------------


def test_G1_the_idle_time_starts_when_the_last_mark_is_heard(w: World) -> None:
    w.say("is there a table")
    w.model("word " * 23 + "end.")
    w.voice()
    last_heard = w.plays_until
    assert last_heard - w.now > 7000
    w.wait(last_heard - w.now - 1)
    assert "idle" not in w.timers
    w.wait(1)
    assert w.timers["idle"].due_ms == last_heard + 9000
    w.wait(8999)
    assert len(w.closed) == 1
    w.wait(1)
    assert w.of(Say)[-1].text == "Are you still there?"


def test_G3_the_hang_up_waits_for_the_goodbyes_last_mark(w: World) -> None:
    w.say("that was all")
    w.model("Thank you, goodbye. ", tools=[("end_call", "{}")])
    assert w.of(HangUp) == []
    w.voice()
    w.wait(w.plays_until - w.now - 1)
    assert w.of(HangUp) == []
    w.wait(1)
    assert [c.reason for c in w.of(HangUp)] == ["agent_hung_up"]
    assert w.closed[-1].heard_text == "Thank you, goodbye."
    w.wait(5000)
    assert w.end_reason == "agent_hung_up"


def test_G3_a_goodbye_that_is_never_voiced_still_ends_the_call(w: World) -> None:
    w.say("that was all")
    w.model("Thank you, goodbye. ", tools=[("end_call", "{}")])
    w.wait(30_000)
    assert w.end_reason == "agent_hung_up"


# --- H: vendor failure ------------------------------------------------------------------------------------------------


def test_H1_a_voice_that_dies_is_replaced_for_the_unheard_words_only(w: World) -> None:
    w.say("is there a table")
    w.model("one two three four five six seven eight. ")
    w.voice(words=3)
    w.feed(e.VoiceFailed(turn=1, epoch=w.ask.epoch, kind="cut"))
    w.wait(2000)
    assert w.of(Say)[-1].text == " four five six seven eight. "
    w.voice()
    w.wait(5000)
    assert [(t.outcome, t.heard_text) for t in w.closed] == [("answered", "one two three four five six seven eight.")]


def test_H3_a_voice_that_returns_nothing_falls_back_in_bounded_time(w: World) -> None:
    w.say("is there a table")
    asked = w.now
    w.model(LONG)
    policy = w.state.agent.policy if w.state.agent else None
    assert policy is not None
    while not w.of(PlayPhrase) and w.now < asked + 60_000:
        w.wait(100)
    assert w.now - asked <= 2 * policy.first_audio_ms + 100
    assert w.unplayed()
    w.wait(w.plays_until - w.now + 1000)
    assert w.closed[-1].outcome == "failed_to_fallback"
    w.say("hello?")
    w.answer("Here I am again. ")
    w.wait(3000)
    assert w.closed[-1].outcome == "answered"


# --- K: memory --------------------------------------------------------------------------------------------------------

WINDOW = e.Recalled(id="m1", level="L2", kind="preference", text="sits by the window")


@pytest.fixture
def m(call: Callable[..., World]) -> World:
    """A call with a memory that has 30 ms."""
    return call(agent(greeting="Hello. How can I help you? "), recall_ms=30)


def test_K1_the_memory_answers_too_late(m: World) -> None:
    m.say("a table please")
    m.wait(30)
    assert len(m.of(AskModel)) == 1
    before = m.state
    assert m.recall(WINDOW) == (StaleDropped("MemoryRecalled"),)
    assert m.state == before
    assert "window" not in "".join(text for _, text in roles(m))


def test_K2_what_was_recalled_for_an_old_turn_arrives(m: World) -> None:
    m.say("a table please")
    old = m.of(Recall)[-1]
    m.wait(30)
    m.answer("Gladly. ")
    m.wait(3000)
    m.say("for two")
    assert m.recall_of(old, WINDOW) == (StaleDropped("MemoryRecalled"),)
    assert len(m.of(AskModel)) == 1
    m.recall()
    assert "window" not in "".join(text for _, text in roles(m))


def test_K3_the_caller_goes_on_while_the_memory_is_asked(m: World) -> None:
    m.say("a table please")
    m.starts()
    m.feed(e.WordsHeard(text="for two"))
    m.stops()
    m.feed(e.TurnEnded(text="for two"))
    assert m.of(AskModel) == []
    m.recall(WINDOW)
    assert roles(m)[-1] == ("user", "a table please for two")
    m.answer("Gladly. ")
    m.wait(3000)
    assert [turn.outcome for turn in m.closed if turn.kind == "answer"] == ["answered"]


def test_K4_an_eager_end_is_taken_back_while_the_memory_is_asked(m: World) -> None:
    m.voice()
    m.wait(9000)
    m.starts()
    m.feed(e.EagerEnd(text="a table"))
    m.feed(e.TurnResumed())
    assert "recall" not in m.timers
    m.recall(WINDOW)
    m.wait(100)
    assert m.of(AskModel) == []


def test_K5_the_caller_hangs_up_while_the_memory_is_asked(m: World) -> None:
    m.say("a table please")
    m.feed(e.CarrierGone(how="stop"))
    m.recall(WINDOW)
    m.wait(100)
    assert m.of(AskModel) == []
    assert m.end_reason == "caller_hung_up"


def test_K6_the_card_comes_after_the_greeting_began(m: World) -> None:
    assert m.feed(e.CardLoaded(name="Maria", text="vegetarian")) == ()
    m.voice()
    m.wait(9000)
    m.say("a table please")
    m.recall()
    assert '"name": "Maria"' in m.ask.messages[0].text


def test_L1_an_operator_takes_over_while_the_agent_speaks(w: World) -> None:
    w.say("is there a table")
    w.model("We have a table for two at seven and another one at eight. ", finish="")
    w.voice(finish=False)
    w.wait(1000)
    commands = w.feed(e.OperatorTookOver(key="t", by="ada"))
    assert {CancelModel, CancelVoice, Clear, LendGate} <= {type(command) for command in commands}
    before = len(w.commands)
    w.feed(e.ModelText(turn=1, epoch=1, text="An early answer. "))
    w.say("for four people")
    assert {AskModel, Say, OpenGate}.isdisjoint({type(command) for command in w.commands[before:]})
    w.feed(e.OperatorHandedBack(key="h", by="ada", summary="It is settled."))
    w.answer("Then I book it. ")
    w.wait(3000)
    assert [(turn.kind, turn.outcome) for turn in w.closed] == [
        ("answer", "overridden"),
        ("operator", "with_operator"),
        ("return", "answered"),
    ]


# --- the table of scenarios -------------------------------------------------------------------------------------------


def test_the_table_of_scenarios_names_what_exists() -> None:
    table = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    named = re.findall(r"`(\w+)\.(\w+)`", table)
    assert len(named) > 30
    for module, function in named:
        if function != "py":
            assert callable(getattr(import_module(f"calls.core.{module}"), function)), (module, function)


def test_every_scenario_has_its_test_and_its_story() -> None:
    table = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()
    ids = set(re.findall(r"^\| ([A-L]\d) \|", table, re.MULTILINE))
    tested = {name.split("_")[1] for name in globals() if re.match(r"test_[A-L]\d_", name)}
    assert ids - {"J1", "J2"} == tested == set(STORIES)

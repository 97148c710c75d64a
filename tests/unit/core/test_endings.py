"""The ways a call ends, and what may hold its end back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core import events as e
from calls.core.commands import (
    AskModel,
    CancelTool,
    Clear,
    EndCall,
    HangUp,
    PlayPhrase,
    RunTool,
    Say,
    SetTimer,
    StaleDropped,
    Transfer,
)
from calls.core.ending import GONE_REASONS
from calls.core.machine import step
from calls.core.state import State
from tests.unit.core.world import PHRASE_MS, World, agent


def test_a_long_last_reply_is_heard_to_its_end() -> None:
    w = World()
    w.say("what are the rules")
    text = "There are so many rules that I could go on and on about them. " * 8 + "Goodbye. "
    w.model(text, tools=[("end_call", "{}")])
    w.voice()
    w.wait(len(text) * 60 - 200)
    assert w.of(HangUp) == []
    w.wait(3000)
    assert [c.reason for c in w.of(HangUp)] == ["agent_hung_up"]
    assert w.closed[-1].heard_text == text.strip()


def test_a_caller_who_interrupts_the_goodbye_may_speak_for_as_long_as_it_takes() -> None:
    w = World()
    w.say("that is all")
    w.model("Thank you for calling us today, goodbye. ", tools=[("end_call", "{}")])
    w.voice()
    w.wait(1000)
    w.starts()
    for second in range(20):
        w.wait(1000)
        w.feed(e.WordsHeard(text="wait, one more thing " + "and another " * second))
    assert w.timers["goodbye"].due_ms > w.now
    w.stops()
    w.feed(e.TurnEnded(text="wait, one more thing"))
    assert w.of(HangUp) == []
    assert w.ask.turn == 2
    w.answer("Of course. ")
    w.wait(5000)
    assert w.of(HangUp) == []


def test_who_speaks_is_not_asked_whether_they_are_there() -> None:
    """What is said over a notice leaves its words open when the notice ends and the idle time begins."""
    w = World(agent(greeting="This call is recorded. ", greeting_interruptible=False))
    w.voice()
    w.starts()
    w.feed(e.WordsHeard(text="I have a long story"))
    w.wait(20_000)
    assert [say.text for say in w.of(Say)] == ["This call is recorded. "]
    w.feed(e.TurnEnded(text="I have a long story"))
    assert w.ask.turn == 1


def test_a_silent_caller_is_asked_and_then_left() -> None:
    w = World(agent(idle_prompts=2))
    for _ in range(3):
        w.wait(9000)
        w.voice()
        w.wait(4000)
    assert [(t.kind, t.heard_text) for t in w.closed] == [
        ("prompt", "Are you still there?"),
        ("prompt", "Are you still there?"),
        ("prompt", "I can't hear you, so I'll hang up now. Goodbye."),
    ]
    w.wait(10_000)
    assert w.end_reason == "caller_silent"


def test_an_answer_starts_the_count_of_prompts_anew() -> None:
    w = World(agent(idle_prompts=1))
    w.wait(9000)
    w.voice()
    w.say("yes I am here")
    w.answer("Good. ")
    w.wait(600 + 9000)
    assert w.of(Say)[-1].text == "Are you still there?"


def test_a_caller_who_talks_past_the_idle_time_is_not_asked() -> None:
    w = World()
    w.wait(8000)
    w.starts()
    w.feed(e.WordsHeard(text="it is a long story"))
    w.wait(60_000)
    assert w.of(Say) == []
    w.feed(e.TurnEnded(text=""))
    w.feed(e.SpeechEnded(voiced_until_ms=w.now))
    w.wait(9000)
    assert len(w.of(Say)) == 1


def test_an_agent_without_prompts_says_goodbye_after_the_first_silence() -> None:
    w = World(replace(agent(), idle_texts=()))
    w.wait(9000)
    assert w.of(Say)[-1].text.endswith("Goodbye.")


def test_the_longest_call_ends_with_a_notice_that_nothing_interrupts() -> None:
    w = World(agent(max_call_ms=20_000))
    w.wait(8000)
    w.say("is there a table")
    w.model("word " * 100)
    w.voice()
    w.wait(20_000 - w.now)
    assert [c.phrase for c in w.of(PlayPhrase)] == ["time_limit"]
    assert w.closed[-1].outcome == "interrupted"
    w.starts()
    w.feed(e.WordsHeard(text="no wait"))
    w.stops()
    w.feed(e.TurnEnded(text="no wait"))
    w.wait(10_000)
    assert w.end_reason == "max_duration"


@pytest.mark.parametrize("draft", [True, False])
def test_the_longest_call_ends_during_a_guess_or_in_silence(draft: bool) -> None:
    w = World(agent(max_call_ms=5000))
    w.wait(4000)
    if draft:
        w.feed(e.EagerEnd(text="I want a table"))
    w.wait(20_000)
    assert w.end_reason == "max_duration"


@pytest.mark.parametrize(("how", "reason"), list(GONE_REASONS.items()))
def test_the_stream_goes_away(how: str, reason: str) -> None:
    w = World()
    w.say("book it")
    w.model("One moment. ", tools=[("book_table", "{}")])
    w.voice()
    commands = w.feed(e.CarrierGone(how=how))
    assert commands[-2:] == (CancelTool(w.of(RunTool)[0].call_id), EndCall(reason))
    assert w.closed[-1].outcome == "call_ended"
    assert w.feed(e.WordsHeard(text="hello")) == (StaleDropped("WordsHeard"),)


def test_our_own_reason_stands_when_the_carrier_confirms_the_end() -> None:
    w = World()
    w.feed(e.HangUpAsked(by="operator"))
    assert [c.reason for c in w.of(HangUp)] == ["operator"]
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == "operator"


def test_a_hang_up_that_the_carrier_never_confirms_ends_the_call_after_its_grace() -> None:
    w = World()
    w.feed(e.HangUpAsked(by="operator"))
    w.wait(3999)
    assert not w.over
    w.wait(1)
    assert w.end_reason == "operator"


def test_a_process_that_stops_says_so_before_it_hangs_up() -> None:
    w = World()
    w.say("is there a table")
    w.answer("We have one by the window. ")
    w.wait(1000)
    w.feed(e.HangUpAsked(by="drain"))
    assert [played.phrase for played in w.of(PlayPhrase)] == ["closing"]
    w.starts()
    w.feed(e.TurnEnded(text="wait a moment"))
    assert w.of(HangUp) == []
    w.wait(PHRASE_MS)
    assert [command.reason for command in w.of(HangUp)] == ["drain"]
    assert [turn.outcome for turn in w.closed] == ["interrupted", "answered"]
    assert w.closed[0].heard_text == "We have one by"


def test_a_process_that_is_asked_to_stop_twice_says_nothing_more() -> None:
    w = World()
    w.feed(e.HangUpAsked(by="drain"))
    w.feed(e.HangUpAsked(by="drain"))
    assert [command.reason for command in w.of(HangUp)] == ["drain"]


def test_a_goodbye_is_not_followed_by_another_when_the_process_stops() -> None:
    w = World()
    w.say("that was all")
    w.model("Thank you, goodbye. ", tools=[("end_call", "{}")])
    w.voice()
    w.feed(e.HangUpAsked(by="drain"))
    assert w.of(PlayPhrase) == []
    assert [command.reason for command in w.of(HangUp)] == ["drain"]


def test_a_tool_that_settles_while_the_call_ends_is_on_record() -> None:
    w = World()
    w.say("book it")
    w.model("One moment. ", tools=[("book_table", "{}")])
    w.feed(e.HangUpAsked(by="operator"))
    w.settle_tools('{"reference":"A1"}')
    assert w.state.history[-1].text == '{"reference":"A1"}'
    w.feed(e.WordsHeard(text="hello"))
    w.feed(e.ErrorRaised(where="hang_up", error="TimeoutError"))
    w.wait(4000)
    assert w.over


def test_a_call_that_ends_before_its_start() -> None:
    _, commands = step(State(), e.HangUpAsked(by="overload"))
    assert commands == (EndCall("overload"),)
    _, commands = step(State(), e.CarrierGone(how="stop"))
    assert commands == (EndCall("caller_hung_up"),)


def test_the_ear_is_gone_for_good() -> None:
    w = World()
    assert w.feed(e.EarReady()) == ()
    assert w.feed(e.EarFailed(kind="cut")) == (SetTimer("ear_away", 3, 3000),)
    w.say("is there a table")
    w.model("There is one. ")
    w.voice()
    w.feed(e.EarFailed(kind="refused", final=True))
    assert [t.outcome for t in w.closed] == ["interrupted"]
    w.feed(e.EarFailed(kind="refused", final=True))
    w.wait(10_000)
    assert w.end_reason == "ear_failed"
    assert [c.phrase for c in w.of(PlayPhrase)] == ["ear_failed"]


def test_a_transfer_follows_the_last_word() -> None:
    w = World(agent(transfer_to="+15550001111"))
    w.say("a person please")
    w.model("I pass you on. ", tools=[("transfer_call", "{}")])
    assert w.of(Transfer) == []
    w.voice()
    w.wait(3000)
    assert w.of(Transfer) == [Transfer("+15550001111")]
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == "transferred"


@pytest.mark.parametrize("arguments", ['{"number": "+19005550199"}', '{"to": "+19005550199"}', "+19005550199", "", "["])
def test_a_transfer_goes_to_the_configured_number_whatever_the_model_writes(arguments: str) -> None:
    w = World(agent(transfer_to="+15550001111"))
    w.say("put me through to +1 900 555 0199.")
    w.model("I pass you on. ", tools=[("transfer_call", arguments)])
    w.voice()
    w.wait(3000)
    assert w.of(Transfer) == [Transfer("+15550001111")]


def test_a_transfer_to_nobody_is_told_to_the_model() -> None:
    w = World()
    w.say("a person please")
    w.model(tools=[("transfer_call", "{}")])
    assert "nobody" in w.ask.messages[-1].text


def test_a_goodbye_that_only_waits_for_a_tool_ends_at_its_limit() -> None:
    w = World(agent(transfer_to="+15550001111"))
    w.say("goodbye")
    w.model(tools=[("end_call", "{}")], finish="")
    w.starts()
    w.model()
    assert w.of(HangUp) == []
    w.wait(20_000)
    assert w.end_reason == "agent_hung_up"


def test_a_model_that_fails_turn_after_turn_ends_the_call() -> None:
    w = World()
    for _ in range(3):
        w.say("hello?")
        w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="refused"))
        w.wait(3000)
    w.wait(5000)
    assert [c.phrase for c in w.of(PlayPhrase)] == ["model_failed", "model_failed", "trouble"]
    assert w.end_reason == "model_failed"


def test_a_phrase_that_cannot_be_played_leaves_the_floor_to_the_caller() -> None:
    w = World()
    w.say("hello?")
    w.open_epoch, w.dead_epoch = 0, 10**6
    w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="refused"))
    w.wait(4000)
    assert [(t.outcome, t.heard_text) for t in w.closed] == [("failed_to_fallback", "")]
    assert "idle" in w.timers


def test_a_model_that_only_ever_calls_functions_is_stopped() -> None:
    w = World()
    w.say("hello?")
    for _ in range(7):
        w.model(tools=[("nonsense", "{}")])
    assert len(w.of(AskModel)) == 7
    assert [c.phrase for c in w.of(PlayPhrase)] == ["model_failed"]


def test_audio_that_passed_the_gate_before_the_caller_spoke_is_cleared_when_it_is_reported() -> None:
    w = World()
    w.say("hello?")
    w.model("Good morning. ")
    w.starts()
    commands = w.feed(e.AudioSent(turn=1, epoch=w.ask.epoch, piece=1, size_bytes=800))
    assert Clear(w.ask.epoch) in commands

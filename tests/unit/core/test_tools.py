"""Function calls: when they run, how they settle, what the model is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core import events as e
from calls.core.commands import AskModel, CancelTool, HangUp, PlayTones, RunTool, Say
from calls.core.policy import ToolSpec
from calls.core.replies import SETTLE_MS
from tests.unit.core.world import World, agent


def results(w: World) -> dict[str, str]:
    """What the latest request says of each call."""
    return {message.call_id: message.text for message in w.ask.messages if message.call_id}


def test_a_tool_that_never_settles_is_given_up_and_the_model_told() -> None:
    w = World(agent(filler_ms=0))
    w.say("what time is it")
    w.model(tools=[("lookup", "{}")])
    w.wait(9000)
    run = w.of(RunTool)[0]
    assert [c.call_id for c in w.of(CancelTool)] == [run.call_id]
    assert "took too long" in results(w)[run.call_id]
    asked = len(w.of(AskModel))
    w.feed(e.ToolSettled(call_id=run.call_id, outcome="cancelled", output="late"))
    w.answer("I cannot say. ")
    w.wait(5000)
    assert len(w.of(AskModel)) == asked
    assert w.closed[-1].outcome == "answered"
    assert "took too long" in str(w.state.history)


def test_an_end_of_call_that_waits_for_a_tool_that_never_settles_is_given_up_with_it() -> None:
    w = World(agent(filler_ms=0))
    w.say("what time is it")
    w.model(tools=[("lookup", "{}"), ("end_call", "{}")])
    w.wait(9000)
    assert [c.call_id for c in w.of(CancelTool)] == [w.of(RunTool)[0].call_id]
    assert [text for text in results(w).values() if "could not be started" in text]
    w.answer("I cannot say. ")
    w.wait(5000)
    assert w.of(HangUp) == []


def test_each_function_has_its_own_time() -> None:
    quick, slow = ToolSpec("quick", "", "{}", timeout_ms=300), ToolSpec("slow", "", "{}", timeout_ms=20_000)
    w = World(replace(agent(filler_ms=0), tools=(quick, slow)))
    w.say("what time is it")
    w.model(tools=[("slow", "{}"), ("quick", "{}")])
    assert [(run.name, run.timeout_ms) for run in w.of(RunTool)] == [("slow", 20_000), ("quick", 300)]
    w.wait(20_000 + SETTLE_MS - 1)
    assert w.of(CancelTool) == []
    w.wait(1)
    assert len(w.of(CancelTool)) == 2


def test_a_call_that_was_cancelled_before_its_start_never_runs() -> None:
    w = World()
    w.say("book it")
    w.starts()
    ask = w.ask
    w.feed(e.ModelToolCall(turn=ask.turn, epoch=ask.epoch, call_id="c1", name="pay", arguments="{}"))
    w.feed(e.ModelFailed(turn=ask.turn, epoch=ask.epoch, kind="cut"))
    w.stops()
    w.wait(30_000)
    assert w.of(RunTool) == []
    assert [t.outcome for t in w.closed if t.kind == "answer"] == ["failed_to_fallback"]
    assert "could not be started" in str(w.state.history)
    assert w.closed[0].closed_ms < 6000


def test_a_wordless_end_of_call_waits_for_a_caller_who_still_speaks() -> None:
    w = World()
    w.starts()
    w.feed(e.TurnEnded(text="that is all"))
    w.model(tools=[("end_call", "{}")])
    assert w.of(HangUp) == []
    w.wait(1000)
    assert w.of(HangUp) == []
    w.stops()
    w.wait(1500)
    assert [c.reason for c in w.of(HangUp)] == ["agent_hung_up"]


def test_what_cannot_be_undone_waits_for_a_caller_who_still_speaks() -> None:
    w = World()
    w.starts()
    w.feed(e.TurnEnded(text="pay it"))
    w.model(tools=[("pay", "{}")])
    assert w.of(RunTool) == []
    w.stops()
    assert [c.name for c in w.of(RunTool)] == ["pay"]


def test_the_result_of_a_call_that_text_followed_is_told_too() -> None:
    w = World()
    w.say("is there a table")
    w.model(tools=[("lookup", "{}")], finish="")
    w.model("One moment. ")
    w.settle_tools('{"free":true}')
    assert list(results(w).values()) == ['{"free":true}']


def test_calls_that_a_server_gives_the_same_id_stay_apart() -> None:
    w = World()
    for _ in range(2):
        w.say("book it")
        for _ in range(2):
            ask = w.ask
            w.feed(
                e.ModelToolCall(
                    turn=ask.turn, epoch=ask.epoch, call_id="call_0", name="book_table", arguments=f'{{"n":{w.now}}}'
                )
            )
            w.feed(e.ModelFinished(turn=ask.turn, epoch=ask.epoch, reason="tool_calls"))
            w.settle_tools()
            w.wait(10)
        w.answer("Done. ")
        w.wait(5000)
    runs = w.of(RunTool)
    assert len({run.key for run in runs}) == len({run.call_id for run in runs}) == 4
    assert set(results(w)) <= {run.call_id for run in runs}


def test_a_call_of_a_stopped_reply_keeps_its_id_apart_from_a_guess() -> None:
    w = World()
    w.say("is there a table")
    ask = w.ask
    w.model("One moment please. ", finish="")
    w.feed(e.ModelToolCall(turn=ask.turn, epoch=ask.epoch, call_id="a", name="lookup", arguments="{}"))
    w.voice()
    w.starts()
    w.settle_tools()
    w.feed(e.EagerEnd(text="no, stop"))
    w.feed(e.ModelToolCall(turn=w.ask.turn, epoch=w.ask.epoch, call_id="a", name="lookup", arguments="{}"))
    assert [run.call_id for run in w.of(RunTool)] == ["a", "a-2"]


@pytest.mark.parametrize("finish", [True, False], ids=["says nothing", "fails"])
def test_a_model_without_a_word_after_a_result_does_not_leave_the_caller_waiting(finish: bool) -> None:
    w = World()
    w.say("is there a table")
    w.model("One moment please. ", tools=[("lookup", "{}")])
    w.settle_tools()
    if finish:
        w.model()
    else:
        w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="cut"))
    w.voice()
    w.wait(20_000)
    assert len(w.of(AskModel)) == 2
    assert w.closed[0].heard_text.endswith("Could you say that again, please?")
    assert w.closed[0].outcome == "failed_to_fallback"


def test_a_reply_that_ends_the_call_is_not_continued_with_another_functions_result() -> None:
    w = World()
    w.say("look it up and goodbye")
    w.model("Goodbye. ", tools=[("lookup", "{}"), ("end_call", "{}")])
    w.settle_tools()
    w.stops()
    assert len(w.of(AskModel)) == 1


# --- a slow function is bridged -------------------------------------------------------------------------------------


def test_a_slow_function_is_bridged_by_a_few_words_once() -> None:
    w = World()
    w.say("is there a table")
    w.model(tools=[("lookup", "{}")])
    w.wait(2600)
    assert [say.text for say in w.of(Say)] == ["One moment, please. "]
    w.voice()
    w.wait(5000)
    assert len(w.of(Say)) == 1
    w.settle_tools()
    assert [m.text for m in w.ask.messages if m.role == "assistant"] == ["One moment, please.", ""]
    w.answer("There is one at eight. ")
    w.wait(5000)
    assert w.closed[-1].heard_text == "One moment, please. There is one at eight."
    assert [word.text for word in w.closed[-1].words if word.state == "heard"] == w.closed[-1].heard_text.split()


def test_a_function_that_answers_in_time_is_not_bridged() -> None:
    w = World(agent(patience_ms=0))
    w.say("is there a table")
    w.model(tools=[("lookup", "{}")])
    w.wait(1000)
    w.settle_tools()
    w.wait(2500)
    assert w.of(Say) == []


def test_the_filler_waits_for_what_is_being_said_already() -> None:
    w = World()
    w.say("is there a table")
    w.model("Let me look that up for you in the big book. ", tools=[("lookup", "{}")])
    w.voice()
    w.wait(2600)
    assert len(w.of(Say)) == 1
    w.wait(3000)
    assert [say.text for say in w.of(Say)][1:] == ["One moment, please. "]


def test_a_second_round_of_functions_has_a_filler_of_its_own() -> None:
    w = World()
    w.say("is there a table")
    for _ in range(2):
        w.model(tools=[("lookup", "{}")])
        w.wait(2600)
        w.voice()
        w.wait(2000)
        w.settle_tools()
    assert [say.text.strip() for say in w.of(Say)] == ["One moment, please."] * 2


def test_a_guess_is_not_bridged_before_its_turn_is_sure() -> None:
    w = World()
    w.starts()
    w.feed(e.EagerEnd(text="is there a table"))
    w.stops()
    w.model(tools=[("lookup", "{}")])
    w.wait(2600)
    assert w.of(Say) == []
    w.feed(e.TurnEnded(text="is there a table"))
    w.wait(2600)
    assert [say.text for say in w.of(Say)] == ["One moment, please. "]


def test_no_filler_is_said_where_it_is_switched_off() -> None:
    w = World(agent(filler_ms=0))
    w.say("is there a table")
    w.model(tools=[("lookup", "{}")])
    w.wait(7000)
    assert w.of(Say) == []


# --- keys -----------------------------------------------------------------------------------------------------------


def pressing(arguments: str, text: str = "I press it for you. ", more: tuple[str, ...] = ()) -> World:
    w = World()
    w.say("press one")
    w.model(*([text] if text else []), tools=[("send_dtmf", arguments), *((name, "{}") for name in more)])
    if text:
        w.voice()
    return w


def test_keys_are_sent_once_the_words_before_them_were_heard() -> None:
    w = pressing('{"digits":"1w#"}')
    assert w.of(PlayTones) == []
    w.wait(5000)
    assert [tones.digits for tones in w.of(PlayTones)] == ["1w#"]
    assert w.closed[-1].outcome == "answered"
    assert results(w) == {}
    w.say("thanks")
    assert list(results(w).values()) == ['{"status":"done"}']


def test_keys_alone_are_a_reply() -> None:
    w = pressing('{"digits":"5"}', text="")
    w.wait(3000)
    assert len(w.of(PlayTones)) == 1
    assert w.closed[-1].outcome == "answered"


def test_a_call_that_ends_after_keys_ends_after_their_tones() -> None:
    w = pressing('{"digits":"1"}', more=("end_call",))
    while not w.of(PlayTones):
        w.wait(20)
    assert w.of(HangUp) == []
    w.wait(1000)
    assert [c.reason for c in w.of(HangUp)] == ["agent_hung_up"]


def test_keys_of_an_interrupted_reply_are_never_sent() -> None:
    w = pressing('{"digits":"1"}')
    w.wait(200)
    w.say("no, wait")
    w.answer("As you like. ")
    w.wait(9000)
    assert w.of(PlayTones) == []
    assert "interrupted" in str(w.state.history)


@pytest.mark.parametrize("arguments", ["{}", "", "[]", "null", '{"digits":1}', '{"digits":"12a"}', '{"digits":""}'])
def test_keys_that_no_telephone_has_are_refused_and_the_model_told(arguments: str) -> None:
    w = pressing(arguments)
    assert ["digits must be" in text for text in results(w).values()] == [True]
    w.answer("I could not. ")
    w.wait(9000)
    assert w.of(PlayTones) == []

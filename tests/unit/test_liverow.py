"""A call's row on the live board, and what makes it one to look at: from steps alone, on the call's own clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from calls.attention import BARGE_INS_MS, ERROR_MS, LONG_MS, RULES
from calls.core import events as e
from calls.core.commands import RunTool
from calls.core.operating import GRACE
from calls.liverow import Identity, LiveRow
from tests.app.records.conversation import PROFILE, Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calls.bus import StepTaken


def row_of(steps: Iterable[StepTaken]) -> LiveRow:
    """The row after these steps."""
    row = LiveRow(Identity("CA0", "+15550001111", "+15005550006", "Bella Vista", "gpt-6-luna", 1_795_000_000_000))
    for step in steps:
        row.take(step)
    return row


def facts_at(talk: Conversation, after_ms: int = 0) -> dict[str, Any]:
    """What the board shows ``after_ms`` after the last step."""
    return row_of(talk.steps).facts(talk.wall_ms + talk.now + after_ms)


def signals_at(talk: Conversation, after_ms: int = 0) -> dict[str, Any]:
    return {kind: value for kind, value, _ in facts_at(talk, after_ms)["signals"]}


def reasons_at(talk: Conversation, after_ms: int = 0) -> list[str]:
    return [kind for kind, _, counts in facts_at(talk, after_ms)["signals"] if counts]


def greeted() -> Conversation:
    talk = Conversation()
    talk.begin()
    talk.agent_speaks()
    return talk


def test_states_follow_the_core_and_are_kept_for_a_minute() -> None:
    talk = booked_table()
    row = row_of(talk.steps)
    facts = row.facts(talk.wall_ms + talk.now)
    letters = "".join(letter for _, letter in facts["ribbon"])
    assert letters == "CTSLTSLTSLTSLTSE·"
    changes = [(step.event.at_ms, step.state.mode.value[0]) for step in talk.steps]
    assert all(tuple(moved) in changes for moved in facts["ribbon"] if moved[1] in "TSL")
    later = [moved_ms for moved_ms, _ in row_of(talk.steps[:-1]).facts(talk.wall_ms + 70_000)["ribbon"]]
    assert later[0] <= 10_000 < later[1]  # what was so a minute ago, and what has changed since


def test_words_are_the_callers_as_they_come_and_the_assistants_as_far_as_they_were_heard() -> None:
    talk = greeted()
    talk.caller_says("Is the terrace open?")
    said = [row_of(talk.steps[:count]).facts(0) for count in range(1, len(talk.steps) + 1)]
    shown = [(facts["who"], facts["words"]) for facts in said if facts["interim"]]
    assert shown[0] == ("caller", "Is") and shown[-1] == ("caller", "Is the terrace open?")
    talk.model_says("The terrace is open until ten.")
    talk.agent_speaks(words=3)
    facts = facts_at(talk)
    assert (facts["who"], facts["words"], facts["interim"]) == ("assistant", "The terrace is", False)
    talk.post(e.SpeechStarted(voiced_at_ms=talk.now))  # stopped: what was heard stays
    assert facts_at(talk)["words"] == "The terrace is"


def test_the_answers_time_is_known_at_its_first_sound_and_set_against_the_calls_own_median() -> None:
    talk = booked_table()
    facts = facts_at(talk)
    row = row_of(talk.steps)
    assert (facts["answer_ms"], facts["median_ms"], facts["answers"]) == (720, 1120, 4)
    assert row.latencies_ms == [720, 1390, 1120, 720]  # as the archive will have them


def test_an_apology_is_no_answer() -> None:
    talk = greeted()
    talk.caller_says("Hello?")
    talk.now += 400
    talk.post(e.ModelFailed(turn=1, epoch=talk.state.epoch, kind="server"))
    facts = facts_at(talk)
    assert facts["answer_ms"] is None
    assert reasons_at(talk)[0] == "error"
    assert signals_at(talk)["error"] == "model:server"
    assert row_of(talk.steps).failures[0].cause == "model:server"


def test_barge_ins_are_counted_and_become_a_reason_when_they_repeat() -> None:
    talk = greeted()
    talk.now += 500
    for count in range(1, 4):
        talk.caller_says("What about Sunday?")
        talk.model_says(f"Sunday number {count} is fine, and so is the day after it, if you like.")
        talk.agent_speaks(words=4)
        talk.post(e.SpeechStarted(voiced_at_ms=talk.now))
        assert signals_at(talk)["barge_in"] == count
        assert ("barge_in" in reasons_at(talk)) == (count == 3)
    facts = facts_at(talk)
    assert len(facts["cuts"]) == 3
    assert "barge_in" not in reasons_at(talk, BARGE_INS_MS + 1)
    assert signals_at(talk, BARGE_INS_MS + 1)["barge_in"] == 3


def test_silence_counts_from_the_last_sound_of_either_and_ends_with_a_voice() -> None:
    talk = greeted()
    assert "silence" not in signals_at(talk, 4_900)
    assert signals_at(talk, 8_100)["silence"] == 8
    assert reasons_at(talk, 8_100) == ["silence"]
    talk.now += 9_000
    talk.post(e.SpeechStarted(voiced_at_ms=talk.now))
    assert "silence" not in signals_at(talk)


def test_a_slow_answer_a_long_call_and_a_recogniser_that_is_away() -> None:
    talk = greeted()
    talk.caller_says("Hello?")
    talk.model_says("Good evening to you.", wait_ms=1_900)
    talk.agent_speaks()
    assert signals_at(talk)["slow"] == 2310
    assert "long" not in signals_at(talk) and signals_at(talk, LONG_MS)["long"] == 15
    talk.post(e.EarFailed(kind="cut"))
    assert signals_at(talk, ERROR_MS * 2)["error"] == "ear:cut"  # as long as nobody listens
    talk.post(e.EarReady())
    assert "error" in signals_at(talk) and "error" not in signals_at(talk, ERROR_MS * 2)


def test_the_same_reply_twice_is_told() -> None:
    talk = greeted()
    for _ in range(2):
        talk.caller_says("What did you say?")
        talk.model_says("We are open from noon to ten on every day.")
        talk.agent_speaks()
    assert signals_at(talk)["repeated"] == 1
    assert "repeated" not in reasons_at(talk)


def test_memory_counts_what_the_prompt_was_shown_and_what_was_kept() -> None:
    talk = greeted()
    items = (
        e.Recalled("1", "L2", "fact", "Likes the terrace"),
        e.Recalled("2", "L2", "fact", "Has a dog", in_prompt=False, why_not="budget"),
    )
    for _ in range(2):
        talk.post(e.MemoryRecalled(turn=1, epoch=1, outcome="full", took_ms=4, items=items))
    step = talk.steps[-1]
    run = RunTool(turn=1, call_id="c1", name="remember", arguments="{}", key="k", timeout_ms=1000)
    row = row_of([*talk.steps, replace(step, commands=(run,))])
    row.take(replace(step, event=e.ToolSettled(call_id="c1", outcome="ok", output="{}"), commands=()))
    facts = row.facts(talk.wall_ms + talk.now)
    assert (facts["recalled"], facts["written"]) == (1, 1)


def test_a_second_model_is_told() -> None:
    talk = greeted()
    row = row_of(talk.steps)
    row.take(replace(talk.steps[-1], event=e.ModelFinished(turn=1, epoch=1, reason="stop", model="gpt-6-luna")))
    assert ["fallback", "model", False] not in row.facts(0)["signals"]
    row.take(replace(talk.steps[-1], event=e.ModelFinished(turn=1, epoch=1, reason="stop", model="other")))
    assert ["fallback", "model", False] in row.facts(0)["signals"]


@pytest.mark.parametrize(("reason", "state"), [("caller_hung_up", "ended"), ("model_failed", "failed")])
def test_a_call_ends_once_by_its_steps_or_without_them(reason: str, state: str) -> None:
    talk = greeted()
    row = row_of(talk.steps)
    row.end(reason, talk.wall_ms + 5_000)
    row.end("internal_error", talk.wall_ms + 9_000)
    facts = row.facts(talk.wall_ms + 99_000)
    assert (facts["state"], facts["reason"], facts["ended_at"]) == (state, reason, talk.wall_ms + 5_000)
    assert (facts["score"] > 0) == (state == "failed")
    assert facts == row.facts(talk.wall_ms + 199_000)  # nothing of it ages


def test_each_rule_outweighs_all_that_follow() -> None:
    weights = [rule.weight for rule in RULES]
    assert all(weight > sum(weights[place + 1 :]) for place, weight in enumerate(weights) if weight)


def test_a_row_is_plain_json_however_long_and_odd_its_words_are() -> None:
    talk = Conversation(profile=replace(PROFILE, name="<script>alert(1)</script>"))
    talk.begin()
    talk.post(e.WordsHeard(text="<b>‮x</b> " * 1_000 + "the end"))
    facts = facts_at(talk)
    assert facts["words"].endswith("the end") and len(facts["words"]) <= 161
    assert orjson.loads(orjson.dumps(facts)) == facts


def test_operators_are_named_with_what_they_do_and_the_state_is_theirs() -> None:
    talk = greeted()
    talk.post(e.OperatorListening(by="ana", on=True))
    talk.post(e.OperatorListening(by="bo", on=True))
    assert facts_at(talk)["operators"] == [["ana", "listening"], ["bo", "listening"]]
    talk.post(e.OperatorTookOver(key="k1", by="ana"))
    facts = facts_at(talk)
    assert (facts["state"], facts["ribbon"][-1][1]) == ("operator", "O")
    assert facts["operators"] == [["ana", "speaking"], ["bo", "listening"]]
    talk.post(e.OperatorHandedBack(key="k2", by="ana", summary="Promised a table."))
    talk.post(e.OperatorListening(by="bo", on=False))
    facts = facts_at(talk)
    assert facts["operators"] == [["ana", "listening"]] and facts["state"] != "operator"


def test_an_operator_who_did_not_come_back_is_named_no_more() -> None:
    talk = greeted()
    talk.post(e.OperatorTookOver(key="k1", by="ana"))
    talk.post(e.OperatorConnected(by="ana", on=False))
    assert facts_at(talk)["operators"] == [["ana", "speaking"]]
    (grace,) = (timer for timer in talk.state.timers if timer.name == GRACE)
    talk.now = grace.due_ms
    talk.post(e.TimerFired(timer=GRACE, key=grace.key))
    facts = facts_at(talk)
    assert facts["operators"] == [] and facts["state"] != "operator"

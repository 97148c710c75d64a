"""What the caller hears when a vendor fails, and what the record says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core import events as e
from calls.core.commands import HangUp, PlayPhrase, Transfer
from tests.unit.core.world import World, agent

COLLEAGUE = "+15550001111"


def phrases(w: World) -> list[str]:
    return [command.phrase for command in w.of(PlayPhrase)]


def model_fails(w: World, kind: str = "server", *, retryable: bool = False) -> None:
    w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind=kind, retryable=retryable))


# --- the ear ----------------------------------------------------------------------------------------------------------


def test_an_ear_that_comes_back_in_time_is_not_noticed() -> None:
    w = World()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(2900)
    w.feed(e.EarFailed(kind="refused"))
    w.wait(99)
    w.feed(e.EarReady())
    assert "ear_away" not in w.timers
    w.wait(5000)
    assert phrases(w) == []


def test_an_ear_that_stays_away_is_told_once() -> None:
    w = World()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(1000)
    w.feed(e.EarFailed(kind="refused"))
    w.wait(1999)
    assert phrases(w) == []
    w.wait(1)
    assert phrases(w) == ["ear_moment"]
    w.feed(e.EarFailed(kind="timeout"))
    w.wait(8000)
    assert phrases(w) == ["ear_moment"]
    (turn,) = w.closed
    assert (turn.kind, turn.outcome, turn.causes) == ("notice", "answered", ("ear:refused",))
    w.feed(e.EarReady())
    w.say("hello?")
    w.answer("Here I am. ")
    w.wait(5000)
    assert w.closed[-1].heard_text == "Here I am."


def test_each_outage_is_told() -> None:
    w = World()
    for _ in range(2):
        w.feed(e.EarFailed(kind="cut"))
        w.wait(5500)
        w.feed(e.EarReady())
    assert phrases(w) == ["ear_moment"] * 2


def test_a_caller_who_wants_no_such_notice_gets_none() -> None:
    w = World(agent(ear_away_ms=0))
    w.feed(e.EarFailed(kind="cut"))
    w.wait(20_000)
    assert phrases(w) == []


def test_who_is_being_answered_is_told_afterwards() -> None:
    w = World()
    w.say("is there a table")
    w.feed(e.EarFailed(kind="cut"))
    w.wait(2000)
    w.answer("There is one at noon, and another at eight, and one at nine. ")
    ends_ms = w.plays_until
    w.wait(ends_ms - w.now)
    assert phrases(w) == []
    w.wait(300)
    assert phrases(w) == ["ear_moment"]
    assert [turn.outcome for turn in w.closed] == ["answered"]


def test_who_speaks_is_told_when_they_stop() -> None:
    w = World()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(2000)
    w.starts()
    w.wait(3000)
    assert phrases(w) == []
    w.stops()
    w.wait(300)
    assert phrases(w) == ["ear_moment"]


def test_a_television_does_not_keep_it_from_being_told() -> None:
    w = World()
    w.starts()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(7900)
    assert phrases(w) == []
    w.wait(400)
    assert phrases(w) == ["ear_moment"]


def test_a_stopped_reply_is_judged_first() -> None:
    w = World()
    w.say("is there a table")
    w.answer("There is one at noon, and another at eight, and one at nine. ")
    w.feed(e.EarFailed(kind="cut"))
    w.wait(2500)
    w.starts()
    w.wait(1000)
    assert w.state.cut is not None
    assert phrases(w) == []


def test_what_was_heard_before_is_answered_after_the_notice() -> None:
    w = World()
    w.starts()
    w.feed(e.WordsHeard(text="is there a table"))
    w.stops()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(4000)
    assert phrases(w) == ["ear_moment"]
    w.feed(e.EarReady())
    w.feed(e.TurnEnded(text="is there a table"))
    w.wait(3000)
    w.answer("There is one. ")
    w.wait(3000)
    assert [turn.user_text for turn in w.closed] == ["", "is there a table"]


def test_nobody_is_asked_whether_they_are_there_while_nobody_listens() -> None:
    w = World()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(20_000)
    assert [turn.kind for turn in w.closed] == ["notice"]
    w.feed(e.EarReady())
    w.wait(9000)
    w.voice()
    w.wait(5000)
    assert [turn.kind for turn in w.closed] == ["notice", "prompt"]


def test_an_ear_that_stays_away_for_as_long_as_a_silent_caller_is_gone() -> None:
    w = World()
    w.feed(e.EarFailed(kind="cut"))
    w.wait(3000 + 2000 + 3 * 9000)
    assert phrases(w) == ["ear_moment", "ear_failed"]
    w.wait(7000)
    assert w.end_reason == "ear_failed"


def test_an_ear_that_is_gone_for_good_passes_the_call_on() -> None:
    w = World(agent(transfer_to=COLLEAGUE))
    w.feed(e.EarFailed(kind="cut"))
    w.feed(e.EarFailed(kind="refused", final=True))
    assert "ear_away" not in w.timers
    w.wait(2000)
    assert (phrases(w), w.of(Transfer)) == (["handover"], [Transfer(COLLEAGUE)])
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == "handed_over"
    assert [turn.causes for turn in w.closed] == [("ear:refused",)]


def test_an_ear_that_is_gone_for_good_ends_a_call_that_nobody_takes() -> None:
    w = World()
    w.feed(e.EarFailed(kind="auth", final=True))
    w.wait(7000)
    assert (phrases(w), w.of(HangUp)) == (["ear_failed"], [HangUp("ear_failed")])
    assert w.end_reason == "ear_failed"
    assert [turn.causes for turn in w.closed] == [("ear:auth",)]


def test_a_last_sentence_about_the_ear_has_its_limit() -> None:
    w = World()
    w.feed(e.EarFailed(kind="auth", final=True))
    w.queue.clear()
    assert "goodbye" in w.timers


# --- failure after failure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transfer_to", "phrase", "reason"), [("", "trouble", "model_failed"), (COLLEAGUE, "handover", "handed_over")]
)
def test_the_third_failure_in_a_row_ends_the_call_or_passes_it_on(transfer_to: str, phrase: str, reason: str) -> None:
    w = World(agent(transfer_to=transfer_to))
    for _ in range(3):
        w.say("hello?")
        model_fails(w)
        w.wait(3000)
    assert phrases(w) == ["model_failed", "model_failed", phrase]
    assert (w.of(Transfer) == [Transfer(COLLEAGUE)]) is bool(transfer_to)
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == reason
    assert [turn.causes for turn in w.closed] == [("model:server",)] * 3


def test_who_is_passed_on_anyway_is_told_so_though_all_fails() -> None:
    w = World(agent(transfer_to=COLLEAGUE))
    for _ in range(2):
        w.say("hello?")
        model_fails(w)
        w.wait(3000)
    w.say("a person please")
    w.model("I pass you on. ", tools=[("transfer_call", "{}")])
    for _ in range(2):
        w.feed(e.VoiceFailed(turn=w.state.turn, epoch=w.state.epoch, kind="cut"))
    w.wait(3000)
    assert phrases(w)[-1] == "handover"
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == "transferred"
    assert w.closed[-1].causes == ("voice:cut", "voice:cut")


# --- who failed, and how ----------------------------------------------------------------------------------------------


def test_a_model_that_says_nothing_is_on_record() -> None:
    w = World()
    w.say("hello?")
    w.model()
    w.wait(3000)
    assert w.closed[-1].causes == ("model:empty",)


def test_an_overdue_model_is_on_record() -> None:
    w = World()
    w.say("hello?")
    w.wait(9000)
    assert (w.closed[-1].outcome, w.closed[-1].causes) == ("failed_to_fallback", ("model:overdue",))


def test_an_overdue_voice_is_on_record() -> None:
    w = World()
    w.say("hello?")
    w.model("We open at noon. ")
    w.wait(9000)
    assert (w.closed[-1].outcome, w.closed[-1].causes) == ("failed_to_fallback", ("voice:overdue", "voice:overdue"))


def test_a_voice_without_a_sound_is_on_record_though_it_was_mended() -> None:
    w = World()
    w.say("hello?")
    w.model("We open at noon. ")
    w.finish_voice(w.ask.turn, w.ask.epoch)
    w.voice()
    w.wait(3000)
    assert (w.closed[-1].outcome, w.closed[-1].causes) == ("answered", ("voice:empty",))


def test_a_carrier_that_gives_no_marks_back_is_on_record() -> None:
    w = World()
    w.say("hello?")
    w.answer("We open at noon. ")
    w.lose_marks()
    w.wait(9000)
    assert (w.closed[-1].outcome, w.closed[-1].causes) == ("answered", ("carrier:mark_lost",))


def test_an_overdue_function_is_on_record() -> None:
    w = World(replace(agent(filler_ms=0)))
    w.say("look it up")
    w.model(tools=[("lookup", "{}")])
    w.wait(20_000)
    assert w.closed[-1].causes[0] == "tool:overdue"


def test_a_model_that_only_calls_functions_is_on_record() -> None:
    w = World()
    w.say("look it up")
    for _ in range(7):
        w.model(tools=[("lookup", "{}")])
        w.settle_tools()
    w.wait(9000)
    assert w.closed[-1].causes == ("model:too_many_calls",)

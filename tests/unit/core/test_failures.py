"""What the caller hears when a vendor fails, and what the record says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core import events as e
from calls.core.commands import AskModel, HangUp, PlayPhrase, Say, StaleDropped, Transfer
from calls.core.history import CONTINUE_NOTE
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
    w.wait(2600)
    w.voice()
    w.wait(6000)
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


# --- a stream that is cut ---------------------------------------------------------------------------------------------


def say_and_cut(w: World, *texts: str, kind: str = "cut", retryable: bool = True) -> None:
    """The caller says something; the answer begins and its stream is cut."""
    w.say("is there a table")
    w.model(*texts, finish="")
    model_fails(w, kind, retryable=retryable)


def said(w: World) -> str:
    return "".join(command.text for command in w.of(Say))


def test_a_cut_stream_goes_on_inside_the_turn() -> None:
    w = World()
    say_and_cut(w, "There is one at noon, and ano")
    assert said(w) == "There is one at noon, and "
    assert [message.text for message in w.ask.messages[-3:-1]] == ["is there a table", "There is one at noon, and"]
    assert w.ask.messages[-1].text == CONTINUE_NOTE
    assert (w.ask.turn, w.ask.epoch) == (w.of(AskModel)[0].turn, w.of(AskModel)[0].epoch)
    w.model("another at eight. ")
    w.voice()
    w.wait(9000)
    (turn,) = w.closed
    assert (turn.outcome, turn.heard_text) == ("answered", "There is one at noon, and another at eight.")
    assert turn.causes == ("model:cut",)
    assert w.state.failures == 0


def test_the_words_of_both_requests_do_not_weld_together() -> None:
    w = World()
    say_and_cut(w, "There is one.")
    w.model("At noon. ")
    assert said(w) == "There is one. At noon. "


def test_half_of_a_first_word_is_asked_for_afresh() -> None:
    w = World()
    say_and_cut(w, "Cert")
    assert w.ask.messages[-1].text == "is there a table"
    w.model("Certainly. ")
    assert said(w) == "Certainly. "


def test_a_voice_that_has_half_a_word_keeps_it() -> None:
    w = World(agent(chunking="words"))
    say_and_cut(w, "Cert")
    assert said(w) == "Cert"
    assert w.ask.messages[-2].text == "Cert"


def test_the_rest_is_asked_for_once() -> None:
    w = World()
    say_and_cut(w, "There is one at noon, and ")
    w.model("another at eight. ", finish="")
    model_fails(w, retryable=True)
    assert len(w.of(AskModel)) == 2
    w.voice()
    w.wait(9000)
    (turn,) = w.closed
    assert turn.heard_text == "There is one at noon, and another at eight."
    assert (turn.outcome, turn.causes) == ("failed_to_fallback", ("model:cut", "model:server"))


APOLOGY = "I'm sorry, I lost my train of thought. Could you say that again, please?"


def test_an_answer_that_breaks_off_in_a_sentence_ends_with_an_apology() -> None:
    w = World()
    say_and_cut(w, "There is one at noon, and ")
    w.model("another at eig", finish="")
    model_fails(w)
    w.voice()
    w.wait(9000)
    (turn,) = w.closed
    assert turn.heard_text == f"There is one at noon, and another at {APOLOGY}"
    assert turn.outcome == "failed_to_fallback"


def test_who_was_asked_for_a_moment_and_gets_nothing_is_told() -> None:
    w = World()
    say_and_cut(w, "There is one at noon. ")
    w.voice()
    w.wait(4000)
    assert said(w).endswith("One moment, please. ")
    model_fails(w)
    w.voice()
    w.wait(9000)
    assert w.closed[0].heard_text == f"There is one at noon. One moment, please. {APOLOGY}"


def test_what_no_other_request_can_mend_is_not_asked_again() -> None:
    w = World()
    say_and_cut(w, "There is one at noon. ", kind="quota", retryable=False)
    assert len(w.of(AskModel)) == 1
    w.voice()
    w.wait(5000)
    assert (w.closed[0].outcome, w.closed[0].heard_text) == ("failed_to_fallback", "There is one at noon.")


def test_a_request_that_gave_nothing_is_not_asked_again_here() -> None:
    w = World()
    w.say("is there a table")
    model_fails(w, retryable=True)
    assert (len(w.of(AskModel)), phrases(w)) == (1, ["model_failed"])


def test_a_guess_that_is_cut_is_a_guess_less() -> None:
    w = World()
    w.starts()
    w.feed(e.EagerEnd(text="is there a table"))
    w.model("There is one. ", finish="")
    model_fails(w, retryable=True)
    assert w.state.reply is None
    w.feed(e.TurnEnded(text="is there a table"))
    assert len(w.of(AskModel)) == 2


def test_a_cut_stream_that_had_called_a_function_goes_on_with_its_result() -> None:
    w = World()
    w.say("is there a table")
    w.feed(e.ModelText(turn=w.ask.turn, epoch=w.ask.epoch, text="Let me see. "))
    w.feed(e.ModelToolCall(turn=w.ask.turn, epoch=w.ask.epoch, call_id="c1", name="lookup", arguments="{}"))
    model_fails(w, "cut", retryable=True)
    assert len(w.of(AskModel)) == 1
    w.settle_tools()
    assert w.ask.messages[-1].role == "tool"
    w.model("There is one. ")
    w.voice()
    w.wait(5000)
    assert (w.closed[0].outcome, w.closed[0].heard_text) == ("answered", "Let me see. There is one.")


def test_a_caller_who_interrupts_the_switch_is_answered() -> None:
    w = World()
    say_and_cut(w, "There is one at noon, and another ")
    w.voice(finish=False)
    w.wait(500)
    late = w.ask
    w.starts()
    w.feed(e.WordsHeard(text="for two please"))
    w.feed(e.ModelText(turn=late.turn, epoch=late.epoch, text="late words"))
    w.stops()
    w.feed(e.TurnEnded(text="for two please"))
    w.answer("For two, then. ")
    w.wait(5000)
    assert [(turn.outcome, turn.user_text) for turn in w.closed] == [
        ("interrupted", "is there a table"),
        ("answered", "for two please"),
    ]
    assert "late" not in said(w)


def test_a_cut_stream_of_a_failed_voice_is_taken_up_with_the_new_voice() -> None:
    w = World()
    w.say("is there a table")
    w.model("There is one at noon. And ", finish="")
    w.voice(finish=False, words=2)
    w.feed(e.VoiceFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="cut"))
    model_fails(w, retryable=True)
    w.wait(2000)
    assert len(w.of(AskModel)) == 3
    w.model("another at eight. ")
    w.voice()
    w.wait(9000)
    assert w.closed[0].heard_text == "There is one at noon. And another at eight."
    assert w.closed[0].causes == ("voice:cut", "model:server")


# --- a model that is slow ---------------------------------------------------------------------------------------------


def test_a_slow_model_is_bridged_once() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2499)
    assert said(w) == ""
    w.wait(1)
    assert said(w) == "One moment, please. "
    w.voice(finish=False)
    w.wait(2000)
    w.model("There is one. ")
    w.voice()
    w.wait(3000)
    assert said(w) == "One moment, please. There is one. "
    assert [(turn.outcome, turn.heard_text) for turn in w.closed] == [("answered", "One moment, please. There is one.")]


def test_the_deadline_of_a_slow_model_stays() -> None:
    w = World()
    w.say("is there a table")
    asked_ms = w.now
    w.wait(2500)
    w.voice(finish=False)
    w.wait(2499)
    assert phrases(w) == []
    w.wait(1)
    assert (w.now, phrases(w)) == (asked_ms + 5000, ["model_failed"])
    w.wait(5000)
    assert w.closed[0].causes == ("model:overdue",)
    assert w.closed[0].answer_audio_ms == -1
    assert w.closed[0].first_audio_ms == asked_ms + 2500


def test_an_empty_answer_after_the_bridge_is_a_failure() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2500)
    w.voice(finish=False)
    w.model()
    assert phrases(w) == ["model_failed"]


def test_the_latency_of_the_answer_counts_without_the_bridge() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2500)
    w.voice(finish=False)
    bridged_ms = w.now
    w.wait(1800)
    w.model("There is one. ")
    w.voice()
    w.wait(3000)
    assert (w.closed[0].first_audio_ms, w.closed[0].answer_audio_ms) == (bridged_ms, bridged_ms + 1800)


def test_a_model_that_need_not_be_bridged_is_not() -> None:
    w = World(agent(patience_ms=0))
    w.say("is there a table")
    w.wait(4000)
    assert said(w) == ""


def test_a_quick_model_leaves_no_timer_behind() -> None:
    w = World()
    w.say("is there a table")
    assert "patience" in w.timers
    w.model("There is one. ")
    assert "patience" not in w.timers


def test_a_guess_is_bridged_from_its_confirmation() -> None:
    w = World()
    w.starts()
    w.feed(e.EagerEnd(text="is there a table"))
    w.wait(2000)
    w.stops()
    w.feed(e.TurnEnded(text="is there a table"))
    w.wait(2499)
    assert said(w) == ""
    w.wait(1)
    assert said(w) == "One moment, please. "


def test_a_reply_that_is_held_is_not_bridged() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2000)
    w.starts()
    w.wait(3000)
    assert said(w) == ""


def test_the_rest_of_a_cut_answer_is_bridged_when_what_there_was_is_over() -> None:
    w = World()
    say_and_cut(w, "There is one at noon. ")
    w.voice(finish=False)
    ends_ms = w.plays_until
    w.wait(ends_ms - w.now + 2499)
    assert said(w) == "There is one at noon. "
    w.wait(1)
    assert said(w) == "There is one at noon. One moment, please. "


def test_an_answer_that_is_over_is_not_bridged() -> None:
    w = World()
    say_and_cut(w, "There is one. ")
    model_fails(w)
    w.voice()
    w.wait(2000)
    assert "patience" in w.timers
    assert w.state.reply is None
    w.wait(1000)
    assert said(w) == "There is one. "


def test_the_end_of_an_answer_that_failed_is_not_bridged() -> None:
    w = World()
    say_and_cut(w, "There is one at noon, and another at eight, and one at nine. ")
    model_fails(w)
    w.voice()
    w.wait(2600)
    assert w.state.reply is not None
    assert "One moment" not in said(w)


def test_a_failed_attempt_that_another_one_mended_is_on_record() -> None:
    w = World()
    w.say("is there a table")
    ask = w.ask
    w.feed(e.ModelAttemptFailed(turn=ask.turn, epoch=ask.epoch, kind="server", endpoint="openai.reply"))
    w.model("There is one. ")
    late = w.feed(e.ModelAttemptFailed(turn=ask.turn, epoch=ask.epoch, kind="server"))
    assert late == (StaleDropped("ModelAttemptFailed"),)
    w.voice()
    w.wait(5000)
    assert (w.closed[0].outcome, w.closed[0].causes) == ("answered", ("model:server",))


def test_the_rest_is_asked_of_another_than_the_one_that_failed() -> None:
    w = World()
    w.say("is there a table")
    w.model("There is one at noon, and ", finish="")
    w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="cut", retryable=True, endpoint="openai.reply"))
    assert [ask.avoid for ask in w.of(AskModel)] == ["", "openai.reply"]


def test_a_voice_that_is_slow_too_is_waited_for() -> None:
    w = World(agent(first_audio_ms=9000, first_token_ms=20_000))
    say_and_cut(w, "There is one at noon. ")
    w.wait(2500)
    assert said(w) == "There is one at noon. "
    w.voice(finish=False)
    w.wait(9000)
    assert said(w) == "There is one at noon. One moment, please. "


def test_the_first_words_after_the_bridge_are_short_again() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2500)
    w.voice(finish=False)
    w.model("We have one for you by the window, ", finish="")
    assert said(w) == "One moment, please. We have one for you by the window, "


# --- the time that all requests of a turn have together ---------------------------------------------------------------


def test_what_one_request_used_the_next_one_has_not() -> None:
    w = World()
    w.say("is there a table")
    w.wait(1500)
    w.model("There is one at noon, and ", finish="")
    w.wait(700)
    model_fails(w, retryable=True)
    assert [ask.within_ms for ask in w.of(AskModel)] == [5000, 3500]


def test_a_request_that_is_made_has_a_second() -> None:
    w = World()
    w.say("is there a table")
    w.wait(2500)
    w.voice(finish=False)
    w.wait(2300)
    w.model("There is one at noon, and ", finish="")
    model_fails(w, retryable=True)
    assert w.ask.within_ms == 1000


def test_a_function_gives_the_model_its_time_anew() -> None:
    w = World()
    w.say("is there a table")
    w.wait(1500)
    w.model(tools=[("lookup", "{}")])
    w.settle_tools()
    assert w.ask.within_ms == 5000


def test_a_deadline_that_moves_nearer_is_kept() -> None:
    """The audio is over: from here the model is waited for, and not until the marks would have been late."""
    w = World(agent(playback_slack_ms=9000, patience_ms=0))
    w.say("is there a table")
    w.model("There is one at noon. ", finish="")
    w.voice(finish=False)
    token_ms = w.now
    w.wait(4999)
    assert w.closed == []
    w.wait(1)
    assert w.now == token_ms + 5000
    assert w.state.reply is not None
    assert w.state.reply.causes == ("model:overdue",)

"""A reply from its request to its last heard word: what the voice gets, what is tried again, what is given up."""

from __future__ import annotations

import itertools

from calls.core import events as e
from calls.core.commands import AskModel, CancelModel, CancelVoice, Clear, EndSay, PlayPhrase, Say, StaleDropped
from calls.core.policy import TurnPolicy
from tests.unit.core.world import World, agent


def test_the_voice_is_told_once_that_no_more_text_follows() -> None:
    w = World()
    w.say("what time is it")
    w.model("One moment please, I look at the clock. ", tools=[("lookup", "{}"), ("end_call", "{}")])
    w.settle_tools()
    w.feed(e.SpeechEnded(voiced_until_ms=w.now))
    assert [(c.turn, c.epoch) for c in w.of(EndSay)] == [(1, 1)]


def test_text_after_a_function_call_does_not_weld_to_the_text_before_it() -> None:
    w = World()
    w.say("what time is it")
    w.model("One moment", tools=[("nonsense", "{}")], finish="")
    w.model("I looked. ", finish="")
    assert w.state.reply is not None
    assert w.state.reply.text == "One moment I looked. "


def test_a_voice_that_failed_gets_no_more_text_until_it_begins_anew() -> None:
    w = World()
    w.say("what time is it")
    w.model("This is the first sentence. ", finish="")
    w.voice(words=2)
    turn, epoch = w.ask.turn, w.ask.epoch
    w.feed(e.VoiceFailed(turn=turn, epoch=epoch, kind="cut"))
    w.feed(e.ModelText(turn=turn, epoch=epoch, text="And this is the second one. "))
    assert [c.text for c in w.of(Say)] == ["This is the first sentence. "]
    w.wait(2000)
    assert [c.text.strip() for c in w.of(Say)[1:]] == ["the first sentence. And this is the second one."]


def test_a_tool_that_settles_while_the_reply_is_stopped_is_answered_when_it_resumes() -> None:
    w = World()
    w.say("is there a table")
    w.model("One moment. ", tools=[("lookup", "{}")])
    w.voice()
    w.wait(2000)
    w.starts()
    w.wait(200)
    w.stops()
    w.settle_tools()
    asked = len(w.of(AskModel))
    w.wait(1500)
    assert len(w.of(AskModel)) == asked + 1
    assert w.ask.turn == 1


def test_an_acknowledgement_after_a_wrong_guess_resumes_the_reply_and_drops_the_guess() -> None:
    w = World()
    w.say("what time is it")
    w.model("It is noon already, so you should hurry up. ", finish="")
    w.voice(words=5)
    w.wait(600)
    w.starts()
    w.feed(e.EagerEnd(text="stop that"))
    draft = w.ask
    w.stops()
    commands = w.feed(e.WordsHeard(text="mhm"))
    assert CancelModel(draft.turn, draft.epoch) in commands
    assert w.ask.turn == 1
    assert w.ask.epoch > draft.epoch


def test_a_back_channel_without_an_end_of_turn_does_not_keep_the_idle_prompt_away() -> None:
    w = World()
    w.say("what time is it")
    w.answer("It is noon. ")
    w.starts()
    w.feed(e.WordsHeard(text="mhm"))
    w.stops()
    w.voice()
    w.wait(60_000)
    assert w.over or w.state.caller.idle_count
    assert [t.kind for t in w.closed][:2] == ["answer", "prompt"]


def test_a_superseded_reply_leaves_nothing_at_the_carrier() -> None:
    """Audio may have passed the gate and not been reported yet when the turn is amended."""
    w = World()
    w.say("I want a table")
    epoch = w.ask.epoch
    commands = w.feed(e.TurnEnded(text="for two"))
    assert Clear(epoch) in commands
    assert w.ask.messages[-1].text == "I want a table for two"


def test_a_voice_that_finishes_without_a_sound_has_failed() -> None:
    w = World()
    w.say("what time is it")
    w.model("It is noon. ")
    w.finish_voice(w.ask.turn, w.ask.epoch)
    assert w.closed == []
    assert w.of(Say)[-1].epoch > w.ask.epoch
    w.finish_voice(w.ask.turn, w.of(Say)[-1].epoch)
    assert [c.phrase for c in w.of(PlayPhrase)] == ["voice_failed"]


def test_a_reply_without_anything_to_pronounce_needs_no_sound() -> None:
    w = World()
    w.say("what time is it")
    w.model("… ")
    w.finish_voice(w.ask.turn, w.ask.epoch)
    assert [t.outcome for t in w.closed] == ["answered"]


def test_a_call_whose_voice_fails_turn_after_turn_is_ended() -> None:
    w = World()
    for _ in range(3):
        w.say("what time is it")
        w.model("It is noon. ")
        for _ in range(2):
            w.feed(e.VoiceFailed(turn=w.ask.turn, epoch=w.state.epoch, kind="refused"))
        w.wait(4000)
    w.wait(10_000)
    assert w.end_reason == "voice_failed"
    assert [c.phrase for c in w.of(PlayPhrase)] == ["voice_failed", "voice_failed", "trouble"]


def test_a_voice_that_begins_anew_while_a_tool_runs_still_speaks_the_answer() -> None:
    w = World()
    w.say("is there a table")
    w.model("One moment please. ", tools=[("lookup", "{}")])
    w.feed(e.VoiceFailed(turn=1, epoch=w.ask.epoch, kind="cut"))
    assert w.of(EndSay) == []
    w.voice()
    w.settle_tools()
    w.answer("There is one. ")
    w.wait(5000)
    assert [(t.outcome, t.heard_text) for t in w.closed] == [("answered", "One moment please. There is one.")]


def test_what_was_said_before_a_noise_does_not_wait_for_a_clause_to_be_said_again() -> None:
    w = World(agent(first_clause_chars=10))
    w.say("is there a table")
    w.model("I think so, ", finish="")
    w.voice()
    w.wait(300)
    w.starts()
    w.stops()
    w.wait(1500)
    assert [c.text for c in w.of(Say)] == ["I think so, ", " think so, "]


def test_the_voices_deadline_counts_from_its_text_not_from_the_models() -> None:
    w = World()
    w.say("is there a table")
    w.model("There is one. ")
    assert w.timers["reply"].due_ms == w.now + 3000


# --- what became of each word ---------------------------------------------------------------------------------------


def test_a_word_that_was_flushed_and_said_again_stands_twice() -> None:
    w = World()
    w.say("is there a table")
    w.answer("We have one by the window. ")
    w.wait(1000)
    w.starts()
    w.wait(200)
    w.stops()
    w.wait(2000)
    w.voice()
    w.wait(5000)
    turn = w.closed[-1]
    assert turn.outcome == "answered"
    said = " ".join(word.text for word in turn.words)
    assert said == "We have one by the window. the window."
    assert [word.state for word in turn.words[:6]] == ["heard"] * 4 + ["flushed"] * 2
    heard = [word for word in turn.words if word.state == "heard"]
    assert " ".join(word.text for word in heard) == turn.heard_text
    assert all(left.end_ms <= right.start_ms for left, right in itertools.pairwise(heard))


def test_words_of_the_model_that_the_voice_never_got_are_only_generated() -> None:
    w = World()
    w.say("is there a table")
    w.model("We have one. ", "And then there is", finish="")
    w.voice()
    w.wait(500)
    w.say("no, wait")
    turn = w.closed[-1]
    assert [(word.text, word.state) for word in turn.words if word.state == "generated"] == [
        (word, "generated") for word in ("And", "then", "there", "is")
    ]


# --- sounds without words ---------------------------------------------------------------------------------------------


def stopped_by_a_sound(ms: int) -> World:
    w = World()
    w.say("is there a table")
    w.answer("We have one by the window, and another one by the door. ")
    w.wait(1000)
    w.starts()
    w.wait(ms)
    return w


def resumed_after_ms(w: World, most_ms: int) -> int:
    """How long the reply stays stopped from now on."""
    for ms in range(0, most_ms, 10):
        if w.state.cut is None:
            return ms
        w.wait(10)
    return most_ms


def test_a_cough_keeps_the_caller_waiting_for_less_than_a_sound_that_may_be_words() -> None:
    cough, longer = stopped_by_a_sound(200), stopped_by_a_sound(700)
    for w in (cough, longer):
        w.stops()
    assert resumed_after_ms(cough, 5000) == 900
    assert resumed_after_ms(longer, 5000) > 900 - 700


def test_a_television_does_not_silence_the_agent_for_ever() -> None:
    w = stopped_by_a_sound(0)
    assert 7000 <= resumed_after_ms(w, 20_000) <= 10_000
    w.voice()
    w.wait(200)
    w.feed(e.WordsHeard(text="turn that off"))
    assert w.state.cut is not None


def test_a_television_does_not_keep_a_dead_line_open() -> None:
    w = World()
    w.starts()
    for _ in range(12):
        w.wait(9000)
        if w.of(Say):
            w.voice()
    assert w.end_reason == "caller_silent"


def test_a_mark_that_is_not_outstanding_changes_nothing() -> None:
    w = World()
    w.say("is there a table")
    w.answer("We have one by the window. ")
    before = w.state
    assert w.feed(e.MarkReturned(turn=1, epoch=w.ask.epoch, piece=999)) == (StaleDropped("MarkReturned"),)
    assert w.state == before


def test_a_voice_whose_marks_are_lost_has_its_time_to_go_on() -> None:
    w = World()
    w.say("is there a table")
    w.model("We have one by the window. ")
    w.voice(finish=False)
    ends = w.plays_until
    w.lose_marks()
    policy = TurnPolicy()
    w.wait(ends - w.now + policy.playback_slack_ms)
    assert w.state.reply is not None
    assert w.state.reply.playback.outstanding == ()
    w.wait(policy.first_audio_ms - 1)
    assert w.of(CancelVoice) == []
    w.wait(1)
    assert len(w.of(CancelVoice)) == 1

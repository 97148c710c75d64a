"""What the caller's sounds and words do to a reply: stop, hold, amend, or nothing."""

from __future__ import annotations

from calls.core import events as e
from calls.core.commands import AskModel, Clear
from calls.core.state import Mode
from tests.unit.core.world import World

QUESTION = "We have a table at seven. Does Tuesday work for you? "


def test_the_end_of_a_back_channels_turn_does_not_stop_the_reply_that_it_let_resume() -> None:
    w = World()
    w.say("is there a table")
    w.model(QUESTION)
    w.voice(words=6)
    w.wait(500)
    w.starts()
    w.feed(e.WordsHeard(text="mhm"))
    w.wait(200)
    w.stops()
    assert w.state.mode is Mode.THINKING
    w.feed(e.TurnEnded(text="Mhm."))
    assert w.closed == []
    assert w.ask.turn == 1
    w.voice()
    w.wait(10_000)
    assert (w.closed[0].outcome, w.closed[0].heard_text) == ("answered", QUESTION.strip())


def test_an_answer_to_the_questions_tail_that_only_the_recogniser_heard_is_taken() -> None:
    w = World()
    w.say("is there a table")
    w.answer(QUESTION)
    question_ms = len("We have a table at seven. Does Tuesday work for") * 60
    w.wait(question_ms)
    w.feed(e.WordsHeard(text="yes"))
    assert len(w.of(Clear)) == 1
    w.feed(e.TurnEnded(text="Yes."))
    assert w.ask.turn == 2
    assert w.ask.messages[-1].text == "Yes."


def test_an_acknowledgement_in_the_middle_of_a_sentence_is_not_an_answer() -> None:
    w = World()
    w.say("is there a table")
    w.answer(QUESTION)
    w.wait(600)
    w.feed(e.WordsHeard(text="yes"))
    w.feed(e.TurnEnded(text="Yes."))
    assert w.of(Clear) == []
    assert len(w.of(AskModel)) == 1


def test_a_late_end_of_a_turn_that_timed_out_does_not_repeat_it() -> None:
    w = World()
    w.starts()
    w.feed(e.WordsHeard(text="i want a table"))
    w.stops()
    w.wait(7000)
    assert w.ask.messages[-1].text == "i want a table"
    w.feed(e.TurnEnded(text="I want a table."))
    assert len(w.of(AskModel)) == 1
    assert w.state.reply is not None


def test_a_late_end_of_a_turn_that_timed_out_amends_it_with_what_is_new() -> None:
    w = World()
    w.starts()
    w.feed(e.WordsHeard(text="i want a table"))
    w.stops()
    w.wait(7000)
    w.feed(e.TurnEnded(text="I want a table, for two."))
    assert w.ask.messages[-1].text == "i want a table for two."
    assert w.ask.turn == 1


def test_keys_do_not_lose_the_words_before_them_nor_repeat_them() -> None:
    w = World()
    w.starts()
    w.feed(e.WordsHeard(text="my number is"))
    w.feed(e.DtmfPressed(digit="7"))
    w.feed(e.DtmfPressed(digit="#"))
    w.wait(0)
    assert w.ask.messages[-1].text == "my number is (pressed on the keypad: 7#)"
    w.feed(e.TurnEnded(text="My number is."))
    assert len(w.of(AskModel)) == 1


def test_a_back_channel_first_heard_as_a_probable_end_lets_the_reply_resume_at_once() -> None:
    w = World()
    w.say("is there a table")
    w.model(QUESTION)
    w.voice(words=6)
    w.wait(500)
    w.starts()
    w.wait(300)
    w.stops()
    w.feed(e.EagerEnd(text="mhm"))
    assert w.state.mode is Mode.THINKING
    assert w.ask.turn == 1


def test_punctuation_alone_confirms_no_guess() -> None:
    w = World()
    w.feed(e.EagerEnd(text="?"))
    w.feed(e.TurnEnded(text=""))
    assert w.state.reply is None


def test_an_acknowledgement_that_completes_a_wholly_heard_reply_begins_no_guess() -> None:
    w = World()
    w.say("is there a table")
    w.model("There is one. ")
    w.voice()
    w.queue[-1].ends_ms += 1000
    w.wait(1000)
    w.feed(e.EagerEnd(text="stop that"))
    w.feed(e.EagerEnd(text="mhm"))
    assert [t.outcome for t in w.closed] == ["answered"]
    assert w.state.reply is None


def test_a_flood_of_keys_is_one_turn_of_bounded_length() -> None:
    w = World()
    for _ in range(500):
        w.feed(e.DtmfPressed(digit="1"))
    w.wait(5_000)
    assert w.ask.messages[-1].text == f"(pressed on the keypad: {'1' * 64})"

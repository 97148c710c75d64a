"""The words of a turn over several connections, in the order in which the core is told."""

from __future__ import annotations

import pytest

from calls.core.events import EagerEnd, Event, TurnEnded, TurnOpened, TurnResumed, WordsHeard
from calls.providers.cartesia.turntext import Told, TurnText, overlapped, spliced


def heard(text: TurnText, *events: Event) -> list[Event]:
    return [told.event for event in events for told in text.hear(event)]


def resolved(text: TurnText, words: str, *, whole: bool = True) -> list[Event]:
    return [told.event for told in text.resolve(words, whole=whole)]


OPENED = TurnOpened()


def words(text: str) -> WordsHeard:
    return WordsHeard(text=text)


def lost_after(*events: Event) -> TurnText:
    """A turn of which the connection has said this before it fell; its audio is being transcribed."""
    text = TurnText()
    heard(text, *events)
    text.lost()
    text.hold()
    return text


def test_one_connection_is_passed_on_as_it_is() -> None:
    events = [OPENED, words("A "), EagerEnd(text="A b."), TurnResumed(), TurnEnded(text=" A b. C. ")]
    text = TurnText()
    assert heard(text, *events) == events
    assert text.hear(TurnEnded(text="x"), 7) == [Told(TurnEnded(text="x"), 7)]
    assert not text.is_orphaned


def test_a_transcription_replaces_the_interim_words_and_stands_before_the_new_ones() -> None:
    text = lost_after(OPENED, words("a table fro"))
    assert heard(text, OPENED, words("people"), words("people please")) == []
    assert resolved(text, "A table for two") == [words("A table for two people please")]
    assert heard(text, TurnEnded(text="people, please.")) == [TurnEnded(text="A table for two people, please.")]


def test_without_a_transcription_the_interim_words_stand_in() -> None:
    text = lost_after(OPENED, words("A table for"))
    assert resolved(text, " ") == []
    assert text.is_orphaned
    assert heard(text, OPENED, TurnEnded(text="two.")) == [TurnEnded(text="A table for two.")]
    assert not text.is_orphaned


def test_turns_that_ended_meanwhile_follow_in_order_and_keep_their_places() -> None:
    text = lost_after(OPENED, words("One"))
    for event, until in [(OPENED, 0), (TurnEnded(text="two."), 50), (OPENED, 0), (words("Three"), 0)]:
        assert text.hear(event, until) == []
    assert text.resolve("One") == [
        Told(TurnEnded(text="One two."), 50),
        Told(OPENED),
        Told(words("Three")),
    ]
    assert text.is_live


def test_of_what_waits_only_the_latest_words_are_told_and_a_guess_taken_back_is_none() -> None:
    text = lost_after(OPENED)
    heard(text, OPENED, words("b"), EagerEnd(text="b c."), TurnResumed())
    assert resolved(text, "A") == [words("A b c.")]
    text = lost_after(OPENED)
    heard(text, OPENED, words("b"), EagerEnd(text="b c."))
    assert resolved(text, "A") == [EagerEnd(text="A b c.")]


def test_a_turn_that_only_the_transcription_knows_is_opened_told_and_ended() -> None:
    text = lost_after()
    assert resolved(text, "Hello there.") == [OPENED, words("Hello there.")]
    assert text.is_orphaned
    assert text.end(9) == [Told(TurnEnded(text="Hello there."), 9)]
    assert not text.is_orphaned


def test_a_turn_that_was_opened_and_had_no_word_is_ended_without_one() -> None:
    text = lost_after(OPENED)
    assert resolved(text, "") == []
    assert text.end(9) == [Told(TurnEnded(text=""), 9)]


def test_nothing_lost_is_nothing_told() -> None:
    text = lost_after()
    assert resolved(text, "") == []
    assert not text.is_orphaned


def test_a_second_loss_keeps_what_waited() -> None:
    text = lost_after(OPENED, words("One"))
    heard(text, OPENED, TurnEnded(text="two."), OPENED, words("three"))
    text.lost()
    assert text.text == "One two. three"
    text.hold()
    assert resolved(text, "") == [words("One two. three")]
    assert resolved(text, "One, two, three.") == [words("One, two, three.")]


@pytest.mark.parametrize(
    ("known", "later", "together"),
    [
        ("one two three four", "three four five", "one two three four five"),
        ("One, two. Three", "two three, four", "One, two three, four"),
        ("one two", "three four", "one two three four"),
        ("", "three", "three"),
    ],
)
def test_a_transcription_without_its_beginning_is_joined_where_both_meet(known: str, later: str, together: str) -> None:
    assert spliced(known, later) == together
    text = lost_after(*([OPENED, words(known)] if known else []))
    assert resolved(text, later, whole=False)[-1] == words(together)


@pytest.mark.parametrize(
    ("known", "later", "together"),
    [
        ("one two", "two three", "one two three"),
        ("One, two.", "one two, three", "One, two. three"),
        ("one two", "three", "one two three"),
        ("one two", "", "one two"),
        ("two", "two", "two"),
    ],
)
def test_where_the_request_failed_words_that_both_connections_heard_are_told_once(
    known: str, later: str, together: str
) -> None:
    assert overlapped(known, later) == together
    text = lost_after(OPENED, words(known))
    text.hold()
    text.resolve("", overlaps=True)
    assert heard(text, TurnEnded(text=later)) == [TurnEnded(text=together)]


def test_the_next_turn_may_begin_with_the_last_word() -> None:
    text = lost_after(OPENED, words("One two"))
    text.hold()
    text.resolve("", overlaps=True)
    heard(text, TurnEnded(text="two three"))
    heard(text, OPENED)
    assert heard(text, words("three")) == [words("three")]

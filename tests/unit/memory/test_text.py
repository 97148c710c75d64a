"""Words as the search compares them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.core import text


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("allergies", "allergy"),
        ("She went swimming", "Did she go to swim?"),
        ("two children", "2 child"),
        ("He's been choosing", "chose"),
        ("the boxes", "a box"),
        ("buses", "bus"),
        ("wishes and watches", "wish watch"),
        ("classes", "class"),
        ("café", "CAFE"),
        ("ﬁve", "five"),
        ("1,000 euros", "1000 euro"),
        ("at 10am", "10 am"),
        ("Maria’s", "Maria's"),
        ("O'Brien", "obrien"),
        ("stopped", "stop"),
        ("falling", "fall"),
        ("lies", "lying"),
        ("ties", "tie"),
        ("hopping hoping", "hop hope"),
    ],
)
def test_one_word_in_several_forms(said, same):
    assert text.tokens(said) == text.tokens(same) != []


def test_different_words_stay_apart():
    for one, other in [
        ("sing", "single"),
        ("red", "reed"),
        ("news", "new york"),
        ("was", "wasp"),
        ("bring", "br"),
        ("sky", "ski"),
    ]:
        assert text.tokens(one) != text.tokens(other)
    assert text.tokens("I have been to the, and we were of it") == []


def test_scripts_without_spaces_and_with_marks_have_words_too():
    assert len(text.tokens("私は東京に住んでいます")) > 5
    assert text.tokens("Ich heiße Jürgen") == text.tokens("ich HEISSE Jurgen")
    assert text.tokens("मेरा नाम") == text.tokens("मेरा नाम!")


def test_stems_are_remembered_by_the_caller_alone():
    stems: dict[str, str] = {}
    assert text.tokens("the dogs and dogs", stems) == ["dog", "dog"] == text.tokens("dogs dogs", stems)
    assert stems == {"dogs": "dog"}


def test_what_no_encoding_carries_is_left_out():
    assert text.clean("a\x00b\ud800c\udfff \n\t d\x85") == "a b c d"
    assert text.clean("ﬁne ①") == "fine 1"
    assert text.clean("x" * 100_000) == "x" * text.MAX_CHARS
    assert len(text.clean("ﷺ" * 100, 50)) <= 50


@given(st.text())
def test_any_text_can_be_searched_and_encoded(said):
    assert "\x00" not in text.clean(said)
    text.clean(said).encode()
    assert text.tokens(said) == text.tokens(text.clean(said))
    assert isinstance(text.question(said), str)
    assert isinstance(text.asks_past(said), bool)
    text.statements(said)


def test_a_hundred_thousand_characters_take_bounded_time():
    begun = time.process_time()
    for unit in ("word ", "a", "é1,", "hey Ana, ", "? ", "\ud800"):
        said = unit * (100_000 // len(unit))
        text.tokens(said)
        text.question(said)
        text.statements(said)
    assert time.process_time() - begun < 3


def test_what_was_said_before_is_bounded_and_keeps_its_end():
    assert text.before_of([]) == ""
    assert text.before_of(["one", "two", "", "three"]) == "three"
    assert text.before_of(["one", "two", "three"]) == "two\nthree"
    long = text.before_of(["a " * 500 + "first end", "b " * 500 + "second end"])
    assert len(long) <= text.BEFORE_CHARS
    first, second = long.split("\n")
    assert first.endswith("first end")
    assert second.endswith("second end")


def test_a_question_is_asked_without_fillers_and_from_its_end():
    assert text.question("Um, so, what was my, uh, appointment?") == "what was my appointment?"
    assert text.question("My right knee, you know, it hurts well") == "My right knee it hurts"
    assert text.question("Hello") == "Hello"
    assert text.question("") == ""
    asked = text.question("and then something happened " * 100 + "when do you open?")
    assert asked.endswith("when do you open?")
    assert len(asked) <= text.QUESTION_CHARS


def test_a_turn_that_says_little_is_asked_with_what_was_said_before():
    assert text.question("Yes.", "Shall we book Friday?") == "Shall we book Friday? Yes."
    assert text.question("Is my appointment on Friday?", "Hello?") == "Is my appointment on Friday?"
    assert text.question("", "Shall we book Friday?") == ""


def test_questions_about_the_past_are_told_from_others():
    for asked in ("What was my old number?", "Where did I live before I moved?", "what did she ORIGINALLY order"):
        assert text.asks_past(asked)
    for asked in ("What is my number?", "How old is the cat?", "Can I come before ten?"):
        assert not text.asks_past(asked)


def test_questions_state_nothing():
    assert text.statements("I moved to York. Where do you live?") == "I moved to York."
    assert text.statements("Really?") == ""
    assert text.statements("I moved to York.") == "I moved to York."


def test_the_same_words_are_the_same_text():
    assert text.same("I'm NOT allergic!") == text.same("im not allergic")
    assert text.same("I'm not allergic") != text.same("I'm allergic")

"""Clauses for the voice, back-channels, tails of questions, joining."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.core.policy import TurnPolicy
from calls.core.wording import (
    BACK_CHANNELS,
    answers_tail,
    glue,
    is_back_channel,
    joined,
    plain,
    speakable_until,
    takes_floor,
    without,
)

CLAUSES = TurnPolicy()
STREAM = TurnPolicy(chunking="words")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Mhm.", "mhm"), ("Uh-huh!", "uh huh"), ("  I   SEE, ", "i see"), ("d'accord", "d'accord"), ("?!", ""), ("", "")],
)
def test_plain(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize("language", sorted(BACK_CHANNELS))
def test_every_listed_back_channel_is_found_as_it_is_written(language: str) -> None:
    for entry in BACK_CHANNELS[language]:
        assert is_back_channel(f"{entry.capitalize()}.", f"{language}-XX"), entry


@pytest.mark.parametrize(
    ("text", "language", "min_words", "takes"),
    [
        ("mhm", "en", 1, False),
        ("mhm, but wait", "en", 1, True),
        ("stop", "en", 1, True),
        ("stop", "en", 2, False),
        ("stop that", "en", 2, True),
        ("genau", "de", 1, False),
        ("genau", "en", 1, True),
        ("mhm", "xx", 1, True),
        ("", "en", 1, False),
        ("…", "en", 1, False),
    ],
)
def test_what_takes_the_floor(text: str, language: str, min_words: int, takes: bool) -> None:
    assert takes_floor(text, language, min_words) is takes


@pytest.mark.parametrize(
    ("heard", "tail_words", "answers"),
    [
        ("It is open.", 3, False),
        ("It is open. Does Tuesday", 3, True),
        ("It is open. Does", 1, False),
        ("It is open. Does Tuesday", 0, False),
        ("It is open. Does Tuesday work?", 0, True),
        ("It is open. Does Tuesday work? ", 3, True),
        ("It is open. Does Tuesday work? We", 3, False),
        ("", 3, False),
        ("It is open. ", 9, False),
    ],
)
def test_answers_to_the_tail_of_a_question(heard: str, tail_words: int, answers: bool) -> None:
    text = "It is open. Does Tuesday work? We have space."
    assert text.startswith(heard)
    assert answers_tail(text, len(heard), tail_words) is answers


def test_a_question_in_quotes_is_a_question() -> None:
    text = 'He said: "does it work?" '
    assert answers_tail(text, len(text) - 1, 3)


def test_no_text_has_no_tail() -> None:
    assert not answers_tail("", 0, 3)


def until(text: str, said: int = 0, policy: TurnPolicy = CLAUSES, *, first: bool = True, final: bool = False) -> str:
    return text[said : speakable_until(text, said, policy, first=first, final=final)]


def test_words_stream_where_the_voice_buffers() -> None:
    assert until("Half a wo", policy=STREAM) == "Half a wo"


def test_the_last_text_is_said_whole() -> None:
    assert until("no end", final=True) == "no end"


@pytest.mark.parametrize(
    ("text", "first", "expected"),
    [
        ("Certainly", True, ""),
        ("Certainly. ", True, "Certainly. "),
        ("Certainly, let me look,", True, ""),
        ("Certainly, let me see, and", True, ""),
        ("Certainly, let me have a look, and", True, "Certainly, let me have a look, "),
        ("Certainly, let me have a look, and", False, ""),
        ("Yes. I can", True, ""),
        ("Yes. I can do that for you. And", True, "Yes. I can do that for you. "),
        ("I ask Dr. Miller about", True, ""),
        ("At 7 p.m. we open the house", True, ""),
        ("We have rooms – two of them, and a", True, "We have rooms – two of them, "),
        ("One thing is 3.5 metres", True, ""),
    ],
)
def test_clauses(text: str, first: bool, expected: str) -> None:
    assert until(text, first=first) == expected


@given(st.lists(st.sampled_from(["word", "a, ", "b. ", "Dr. ", "c? ", " – ", "longer words here; ", " "]), max_size=20))
def test_what_is_said_in_pieces_is_the_text(parts: list[str]) -> None:
    text, said, out = "", 0, ""
    for part in parts:
        text += part
        end = speakable_until(text, said, CLAUSES, first=said == 0, final=False)
        assert said <= end <= len(text)
        out, said = out + text[said:end], end
    assert out + text[said:] == text


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("a", "b", "a b"), ("a ", " b", "a b"), ("", "b", "b"), ("a", "", "a"), (" ", "b", " "), ("", "", "")],
)
def test_joined(left: str, right: str, expected: str) -> None:
    assert joined(left, right) == expected


@pytest.mark.parametrize(
    ("text", "done", "expected"),
    [
        ("I want a table for two", "i want a table", "for two"),
        ("I want a table.", "i want a table", ""),
        ("I want a table. !", "i want a table", ""),
        ("I want a table", "", "I want a table"),
        ("I want a table", "...", "I want a table"),
        ("You want a table", "i want", "You want a table"),
        ("", "i want", ""),
    ],
)
def test_without(text: str, done: str, expected: str) -> None:
    assert without(text, done) == expected


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [("a", "b", " b"), ("a ", "b", "b"), ("a", " b", " b"), ("", "b", "b"), ("a", "", "")],
)
def test_glue(text: str, more: str, expected: str) -> None:
    assert glue(text, more) == expected

"""The accounting of what was heard: pieces, marks, the media clock, words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.core.events import TimedWord
from calls.core.speech import (
    Playback,
    all_heard,
    expected_end_ms,
    heard_until,
    position_bytes,
    returned,
    sent,
    spoken,
    timed_until,
    with_words,
)

if TYPE_CHECKING:
    from calls.core.commands import SpokenWord

TEXT = "one two three"
WORDS = (TimedWord("one", 0, 300), TimedWord("two", 350, 650), TimedWord("three", 700, 1000))


def playing(at_ms: int = 0, ms: int = 1000) -> Playback:
    return sent(Playback(), at_ms, 1, ms * 8)


def test_the_media_clock_starts_where_the_queue_was_empty() -> None:
    first = sent(Playback(), 500, 1, 800)
    second = sent(first, 550, 2, 800)
    assert expected_end_ms(second) == 700
    assert position_bytes(second, 600) == 800
    idle = returned(returned(second, 600, 1) or second, 700, 2)
    assert idle is not None
    again = sent(idle, 2000, 3, 800)
    assert expected_end_ms(again) == 2100
    assert position_bytes(again, 2050) == 1600 + 400


def test_the_clock_never_runs_beyond_what_was_sent_nor_before_the_last_mark() -> None:
    playback = sent(playing(ms=100), 0, 2, 800)
    assert position_bytes(playback, 10_000) == 1600
    late = returned(playback, 400, 1)
    assert late is not None
    assert position_bytes(late, 300) == 800
    assert position_bytes(late, 450) == 800 + 400


def test_a_mark_returns_everything_up_to_its_piece() -> None:
    playback = sent(sent(playing(ms=100), 0, 2, 800), 0, 3, 800)
    assert [piece.number for piece in playback.outstanding] == [1, 2, 3]
    skipped = returned(playback, 250, 2)
    assert skipped is not None
    assert [piece.number for piece in skipped.outstanding] == [3]
    assert skipped.heard_bytes == 1600


def test_an_unknown_mark_is_nothing() -> None:
    assert returned(playing(), 10, 9) is None
    assert returned(Playback(), 10, 1) is None


def test_lost_marks_count_as_returned() -> None:
    heard = all_heard(playing())
    assert (heard.outstanding, heard.heard_bytes) == ((), 8000)


@pytest.mark.parametrize(
    ("at_ms", "heard"), [(0, ""), (299, ""), (300, "one"), (649, "one"), (650, "one two"), (1000, TEXT), (5000, TEXT)]
)
def test_a_word_is_heard_when_its_end_was_played(at_ms: int, heard: str) -> None:
    playback = with_words(playing(), WORDS)
    assert TEXT[: heard_until(playback, TEXT, len(TEXT), at_ms, complete=False)] == heard


def test_a_word_that_the_text_does_not_have_is_passed_over() -> None:
    playback = with_words(playing(), (TimedWord("uno", 0, 300), *WORDS[1:]))
    assert TEXT[: heard_until(playback, TEXT, len(TEXT), 650, complete=False)] == "one two"


def test_a_word_counts_only_within_what_was_said() -> None:
    playback = with_words(playing(), WORDS)
    assert heard_until(playback, TEXT, 7, 1000, complete=False) == 7


def test_all_that_was_said_is_heard_once_all_of_it_was_played() -> None:
    assert heard_until(playing(), TEXT, len(TEXT), 1000, complete=True) == len(TEXT)


def test_without_times_the_share_of_audio_stands_for_the_share_of_text() -> None:
    assert TEXT[: heard_until(playing(), TEXT, len(TEXT), 700, complete=True)] == "one two "
    assert heard_until(playing(), TEXT, len(TEXT), 10, complete=True) == 0


def test_without_times_nothing_is_known_of_audio_that_is_still_being_made() -> None:
    assert heard_until(playing(), TEXT, len(TEXT), 700, complete=False) == 0
    assert heard_until(Playback(text_from=4), TEXT, 4, 700, complete=False) == 4


@given(
    pieces=st.lists(st.integers(1, 4000), min_size=1, max_size=8),
    marks=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000)), max_size=8),
    texts=st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=8),
)
def test_the_position_only_grows_and_stays_within_bounds(
    pieces: list[int], marks: list[tuple[int, int]], texts: list[str]
) -> None:
    text = " ".join(texts)
    words = tuple(TimedWord(word, 100 * n, 100 * n + 80) for n, word in enumerate(texts))
    playback, now = Playback(), 0
    for number, size in enumerate(pieces):
        playback = sent(playback, now, number, size)
    playback = with_words(playback, words)
    position = heard = 0
    for piece, later in marks:
        now += later
        assert position_bytes(playback, now) >= position
        before = heard_until(playback, text, len(text), now, complete=False)
        assert heard <= before <= len(text)
        playback = returned(playback, now, piece) or playback
        position = playback.heard_bytes
        heard = heard_until(playback, text, len(text), now, complete=False) if position else 0
        assert position <= playback.sent_bytes


# --- what became of each word ---------------------------------------------------------------------------------------


def states(words: tuple[SpokenWord, ...]) -> list[tuple[str, str]]:
    return [(word.text, word.state) for word in words]


def test_each_word_is_heard_flushed_or_unsent() -> None:
    playback = with_words(playing(), (*WORDS, TimedWord("four", 1000, 1300)))
    words = spoken(playback, TEXT, len(TEXT), 650, complete=False)
    assert states(words) == [("one", "heard"), ("two", "heard"), ("three", "flushed"), ("four", "unsent")]
    assert [(word.start_ms, word.end_ms) for word in words[:2]] == [(0, 300), (350, 650)]
    assert words[-1].start_ms == -1


def test_words_after_a_gap_count_from_the_audio_that_followed_it() -> None:
    playback = sent(Playback(), 100, 1, 2400)
    playback = returned(playback, 400, 1) or playback
    playback = sent(playback, 1000, 2, 5600)
    words = spoken(with_words(playback, WORDS), TEXT, len(TEXT), 9000, complete=True)
    assert [(word.start_ms, word.end_ms) for word in words[:2]] == [(100, 400), (1050, 1350)]
    assert {word.state for word in words} == {"heard"}


def test_words_without_times_share_the_audio() -> None:
    words = spoken(playing(), TEXT, len(TEXT), 1000, complete=True)
    assert [word.text for word in words] == TEXT.split()
    assert words[0].start_ms == 0
    assert words[-1].end_ms <= 1000
    assert spoken(Playback(), TEXT, len(TEXT), 1000, complete=False) == ()


def test_how_far_the_words_have_times() -> None:
    assert timed_until(with_words(playing(), WORDS[:2]), TEXT, len(TEXT)) == len("one two")
    assert timed_until(playing(), TEXT, len(TEXT)) == len(TEXT)
    assert timed_until(Playback(text_from=3), TEXT, len(TEXT)) == 3

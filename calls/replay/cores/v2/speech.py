"""How much of what was sent has been heard.

The carrier buffers, so sending says nothing about hearing. What we know: when each piece was sent, when its mark
came back, and that audio plays at 8 bytes a millisecond. A position is the latest mark plus the time since, never
beyond what was sent. Word timestamps turn a position into words, words into an offset in the reply's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from calls.replay.cores.v2.commands import SpokenWord
from calls.replay.cores.v2.events import TimedWord

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES_PER_MS = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio at the carrier whose mark has not come back; ``end_bytes`` is its end in the epoch's audio."""

    number: int
    end_bytes: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Audio that the carrier plays without a gap, from ``from_bytes`` of the epoch's audio on, begun at ``at_ms``."""

    from_bytes: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Playback:
    """One epoch's audio at the carrier. ``text_from``: offset in the reply's text where this epoch begins;
    ``last_piece``: number of the newest piece, for they are numbered upwards."""

    text_from: int = 0
    words: tuple[TimedWord, ...] = ()
    outstanding: tuple[Piece, ...] = ()
    last_piece: int = -1
    sent_bytes: int = 0
    heard_bytes: int = 0
    anchor_at_ms: int = 0
    anchor_bytes: int = 0
    stretches: tuple[Stretch, ...] = ()


def sent(playback: Playback, at_ms: int, piece: int, size_bytes: int) -> Playback | None:
    """A piece went out. The media clock starts anew where the carrier's queue was empty. ``None`` for one known already, or empty."""
    if piece <= playback.last_piece or size_bytes <= 0:
        return None
    end = playback.sent_bytes + size_bytes
    moved = replace(playback, last_piece=piece, sent_bytes=end, outstanding=(*playback.outstanding, Piece(piece, end)))
    if playback.outstanding:
        return moved
    stretch = Stretch(playback.sent_bytes, at_ms)
    return replace(
        moved,
        anchor_at_ms=at_ms,
        anchor_bytes=stretch.from_bytes,
        stretches=(*playback.stretches, stretch),
    )


def returned(playback: Playback, at_ms: int, piece: int) -> Playback | None:
    """A mark came back: everything up to its piece was played. ``None`` for a mark that is not outstanding."""
    for index, waiting in enumerate(playback.outstanding):
        if waiting.number == piece:
            return replace(
                playback,
                outstanding=playback.outstanding[index + 1 :],
                heard_bytes=waiting.end_bytes,
                anchor_at_ms=at_ms,
                anchor_bytes=waiting.end_bytes,
            )
    return None


def all_heard(playback: Playback) -> Playback:
    """As if every mark had come back: for a carrier that lost them."""
    return replace(playback, outstanding=(), heard_bytes=playback.sent_bytes)


def position_bytes(playback: Playback, at_ms: int) -> int:
    """Bytes of this epoch's audio that had been played at ``at_ms``."""
    if not playback.outstanding:
        return playback.sent_bytes
    by_clock = playback.anchor_bytes + max(0, at_ms - playback.anchor_at_ms) * BYTES_PER_MS
    return max(playback.heard_bytes, min(playback.sent_bytes, by_clock))


def expected_end_ms(playback: Playback) -> int:
    """When the last sent byte should have been played."""
    return playback.anchor_at_ms + (playback.sent_bytes - playback.anchor_bytes) // BYTES_PER_MS


def with_words(playback: Playback, words: Iterable[TimedWord]) -> Playback | None:
    """Word timestamps arrived. ``None`` where all are known already: counted twice, a word would be heard twice."""
    fresh = tuple(word for word in words if word not in playback.words)
    return replace(playback, words=playback.words + fresh) if fresh else None


def heard_until(playback: Playback, text: str, said: int, at_ms: int, *, complete: bool) -> int:
    """The offset in ``text`` up to which the caller has heard it at ``at_ms``.

    ``said``: offset up to which text was given to the voice. ``complete``: all audio of ``text[:said]`` was sent.
    A word counts when its end was played. Without timestamps the share of audio stands for the share of text, cut
    back to a whole word.
    """
    position = position_bytes(playback, at_ms)
    if complete and position >= playback.sent_bytes:
        return said
    if playback.words:
        return _by_words(playback, text, said, position // BYTES_PER_MS)
    if not playback.sent_bytes or not complete:
        return playback.text_from
    estimate = playback.text_from + (said - playback.text_from) * position // playback.sent_bytes
    return max(playback.text_from, text.rfind(" ", playback.text_from, estimate + 1) + 1)


def _by_words(playback: Playback, text: str, said: int, position_ms: int) -> int:
    offset = playback.text_from
    for word in playback.words:
        if word.end_ms > position_ms:
            break
        found = text.find(word.text, offset, said)
        if found >= 0:
            offset = found + len(word.text)
    return offset


def timed_until(playback: Playback, text: str, said: int) -> int:
    """The offset in ``text`` up to which its words have times in this epoch; ``said`` where none has and all was sent."""
    if playback.words:
        return _by_words(playback, text, said, playback.words[-1].end_ms)
    return said if playback.sent_bytes else playback.text_from


def spoken(playback: Playback, text: str, said: int, at_ms: int, *, complete: bool) -> tuple[SpokenWord, ...]:
    """What became of each word that was voiced in this epoch, had it been stopped at ``at_ms``. Arguments as for
    ``heard_until``. Without timestamps the words share the audio by their length."""
    position = position_bytes(playback, at_ms)
    played = complete and position >= playback.sent_bytes
    words = []
    for word in playback.words or _shared_out(playback, text, said):
        if played or word.end_ms * BYTES_PER_MS <= position:
            state = "heard"
        elif word.start_ms * BYTES_PER_MS < playback.sent_bytes:
            state = "flushed"
        else:
            words.append(SpokenWord(word.text, "unsent"))
            continue
        begun, ended = word.start_ms * BYTES_PER_MS + 1, word.end_ms * BYTES_PER_MS
        words.append(SpokenWord(word.text, state, _played_at(playback, begun), _played_at(playback, ended)))
    return tuple(words)


def _shared_out(playback: Playback, text: str, said: int) -> Iterable[TimedWord]:
    letters, audio_ms = said - playback.text_from, playback.sent_bytes // BYTES_PER_MS
    if not audio_ms:
        return
    for word in re.finditer(r"\S+", text[playback.text_from : said]):
        yield TimedWord(word.group(), word.start() * audio_ms // letters, word.end() * audio_ms // letters)


def _played_at(playback: Playback, until_bytes: int) -> int:
    """When the audio up to here has been played, on the call's clock."""
    stretches = playback.stretches
    stretch = next((x for x in reversed(stretches) if x.from_bytes < until_bytes), stretches[0])
    return stretch.at_ms + (until_bytes - stretch.from_bytes) // BYTES_PER_MS

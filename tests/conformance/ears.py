"""Which words the caller heard, where the scripted voice spoke: each word is a chord of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voiceagent.sandbox.sound import CHORD_HZ, FRAME_BYTES, PHONE_RATE, chord_of, mulaw_decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_HOP = FRAME_BYTES // 2
_HOP_MS = _HOP * 1000 / PHONE_RATE
#: A window is a word's when this share of its energy lies in one tone of each row, and none of the three is missing.
_PURE = 0.7
_WEAKEST = 0.1
#: Shorter than this, a chord is a scrap on the edge of a cut.
LEAST_MS = 30.0
#: The same chord on both sides of a shorter hole is one word: the hole is where two chunks meet.
_HOLE_MS = 15.0

_HZ = np.array([hz for row in CHORD_HZ for hz in row])
_WAVES = np.exp(-2j * np.pi * np.outer(np.arange(FRAME_BYTES) / PHONE_RATE, _HZ))


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or the part of it that was played. ``at_ms`` counts from the start of the audio."""

    text: str
    at_ms: float
    ms: float


def spoken(text: str) -> list[str]:
    """The words of a text as they are told apart by ear: without case and punctuation."""
    return [word for raw in text.split() if (word := re.sub(r"\W+", "", raw.lower()))]


def vocabulary(texts: Iterable[str]) -> dict[tuple[int, int, int], str]:
    """The chords of all words. Raises ``ValueError`` for two words that sound alike: choose other words."""
    known: dict[tuple[int, int, int], str] = {}
    for word in {word for text in texts for word in spoken(text)}:
        other = known.setdefault(chord_of(word), word)
        if other != word:
            raise ValueError(f"{word!r} and {other!r} have the same chord")
    return known


def _chords(mulaw: bytes) -> list[tuple[int, int, int] | None]:
    """The chord of every 20 ms, each 10 ms: ``None`` for silence and for whatever else is not a chord."""
    samples = mulaw_decode(mulaw).astype(np.float32)
    if len(samples) < FRAME_BYTES:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_BYTES)[::_HOP]
    energy = (windows**2).sum(axis=1)
    tones: NDArray[np.float64] = (np.abs(windows @ _WAVES) ** 2 * 2 / FRAME_BYTES).reshape(len(windows), 3, -1)
    best, strength = tones.argmax(axis=2), tones.max(axis=2)
    total = strength.sum(axis=1)
    is_chord = (energy > 1e6) & (total > _PURE * energy) & (strength.min(axis=1) > _WEAKEST * total)
    return [(int(a), int(b), int(c)) if ok else None for (a, b, c), ok in zip(best, is_chord, strict=True)]


def words_in(mulaw: bytes, known: dict[tuple[int, int, int], str]) -> list[Word]:
    """The words of a caller's side of the line, in order. Chords that are no known word are ``?``."""
    found: list[Word] = []
    silent_ms = 0.0
    for index, chord in enumerate(_chords(mulaw)):
        if chord is None:
            silent_ms += _HOP_MS
            continue
        text, last = known.get(chord, "?"), found[-1] if found else None
        if last is not None and last.text == text and silent_ms < _HOLE_MS:
            found[-1] = Word(text, last.at_ms, (index + 1) * _HOP_MS + _HOP_MS - last.at_ms)
        else:
            found.append(Word(text, index * _HOP_MS, 2 * _HOP_MS))
        silent_ms = 0.0
    return [word for word in found if word.ms >= LEAST_MS]

"""Hears the words that the scripted voice speaks: each sounds as a chord of its own (:func:`voiceagent.sandbox.sound.chord`).

So a test can say words on a line and see which of them became text, whatever connections and requests they went through.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from voiceagent.sandbox.engines.scripted import LoudTurns
from voiceagent.sandbox.sound import (
    CHORD_HZ,
    FRAME_BYTES,
    MULAW_SILENCE,
    PHONE_RATE,
    chord,
    chord_of,
    decode,
    mulaw_decode,
    mulaw_encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from voiceagent.sandbox.engines.base import StreamFormat

Chord = tuple[int, int, int]

#: How far apart the looks at the sound are, and how long a letter sounds where nothing else is said.
HOP_BYTES = FRAME_BYTES // 2
HOP_MS = HOP_BYTES * 1000 / PHONE_RATE
MS_PER_CHAR = 65
#: A window is a word's when this share of its energy lies in one tone of each row, and none of the three is missing.
_PURE = 0.7
_WEAKEST = 0.1
_HZ = np.array([hz for row in CHORD_HZ for hz in row])
_WAVES = np.exp(-2j * np.pi * np.outer(np.arange(FRAME_BYTES) / PHONE_RATE, _HZ))
#: Silence within a word that is still the same word, and sound before a turn that belongs to it.
_HOLE_HOPS = 2
_LEAD_BYTES = 100 * 8


def chords_in(mulaw: bytes) -> list[Chord | None]:
    """The chord of every 20 ms, each 10 ms: ``None`` for silence and for whatever else is not a chord."""
    samples = mulaw_decode(mulaw).astype(np.float32)
    if len(samples) < FRAME_BYTES:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_BYTES)[::HOP_BYTES]
    energy = (windows**2).sum(axis=1)
    tones: NDArray[np.float64] = (np.abs(windows @ _WAVES) ** 2 * 2 / FRAME_BYTES).reshape(len(windows), 3, -1)
    best, strength = tones.argmax(axis=2), tones.max(axis=2)
    total = strength.sum(axis=1)
    is_chord = (energy > 1e6) & (total > _PURE * energy) & (strength.min(axis=1) > _WEAKEST * total)
    return [(int(a), int(b), int(c)) if ok else None for (a, b, c), ok in zip(best, is_chord, strict=True)]


def bare(word: str) -> str:
    """A word as it is told apart by ear."""
    return re.sub(r"\W+", "", word.lower())


def said(text: str) -> bytes:
    """A text as the scripted voice says it, as mu-law at 8 kHz; a space is silent."""
    letter = PHONE_RATE * MS_PER_CHAR // 1000
    parts = re.findall(r"\S+|\s+", text)
    sounds = (
        MULAW_SILENCE * (len(part) * letter)
        if part.isspace()
        else mulaw_encode(np.resize(chord(part, PHONE_RATE), len(part) * letter))
        for part in parts
    )
    return b"".join(sounds)


class Listener:
    """Knows the words of ``texts``, as they stand there. Raises ``ValueError`` for two that sound alike.

    A word is heard where at least half of it sounds: of one that is cut in two, one part is heard.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._words: dict[Chord, str] = {}
        for word in " ".join(texts).split():
            other = self._words.setdefault(chord_of(word), word)
            if bare(other) != bare(word):
                raise ValueError(f"{word!r} and {other!r} have the same chord")

    def text_of(self, mulaw: bytes) -> str:
        """What is said."""
        return self.text_in(chords_in(mulaw))

    def text_in(self, chords: list[Chord | None]) -> str:
        """What these say, one each 10 ms."""
        heard: list[tuple[Chord, int]] = []
        last, hole = None, 0
        for found in chords:
            if found is None:
                hole += 1
                continue
            if found == last and hole < _HOLE_HOPS:
                heard[-1] = (found, heard[-1][1] + 1 + hole)
            else:
                heard.append((found, 1))
            last, hole = found, 0
        words = ((self._words.get(found), hops * HOP_MS) for found, hops in heard)
        return " ".join(word for word, ms in words if word and ms * 2 >= len(word) * MS_PER_CHAR)


class ChordTurns(LoudTurns):
    """Finds turns by loudness, and their words by ear."""

    def __init__(self, listener: Listener, form: StreamFormat, *args: Any) -> None:
        self._listener = listener
        self._encoding = form.encoding
        self._heard = bytearray()
        self._chords: list[Chord | None] = []
        super().__init__(form, *args)

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        self._heard += audio if self._encoding == "pcm_mulaw" else mulaw_encode(decode(audio, self._encoding))
        super().feed(audio)
        if not self._open:
            del self._heard[:-_LEAD_BYTES]

    def _text(self) -> str:
        self._chords += chords_in(bytes(self._heard[len(self._chords) * HOP_BYTES :]))
        return self._listener.text_in(self._chords)

    def _end(self) -> None:
        super()._end()
        self._heard.clear()
        self._chords.clear()

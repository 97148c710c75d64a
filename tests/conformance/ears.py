"""Which words the caller heard, where the scripted voice spoke: each word is a chord of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voiceagent.sandbox.engines.chords import HOP_MS, Chord, bare, chords_in
from voiceagent.sandbox.sound import chord_of

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How long a letter is made to sound.
MS_PER_CHAR = 40
#: Shorter than this, a chord is a scrap on the edge of a cut.
LEAST_MS = 30.0
#: The same chord on both sides of a shorter hole is one word: the hole is where two chunks meet.
_HOLE_MS = 15.0
#: So is that on both sides of a hole up to this long, if both parts make no more than the word: the line ran dry within it.
_DRY_MS = 1500.0


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or the part of it that was played. ``at_ms`` counts from the start of the audio."""

    text: str
    at_ms: float
    ms: float


def spoken(text: str) -> list[str]:
    """The words of a text as they are told apart by ear: without case and punctuation."""
    return [word for raw in text.split() if (word := bare(raw))]


class Vocabulary:
    """The words that may be heard. Raises ``ValueError`` for two that sound alike: choose other words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_chord: dict[Chord, str] = {}
        self._longest_ms: dict[str, float] = {}
        for raw in " ".join(texts).split():
            word = bare(raw)
            other = self._by_chord.setdefault(chord_of(word), word)
            if other != word:
                raise ValueError(f"{word!r} and {other!r} have the same chord")
            self._longest_ms[word] = max(self._longest_ms.get(word, 0), len(raw) * MS_PER_CHAR)

    def words_in(self, mulaw: bytes) -> list[Word]:
        """The words of a caller's side of the line, in order. Chords that are no known word are ``?``."""
        found: list[Word] = []
        ended_ms = 0.0
        for index, chord in enumerate(chords_in(mulaw)):
            if chord is None:
                continue
            at_ms, until_ms = index * HOP_MS, (index + 2) * HOP_MS
            text = self._by_chord.get(chord, "?")
            if found and found[-1].text == text and at_ms + HOP_MS - ended_ms < _HOLE_MS:
                found[-1] = replace(found[-1], ms=until_ms - found[-1].at_ms)
            else:
                found.append(Word(text, at_ms, until_ms - at_ms))
            ended_ms = until_ms
        return [word for word in self._mended(found) if word.ms >= LEAST_MS]

    def _mended(self, parts: list[Word]) -> list[Word]:
        found: list[Word] = []
        for part in parts:
            last = found[-1] if found else None
            if last is not None and last.text == part.text and part.at_ms - last.at_ms - last.ms < _DRY_MS:
                together_ms = last.ms + part.ms
                if together_ms <= self._longest_ms.get(part.text, 0) + 4 * HOP_MS:
                    found[-1] = replace(last, ms=together_ms)
                    continue
            found.append(part)
        return found

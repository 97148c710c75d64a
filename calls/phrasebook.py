"""The recorded phrases, loaded once: µ-law that needs no vendor.

Files lie in ``calls/phrases/<language>/<key>.ulaw``, one for each entry of ``calls.core.phrases``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from calls.core.phrases import PHRASES, phrase_language

FOLDER = Path(__file__).parent / "phrases"


class PhraseMissing(LookupError):
    """A phrase without its recording; the message names the file."""


@cache
def phrase_audio(language: str, key: str) -> bytes:
    """Raw µ-law 8 kHz of a phrase in the language that serves ``language``. Raises ``PhraseMissing``."""
    path = FOLDER / phrase_language(language) / f"{key}.ulaw"
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhraseMissing(f"no recording of the phrase {key!r}: {path.name} cannot be read ({error})") from error


def load_all() -> int:
    """Read every phrase, so that a missing one is found at start. Returns their size in bytes."""
    return sum(len(phrase_audio(language, key)) for language, keys in PHRASES.items() for key in keys)

"""The recorded phrases, loaded once: µ-law that needs no vendor.

Files lie in ``calls/phrases/<language>/<key>.ulaw``, one for each entry of ``calls.core.phrases``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from calls.core.phrases import PHRASES, phrase_language

if TYPE_CHECKING:
    from calls.core.policy import AgentProfile

FOLDER = Path(__file__).parent / "phrases"


class PhraseMissing(LookupError):
    """A phrase without its recording; the message names the file."""


def phrase_audio(agent: AgentProfile, key: str) -> bytes:
    """Raw µ-law 8 kHz of a phrase as this agent says it. Raises ``PhraseMissing``."""
    return shipped_audio(agent.language, key)


@cache
def shipped_audio(language: str, key: str) -> bytes:
    """Raw µ-law 8 kHz of a phrase in the language that serves ``language``. Raises ``PhraseMissing``."""
    path = FOLDER / phrase_language(language) / f"{key}.ulaw"
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhraseMissing(f"no recording of the phrase {key!r}: {path.name} cannot be read ({error})") from error


def load_all() -> int:
    """Read every phrase, so that a missing one is found at start. Returns their size in bytes."""
    return sum(len(shipped_audio(language, key)) for language, keys in PHRASES.items() for key in keys)

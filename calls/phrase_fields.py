"""The recorded phrases as people edit them: what each situation is called, and when it is heard."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

#: Longer than that, and the end of a call might cut it off: a stop leaves its last sentence 12 s.
MOST_S = 10
#: The shipped sentences are said at 15 to 19 characters a second.
_CHARS_PER_S = 15
MOST_CHARS = MOST_S * _CHARS_PER_S
#: Unicode's ``Bidi_Control``: what turns the order of the text on the screen.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Situation:
    """When a phrase is heard, in words for people."""

    label: str
    help: str


SITUATIONS: dict[str, Situation] = {
    "model_failed": Situation("The model gave no answer", "Asks the caller to say it again."),
    "voice_failed": Situation("The voice failed", "Asks for a moment's patience."),
    "ear_moment": Situation(
        "What was said did not arrive", "Speech recognition was away; what was said is made up for."
    ),
    "ear_failed": Situation("Speech recognition stays away", "The last words before the call is ended."),
    "trouble": Situation("Too many failures in a row", "The last words before the call is ended."),
    "handover": Situation("Too many failures, and somebody to turn to", "Said before the caller is passed on."),
    "closing": Situation("The server has to stop", "The last words before the call is ended."),
    "time_limit": Situation("The longest call is reached", "The last words before the call is ended."),
    "busy": Situation("No line is free", "Only where busy callers hear a sentence."),
}

#: The keys of ``calls.core.phrases``, in the order in which people see them.
KEYS = tuple(SITUATIONS)


def own_phrases(stored: Any) -> dict[str, str]:
    """The phrases that are an agent's own, by key, in the order of ``KEYS``; what is empty is not. Raises ``ValueError``."""
    if not isinstance(stored, dict) or not all(isinstance(text, str) for text in stored.values()):
        raise ValueError("phrases must be an object of situations and sentences")
    if unknown := sorted(set(stored) - set(KEYS)):
        raise ValueError(f"there is no phrase {unknown[0]!r}; known are {', '.join(KEYS)}")
    tidy = {key: " ".join(stored.get(key, "").split()) for key in KEYS}
    for key, text in tidy.items():
        if len(text) > MOST_CHARS:
            raise ValueError(
                f"{key} has {len(text)} characters, at most {MOST_CHARS} are said in about {MOST_S} seconds"
            )
        if control := next((one for one in text if _is_control(one)), ""):
            raise ValueError(f"{key} has the invisible control character U+{ord(control):04X}: take it out")
        if text and not any(character.isalnum() for character in text):
            raise ValueError(f"{key} has nothing in it that can be said")
    return {key: text for key, text in tidy.items() if text}


def _is_control(character: str) -> bool:
    return character in _BIDI_CONTROLS or unicodedata.category(character) == "Cc"

"""What may be entered: bounds of texts, and messages that say what is wrong without repeating what was said."""

from __future__ import annotations

import re


class Bad(ValueError):
    """Input that cannot be taken; the message names what is wrong and what would be right, never the content."""


_HALVES = re.compile("[\ud800-\udfff]")


def checked_text(text: object, what: str, most_chars: int) -> str:
    """``text`` without space around it, if it is one of 1 to ``most_chars`` characters. Raises ``Bad``."""
    if not isinstance(text, str):
        raise Bad(f"{what} must be a text")
    if "\x00" in text:
        raise Bad(f"{what} has a NUL character at place {text.index(chr(0)) + 1}: it cannot be stored")
    if half := _HALVES.search(text):
        raise Bad(f"{what} has half of a surrogate pair at place {half.start() + 1}: it is no character")
    stripped = text.strip()
    if not stripped:
        raise Bad(f"{what} is empty")
    if len(stripped) > most_chars:
        raise Bad(f"{what} has {len(stripped)} characters; at most {most_chars} can be taken")
    return stripped

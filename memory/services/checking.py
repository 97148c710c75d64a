"""What may be entered: bounds of texts, and messages that say what is wrong without repeating what was said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

#: Of many mistakes the first are told.
_MOST_TOLD = 3


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


def told(error: ValidationError, skip: int = 0) -> str:
    """What pydantic found, without what it found it in. ``skip``: how many parts of each place are not the writer's."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(_told(str(one["type"]), one["loc"][skip:], one["msg"]) for one in found[:_MOST_TOLD])


def _told(kind: str, place: tuple[int | str, ...], words: str) -> str:
    name = ".".join(map(str, place)) or "the line"
    if kind == "missing":
        return f"{name} is missing"
    for begin in ("Value error, ", "Input ", "it "):
        words = words.removeprefix(begin)
    return f"{name}: {words}"

"""Texts of the memory as somebody may read them, and as a search or a comparison marks them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from memory.core import slots
from memory.core.text import tokens
from voiceagent.console.access import may
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: What somebody may be shown of one text; the rest stands in the export.
MOST_CHARS = 2_000
SENSITIVE = "[sensitive]"
_WORD = re.compile(r"\w+|\W+")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a text. ``mark`` is empty, ``match``, or in a comparison ``ins`` or ``del``."""

    text: str
    mark: str = ""


def reads_all(user: Any) -> bool:
    """Whether texts are shown to this user as they are."""
    return may(user, "console.see_unredacted")


def words(text: str, whole: bool, slot: str = "") -> str:
    """A text for a reader, cut where it is longer than anybody reads. Not ``whole``: without numbers and addresses, and
    without what a sensitive slot holds."""
    shown = text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]} …"
    if whole:
        return shown
    known = slots.find(slot)
    if known is not None and known.sensitive:
        return SENSITIVE
    return redacted_text(shown)


def marked(text: str, asked: str) -> list[Part]:
    """The text with the words marked that a question asks for, whatever their inflection."""
    wanted = set(tokens(asked))
    return list(_joined(Part(word, "match" if wanted & set(tokens(word)) else "") for word in _WORD.findall(text)))


def matching(text: str, asked: str) -> list[str]:
    """Which words of a question stand in the text, as they stand there."""
    return list(dict.fromkeys(part.text.casefold() for part in marked(text, asked) if part.mark))


def compared(old: str, new: str) -> list[Part]:
    """What of the old text went and what came, word by word."""
    was, now = _WORD.findall(old), _WORD.findall(new)
    parts = []
    for what, a, b, c, d in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if what in ("delete", "replace"):
            parts.append(Part("".join(was[a:b]), "del"))
        if what in ("insert", "replace"):
            parts.append(Part("".join(now[c:d]), "ins"))
        if what == "equal":
            parts.append(Part("".join(was[a:b])))
    return parts


def _joined(parts: Collection[Part] | Iterator[Part]) -> Iterator[Part]:
    held: Part | None = None
    for part in parts:
        if held is not None and held.mark == part.mark:
            held = Part(held.text + part.text, held.mark)
            continue
        if held is not None:
            yield held
        held = part
    if held is not None:
        yield held

"""Words in what was said, found and blanked: spans of characters, and what becomes of other spans when they go. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from memory.core.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What stands in the place of forgotten words.
BLANK = "[forgotten]"
#: Shorter texts are words of the language: blanking each "yes" would leave nothing.
_FEWEST_CHARS = 4

Span = tuple[int, int]


def telling(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of the texts that are told apart from ordinary words."""
    return tuple(sorted({text.strip() for text in texts if len(text.strip()) >= _FEWEST_CHARS}, key=len, reverse=True))


def spans_of(text: str, wanted: Iterable[str]) -> list[Span]:
    """Where these stand in ``text`` as whole words, in any case."""
    return [
        found.span() for one in wanted for found in re.finditer(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE)
    ]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same characters as spans that do not touch, in order."""
    out: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def cut(text: str, spans: Sequence[Span]) -> str:
    """``text`` with ``BLANK`` for each span (as from ``merged``)."""
    out, place = [], 0
    for start, end in spans:
        out += [text[place:start], BLANK]
        place = end
    return "".join([*out, text[place:]])


def moved(span: Span, spans: Sequence[Span]) -> Span | None:
    """Where ``span`` stands after the cut; ``None`` where it lost something."""
    shift = 0
    for start, end in spans:
        if start < span[1] and span[0] < end:
            return None
        if end <= span[0]:
            shift += len(BLANK) - (end - start)
    return span[0] + shift, span[1] + shift


@dataclass(frozen=True, slots=True)
class Aside:
    """Facts that were set aside together: their words, the lines they were heard in (conversation and place in it), and
    when. What is said after ``at`` is news."""

    texts: tuple[str, ...]
    lines: frozenset[tuple[str, int]]
    at: datetime


@dataclass(frozen=True, slots=True)
class Withheld:
    """What is not to be told while facts are set aside; false where none is."""

    aside: tuple[Aside, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.aside)

    def line(self, conversation: str, seq: int, text: str, said_at: datetime) -> bool:
        """Whether something that was said tells of them."""
        return any(
            said_at <= one.at and ((conversation, seq) in one.lines or spans_of(text, one.texts)) for one in self.aside
        )

    def fact(self, kind: str, text: str, heard: Iterable[tuple[str, datetime | None]], since: datetime) -> bool:
        """Whether another fact does: a summary that says their words, or one that was ``heard`` (the words, and when they
        were said) in these words alone. ``since``: when it began to be true."""
        if not self.aside:
            return False
        if kind == Kind.SUMMARY:
            return any(since <= one.at and spans_of(text, one.texts) for one in self.aside)
        quotes = [(quote, said_at or since) for quote, said_at in heard if quote]
        return bool(quotes) and all(
            any(said_at <= one.at and spans_of(quote, one.texts) for one in self.aside) for quote, said_at in quotes
        )

"""What of the recalled reaches the prompt, and the words in which it stands there. Pure.

A recalled text is quoted data: it stands in one line of JSON, so that nothing in it can end the quotation or begin an
instruction of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memory.core import text
from memory.core.values import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.core.values import Hit, Row

_SPEAKERS = {"user": "caller", "assistant": "you"}
#: What was said before is shown of rows with fewer telling words than this.
_TELLING_WORDS = 5
_BEFORE_CHARS = 120
#: An item longer than this is cut, so that one long story does not push out everything else.
ITEM_CHARS = 320


@dataclass(frozen=True, slots=True)
class Budget:
    """What the prompt has room for. ``floor`` is in the unit of ``Hit.score``, for words and meaning together;
    ``words_floor`` where the words decided alone."""

    tokens: int = 300
    floor: float = 0.22
    words_floor: float = 0.05
    item_chars: int = ITEM_CHARS
    items: int = 10


def choose(hits: Sequence[Hit], budget: Budget | None = None, *, words_only: bool = False) -> list[Hit]:
    """The hits in their order, each with ``in_prompt`` or ``why_not`` set.

    ``hits`` come best first, as ``CallerIndex.search`` gives them; one that has a ``why_not`` already keeps it.
    ``words_only`` tells that there was no vector of the question.
    """
    limits = budget or Budget()
    floor = limits.words_floor if words_only else limits.floor
    left = limits.tokens
    chosen: list[Row] = []
    decided: list[Hit] = []
    for hit in hits:
        cost = tokens_of(line(hit.row, limits.item_chars))
        why_not = hit.why_not
        if why_not:
            pass
        elif hit.score < floor:
            why_not = "floor"
        elif any(_repeats(hit.row, row) for row in chosen):
            why_not = "duplicate"
        elif cost > left or len(chosen) >= limits.items:
            why_not = "budget"
        else:
            left -= cost
            chosen.append(hit.row)
        decided.append(replace(hit, in_prompt=not why_not, why_not=why_not))
    return decided


def line(row: Row, item_chars: int = ITEM_CHARS) -> str:
    """One item as JSON: its id, its day, who said it or what kind of fact it is, and the text."""
    item = {"id": row.id, "date": row.said_at.date().isoformat()}
    if row.kind is Kind.UTTERANCE:
        if after := context(row):
            item["after"] = after
        item[_SPEAKERS.get(row.role, "other")] = shortened(row.text, item_chars)
    else:
        item[row.kind.value] = shortened(row.text, item_chars)
    return json.dumps(item, ensure_ascii=False)


def context(row: Row) -> str:
    """What was said just before a row that says little by itself ("only before ten" needs its question); else empty."""
    if row.kind is not Kind.UTTERANCE or not row.before or len(text.tokens(row.text)) >= _TELLING_WORDS:
        return ""
    return text.end_of(text.clean(row.before), _BEFORE_CHARS)


def tokens_of(prompt_text: str) -> int:
    """How many tokens a text costs at most, roughly: three bytes each, which is more than any language model's
    vocabulary needs for speech in Latin script."""
    return -(-len(prompt_text.encode()) // 3)


def shortened(said: str, limit: int) -> str:
    """The text on one line, at most about ``limit`` characters of it."""
    said = text.clean(said)
    return said if len(said) <= limit else said[:limit].rsplit(" ", 1)[0] + " …"


def _repeats(row: Row, chosen: Row) -> bool:
    """Whether a row says nothing that a chosen one does not: the same words by the same speaker, or a fact beside the
    utterance it was taken from."""
    if text.same(row.text) == text.same(chosen.text) and row.role == chosen.role:
        return True
    return (
        chosen.kind is Kind.UTTERANCE
        and row.kind is not Kind.UTTERANCE
        and row.origin.seq >= 0
        and (row.origin.conversation, row.origin.seq) == (chosen.origin.conversation, chosen.origin.seq)
    )

"""Results as memories: what is remembered from the calls that fit, by its own words or meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q
from django.urls import reverse

from memory import overview, search, surroundings
from memory.models import Source
from voiceagent.console.calls.conditions import calls_of
from voiceagent.console.calls.meaning import question
from voiceagent.console.calls.rows import moment_href, offset
from voiceagent.console.masks import masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from voiceagent.console.calls.parsing import Query

MOST = 50


@dataclass(frozen=True, slots=True)
class Remembered:
    """A memory with whose it is, how close it is to what was asked, and where it was said."""

    text: str
    kind: str
    caller: str
    caller_href: str
    since: str
    score: str
    said_href: str
    said_at: str


def remembered(query: Query, now: datetime, by: str, cover: Callable[[str], str]) -> list[Remembered]:
    """Current memories, the best first, without words the newest.

    Where the query asks for nothing but words, memories that no call taught are found too. Raises ``EmbeddingError``.
    """
    state = overview.CURRENT
    if any(not term.is_words for term in query.terms):
        names = calls_of(query, now, words=False).values("call_sid")
        state &= Q(pk__in=Source.objects.filter(utterance__conversation__name__in=names).values("memory"))
    narrowed = search.Narrowed(state=state)
    asked = question(query)
    if not asked:
        found = search.newest(facts=True, narrowed=narrowed, limit=MOST)
    elif by == "meaning":
        model = surroundings.embedder()
        found = search.by_meaning(search.Meant(model.embed_query(asked), model.name), True, narrowed, limit=MOST)
    else:
        found = search.by_words(asked, facts=True, narrowed=narrowed, limit=MOST)
    numbers = search.numbers({mention.person for mention in found})
    return [_row(mention, numbers, cover, by) for mention in found]


def _row(mention: search.Mention, numbers: dict[UUID, str], cover: Callable[[str], str], by: str) -> Remembered:
    at_ms = mention.audio_ms if mention.audio_ms >= 0 else None
    is_call = mention.conversation.startswith("CA")
    return Remembered(
        text=cover(mention.text),
        kind=mention.kind,
        caller=masked(numbers.get(mention.person.id, "")) or "withheld",
        caller_href=f"{reverse('console:callers')}{mention.person.id}/",
        since=mention.at.isoformat(),
        score=f"{mention.score:.0%}" if mention.score is not None and by == "meaning" else "",
        said_href=moment_href(mention.conversation, at_ms) if is_call else "",
        said_at=offset(at_ms) if is_call else "",
    )

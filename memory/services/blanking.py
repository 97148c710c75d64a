"""Blanking words in what was said: the span goes, what was made of it is made anew, and what else quotes moves along."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from memory import textsearch
from memory.core.spans import Span, cut, merged, moved, spans_of
from memory.core.text import BEFORE_TURNS, before_of
from memory.models import Source, Utterance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from memory.models import Conversation
    from memory.people import Person


def blank(
    person: Person, conversations: Collection[UUID], sources: Iterable[tuple[UUID, int, int]], texts: Sequence[str]
) -> Counter[str]:
    """Blank these spans (utterance, start, end) and, in these conversations, these texts wherever they stand.

    Call it inside the caller's scope. Sources that quoted blanked words go; the others move along.
    """
    exact: defaultdict[UUID, list[Span]] = defaultdict(list)
    for utterance, start, end in sources:
        exact[utterance].append((start, end))
    counts = Counter[str]()
    for conversation in conversations:
        rows = list(Utterance.objects.filter(caller_id=person.id, conversation_id=conversation).order_by("seq"))
        spoken: list[str] = []
        stale_until = -1
        for place, row in enumerate(rows):
            text = person.open(row.text_sealed, "utterance", row.pk, "text")
            heard = person.open(row.heard_sealed, "utterance", row.pk, "heard")
            spans = merged([*exact[row.pk], *spans_of(text, texts)])
            of_heard = merged(spans_of(heard, texts)) or ([(0, len(heard))] if spans and heard else [])
            if spans or of_heard:
                stale_until = place + BEFORE_TURNS
                text = cut(text, spans)
                row.text_sealed = person.seal(text, "utterance", row.pk, "text")
                row.heard_sealed = person.seal(cut(heard, of_heard), "utterance", row.pk, "heard")
                counts["utterances blanked"] += 1
                counts["sources"] += _follow(row, spans)
            if place <= stale_until:
                _make_anew(row, text, before_of(spoken), person.locale)
            spoken.append(text)
    return counts


def retold(person: Person, beside: Collection[UUID], texts: Sequence[str], until: datetime) -> set[UUID]:
    """Other conversations than ``beside`` in which the agent said one of the texts by then: what was known it may have
    told again. Inside the caller's scope."""
    lines = Utterance.objects.filter(caller_id=person.id, role=Utterance.Role.ASSISTANT, said_at__lte=until)
    return {
        line.conversation_id
        for line in lines.exclude(conversation_id__in=beside).defer("words", "vector", "openai_vector")
        if spans_of(person.open(line.text_sealed, "utterance", line.pk, "text"), texts)
    }


def standing(person: Person, conversations: QuerySet[Conversation], texts: Sequence[str]) -> int:
    """In how many utterances of these conversations one of the texts still stands. Inside the caller's scope."""
    rows = Utterance.objects.filter(caller_id=person.id, conversation__in=conversations)
    return sum(
        bool(spans_of(person.open(row.text_sealed, "utterance", row.pk, "text"), texts))
        or bool(spans_of(person.open(row.heard_sealed, "utterance", row.pk, "heard"), texts))
        for row in rows
    )


def _follow(row: Utterance, spans: Sequence[Span]) -> int:
    """Move the sources in this utterance; how many lost their words and went."""
    gone = 0
    for source in Source.objects.filter(utterance=row):
        place = moved((source.start, source.end), spans)
        if place is None:
            source.delete()
            gone += 1
        elif place != (source.start, source.end):
            Source.objects.filter(pk=source.pk).update(start=place[0], end=place[1])
    return gone


def _make_anew(row: Utterance, text: str, before: str, locale: str) -> None:
    """The word index now; the vectors when the conversation is embedded again."""
    row.words = textsearch.vector(text, before, locale)
    row.vector = row.openai_vector = None
    row.vector_model = row.openai_model = ""
    row.save()

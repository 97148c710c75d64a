"""Search across all callers, for operators only: facts and what was said, by words, by meaning, or the newest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from django.contrib.postgres.search import SearchRank
from django.db.models import F, FloatField, Q, Value
from django.utils import timezone
from numpy.typing import NDArray
from pgvector.django import CosineDistance

from memory import overview, people, textsearch
from memory.core.values import Kind
from memory.db import scoped
from memory.models import Caller, Memory, Source, Utterance
from memory.people import Person
from memory.selectors import LOCAL, Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.models import QuerySet


#: So many are ranked; whoever wants to see more asks more precisely.
MOST_RANKED = 500


@dataclass(frozen=True, slots=True)
class Mention:
    """A fact or an utterance of some caller. ``score`` is ``None`` where nothing was asked for.

    ``at`` is when it was said, or since when it is true; ``conversation_id`` is ``None`` for what was entered by hand.
    """

    person: Person
    id: UUID
    kind: str
    text: str
    at: datetime
    score: float | None
    slot: str = ""
    state: str = ""
    role: str = ""
    conversation_id: UUID | None = None
    conversation: str = ""
    seq: int = -1
    audio_ms: int = -1


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Which rows: kind, slot (with all that stands below it in its name) and state of facts, speaker of what was said."""

    kind: str = ""
    slot: str = ""
    state: Q | None = None
    role: str = ""

    def condition(self) -> Q:
        """As the database is asked."""
        found = self.state or Q()
        if self.kind:
            found &= Q(kind=self.kind)
        if self.slot:
            found &= Q(slot=self.slot) | Q(slot__startswith=f"{self.slot}.")
        return found & Q(role=self.role) if self.role else found


@dataclass(frozen=True, slots=True)
class Meant:
    """What is asked for by meaning: the question's vector, the model it is of, and where that model's vectors are."""

    vector: NDArray[np.float32]
    model: str
    column: Column = LOCAL


def by_words(text: str, facts: bool, narrowed: Narrowed, *, start: int = 0, limit: int = 50) -> list[Mention]:
    """The rows with most of these words, best first. ``facts``: those, else utterances."""
    query = textsearch.words_of_any_locale(text)
    if query is None:
        return []
    found = _rows(facts, narrowed).filter(words=query).annotate(score=SearchRank(F("words"), query))
    return _mentions(found.order_by("-score", "-pk")[start : min(start + limit, MOST_RANKED)])


def by_meaning(meant: Meant, facts: bool, narrowed: Narrowed, *, start: int = 0, limit: int = 50) -> list[Mention]:
    """The rows nearest in meaning, best first; ``score`` is the cosine. Rows that have no vector of the model are left out."""
    distance = CosineDistance(meant.column.vector, meant.vector.tolist())
    found = _rows(facts, narrowed).filter(**{meant.column.model: meant.model}).annotate(distance=distance)
    found = found.annotate(score=Value(1.0, FloatField()) - F("distance")).order_by("distance")
    return _mentions(found[start : min(start + limit, MOST_RANKED)])


def newest(facts: bool, narrowed: Narrowed, *, before: UUID | None = None, limit: int = 50) -> list[Mention]:
    """The rows written last, newest first, along the primary key; ``before`` is the last one of the page before."""
    found = _rows(facts, narrowed).annotate(score=Value(None, FloatField())).order_by("-pk")
    return _mentions((found.filter(pk__lt=before) if before else found)[:limit])


def of_caller(
    person: Person, text: str, state: Q, meant: Meant | None = None, *, limit: int = 50
) -> list[tuple[UUID, float]]:
    """The facts of one caller that fit best, each with its score: by words, or by meaning where ``meant`` has the question's
    vector (the cosine)."""
    with scoped(person.id):
        found = Memory.objects.filter(state, caller_id=person.id)
        if meant is not None:
            distance = CosineDistance(meant.column.vector, meant.vector.tolist())
            found = found.filter(**{meant.column.model: meant.model}).annotate(score=1.0 - distance)
        elif (query := textsearch.words_of_any_locale(text)) is not None:
            found = found.filter(words=query).annotate(score=SearchRank(F("words"), query))
        else:
            return []
        return [(pk, float(score)) for pk, score in found.order_by("-score", "-pk").values_list("pk", "score")[:limit]]


def numbers(owners: Iterable[Person]) -> dict[UUID, str]:
    """The numbers of these callers, by id, in one query."""
    opened = {person.id: person for person in owners}
    sealed = Caller.objects.filter(pk__in=opened).values_list("pk", "number_sealed")
    return {pk: opened[pk].open(value, "caller", pk, "number") for pk, value in sealed}


def _rows(facts: bool, narrowed: Narrowed) -> QuerySet[Any]:
    rows: QuerySet[Any] = Memory.objects.all() if facts else Utterance.objects.select_related("conversation")
    return rows.select_related("caller").filter(narrowed.condition()).defer("words", "vector", "openai_vector")


def _mentions(rows: Iterable[Any]) -> list[Mention]:
    found = list(rows)
    opened: dict[UUID, Person] = {}
    for row in found:
        if row.caller_id not in opened:
            opened[row.caller_id] = people.opened(row.caller)
    heard = _heard_first([row for row in found if isinstance(row, Memory)])
    mentions = []
    for row in found:
        person, score = opened[row.caller_id], row.score
        is_fact = isinstance(row, Memory)
        mentions.append(_fact(person, row, score, heard.get(row.pk)) if is_fact else _line(person, row, score))
    return mentions


def _fact(person: Person, row: Memory, score: float | None, heard: Utterance | None) -> Mention:
    return Mention(
        person=person,
        id=row.pk,
        kind=row.kind,
        slot=row.slot,
        state=overview.state_of(row, timezone.now()),
        text=person.open(row.text_sealed, "memory", row.pk, "text"),
        at=row.valid_from,
        score=score,
        **(_place(heard) if heard else {}),
    )


def _line(person: Person, row: Utterance, score: float | None) -> Mention:
    text = person.open(row.text_sealed, "utterance", row.pk, "text")
    return Mention(person, row.pk, Kind.UTTERANCE, text, row.said_at, score, role=row.role, **_place(row))


def _place(said: Utterance) -> dict[str, Any]:
    return {
        "conversation_id": said.conversation_id,
        "conversation": said.conversation.name,
        "seq": said.seq,
        "audio_ms": said.audio_ms,
    }


def _heard_first(facts: Sequence[Memory]) -> dict[UUID, Utterance]:
    """The utterance in which each fact was heard first; facts that were entered have none."""
    heard = Source.objects.filter(memory__in=facts, utterance__isnull=False).select_related("utterance__conversation")
    light = heard.defer("utterance__words", "utterance__vector", "utterance__openai_vector").order_by("-pk")
    return {source.memory_id: source.utterance for source in light if source.utterance}

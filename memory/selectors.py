"""What is known, read: a caller's rows for the index, their facts with lives and sources, their conversations.

Everything about one caller is read inside ``memory.db.scoped``, so that the database admits no other's rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from django.contrib.postgres.search import SearchRank
from django.db.models import BinaryField, F, Func, Q
from pgvector.django import CosineDistance

from memory import textsearch
from memory.core.spans import BLANK, Aside, Withheld, telling
from memory.core.text import before_of
from memory.core.values import Card, Kind, Known, Origin, Row, Status
from memory.db import scoped
from memory.models import Card as CardRow
from memory.models import Memory, MemoryEvent, Source, Utterance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from memory.people import Person

#: What of a caller's utterances a process holds; among older ones two narrow queries find candidates.
MOST_ROWS = 2000
_CANDIDATES = 60
#: How the author of what an import brought begins.
IMPORTED = "import:"
#: What pgvector sends before the numbers: their count, and two bytes of nothing.
_VECTOR_HEAD_BYTES = 4
#: How many lines before an utterance belong to it.
_BEFORE = 3


@dataclass(frozen=True, slots=True)
class Column:
    """Where the vectors of one embedding stand, and the names of their models."""

    vector: str
    model: str


#: The local embedding's, which calls search; and beside it OpenAI's, for searches that may take a network's time.
LOCAL, SECOND = Column("vector", "vector_model"), Column("openai_vector", "openai_model")


@dataclass(frozen=True, slots=True)
class FactSource:
    """Where a fact comes from. ``conversation`` is empty, ``seq`` and ``audio_ms`` are ``-1`` for what was entered."""

    by: str
    conversation: str = ""
    seq: int = -1
    start: int = 0
    end: int = 0
    quote: str = ""
    audio_ms: int = -1
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FactEvent:
    """One thing that happened to a fact."""

    what: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """A remembered fact as operators, tokens and exports see it."""

    id: str
    kind: str
    slot: str
    text: str
    value: str
    importance: float
    confidence: float
    status: str
    valid_from: datetime
    valid_to: datetime | None
    recorded_at: datetime
    retired_at: datetime | None
    superseded_by: str
    expires_at: datetime | None
    uses: int
    extractor: str
    sources: tuple[FactSource, ...] = ()
    history: tuple[FactEvent, ...] = ()
    last_used_at: datetime | None = None
    pinned_at: datetime | None = None
    forgotten_at: datetime | None = None

    @property
    def version(self) -> str:
        """Another one after each change: what somebody saw is what they may change."""
        last = self.history[-1] if self.history else None
        return f"{len(self.history)}-{last.at.timestamp():.6f}" if last else "0"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a conversation."""

    id: str
    conversation: str
    seq: int
    role: str
    text: str
    heard_text: str
    said_at: datetime
    audio_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a call holds of its caller. ``is_whole``: nothing older is left in the database for ``legs`` to find."""

    rows: list[Row]
    is_whole: bool


# --- for the index ----------------------------------------------------------------------------------------------------


def held(person: Person, vector_model: str, *, as_of: datetime | None = None, column: Column = LOCAL) -> Held:
    """The rows of a caller for the length of a call: the facts, and the newest ``MOST_ROWS`` utterances.

    Vectors of another model than ``vector_model`` are left out: they cannot be compared. ``as_of``: the facts that were
    true then, whatever became of them, and what was said until then.
    """
    with scoped(person.id):
        hidden = withheld(person)
        facts = fact_rows(person, _standing(person, as_of), vector_model, column, hidden)
        every = Utterance.objects.filter(caller_id=person.id)
        if as_of is not None:
            facts = [replace(fact, status=Status.ACTIVE) for fact in facts]
            every = every.filter(said_at__lte=as_of)
        newest = _with_vectors(every.select_related("conversation"), vector_model, column).order_by("-said_at", "-pk")[
            :MOST_ROWS
        ]
        in_order = sorted(newest, key=lambda line: (line.conversation_id, line.seq))
        total = len(in_order) if len(in_order) < MOST_ROWS else every.count()
        return Held(facts + utterance_rows(person, in_order, vector_model, column, hidden), total <= MOST_ROWS)


def legs(person: Person, text: str, vector: bytes, vector_model: str, column: Column = LOCAL) -> list[Row]:
    """Candidates among all utterances of a caller with too many to hold: the nearest by words, and by meaning."""
    with scoped(person.id):
        every = Utterance.objects.filter(caller_id=person.id)
        found: set[UUID] = set()
        if (query := textsearch.any_word(text, person.locale)) is not None:
            ranked = every.filter(words=query).annotate(rank=SearchRank(F("words"), query)).order_by("-rank", "-id")
            found.update(ranked.values_list("pk", flat=True)[:_CANDIDATES])
        if vector:
            near = every.filter(**{column.model: vector_model}).order_by(CosineDistance(column.vector, floats(vector)))
            found.update(near.values_list("pk", flat=True)[:_CANDIDATES])
        wanted = _with_vectors(_with_neighbours(every, found).select_related("conversation"), vector_model, column)
        rows = utterance_rows(person, wanted, vector_model, column, withheld(person))
        return [row for row in rows if row.id in {str(one) for one in found}]


def _with_neighbours(every: QuerySet[Utterance], found: Collection[UUID]) -> QuerySet[Utterance]:
    """These utterances and the few before each, from which it is understood."""
    places = every.filter(pk__in=found).values_list("conversation_id", "seq")
    near = Q(pk__in=found)
    for conversation, seq in places:
        near |= Q(conversation_id=conversation, seq__gte=seq - _BEFORE, seq__lt=seq)
    return every.filter(near).order_by("conversation_id", "seq")


def utterance_rows(
    person: Person,
    found: Iterable[Utterance],
    vector_model: str = "",
    column: Column = LOCAL,
    hidden: Withheld = Withheld(),  # noqa: B008 - a frozen value
) -> list[Row]:
    """Utterances, ordered by conversation and place in it, as the index takes them; those that are ``hidden`` left out."""
    rows: list[Row] = []
    for _, lines in groupby(found, key=lambda line: line.conversation_id):
        previous: list[str] = []
        for line in lines:
            text = person.open(line.text_sealed, "utterance", line.pk, "text")
            if hidden.line(line.conversation.name, line.seq, text, line.said_at):
                previous.append(BLANK)
                continue
            rows.append(
                Row(
                    id=str(line.pk),
                    kind=Kind.UTTERANCE,
                    text=text,
                    said_at=line.said_at,
                    role=line.role,
                    before=before_of(previous[-_BEFORE:]),
                    origin=Origin(line.conversation.name, line.seq, 0, len(text), line.audio_ms, text),
                    vector=_bytes(line, vector_model, column),
                )
            )
            previous.append(text)
    return rows


def fact_rows(
    person: Person,
    found: QuerySet[Memory],
    vector_model: str = "",
    column: Column = LOCAL,
    hidden: Withheld = Withheld(),  # noqa: B008 - a frozen value
) -> list[Row]:
    """Facts as the index takes them, each with the first place that it comes from; those that are ``hidden`` left out."""
    facts = list(_with_vectors(found, vector_model, column))
    sources = _sources(person, facts)
    rows = ((_fact_row(person, fact, sources[fact.pk], vector_model, column), fact) for fact in facts)
    return [row for row, fact in rows if not hidden.fact(row.kind, row.text, _heard(sources[fact.pk]), fact.valid_from)]


def _heard(sources: Iterable[FactSource]) -> Iterable[tuple[str, datetime | None]]:
    return ((one.quote, one.said_at) for one in sources)


def _fact_row(
    person: Person, fact: Memory, sources: Sequence[FactSource], vector_model: str, column: Column = LOCAL
) -> Row:
    first = sources[0] if sources else FactSource("")
    return Row(
        id=str(fact.pk),
        kind=Kind(fact.kind),
        text=person.open(fact.text_sealed, "memory", fact.pk, "text"),
        said_at=first.said_at or fact.valid_from,
        slot=fact.slot,
        status=Status(fact.status),
        importance=fact.importance,
        origin=Origin(first.conversation, first.seq, first.start, first.end, first.audio_ms, first.quote),
        vector=_bytes(fact, vector_model, column),
    )


def _standing(person: Person, as_of: datetime | None) -> QuerySet[Memory]:
    """Facts that were not retired. The index offers those that are active, and learns from the superseded ones which
    utterances were corrected since."""
    standing = Memory.objects.filter(caller_id=person.id, retired_at__isnull=True).order_by("pk")
    return standing if as_of is None else _true(standing, as_of)


def withheld(person: Person) -> Withheld:
    """What is not told while facts of this caller are set aside. Inside the caller's scope."""
    facts = list(Memory.objects.filter(caller_id=person.id, forgotten_at__isnull=False).order_by("pk"))
    sources = _sources(person, facts) if facts else {}
    return Withheld(tuple(_aside(person, fact, sources.get(fact.pk, ())) for fact in facts))


def _aside(person: Person, fact: Memory, sources: Sequence[FactSource]) -> Aside:
    heard = [source for source in sources if source.conversation]
    value = person.open(fact.value_sealed, "memory", fact.pk, "value")
    return Aside(
        telling([value, *(source.quote for source in heard)]),
        frozenset((source.conversation, source.seq) for source in heard),
        fact.forgotten_at or fact.recorded_at,
    )


def _true(found: QuerySet[Memory], as_of: datetime) -> QuerySet[Memory]:
    """Those that were true then."""
    return found.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=as_of), valid_from__lte=as_of).exclude(
        status=Status.RETRACTED.value
    )


# --- for the merge and the card ---------------------------------------------------------------------------------------


def known(
    person: Person, vector_model: str = "", *, slots: Collection[str] | None = None, told: bool = False
) -> list[Known]:
    """Every fact that was not retired, history included, as the merge sees it; ``told``: as calls may be told."""
    with scoped(person.id):
        hidden = withheld(person) if told else Withheld()
        found = Memory.objects.filter(caller_id=person.id, retired_at__isnull=True).order_by("pk")
        facts = list(_with_vectors(found if slots is None else found.filter(slot__in=slots), vector_model, LOCAL))
        sources = _sources(person, facts)
        every = ((_known(person, fact, sources[fact.pk], vector_model), fact) for fact in facts)
        return [
            one for one, fact in every if not hidden.fact(one.kind, one.text, _heard(sources[fact.pk]), fact.valid_from)
        ]


def _known(person: Person, fact: Memory, sources: Sequence[FactSource], vector_model: str) -> Known:
    row = _fact_row(person, fact, sources, vector_model)
    return Known(
        id=row.id,
        kind=row.kind,
        text=row.text,
        slot=row.slot,
        value=person.open(fact.value_sealed, "memory", fact.pk, "value"),
        importance=fact.importance,
        confidence=fact.confidence,
        status=row.status,
        valid_from=fact.valid_from,
        valid_to=fact.valid_to,
        uses=fact.uses,
        said_at=max((source.said_at for source in sources if source.said_at), default=fact.valid_from),
        origin=row.origin,
        vector=row.vector,
        sources=frozenset((source.conversation, source.seq) for source in sources if source.conversation),
        extractor=fact.extractor,
        expires_at=fact.expires_at,
        pinned=fact.pinned_at is not None,
    )


def card(person: Person) -> Card | None:
    """The profile card, as it was built last; ``None`` where there is none."""
    with scoped(person.id):
        row = CardRow.objects.filter(caller_id=person.id).first()
    if row is None:
        return None
    return Card(
        name=person.open(row.name_sealed, "card", person.id, "name"),
        text=person.open(row.text_sealed, "card", person.id, "text"),
        facts=row.facts,
    )


# --- for operators, tokens and exports --------------------------------------------------------------------------------


def facts(
    person: Person,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    slot: str = "",
    kinds: Collection[str] = (),
    ids: Collection[UUID] | None = None,
    forgotten: bool = False,
) -> list[Fact]:
    """A caller's facts by slot, newest first, each with its sources and its history.

    ``as_of``: those that were true then. ``known_at``: as we knew it then. Without either: all there ever were.
    ``forgotten``: those too that were set aside, and what tells of them.
    """
    with scoped(person.id):
        hidden = Withheld() if forgotten else withheld(person)
        found = Memory.objects.filter(caller_id=person.id).order_by("slot", "-valid_from", "-pk")
        if not forgotten:
            found = found.filter(forgotten_at__isnull=True)
        if ids is not None:
            found = found.filter(pk__in=ids)
        if slot:
            found = found.filter(slot=slot)
        if kinds:
            found = found.filter(kind__in=kinds)
        if known_at is not None:
            found = found.filter(Q(retired_at__isnull=True) | Q(retired_at__gt=known_at), recorded_at__lte=known_at)
        if as_of is not None:
            found = _true(found, as_of)
            if known_at is None:
                found = found.filter(retired_at__isnull=True)
        rows = list(found)
        sources, events = _sources(person, rows), _events(rows)
        every = [_fact(person, row, sources[row.pk], events[row.pk]) for row in rows]
        return [one for one in every if not hidden.fact(one.kind, one.text, _heard(one.sources), one.valid_from)]


def _fact(person: Person, row: Memory, sources: Sequence[FactSource], events: Sequence[FactEvent]) -> Fact:
    return Fact(
        id=str(row.pk),
        kind=row.kind,
        slot=row.slot,
        text=person.open(row.text_sealed, "memory", row.pk, "text"),
        value=person.open(row.value_sealed, "memory", row.pk, "value"),
        importance=row.importance,
        confidence=row.confidence,
        status=row.status,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        recorded_at=row.recorded_at,
        retired_at=row.retired_at,
        superseded_by=str(row.superseded_by_id or ""),
        expires_at=row.expires_at,
        uses=row.uses,
        extractor=row.extractor,
        sources=tuple(sources),
        history=tuple(events),
        last_used_at=row.last_used_at,
        pinned_at=row.pinned_at,
        forgotten_at=row.forgotten_at,
    )


def lines(
    person: Person, *, conversation: str = "", ids: Collection[UUID] | None = None, told: bool = False
) -> list[Line]:
    """What was said: in this conversation, or these utterances, or all of it; in order. ``told``: without the lines that
    tell of what was set aside."""
    with scoped(person.id):
        hidden = withheld(person) if told else Withheld()
        found = Utterance.objects.filter(caller_id=person.id).select_related("conversation")
        if conversation:
            found = found.filter(conversation__name=conversation)
        if ids is not None:
            found = found.filter(pk__in=ids)
        every = [_line(person, row) for row in found.order_by("conversation__began_at", "conversation_id", "seq")]
        return [line for line in every if not hidden.line(line.conversation, line.seq, line.text, line.said_at)]


def _line(person: Person, row: Utterance) -> Line:
    return Line(
        id=str(row.pk),
        conversation=row.conversation.name,
        seq=row.seq,
        role=row.role,
        text=person.open(row.text_sealed, "utterance", row.pk, "text"),
        heard_text=person.open(row.heard_sealed, "utterance", row.pk, "heard"),
        said_at=row.said_at,
        audio_ms=row.audio_ms,
        confidence=row.confidence,
    )


def labels(person: Person, ids: Collection[str]) -> dict[str, str]:
    """What imports called these lines and facts, by id; those that nobody named are left out."""
    with scoped(person.id):
        said = Utterance.objects.filter(caller_id=person.id, pk__in=ids).exclude(label="")
        named = Source.objects.filter(caller_id=person.id, memory_id__in=ids, by__startswith=IMPORTED)
        return {str(row): label for row, label in said.values_list("pk", "label")} | {
            str(row): by.removeprefix(IMPORTED) for row, by in named.order_by("-pk").values_list("memory", "by")
        }


# --- parts ------------------------------------------------------------------------------------------------------------


def _sources(person: Person, facts: Sequence[Memory]) -> defaultdict[UUID, list[FactSource]]:
    found: defaultdict[UUID, list[FactSource]] = defaultdict(list)
    rows = Source.objects.filter(memory__in=facts).select_related("utterance__conversation").order_by("pk")
    for row in rows.defer("utterance__words", "utterance__vector", "utterance__openai_vector"):
        said = row.utterance
        if said is None:
            found[row.memory_id].append(FactSource(row.by))
            continue
        text = person.open(said.text_sealed, "utterance", said.pk, "text")
        found[row.memory_id].append(
            FactSource(
                by=row.by,
                conversation=said.conversation.name,
                seq=said.seq,
                start=row.start,
                end=row.end,
                quote=text[row.start : row.end],
                audio_ms=said.audio_ms,
                said_at=said.said_at,
            )
        )
    return found


def _events(facts: Sequence[Memory]) -> defaultdict[UUID, list[FactEvent]]:
    found: defaultdict[UUID, list[FactEvent]] = defaultdict(list)
    for row in MemoryEvent.objects.filter(memory__in=facts).order_by("at", "pk"):
        found[row.memory_id].append(FactEvent(row.what, row.by, row.at))
    return found


def _with_vectors[M: Utterance | Memory](found: QuerySet[M], vector_model: str, column: Column) -> QuerySet[M]:
    """Only what the rows of an index need; vectors as the database holds them, which saves reading them as decimals."""
    light: QuerySet[M] = found.defer("words", "vector", "openai_vector")
    if vector_model:
        light = light.annotate(raw_vector=Func(F(column.vector), function="vector_send", output_field=BinaryField()))
    return light


def _bytes(row: Utterance | Memory, vector_model: str, column: Column) -> bytes:
    """The row's vector as float32, where ``_with_vectors`` read it and it is of this model."""
    raw = getattr(row, "raw_vector", None)
    if raw is None or getattr(row, column.model) != vector_model:
        return b""
    return np.frombuffer(raw, dtype=">f4", offset=_VECTOR_HEAD_BYTES).astype(np.float32).tobytes()


def floats(vector: bytes) -> list[float]:
    """A row's vector as the database takes it."""
    return np.frombuffer(vector, dtype=np.float32).tolist()

"""Meaning for rows that have none yet, or that of another model: the local vector always, OpenAI's beside it where named.

A row says which model its vector is of, so there is nothing else to remember: what is done is done, what is not is found
by asking. Until a row is replaced it keeps its old vector, and is found by its words meanwhile. Nothing here can lose
what was said: an embedding that fails leaves the row as it is.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from django.db.models import Q
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from memory import people, surroundings
from memory.db import scoped
from memory.embedding.port import EmbeddingError
from memory.embedding.vectors import vectors_for
from memory.models import Caller, Memory, Utterance
from memory.selectors import LOCAL, SECOND, Column, fact_rows, utterance_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from memory.core.values import Row
    from memory.embedding.port import Embedder
    from memory.people import Person

_log = structlog.get_logger(__name__)

#: Rows embedded and written at once: what a worker that dies loses.
_BATCH = 64
_ATTEMPTS = 3
_LONGEST_WAIT_S = 8.0


def _stale(column: Column, name: str) -> Q:
    """Rows without a vector of this model."""
    return ~Q(**{column.model: name}) | Q(**{f"{column.vector}__isnull": True})


def _is_stale(row: Any, column: Column, name: str) -> bool:
    return getattr(row, column.vector) is None or getattr(row, column.model) != name


@dataclass(frozen=True, slots=True)
class Embedded:
    """How many vectors were written. ``failed`` says why the second embedding stopped; empty where it did not."""

    local: int = 0
    second: int = 0
    failed: str = ""

    def __add__(self, other: Embedded) -> Embedded:
        return Embedded(self.local + other.local, self.second + other.second, self.failed or other.failed)


@dataclass(frozen=True, slots=True)
class Reembedded:
    """How far ``reembed`` is, in callers, and what it wrote so far."""

    done: int
    total: int
    written: Embedded


def embed_conversation(person: Person, conversation_id: UUID) -> Embedded:
    """Embed what was said in one conversation, each line with what was said just before it.

    Raises ``EmbeddingError`` where the local embedding fails. A failure of the second one is logged and told.
    """
    return _embed(person, Utterance.objects.filter(conversation_id=conversation_id), Memory.objects.none())


def embed_facts(person: Person) -> Embedded:
    """Embed a caller's facts. Raises as ``embed_conversation``."""
    return _embed(person, Utterance.objects.none(), Memory.objects.all())


def embed_caller(person: Person) -> Embedded:
    """Embed all that is kept of a caller. Raises as ``embed_conversation``."""
    return _embed(person, Utterance.objects.all(), Memory.objects.all())


def reembed() -> Iterator[Reembedded]:
    """Give every row of every caller a vector of the models that are configured now; tells how far it is after each caller.

    May be stopped at any time and called again: it takes up what is left. Raises as ``embed_conversation``.
    """
    waiting = _waiting()
    written = Embedded()
    yield Reembedded(0, len(waiting), written)
    for done, caller_id in enumerate(waiting, 1):
        if (person := people.by_id(caller_id)) is not None:  # erased meanwhile: nothing to embed
            written += embed_caller(person)
        yield Reembedded(done, len(waiting), written)


def _waiting() -> list[UUID]:
    """Callers with a row that lacks a vector of a configured model."""
    stale = _stale(LOCAL, surroundings.embedder().name)
    if (second := surroundings.second_embedder()) is not None:
        with closing(second):
            stale |= _stale(SECOND, second.name)
    said = Utterance.objects.filter(stale).values("caller_id")
    known = Memory.objects.filter(stale).values("caller_id")
    return list(Caller.objects.filter(Q(pk__in=said) | Q(pk__in=known)).order_by("pk").values_list("pk", flat=True))


def _embed(person: Person, said: QuerySet[Utterance], known: QuerySet[Memory]) -> Embedded:
    local = sum(_fill(person, said, known, LOCAL, surroundings.embedder()))
    second = surroundings.second_embedder()
    if second is None:
        return Embedded(local)
    count = 0
    with closing(second):
        try:
            for written in _fill(person, said, known, SECOND, second):
                count += written
        except EmbeddingError as error:
            # The local vector is there and the row is found by it; the next run tries again.
            _log.warning("memory.second_embedding_failed", caller=str(person.id), reason=str(error))
            return Embedded(local, count, str(error))
    return Embedded(local, count)


def _fill(
    person: Person, said: QuerySet[Utterance], known: QuerySet[Memory], column: Column, embedder: Embedder
) -> Iterator[int]:
    """Write what is missing in one column, batch by batch; tells how many vectors each wrote."""
    with scoped(person.id):
        lines: Sequence[tuple[Utterance | Memory, Row]] = _stale_lines(person, said, column, embedder.name)
        stale = known.filter(_stale(column, embedder.name), caller_id=person.id).order_by("pk")
        facts: Sequence[tuple[Utterance | Memory, Row]] = list(zip(stale, fact_rows(person, stale), strict=True))
    for batch in batched([*lines, *facts], _BATCH):
        yield _write(person, batch, column, embedder)


def _stale_lines(
    person: Person, said: QuerySet[Utterance], column: Column, name: str
) -> list[tuple[Utterance | Memory, Row]]:
    """Lines to embed, with what was said before each: for that the whole of their conversations is read."""
    mine = said.filter(caller_id=person.id)
    conversations = mine.filter(_stale(column, name)).values("conversation_id")
    lines = list(
        Utterance.objects.filter(caller_id=person.id, conversation_id__in=conversations)
        .select_related("conversation")
        .order_by("conversation_id", "seq")
    )
    rows = utterance_rows(person, lines)
    return [(line, row) for line, row in zip(lines, rows, strict=True) if _is_stale(line, column, name)]


def _write(person: Person, batch: Sequence[tuple[Utterance | Memory, Row]], column: Column, embedder: Embedder) -> int:
    vectors = _vectors([row for _, row in batch], embedder)
    for (row, _), vector in zip(batch, vectors, strict=True):
        setattr(row, column.vector, np.frombuffer(vector, dtype=np.float32))
        setattr(row, column.model, embedder.name)
    with scoped(person.id):
        # Rows that were erased meanwhile are not there to be updated.
        for model in (Utterance, Memory):
            rows: list[Any] = [row for row, _ in batch if isinstance(row, model)]
            mine: QuerySet[Any] = model._default_manager.filter(caller_id=person.id)
            if rows:
                mine.bulk_update(rows, [column.vector, column.model])
    return len(batch)


def _vectors(rows: Sequence[Row], embedder: Embedder) -> list[bytes]:
    """The vectors, asked for again after a growing pause where that may help."""
    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, EmbeddingError) and error.retryable),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(max=_LONGEST_WAIT_S),
        reraise=True,
    )
    return retrying(vectors_for, rows, embedder)

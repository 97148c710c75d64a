"""Facts that say the same, or contradict each other, put side by side; a person decides, since nearness alone never merges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from django.db.models import F

from memory import overview, selectors
from memory.core.merge import NEAR_COSINE
from memory.core.values import Kind, Status
from memory.db import scoped
from memory.models import Memory, MemoryEvent, Source
from memory.selectors import Fact
from memory.services import correcting
from memory.services.bench import bench
from memory.services.checking import Bad

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from memory.people import Person

_What = MemoryEvent.What
#: Pairs that are suggested at once, and facts among which they are looked for, the newest.
_MOST_PAIRS, _MOST_FACTS = 10, 500
#: What is told of one occasion: two bookings are two, however alike.
_OCCASIONS = (Kind.EVENT, Kind.COMMITMENT, Kind.SUMMARY)
#: What being said once more adds to a fact's sureness: a half of what is missing, as in ``memory.core.merge``.
_MORE_SURE, _MOST_SURE = 0.5, 0.99


@dataclass(frozen=True, slots=True)
class Pair:
    """Two facts to decide about. ``cosine`` is ``None`` where they contradict each other: ``second`` waits for a person."""

    first: Fact
    second: Fact
    cosine: float | None = None


def suggestions(person: Person) -> list[Pair]:
    """Pairs to decide about: what is disputed first, then the nearest. Those that somebody kept apart are left out."""
    with scoped(person.id):
        found = Memory.objects.filter(overview.CURRENT, caller_id=person.id, vector__isnull=False)
        rows = list(found.exclude(kind__in=_OCCASIONS).order_by("-pk")[:_MOST_FACTS])
        told = MemoryEvent.objects.filter(caller_id=person.id, what=_What.APART)
        apart = {frozenset((str(one), str(data.get("from")))) for one, data in told.values_list("memory_id", "data")}
        disputed = _disputes(person)
    near = [pair for pair in _near(rows) if frozenset(map(str, pair[:2])) not in apart]
    near = sorted(near, key=lambda pair: -pair[2])[: max(_MOST_PAIRS - len(disputed), 0)]
    ids = {one for first, second, _ in near for one in (first, second)} | {one for pair in disputed for one in pair}
    facts = {UUID(fact.id): fact for fact in selectors.facts(person, ids=ids)}
    return [
        Pair(facts[first], facts[second], cosine)
        for first, second, cosine in [*((*pair, None) for pair in disputed), *near]
        if first in facts and second in facts
    ]


def _disputes(person: Person) -> list[tuple[UUID, UUID]]:
    rows = Memory.objects.filter(overview.STATES["disputed"], caller_id=person.id).exclude(slot="").order_by("-pk")
    found = []
    for row in rows[:_MOST_PAIRS]:
        firmer = Memory.objects.filter(
            caller_id=person.id, slot=row.slot, status=Status.ACTIVE, retired_at=None
        ).first()
        if firmer is not None:
            found.append((firmer.pk, row.pk))
    return found


def _near(rows: Sequence[Memory]) -> list[tuple[UUID, UUID, float]]:
    """Facts of one model's vectors that are near, and could be the same: free ones, or of one slot."""
    found = []
    for model in {row.vector_model for row in rows}:
        mine = [row for row in rows if row.vector_model == model]
        vectors = np.array([row.vector for row in mine], dtype=np.float32)
        for one, other in zip(*np.nonzero(np.triu(vectors @ vectors.T >= NEAR_COSINE, 1)), strict=True):
            first, second = mine[one], mine[other]
            if not first.slot or not second.slot or first.slot == second.slot:
                found.append((first.pk, second.pk, float(vectors[one] @ vectors[other])))
    return found


def merge(
    person: Person, stays: UUID | str, goes: UUID | str, *, by: str, now: datetime, seen: tuple[str, str] | None = None
) -> Fact:
    """Let one fact stand for both: the other ends, and what it was heard in is a source of the one that stays.

    ``seen`` are both ``Fact.version``s, the one that stays first. Raises ``NoSuchFact``, ``Stale``, ``Bad``.
    """
    if str(stays) == str(goes):
        raise Bad("these are one fact")
    with bench(person, None, by=by, now=now) as work:
        for one, version in zip((stays, goes), seen or (None, None), strict=True):
            correcting.unchanged(person, one, version)
        kept, other = correcting.standing(work, stays), correcting.standing(work, goes)
        keeps, ends = UUID(kept.id), UUID(other.id)
        # What ends makes room first: the database admits one value of a slot at a time.
        Memory.objects.filter(pk=ends).update(status=Status.SUPERSEDED.value, valid_to=F("valid_from"), pinned_at=None)
        if other.status is Status.ACTIVE and (other.valid_from or now) <= now:
            Memory.objects.filter(pk=ends).update(valid_to=now)
        Memory.objects.filter(pk=ends).update(superseded_by=keeps)
        Memory.objects.filter(pk=keeps).update(
            status=Status.ACTIVE.value,
            valid_from=max(kept.valid_from or now, now) if kept.status is Status.DISPUTED else kept.valid_from or now,
            confidence=min(kept.confidence + (1 - kept.confidence) * _MORE_SURE, _MOST_SURE),
            importance=max(kept.importance, other.importance),
        )
        _take_over(person, ends, keeps)
        work.event(ends, _What.SUPERSEDED, by_fact=kept.id)
        work.event(keeps, _What.REINFORCED, **{"from": other.id})
    correcting.tell(person, now)
    return selectors.facts(person, ids=[keeps])[0]


def keep_apart(person: Person, one: UUID | str, other: UUID | str, *, by: str, now: datetime) -> None:
    """These are two facts: they are not suggested again. Raises ``NoSuchFact``."""
    with bench(person, None, by=by, now=now) as work:
        first, second = correcting.standing(work, one), correcting.standing(work, other)
        work.event(UUID(first.id), _What.APART, **{"from": second.id})


def _take_over(person: Person, ends: UUID, keeps: UUID) -> None:
    heard = Source.objects.filter(caller_id=person.id, memory_id=ends, utterance__isnull=False)
    for source in heard.select_related("utterance"):
        Source.objects.get_or_create(
            memory_id=keeps,
            utterance=source.utterance,
            start=source.start,
            end=source.end,
            defaults={"caller_id": person.id, "by": source.by},
        )

"""Setting a fact aside, so that an operator's *forget* can be taken back: retired, told to nobody, and with a tombstone.

For ``KEPT`` it lies there with the older values it replaced; what tells of it (the lines it was heard in, the agent's
answers, summaries) is kept from recall, card and tokens as long. Then it is erased as ``erasure.forget_fact`` erases.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from django.db import IntegrityError, transaction

from memory import people, selectors
from memory.db import scoped
from memory.models import Memory, MemoryEvent, Tombstone
from memory.services import correcting, erasure, removing, tombstones
from memory.services.bench import bench
from memory.services.checking import Bad
from memory.services.correcting import NoSuchFact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from memory.people import Person
    from memory.selectors import Fact

_log = structlog.get_logger(__name__)

#: How long what was set aside can be brought back.
KEPT = timedelta(days=30)
_AT_ONCE = 200
_Scope, _What = Tombstone.Scope, MemoryEvent.What


def set_aside(person: Person, memory_id: UUID | str, *, by: str, now: datetime, seen: str | None = None) -> Fact:
    """Forget a fact, with the older values that it replaced, until it is brought back.

    ``seen`` is the ``Fact.version`` that was looked at. Raises ``NoSuchFact``, ``memory.services.correcting.Stale``.
    """
    with transaction.atomic():
        with bench(person, None, by=by, now=now) as work:
            correcting.unchanged(person, memory_id, seen)
            every = removing.with_older(person.id, _id(memory_id))
            facts = [fact for fact in every if fact.forgotten_at is None]
            if not facts or facts[0].pk != _id(memory_id):
                raise NoSuchFact("this caller has no such fact, or it is forgotten already")
            subjects = {erasure.subject_of(person, fact) for fact in facts}
            own = Memory.objects.filter(caller_id=person.id, pk__in=[fact.pk for fact in facts])
            own.update(forgotten_at=now)
            own.filter(retired_at__isnull=True).update(retired_at=now)
            for fact in facts:
                work.event(fact.pk, _What.FORGOTTEN)
        tombstones.lay(_Scope.FACT, person.key_hash, subjects, now)
    correcting.tell(person, now)
    return _fact(person, memory_id)


def bring_back(person: Person, memory_id: UUID | str, *, by: str, now: datetime) -> Fact:
    """Take that back, for all that was set aside with it. Raises ``NoSuchFact``; ``Bad`` where another value has taken
    the place, or the same was said again."""
    with transaction.atomic():
        with bench(person, None, by=by, now=now) as work:
            every = removing.with_older(person.id, _id(memory_id))
            if not every or (at := every[0].forgotten_at) is None or every[0].pk != _id(memory_id):
                raise NoSuchFact("this fact is not among those that can be brought back")
            facts = [fact for fact in every if fact.forgotten_at == at]
            subjects = {erasure.subject_of(person, fact) for fact in facts}
            own = Memory.objects.filter(caller_id=person.id, pk__in=[fact.pk for fact in facts])
            try:
                with transaction.atomic():
                    own.filter(retired_at=at).update(retired_at=None)
            except IntegrityError:
                raise Bad("something else is known in its place by now: correct that instead") from None
            own.update(forgotten_at=None)
            for fact in facts:
                work.event(fact.pk, _What.RESTORED)
        tombstones.lift(_Scope.FACT, person.key_hash, subjects, at)
    correcting.tell(person, now)
    return _fact(person, memory_id)


def erase_overdue(now: datetime) -> int:
    """Erase what was set aside longer than ``KEPT`` ago. How many facts were asked for."""
    overdue = Memory.objects.filter(forgotten_at__lte=now - KEPT).order_by("forgotten_at", "-valid_from")
    gone = 0
    for owner, fact, at in list(overdue.values_list("caller_id", "pk", "forgotten_at")[:_AT_ONCE]):
        person = people.by_id(owner)
        if person is None:
            continue
        with scoped(owner):
            event = MemoryEvent.objects.filter(memory_id=fact, what=_What.FORGOTTEN).order_by("-at").first()
        try:
            erasure.forget_fact(person, fact, by=event.by if event else "retention", now=now, until=at)
        except erasure.NothingThere:
            continue  # it went with the one that had replaced it
        gone += 1
    return gone


def _id(memory_id: UUID | str) -> UUID:
    found = people.as_id(memory_id)
    if found is None:
        raise NoSuchFact("this is no id of a fact")
    return found


def _fact(person: Person, memory_id: UUID | str) -> Fact:
    return selectors.facts(person, ids=[_id(memory_id)], forgotten=True)[0]

"""What an operator decides about a fact that stands: whether every call is told it, and whether it may grow old."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from memory import selectors
from memory.core import merge as deciding
from memory.core.values import Candidate
from memory.models import Memory, MemoryEvent
from memory.services import correcting
from memory.services.bench import ENTERED, bench

if TYPE_CHECKING:
    from datetime import datetime

    from memory.people import Person
    from memory.selectors import Fact

_What = MemoryEvent.What


def pin(person: Person, memory_id: UUID | str, *, by: str, now: datetime, seen: str | None = None) -> Fact:
    """Every call is told it, before anything else, and it does not expire. Raises ``NoSuchFact``, ``Stale``."""
    with bench(person, None, by=by, now=now) as work:
        correcting.unchanged(person, memory_id, seen)
        fact = UUID(correcting.standing(work, memory_id).id)
        Memory.objects.filter(pk=fact).update(pinned_at=now, expires_at=None)
        work.event(fact, _What.PINNED)
    return _told(person, fact, now)


def unpin(person: Person, memory_id: UUID | str, *, by: str, now: datetime, seen: str | None = None) -> Fact:
    """It is told as others are, and grows old from now on as its slot does. Raises ``NoSuchFact``, ``Stale``."""
    with bench(person, None, by=by, now=now) as work:
        correcting.unchanged(person, memory_id, seen)
        known = correcting.standing(work, memory_id)
        fact = UUID(known.id)
        expires_at = deciding.expiry(Candidate(known.kind, known.text, ENTERED, "", slot=known.slot), now)
        Memory.objects.filter(pk=fact).update(pinned_at=None, expires_at=expires_at)
        work.event(fact, _What.UNPINNED)
    return _told(person, fact, now)


def let_expire(person: Person, memory_id: UUID | str, *, by: str, now: datetime, seen: str | None = None) -> Fact:
    """No call is told it unasked any more; who asks for it still finds it. Raises ``NoSuchFact``, ``Stale``."""
    with bench(person, None, by=by, now=now) as work:
        correcting.unchanged(person, memory_id, seen)
        fact = UUID(correcting.standing(work, memory_id).id)
        Memory.objects.filter(pk=fact).update(pinned_at=None, expires_at=now)
        work.event(fact, _What.EXPIRED)
    return _told(person, fact, now)


def _told(person: Person, fact: UUID, now: datetime) -> Fact:
    correcting.tell(person, now)
    return selectors.facts(person, ids=[fact])[0]

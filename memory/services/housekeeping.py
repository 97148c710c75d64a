"""What time does to a memory: facts expire, what was said is let go of, keys move to a newer secret. Each may run again."""

from __future__ import annotations

import base64
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from django.db import transaction
from django.db.models import DateTimeField, DurationField, Exists, ExpressionWrapper, F, OuterRef, Value
from django.db.models.functions import Coalesce

from memory import keys, people, surroundings
from memory.core.values import Kind, Status
from memory.crypto import SealBroken
from memory.db import scoped
from memory.models import Caller, Conversation, ErasureRequest, Memory, MemoryEvent, Source, Tombstone
from memory.services import cards, erasure, tombstones

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from memory.people import Person

_log = structlog.get_logger(__name__)

_EXPIRED = MemoryEvent.What.EXPIRED
_AT_ONCE = 1_000


def expire(now: datetime) -> int:
    """Note that facts are past their time: they are no longer told unasked, and found when asked for. How many."""
    noted = MemoryEvent.objects.filter(memory=OuterRef("pk"), what=_EXPIRED, at__gte=OuterRef("expires_at"))
    over = Memory.objects.filter(
        ~Exists(noted), expires_at__lte=now, status=Status.ACTIVE.value, retired_at__isnull=True
    )
    rows = list(over.order_by("caller_id").values_list("caller_id", "pk")[:_AT_ONCE])
    for owner in dict.fromkeys(owner for owner, _ in rows):
        if (person := people.by_id(owner)) is None:
            continue
        with scoped(owner):
            MemoryEvent.objects.bulk_create(
                MemoryEvent(caller_id=owner, memory_id=fact, what=_EXPIRED, by="expiry", at=now)
                for of, fact in rows
                if of == owner
            )
        cards.build(person, now=now)
        keys.announce(person.key_hash, owner, keys.What.CHANGED)
    return len(rows)


def keep_for(person: Person, days: int | None) -> None:
    """How long what a caller says is kept from now on; ``None``: as long as the caller. ``let_go`` does it."""
    with scoped(person.id):
        Caller.objects.filter(pk=person.id).update(retention_days=days)


def remember(person: Person, wanted: bool, *, now: datetime) -> None:
    """Whether this caller is remembered from now on. Not: nothing of new calls is kept, and no call is told anything;
    what is kept stays until it is erased. Calls in progress follow at once."""
    with transaction.atomic():
        # Whoever lays a card ready does it under this lock: it is there before the word goes round, or not at all.
        Caller.objects.select_for_update().filter(pk=person.id).first()
        if wanted:
            tombstones.lift(Tombstone.Scope.NEVER, person.key_hash, [""])
        else:
            tombstones.lay(Tombstone.Scope.NEVER, person.key_hash, [""], now)
        transaction.on_commit(lambda: keys.announce(person.key_hash, person.id, keys.What.CHANGED))


def note_tails() -> int:
    """Fill in by which last digits callers are found who are known from before that was kept. How many."""
    done = 0
    for row in Caller.objects.filter(tail_hash="").order_by("pk")[:_AT_ONCE]:
        try:
            tail = people.tail_hash(people.number_of(people.opened(row)))
        except SealBroken:
            continue
        done += Caller.objects.filter(pk=row.pk).update(tail_hash=tail)
    return done


def let_go(now: datetime) -> int:
    """Erase conversations that are older than their caller wants them kept, records of calls included. How many.

    Facts stay, without the words they were heard in; summaries of such a conversation go with it.
    """
    gone = 0
    for owner, names in _overdue(now).items():
        person = people.by_id(owner)
        if person is None:
            continue
        with scoped(owner):
            heard = Source.objects.filter(caller_id=owner, utterance__conversation__name__in=names)
            heard.exclude(memory__kind=Kind.SUMMARY.value).update(utterance=None, start=0, end=0)
        erasure.forget_conversations(person, names, by="retention", now=now)
        gone += len(names)
    return gone


def _overdue(now: datetime) -> dict[UUID, list[str]]:
    days = ExpressionWrapper(F("caller__retention_days") * Value(timedelta(days=1)), output_field=DurationField())
    until = ExpressionWrapper(Coalesce("ended_at", "began_at") + days, output_field=DateTimeField())
    rows = Conversation.objects.filter(caller__retention_days__isnull=False).annotate(kept_until=until)
    found: dict[UUID, list[str]] = {}
    for owner, name in rows.filter(kept_until__lt=now).order_by("began_at").values_list("caller_id", "name")[:_AT_ONCE]:
        found.setdefault(owner, []).append(name)
    return found


def rewrap() -> Iterator[Counter[str]]:
    """Seal callers' keys under the first secret of ``MEMORY_KEY``; what was done so far, after each hundred.

    ``moved``, ``there`` already, and ``lost``: those that no secret opens. Once nothing is left to move, the older
    secrets can be taken out. Texts are not touched: they are sealed under the callers' own keys.
    """
    ring, done = surroundings.keyring(), Counter[str]()
    for row in Caller.objects.order_by("pk").only("pk", "data_key_sealed").iterator():
        try:
            anew = ring.sealed_anew(row.data_key_sealed, str(row.pk))
        except SealBroken:
            _log.error("memory.key_lost", caller=str(row.pk))
            done["lost"] += 1
        else:
            done["there" if anew is None else "moved"] += 1
            if anew is not None:
                Caller.objects.filter(pk=row.pk, data_key_sealed=row.data_key_sealed).update(data_key_sealed=anew)
        if done.total() % 100 == 0:
            yield done
    _rewrap_erasures()
    yield done


def _rewrap_erasures() -> None:
    """Erasures that are not finished have a sealed key too."""
    ring = surroundings.keyring()
    for request in ErasureRequest.objects.exclude(state=ErasureRequest.State.VERIFIED):
        with transaction.atomic():
            row = ErasureRequest.objects.select_for_update().get(pk=request.pk)
            if "plan" not in row.receipt:
                continue
            anew = ring.sealed_anew(base64.b64decode(row.receipt["plan"]["key"]), str(row.pk))
            if anew is not None:
                row.receipt["plan"]["key"] = base64.b64encode(anew).decode()
                row.save(update_fields=["receipt"])

"""The profile card of a caller: built from the facts after each conversation and each change, kept sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from memory import selectors
from memory.core import card as writing
from memory.core.values import Card, Kind, Status
from memory.db import scoped
from memory.models import Caller
from memory.models import Card as CardRow
from memory.services import tombstones
from memory.services.writing import Erased

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from memory.core.values import Known
    from memory.people import Person

    #: Puts a card where calls find it first: the caller, their sealed key, the card.
    Lay = Callable[[Person, bytes, Card], None]


def build(person: Person, *, now: datetime, lay: Lay | None = None) -> Card:
    """Build a caller's card, store it, and ``lay`` it ready. Building it again changes nothing but its date.

    All of it under the lock on the caller's row, so that of two builders the one who saw more comes last. Raises
    ``memory.services.writing.Erased`` where the caller is gone.
    """
    with transaction.atomic():
        row = Caller.objects.select_for_update().filter(pk=person.id).first()
        if row is None:
            raise Erased("the caller was erased")
        with scoped(person.id):
            known, last = _material(person)
            card = writing.build(known, now=now, **last)
            CardRow.objects.update_or_create(
                caller_id=person.id,
                defaults={
                    "name_sealed": person.seal(card.name, "card", person.id, "name"),
                    "text_sealed": person.seal(card.text, "card", person.id, "text"),
                    "facts": card.facts,
                    "built_at": now,
                },
            )
        if lay is not None and not tombstones.never(person.key_hash):
            lay(person, bytes(row.data_key_sealed), card)
    return card


def on_card(person: Person, *, now: datetime) -> frozenset[str]:
    """The ids of the facts that a call is told before its first word: those of the card as it would be built now."""
    known, last = _material(person)
    return writing.told_by(known, now=now, **last)


def _material(person: Person) -> tuple[list[Known], dict[str, Any]]:
    known = selectors.known(person, told=True)
    last = _last_summary(known)
    return known, {"summary": last.text, "last_call_at": last.said_at} if last else {}


def _last_summary(known: Sequence[Known]) -> Known | None:
    summaries = [fact for fact in known if fact.kind is Kind.SUMMARY and fact.status is Status.ACTIVE]
    return max(summaries, key=lambda fact: (fact.valid_from, fact.id), default=None)

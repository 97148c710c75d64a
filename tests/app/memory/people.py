"""Callers and facts to test with, written as the services write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from memory import people
from memory.ids import new_id
from memory.models import Memory

if TYPE_CHECKING:
    from memory.people import Person

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MARIA, JOHN = "+15550100001", "+15550100002"


def maria() -> Person:
    """A caller."""
    return people.ensure(MARIA)


def john() -> Person:
    """Another one."""
    return people.ensure(JOHN)


def fact(person: Person, text: str = "likes tea", **columns: Any) -> Memory:
    """A row for this caller; not written yet."""
    row = new_id()
    return Memory(
        id=row,
        caller_id=person.id,
        text_sealed=person.seal(text, "memory", row, "text"),
        **{
            "kind": "fact",
            "content_hash": person.key.digest(text),
            "valid_from": MONDAY,
            **columns,
        },
    )

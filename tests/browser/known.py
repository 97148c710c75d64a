"""A caller of whom much is remembered, for tests that look at pages of callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from calls.models import Call
from memory.people import Person
from memory.services import cards, correcting
from memory.services.embedding import embed_caller
from tests.app.memory.people import DAY, MARIA, MONDAY, maria
from tests.app.memory.talks import FIRST, heard, talk


@dataclass(frozen=True)
class Known:
    """``seat``: the newest entry of a chain of two; ``number``: one that was heard in ``call``."""

    person: Person
    call: Call
    seat: Any
    number: Any


def known_caller() -> Known:
    """Maria: a call, a chain of seats, a number that was heard, something disputed, near duplicates, and a card."""
    person = maria()
    talk(person)
    store: Any = correcting.store
    store(person, "", "", slot="identity.name", value="Maria Rossi", by="operator:ann", now=MONDAY)
    seat = store(person, "", "", slot="seating", value="window", by="operator:ann", now=MONDAY)
    later = correcting.supersede(person, seat.id, "terrace", by="operator:bob", now=MONDAY + DAY)
    store(person, "", "", slot="contact.time", value="after six", by="token:crm", now=MONDAY)
    heard(person, "Best reached: before 10:00", (FIRST, "only before ten in the morning"), slot="contact.time",
          value="before 10:00", status="disputed", single=True)  # fmt: skip
    for text in ("Plays the cello in an orchestra", "Plays cello in the orchestra"):
        store(person, "fact", text, by="operator:ann", now=MONDAY)
    number = heard(
        person, "Customer number: 4711X", (FIRST, "4711 X"), value="4711X", slot="identity.account", single=True
    )
    embed_caller(person)
    call = Call.objects.create(
        call_sid=FIRST, caller_key=person.key_hash, from_number=MARIA, status="ended", end_reason="caller_hung_up",
        started_at=MONDAY, ended_at=MONDAY + DAY / 1440, archived_at=MONDAY + DAY, turn_count=2,
    )  # fmt: skip
    cards.build(person, now=MONDAY + DAY)
    return Known(person, call, later, number)

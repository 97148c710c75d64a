"""What a caller asks of the memory while the call runs: forget this, forget everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory import selectors
from memory.core import rules
from memory.core.language import Scope
from memory.core.text import tokens
from memory.core.values import Kind, Status
from memory.services import erasure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from memory.core.values import Known
    from memory.people import Person

BY = "caller"
_LIVING = (Status.ACTIVE, Status.DISPUTED)


def meant(what: str, known: Sequence[Known], *, now: datetime, language: str = "en") -> list[Known] | None:
    """Which of these a caller means who says "forget ``what``": by the slots that it names, else by its words.

    ``None`` means everything. A fact that was replaced goes with the one that replaced it.
    """
    forgets = rules.extract(f"Please forget {what}.", said_at=now, language=language).forgets
    if any(wish.scope is Scope.ALL for wish in forgets):
        return None
    living = [fact for fact in known if fact.status in _LIVING and fact.kind is not Kind.SUMMARY]
    slots = {slot for wish in forgets for slot in wish.slots}
    if found := [fact for fact in living if fact.slot in slots]:
        return found
    topic = set(tokens(" ".join(wish.topic for wish in forgets) or what))
    return [fact for fact in living if topic and topic <= set(tokens(f"{fact.slot.replace('.', ' ')} {fact.text}"))]


def forget(person: Person, what: str, *, now: datetime) -> list[str]:
    """Forget what the caller means, with a tombstone and a receipt for each. The texts of what was forgotten.

    Everything is an erasure of the caller; the call in progress follows when it ends.
    """
    found = meant(what, selectors.known(person, told=True), now=now, language=person.locale)
    if found is None:
        erasure.erase_caller(person, by=BY, now=now)
        return ["everything"]
    for fact in found:
        try:
            erasure.forget_fact(person, fact.id, by=BY, now=now)
        except erasure.NothingThere:
            continue  # it went with one before it
    return [fact.text for fact in found]

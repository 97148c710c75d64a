"""Conversations and facts in the memory, written by the services, for tests of what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memory.core.values import Said
from memory.models import Memory, MemoryEvent, Source, Utterance
from memory.services.writing import write_conversation
from tests.app.memory.people import DAY, MONDAY, fact

if TYPE_CHECKING:
    from datetime import datetime

    from memory.people import Person

FIRST, SECOND = (f"CA{number:032d}" for number in (1, 2))
LINES = (
    "Hello, how can I help you?",
    "My customer number is 4711 X and I like the window.",
    "Noted, customer number 4711 X.",
    "And only before ten in the morning, please.",
)


def talk(person: Person, name: str = FIRST, lines: tuple[str, ...] = LINES, began_at: datetime = MONDAY) -> None:
    """A conversation, agent and caller in turn, the agent first."""
    said = [
        Said(seq, "user" if seq % 2 else "assistant", text, began_at, audio_ms=seq * 1000)
        for seq, text in enumerate(lines)
    ]
    write_conversation(person, name, said, began_at=began_at, ended_at=began_at)


def heard(person: Person, text: str, *quotes: tuple[str, str], **columns: Any) -> Memory:
    """A fact that was heard in these places: name of the conversation and the words."""
    value = columns.pop("value", "")
    kept = fact(person, text, **columns)
    kept.value_sealed = person.seal(value, "memory", kept.pk, "value")
    kept.save(force_insert=True)
    for name, quote in quotes:
        for line in Utterance.objects.filter(caller_id=person.id, conversation__name=name, role="user"):
            start = person.open(line.text_sealed, "utterance", line.pk, "text").find(quote)
            if start >= 0:
                Source.objects.create(
                    caller_id=person.id, memory=kept, utterance=line, start=start, end=start + len(quote)
                )
    MemoryEvent.objects.create(caller_id=person.id, memory=kept, what="added", by="rules")
    return kept


def said_by(person: Person, name: str = FIRST) -> list[str]:
    """What stands in a conversation."""
    rows = Utterance.objects.filter(caller_id=person.id, conversation__name=name).order_by("seq")
    return [person.open(row.text_sealed, "utterance", row.pk, "text") for row in rows]


__all__ = ["DAY", "FIRST", "LINES", "MONDAY", "SECOND", "heard", "said_by", "talk"]

"""All that is kept of a caller, as lines that ``importing`` reads back: settings, what was said, facts with their lives."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from memory import people, selectors
from memory.db import scoped
from memory.models import Caller, Conversation, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memory.people import Person
    from memory.selectors import Fact


def export(person: Person) -> Iterator[dict[str, Any]]:
    """The lines, as JSON values. Each conversation is read by itself: a caller may have said a lot."""
    number = people.number_of(person)
    row = Caller.objects.get(pk=person.id)
    yield {"caller": number, "kind": "caller", "locale": row.locale, "retention_days": row.retention_days}
    with scoped(person.id):
        conversations = list(Conversation.objects.filter(caller_id=person.id).order_by("began_at", "pk"))
    for conversation in conversations:
        yield from _said(person, number, conversation)
    for fact in selectors.facts(person, forgotten=True):
        yield _fact(number, fact)


def _said(person: Person, number: str, conversation: Conversation) -> Iterator[dict[str, Any]]:
    with scoped(person.id):
        rows = list(Utterance.objects.filter(caller_id=person.id, conversation=conversation).order_by("seq"))
    for row in rows:
        yield {
            "caller": number,
            "conversation": conversation.name,
            "role": row.role,
            "text": person.open(row.text_sealed, "utterance", row.pk, "text"),
            "kind": "utterance",
            "said_at": row.said_at.isoformat(),
            "source": row.label,
            "seq": row.seq,
            "heard_text": person.open(row.heard_sealed, "utterance", row.pk, "heard"),
            "audio_ms": row.audio_ms,
            "audio_end_ms": row.audio_end_ms,
            "confidence": row.confidence,
            "origin": conversation.origin,
        }


def _fact(number: str, fact: Fact) -> dict[str, Any]:
    life = {name: value for name, value in asdict(fact).items() if name not in ("kind", "slot", "text", "value")}
    first = fact.sources[0] if fact.sources else None
    return {
        "caller": number,
        "conversation": first.conversation if first else "",
        "text": fact.text,
        "kind": fact.kind,
        "said_at": (first.said_at if first and first.said_at else fact.valid_from).isoformat(),
        "source": first.by if first else "",
        "slot": fact.slot,
        "value": fact.value,
        "life": _plain(life),
    }


def _plain(value: Any) -> Any:
    """JSON's own types."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value

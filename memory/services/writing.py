"""A conversation into the memory, word for word: once, however often it is written.

Nothing is interpreted here; ``distilling`` reads what was written. A conversation that was erased, or that began before
its caller was, is refused: a late worker must not bring it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Greatest

from memory import textsearch
from memory.core.text import before_of
from memory.db import scoped
from memory.ids import new_id
from memory.models import Caller, Conversation, Utterance
from memory.services import tombstones

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from memory.core.values import Said
    from memory.people import Person

_ROWS = 500


class Erased(ValueError):
    """What is to be written was erased, or is older than its caller's erasure."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a conversation. ``added`` is 0 where all of it was there."""

    conversation_id: UUID
    added: int
    total: int


def write_conversation(
    person: Person,
    name: str,
    said: Sequence[Said],
    *,
    began_at: datetime,
    ended_at: datetime | None = None,
    origin: str = Conversation.Origin.CALL,
) -> Written:
    """Write what was said. Lines that are there (by ``seq``) stay as they are. Raises ``Erased``.

    New lines make the conversation undistilled again, so that the chain takes it up.
    """
    refuse_erased(person.key_hash, name, began_at)
    with transaction.atomic():
        # Two writers of one caller take turns; an erasure in between leaves no row to lock.
        if not Caller.objects.select_for_update().filter(pk=person.id).exists():
            raise Erased("the caller was erased")
        refuse_erased(person.key_hash, name, began_at)
        if tombstones.never(person.key_hash):
            raise Erased("this caller is not to be remembered")
        with scoped(person.id):
            return _write(person, name, said, began_at, ended_at, origin)


def refuse_erased(key_hash: str, name: str, began_at: datetime) -> None:
    """Raise ``Erased`` where a tombstone covers a conversation of this name and time."""
    if tombstones.conversation_erased(key_hash, name, began_at):
        raise Erased("this conversation was erased")


def _write(
    person: Person, name: str, said: Sequence[Said], began_at: datetime, ended_at: datetime | None, origin: str
) -> Written:
    conversation, _ = Conversation.objects.get_or_create(
        caller_id=person.id,
        name=name,
        defaults={"origin": origin, "locale": person.locale, "began_at": began_at, "ended_at": ended_at},
    )
    known = set(Utterance.objects.filter(conversation=conversation).values_list("seq", flat=True))
    ordered = sorted(said, key=lambda line: line.seq)
    rows = [
        _utterance(person, conversation, line, before_of([earlier.text for earlier in ordered[:place]]))
        for place, line in enumerate(ordered)
        if line.seq not in known
    ]
    Utterance.objects.bulk_create(rows, batch_size=_ROWS, ignore_conflicts=True)
    if rows:
        Conversation.objects.filter(pk=conversation.pk).update(
            embedded_at=None,
            distilled_at=None,
            distil_attempts=0,
            card_at=None,
            ended_at=ended_at or conversation.ended_at,
        )
    Caller.objects.filter(pk=person.id).update(
        last_seen_at=Greatest("last_seen_at", Value(ended_at or began_at), Value(began_at))
    )
    return Written(conversation.pk, len(rows), len(known) + len(rows))


def _utterance(person: Person, conversation: Conversation, line: Said, before: str) -> Utterance:
    row = new_id()
    text = line.text[: textsearch.MOST_CHARS]
    return Utterance(
        id=row,
        caller_id=person.id,
        conversation=conversation,
        seq=line.seq,
        role=line.role,
        text_sealed=person.seal(text, "utterance", row, "text"),
        heard_sealed=person.seal(line.heard_text[: textsearch.MOST_CHARS], "utterance", row, "heard"),
        said_at=line.said_at,
        audio_ms=line.audio_ms,
        audio_end_ms=line.audio_end_ms,
        confidence=line.confidence,
        label=line.label,
        words=textsearch.vector(text, before, person.locale),
    )

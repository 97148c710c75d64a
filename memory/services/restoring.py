"""Facts with their lives, put back as they were exported: times, status, what replaced them, sources and history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from memory import textsearch
from memory.core import slots
from memory.core.decisions import fingerprint
from memory.core.values import Candidate, Kind
from memory.ids import new_id
from memory.models import Memory, MemoryEvent, Source, Utterance
from memory.services.bench import ENTERED, Bench
from memory.services.checking import Bad

if TYPE_CHECKING:
    from uuid import UUID

    from memory.people import Person
    from memory.services.lines import FactLine, Life, Quoted


def restore(work: Bench, line: FactLine, life: Life, ids: dict[str, UUID]) -> bool:
    """Put a fact back; ``False`` where it is there already. ``ids`` has what became of the ids of the export so far.

    Raises ``Bad`` where it contradicts what is there, or was forgotten since.
    """
    person = work.person
    if not line.text:
        raise Bad("text is empty")
    _refuse_forgotten(work, line, life)
    content = person.key.digest(fingerprint(line.slot, line.value, line.text))
    known = Memory.objects.filter(
        caller_id=person.id, content_hash=content, valid_from=life.valid_from, status=life.status
    ).first()
    if known is not None:
        ids[life.id] = known.pk
        return False
    row = new_id()
    try:
        with transaction.atomic():
            _write(person, row, line, life, content, replaced_by=ids.get(life.superseded_by))
            _write_sources(person, row, life.sources, f"import:{line.source}"[:160])
    except IntegrityError:
        raise Bad("another value of this slot, or the same fact, is known here for that time") from None
    ids[life.id] = row
    return True


def _refuse_forgotten(work: Bench, line: FactLine, life: Life) -> None:
    last = max([life.valid_from, *(one.at for one in life.history if one.what in ("added", "reinforced"))])
    candidate = Candidate(Kind(line.kind), line.text, ENTERED, "", slot=line.slot, value=line.value)
    if work.how.forgotten(candidate, last):
        raise Bad("it was forgotten since")


def _write(person: Person, row: UUID, line: FactLine, life: Life, content: str, *, replaced_by: UUID | None) -> None:
    slot = slots.find(line.slot)
    Memory.objects.create(
        id=row,
        caller_id=person.id,
        kind=line.kind,
        slot=line.slot,
        single=slot is not None and not slot.many,
        text_sealed=person.seal(line.text, "memory", row, "text"),
        value_sealed=person.seal(line.value, "memory", row, "value"),
        value_hash=person.key.digest(line.value) if line.value else "",
        content_hash=content,
        importance=life.importance,
        confidence=life.confidence,
        status=life.status,
        valid_from=life.valid_from,
        valid_to=life.valid_to,
        recorded_at=life.recorded_at,
        retired_at=life.retired_at,
        superseded_by_id=replaced_by,
        expires_at=life.expires_at,
        uses=life.uses,
        extractor=life.extractor,
        last_used_at=life.last_used_at,
        pinned_at=life.pinned_at,
        forgotten_at=life.forgotten_at,
        words=textsearch.vector(line.text, "", person.locale),
    )
    MemoryEvent.objects.bulk_create(
        MemoryEvent(caller_id=person.id, memory_id=row, what=one.what, by=one.by, at=one.at) for one in life.history
    )


def _write_sources(person: Person, row: UUID, sources: list[Quoted], by: str) -> None:
    """Where the words are here, the place; else who it came from."""
    written = 0
    for one in sources:
        said = Utterance.objects.filter(
            caller_id=person.id, conversation__name=one.conversation, seq=one.seq, role=Utterance.Role.USER
        ).first()
        if said is not None and one.start < one.end:
            text = person.open(said.text_sealed, "utterance", said.pk, "text")
            if one.end > len(text):
                continue
            Source.objects.create(
                caller_id=person.id, memory_id=row, utterance=said, start=one.start, end=one.end, by=one.by
            )
        elif not one.conversation:
            Source.objects.create(caller_id=person.id, memory_id=row, by=one.by)
        else:
            continue
        written += 1
    if not written:
        Source.objects.create(caller_id=person.id, memory_id=row, by=by)

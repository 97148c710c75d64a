"""One summary for each conversation: a longer one takes the place of that from when it was shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from memory.core.values import Kind, Status
from memory.models import Memory, MemoryEvent
from memory.services.bench import bench

if TYPE_CHECKING:
    from datetime import datetime

    from memory.people import Person


def replace_summaries(person: Person, conversation_id: UUID, summary_id: str, *, now: datetime) -> None:
    """Let this summary stand alone for its conversation. Raises ``memory.services.writing.Erased``."""
    with bench(person, conversation_id, by="rules", now=now) as work:
        for fact in work.facts:
            if fact.kind is not Kind.SUMMARY or fact.status is not Status.ACTIVE or fact.id == summary_id:
                continue
            if any(conversation == work.how.conversation for conversation, _ in fact.sources):
                Memory.objects.filter(pk=UUID(fact.id)).update(
                    status=Status.SUPERSEDED, superseded_by=UUID(summary_id), valid_to=max(now, fact.valid_from or now)
                )
                work.event(UUID(fact.id), MemoryEvent.What.SUPERSEDED, by_fact=summary_id)

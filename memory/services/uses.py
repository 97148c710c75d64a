"""How often a fact was of use: how often it reached the prompt of a reply. It strengthens nothing by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import F

from memory.db import scoped
from memory.models import Memory

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from memory.people import Person


def count_uses(person: Person, ids: Collection[str], at: datetime) -> int:
    """Count one more call for each of these facts. How many there were."""
    with scoped(person.id):
        return Memory.objects.filter(caller_id=person.id, pk__in=ids).update(uses=F("uses") + 1, last_used_at=at)

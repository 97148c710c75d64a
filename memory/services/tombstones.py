"""What must not come back, by keyed hashes: asked before anything is written, by every worker and process.

The keys are of the house, not of the caller, so they outlive the caller's own key; a number, a name or a value cannot
be read from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from memory import people
from memory.core.text import same
from memory.models import Tombstone

_Scope = Tombstone.Scope
_CALLER, _CONVERSATION, _FACT, _NEVER = _Scope.CALLER, _Scope.CONVERSATION, _Scope.FACT, _Scope.NEVER


def conversation_subject(name: str) -> str:
    """What stands for a conversation."""
    return people.keyed("conversation", name)


def fact_subject(kind: str, slot: str, value: str, text: str) -> str:
    """What stands for a fact: its slot and value, or its kind and the words of its text where it has no slot.

    In a slot the kind does not count: another extractor may give the same value another kind.
    """
    return people.keyed("fact", slot or kind, same(value or text))


def conversation_erased(caller_hash: str, name: str, began_at: datetime | None = None) -> bool:
    """Whether this conversation was erased: by itself, or because it began before its caller was erased."""
    covered = Q(scope=_CONVERSATION, subject=conversation_subject(name))
    if began_at is not None:
        covered |= Q(scope=_CALLER, at__gte=began_at)
    return bool(caller_hash) and Tombstone.objects.filter(covered, caller_hash=caller_hash).exists()


def caller_erased(caller_hash: str, since: datetime | None) -> bool:
    """Whether the whole caller was erased at ``since`` or later."""
    if not caller_hash or since is None:
        return False
    return Tombstone.objects.filter(scope=_CALLER, caller_hash=caller_hash, at__gte=since).exists()


def never(caller_hash: str) -> bool:
    """Whether this caller is not to be remembered at all. It outlives an erasure of theirs."""
    return bool(caller_hash) and Tombstone.objects.filter(scope=_NEVER, caller_hash=caller_hash).exists()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What of one caller was forgotten, each with when: what a merge holds its candidates against.

    ``facts`` by ``fact_subject``; ``everything`` when the whole caller was erased.
    """

    facts: Mapping[str, datetime]
    everything: datetime | None = None

    def covers(self, kind: str, slot: str, value: str, text: str, said_at: datetime) -> bool:
        """Whether this was forgotten after it was said. Said again later it is news."""
        if self.everything is not None and said_at <= self.everything:
            return True
        at = self.facts.get(fact_subject(kind, slot, value, text)) if self.facts else None
        return at is not None and said_at <= at


def forgotten(caller_hash: str) -> Forgotten:
    """What of a caller was forgotten. Not inside the caller's scope: tombstones are of the house."""
    rows = list(
        Tombstone.objects.filter(scope__in=(_FACT, _CALLER), caller_hash=caller_hash).values_list(
            "scope", "subject", "at"
        )
    )
    everything = max((at for scope, _, at in rows if scope == _CALLER), default=None)
    return Forgotten({subject: at for scope, subject, at in rows if scope == _FACT}, everything)


def lift(scope: Tombstone.Scope, caller_hash: str, subjects: Iterable[str], at: datetime | None = None) -> None:
    """Take these back; ``at``: those that were laid or moved up then, and no others."""
    found = Tombstone.objects.filter(scope=scope, caller_hash=caller_hash, subject__in=set(subjects))
    (found.filter(at=at) if at is not None else found).delete()


def lay(scope: Tombstone.Scope, caller_hash: str, subjects: Iterable[str], at: datetime) -> None:
    """Make these tombstones; those that are there move up to ``at``."""
    Tombstone.objects.bulk_create(
        (Tombstone(scope=scope, caller_hash=caller_hash, subject=subject, at=at) for subject in set(subjects)),
        update_conflicts=True,
        unique_fields=["scope", "caller_hash", "subject"],
        update_fields=["at"],
    )

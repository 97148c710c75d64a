"""What an erasure is about, and the stores that take part in one: the memory's own, and those that others register."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from memory import surroundings
from memory.models import Tombstone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Scope = Tombstone.Scope


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be erased: everything of a caller until ``at``, one conversation, or facts.

    ``conversations`` are names, for a call its CallSid; ``ids`` the rows meant (conversations or facts); ``texts`` what
    must not be found afterwards in what was said. ``caller_id`` is ``None`` for a number that has no memory.
    """

    scope: str
    at: datetime
    caller_hash: str
    caller_id: UUID | None = None
    number: str = ""
    conversations: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Everything of the caller."""
        return self.scope == Scope.CALLER

    @property
    def is_call(self) -> bool:
        """More than facts: what was said goes too."""
        return self.scope != Scope.FACT

    def sealed(self, request: UUID) -> dict[str, str]:
        """For as long as the erasure runs: under a key of its own, so that a crash loses nothing and a reader of the
        table learns nothing."""
        key, sealed_key = surroundings.keyring().new(str(request))
        text = json.dumps(asdict(self), default=str)
        sealed = key.seal(text, f"erasure:{request}")
        return {"key": base64.b64encode(sealed_key).decode(), "subject": base64.b64encode(sealed).decode()}

    @classmethod
    def opened(cls, plan: Mapping[str, str], request: UUID) -> Subject:
        """What ``sealed`` gave. Raises ``memory.crypto.SealBroken``."""
        key = surroundings.keyring().open(base64.b64decode(plan["key"]), str(request))
        fields: dict[str, Any] = json.loads(key.open(base64.b64decode(plan["subject"]), f"erasure:{request}"))
        lists = {name: tuple(fields[name]) for name in ("conversations", "ids", "texts")}
        owner = UUID(fields["caller_id"]) if fields["caller_id"] != "None" and fields["caller_id"] else None
        return cls(**{**fields, **lists, "at": datetime.fromisoformat(fields["at"]), "caller_id": owner})


@dataclass(frozen=True, slots=True)
class Pending:
    """What keeps an erasure from its end. ``waiting``: records still being written, erased when they are closed.
    ``newer``: records of the same caller from after the erasure, which stay."""

    waiting: int = 0
    newer: int = 0


class Store(Protocol):
    """A place that holds something of callers. Every method may be called again at any time, in any process."""

    name: str

    def names(self, subject: Subject) -> Iterable[str]:
        """Conversations of the caller that this store knows."""

    def remove(self, subject: Subject) -> Mapping[str, int]:
        """Remove what can be removed now. How much of what. Raises what the store's parts raise."""

    def find(self, subject: Subject) -> Mapping[str, int]:
        """What is still there: empty where nothing is."""

    def pending(self, subject: Subject) -> Pending:
        """What cannot be removed yet, and what must not be."""


_STORES: dict[str, Store] = {}
_QUOTING: set[str] = set()
_STAYING: dict[str, str] = {}


def register(store: Store, *, quoting: Iterable[str] = ()) -> None:
    """Let a store take part in every erasure, under its name. In an app's ``ready``; again replaces it.

    ``quoting``: traces (a table's name, ``redis`` and a key's first part) that are records of what happened, in which
    something may have been recalled. They go with their caller or their own conversation, not with what they quote.
    """
    _STORES[store.name] = store
    _QUOTING.update(quoting)


def quoting() -> frozenset[str]:
    """The traces of all records that may quote what was recalled."""
    return frozenset(_QUOTING)


def stays(table: str, why: str) -> None:
    """A table that an erasure leaves as it is, since it may not be changed: it holds ids and no words. ``why`` stands in the
    receipt. In an app's ``ready``."""
    _STAYING[table] = why


def staying() -> Mapping[str, str]:
    """These tables, each with why."""
    return _STAYING


def stores() -> tuple[Store, ...]:
    """All of them, in the order in which they registered."""
    return tuple(_STORES.values())

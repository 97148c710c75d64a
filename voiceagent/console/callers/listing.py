"""The list of callers: found by number, name or conversation, and read a page at a time along an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Count, Max, Min

from calls.models import Call
from memory import overview, people
from memory.crypto import SealBroken
from memory.models import Caller, Tombstone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = 50
SEALED = "cannot be opened: MEMORY_KEY was changed"
FILTERS = {"": "everybody", "disputed": "with disputed entries", "failed": "with conversations not read"}


@dataclass(frozen=True, slots=True)
class Row:
    """A caller in the list. ``seen_at`` is their last call or conversation; ``keeping`` says what is kept of them."""

    id: UUID
    number: str
    name: str
    seen_at: datetime
    calls: int
    entries: int
    disputed: int
    unread: int
    keeping: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows with the address of the next page, empty on the last one."""

    rows: list[Row]
    after: str


def page(text: str, only: str, after: str) -> Page:
    """The callers that fit ``text`` (all, where it is empty), from ``after`` on, a ``Page.after``."""
    found = overview.asking_for(overview.with_figures(Caller.objects.all()), only)
    if text:
        found = overview.callers_found(found, text)
    callers = overview.page_of(found, _place(after), PAGE + 1)
    shown = callers[:PAGE]
    keys = [one.key_hash for one in shown]
    calls = _calls(keys)
    unwanted = set(Tombstone.objects.filter(scope="never", caller_hash__in=keys).values_list("caller_hash", flat=True))
    rows = [_row(one, calls.get(one.key_hash, 0), one.key_hash in unwanted) for one in shown]
    last = shown[-1] if len(callers) > PAGE else None
    return Page(rows, f"{last.seen.isoformat()}_{last.pk}" if last is not None else "")


def keeping(days: int | None, *, unwanted: bool) -> str:
    """What is kept of a caller, in words."""
    if unwanted:
        return "not to be remembered"
    return f"kept {days} days" if days else "kept until erased"


def _row(row: Any, calls: int, unwanted: bool) -> Row:
    number = name = problem = ""
    try:
        number, name = people.identity(row)
    except SealBroken:
        problem = SEALED
    return Row(
        id=row.pk,
        number=number,
        name=name,
        seen_at=row.seen,
        calls=max(calls, row.conversation_count),
        entries=row.fact_count,
        disputed=row.disputed_count,
        unread=row.unread_count,
        keeping=keeping(row.retention_days, unwanted=unwanted),
        problem=problem,
    )


def _calls(keys: Iterable[str]) -> Mapping[str, int]:
    counted = Call.objects.filter(caller_key__in=list(keys)).order_by().values("caller_key").annotate(n=Count("pk"))
    return dict(counted.values_list("caller_key", "n"))


def figures(key_hash: str) -> dict[str, Any]:
    """How many calls there are of one caller, and when the first and the last one were."""
    own = Call.objects.filter(caller_key=key_hash)
    return own.aggregate(calls=Count("pk"), first=Min("started_at"), last=Max("started_at"))


def _place(after: str) -> tuple[datetime, UUID] | None:
    """What ``Page.after`` says; nothing for what it never said."""
    at, _, last = after.partition("_")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    found = people.as_id(last)
    return (moment, found) if found and moment.tzinfo else None

"""Pages of calls and of turns: sorted, a page at a time along the sort's own values, whatever is written meanwhile.

Where a page begins stands in the address as a signed mark, so that nobody pages by values that are not theirs to ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.core import signing
from django.db.models import F, Q

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

    from calls.models import Call, Turn

PAGE = 50
_SALT = "console.calls.page"


class ForgedMark(ValueError):
    """The mark of a page that we did not make, or made for another sort."""


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of calls: by a column, what has no value last, newest first among equals."""

    name: str
    title: str
    column: str
    ascending: bool = False


SORTS: Mapping[str, Sort] = MappingProxyType(
    {
        sort.name: sort
        for sort in (
            Sort("newest", "newest first", "started_at"),
            Sort("oldest", "oldest first", "started_at", ascending=True),
            Sort("longest", "longest first", "duration_ms"),
            Sort("slowest", "slowest response first", "latency_p95_ms"),
            Sort("turns", "most turns first", "turn_count"),
            Sort("bargein", "most interruptions first", "barge_in_count"),
            Sort("errors", "most errors first", "error_count"),
        )
    }
)
NEWEST = SORTS["newest"]
#: Columns of a call that the list does not read.
_UNREAD = ("state_layout", "violations", "account_sid", "process", "trace_id")


@dataclass(frozen=True, slots=True)
class Page[R]:
    """Rows of a page; ``after`` is the mark of the next one, empty at the end."""

    rows: list[R]
    after: str


def calls_page(found: QuerySet[Call], sort: Sort, after: str = "", size: int = PAGE) -> Page[Call]:
    """One page of calls. Raises ``ForgedMark``."""
    rows = list(_from(found, sort, after).defer(*_UNREAD)[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    return Page(rows, _mark(sort, getattr(rows[-1], sort.column), rows[-1].pk) if more else "")


def neighbours(found: QuerySet[Call], sort: Sort, call: Call) -> tuple[Call | None, Call | None]:
    """The calls that stand just before and just after this one in the order, whether or not it is among those found."""
    value = getattr(call, sort.column)
    after = _ordered(found.filter(_beyond(sort, value, call.pk)), sort)
    before = _ordered(found.filter(_before(sort, value, call.pk)), sort).reverse()
    return tuple(some.only("call_sid").first() for some in (before, after))  # type: ignore[return-value]


def turns_page(found: QuerySet[Turn], after: str = "", size: int = PAGE) -> Page[Turn]:
    """One page of turns with their calls, newest call first, and within a call as they came. Raises ``ForgedMark``."""
    if after:
        started_at, pk, number = _read(NEWEST, after, 3)
        later = Q(call__started_at=started_at) & (Q(call__pk__lt=pk) | Q(call__pk=pk, number__gt=number))
        found = found.filter(Q(call__started_at__lt=started_at) | later)
    deferred = (f"call__{name}" for name in _UNREAD)
    light = found.select_related("call").defer("words", "spoken_words", "recalled", *deferred)
    rows = list(light.order_by("-call__started_at", "-call__pk", "number")[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    last = rows[-1] if rows else None
    return Page(rows, _mark(NEWEST, last.call.started_at, last.call_id, last.number) if more and last else "")


def _from(found: QuerySet[Call], sort: Sort, after: str) -> QuerySet[Call]:
    if after:
        value, pk = _read(sort, after, 2)
        found = found.filter(_beyond(sort, value, pk))
    return _ordered(found, sort)


def _ordered(found: QuerySet[Call], sort: Sort) -> QuerySet[Call]:
    column = F(sort.column)
    order = column.asc(nulls_last=True) if sort.ascending else column.desc(nulls_last=True)
    if sort.column == "started_at":  # never empty: said so, the index gives the order
        order = column.asc() if sort.ascending else column.desc()
    return found.order_by(order, "pk" if sort.ascending else "-pk")


def _beyond(sort: Sort, value: Any, pk: int) -> Q:
    """What comes after a row in this order."""
    way = "gt" if sort.ascending else "lt"
    same = Q(**{f"pk__{way}": pk})
    if value is None:
        return Q(**{f"{sort.column}__isnull": True}) & same
    beyond = Q(**{f"{sort.column}__{way}": value}) | (Q(**{sort.column: value}) & same)
    return beyond if sort.column == "started_at" else beyond | Q(**{f"{sort.column}__isnull": True})


def _before(sort: Sort, value: Any, pk: int) -> Q:
    """What comes before a row in this order."""
    way = "lt" if sort.ascending else "gt"
    same = Q(**{sort.column: value} if value is not None else {f"{sort.column}__isnull": True}, **{f"pk__{way}": pk})
    earlier = Q(**{f"{sort.column}__isnull": False}) if value is None else Q(**{f"{sort.column}__{way}": value})
    return earlier | same


def _mark(sort: Sort, value: Any, *keys: int) -> str:
    plain = value.isoformat() if isinstance(value, datetime) else value
    return signing.dumps([sort.name, plain, *keys], salt=_SALT)


def _read(sort: Sort, mark: str, length: int) -> list[Any]:
    """The values of a mark: what the column had, then the keys."""
    try:
        name, value, *keys = signing.loads(mark, salt=_SALT)
        if name != sort.name or len(keys) != length - 1:
            raise ForgedMark(mark)
        is_moment = sort.column == "started_at"
        if not all(isinstance(number, int) for number in (*keys, 0 if is_moment or value is None else value)):
            raise ForgedMark(mark)
        return [datetime.fromisoformat(value) if is_moment else value, *keys]
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise ForgedMark(mark) from error

"""A query as the database is asked: each kind of field has one way to be compared, some fields one of their own.

The same for calls, and for turns as far as they are asked about their call (``prefix`` is then ``call__``).
"""

from __future__ import annotations

import json
from functools import partial, reduce
from operator import and_, or_
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.contrib.postgres.search import SearchQuery
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.db.models.lookups import Contains

from calls.models import Call, Turn
from voiceagent.console.calls.language import FIELDS, Field, Kind, Op, Span, is_ago, milliseconds, span
from voiceagent.console.models import CallFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from django.contrib.postgres.search import CombinedSearchQuery
    from django.db.models import QuerySet

    from voiceagent.console.calls.parsing import Part, Query, Term

#: How turns and calls are written into the index (``calls.models.Turn.words``).
_CONFIG = "simple"


def calls_of(query: Query, now: datetime, *, words: bool = True) -> QuerySet[Call]:
    """The calls that fit, in no order. ``now`` is aware, in the reader's zone. ``words=False``: as if no words were asked for."""
    return Call.objects.filter(condition(query, now, words=words))


def condition(query: Query, now: datetime, *, prefix: str = "", words: bool = True) -> Q:
    """What a call must be. Test calls are out unless the query says something of them."""
    asked = [_of_term(term, now, prefix) for term in query.terms if not term.is_words]
    if words:
        # All in one turn, so that they are found together; and what must not be there is in no turn.
        if query.words:
            asked.append(Q(**{f"{prefix}pk__in": _turns_with(query.words).values("call")}))
        absent = [term for term in query.terms if term.is_words and term.negated]
        asked += [~Q(**{f"{prefix}pk__in": _turns_with([term]).values("call")}) for term in absent]
    if not query.asks("test"):
        asked.append(Q(**{f"{prefix}is_test": False}))
    return reduce(and_, asked, Q())


def turns_of(query: Query, now: datetime) -> QuerySet[Turn]:
    """The turns that fit: words and what a turn has of its own are asked of it, everything else of its call."""
    own = [term for term in query.terms if term.is_words or FIELDS[term.field].turn_column]
    rest = type(query)(tuple(term for term in query.terms if term not in own))
    asked = condition(rest, now, prefix="call__")
    if query.words:
        asked &= Q(words=search(query.words))
    for term in own:
        if term.is_words and term.negated:
            asked &= ~Q(words=search([term]))
        elif not term.is_words:
            row = FIELDS[term.field]
            compare = _OWN_OF_TURNS.get(row.name) or partial(_compared, column=row.turn_column, now=now)
            asked &= _turned(term, reduce(or_, (compare(row, part) for part in term.parts)))
    return Turn.objects.filter(asked)


def search(terms: Iterable[Term]) -> SearchQuery | CombinedSearchQuery:
    """All of these words, as the index is asked."""
    queries = [
        SearchQuery(term.parts[0].low, config=_CONFIG, search_type="phrase" if term.quoted else "plain")
        for term in terms
    ]
    return reduce(and_, queries)


def bounds(query: Query, now: datetime) -> tuple[datetime | None, datetime | None]:
    """From when until when the query asks, as far as its terms about time say so."""
    start, end = None, None
    for term in query.terms:
        if term.field != "date" or term.negated or len(term.parts) != 1:
            continue
        low, high = _times(term.parts[0], now)
        start = max(filter(None, (start, low)), default=None)
        end = min(filter(None, (end, high)), default=None)
    return start, end


def _turns_with(terms: Iterable[Term]) -> QuerySet[Turn]:
    return Turn.objects.filter(words=search(terms))


def _of_term(term: Term, now: datetime, prefix: str) -> Q:
    row = FIELDS[term.field]
    if row.name == "has":
        return _turned(term, reduce(or_, (_yes(part.low, prefix) for part in term.parts)))
    compare = _OWN.get(row.name) or _BY_KIND.get(row.kind)
    if compare is not None:
        return _turned(term, reduce(or_, (compare(row, part, prefix) for part in term.parts)))
    return _turned(term, reduce(or_, (_compared(row, part, prefix + row.column, now) for part in term.parts)))


def _turned(term: Term, asked: Q) -> Q:
    return ~asked if term.negated else asked


# --- what is compared -------------------------------------------------------------------------------------------------

_LOOKUPS = MappingProxyType(
    {Op.IS: "exact", Op.MORE: "gt", Op.MORE_OR_SAME: "gte", Op.LESS: "lt", Op.LESS_OR_SAME: "lte"}
)
_UNIT = MappingProxyType({Kind.MILLISECONDS: "ms", Kind.LENGTH: "s"})


def _compared(row: Field, part: Part, column: str, now: datetime) -> Q:
    if row.kind is Kind.MOMENT:
        start, end = _times(part, now)
        since, until = Q(**{f"{column}__gte": start}), Q(**{f"{column}__lt": end})
        return (since if start else Q()) & (until if end else Q())
    if part.op is not Op.RANGE:
        return Q(**{f"{column}__{_LOOKUPS[part.op]}": _number(row, part.low)})
    low = Q(**{f"{column}__gte": _number(row, part.low)}) if part.low else Q()
    return low & (Q(**{f"{column}__lte": _number(row, part.high)}) if part.high else Q())


def _number(row: Field, text: str) -> int:
    return milliseconds(text, _UNIT[row.kind]) if row.kind in _UNIT else int(text)


def _times(part: Part, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The first moment that fits, and the first after it that does not."""
    if part.op is Op.RANGE:
        low, high = (_span(text, now) if text else None for text in (part.low, part.high))
        return low.start if low else None, _end(part.high, high) if high else None
    found = _span(part.low, now)
    edges: dict[Op, tuple[datetime | None, datetime | None]] = {
        Op.IS: (found.start, None if is_ago(part.low) else found.end),
        Op.MORE: (_end(part.low, found), None),
        Op.MORE_OR_SAME: (found.start, None),
        Op.LESS: (None, found.start),
        Op.LESS_OR_SAME: (None, _end(part.low, found)),
    }
    return edges[part.op]


def _span(text: str, now: datetime) -> Span:
    """As ``language.span``; a time so long ago that the calendar has not got it is its beginning."""
    try:
        return span(text, now)
    except OverflowError:
        start = now.replace(year=1, month=1, day=2)
        return Span(start, now if is_ago(text) else start)


def _end(text: str, found: Span) -> datetime:
    """Where a word for a time ends as an edge: what counts back from now is a moment there."""
    return found.start if is_ago(text) else found.end


# --- kinds and fields with a way of their own -------------------------------------------------------------------------


def _same(row: Field, part: Part, prefix: str) -> Q:
    return Q(**{f"{prefix}{row.column}": part.low})


def _any_case(row: Field, part: Part, prefix: str) -> Q:
    return Q(**{f"{prefix}{row.column}__iexact": part.low})


def _beginning(row: Field, part: Part, prefix: str) -> Q:
    return Q(**{f"{prefix}{row.column}__startswith": part.low})


def _last(row: Field, part: Part, prefix: str) -> Q:
    return Q(**{f"{prefix}{row.column}__endswith": part.low})


def _among(row: Field, part: Part, prefix: str) -> Q:
    return Q(**{f"{prefix}{row.column}__contains": [part.low]})


def _failed_in(row: Field, part: Part) -> Q:
    """``model`` is ``model:timeout`` too. Calls have their causes written out both ways; an index knows those."""
    begins = json.dumps(part.low, ensure_ascii=False)[:-1]
    written = Cast(row.turn_column, TextField())
    among = Q(Contains(written, f'{begins}"')) | Q(Contains(written, f"{begins}:"))
    return Q(**{f"call__{row.column}__contains": [part.low]}) & among


def _language(row: Field, part: Part, prefix: str) -> Q:
    """``en`` is ``en-GB`` too."""
    return Q(**{f"{prefix}{row.column}": part.low}) | Q(**{f"{prefix}{row.column}__startswith": f"{part.low}-"})


def _who(row: Field, part: Part, prefix: str) -> Q:
    if part.low == "withheld":
        return Q(**{f"{prefix}caller_key": ""})
    return Q(**{f"{prefix}{row.column}": part.low == "returning"})


def _yes_or_no(row: Field, part: Part, prefix: str) -> Q:
    return _yes(row.name, prefix) if part.low == "yes" else ~_yes(row.name, prefix)


def _yes(name: str, prefix: str) -> Q:
    return {
        "test": lambda: Q(**{f"{prefix}is_test": True}),
        "flagged": lambda: Q(**{f"{prefix}pk__in": CallFlag.objects.values("call")}),
        "operator": lambda: Q(**{f"{prefix}has_operator": True}),
        "recording": lambda: Q(**{f"{prefix}has_recording": True}),
        "violation": lambda: ~Q(**{f"{prefix}violations": []}),
        "gap": lambda: Q(**{f"{prefix}broken_count__gt": 0}),
    }[name]()


_BY_KIND: Mapping[Kind, Callable[[Field, Part, str], Q]] = MappingProxyType(
    {
        Kind.CHOICE: _same,
        Kind.YES_NO: _yes_or_no,
        Kind.NAME: _any_case,
        Kind.DIGITS: _last,
        Kind.CALL_ID: _beginning,
    }
)
_OWN: Mapping[str, Callable[[Field, Part, str], Q]] = MappingProxyType(
    {"error": _among, "fallback": _among, "lang": _language, "who": _who}
)
_OWN_OF_TURNS: Mapping[str, Callable[[Field, Part], Q]] = MappingProxyType({"error": _failed_in})

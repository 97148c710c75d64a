"""The facet column: for each value of a field how many calls fit, and what the query becomes by a click on it.

Facets that the query does not ask about are counted together, by two passes over the calls, each grouped by several columns
at once; one that it asks about is counted as if it did not, so that its other values can be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, Case, Count, F, IntegerField, Q, Value, When
from django.db.models.expressions import Combinable

from voiceagent.console.calls.conditions import bounds, calls_of
from voiceagent.console.calls.language import FALLBACKS, OUTCOMES, WHO
from voiceagent.console.calls.parsing import Query, has_value, parse, toggled
from voiceagent.console.models import CallFlag

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from calls.models import Call

#: So many values of a facet are shown, the most frequent first.
MOST_VALUES = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of a facet: how it is typed, its words, how many calls, whether it is asked for, and the query by a click."""

    value: str
    label: str
    count: int
    chosen: bool
    query: Query


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet with its values."""

    name: str
    title: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a facet's values come from: an expression to group by, and which values (as typed) a group's counts for.

    ``labels`` gives the words, and the order where it is ``ordered``.
    """

    title: str
    of: Combinable | str
    values: Callable[[Any], Iterable[str]]
    labels: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False


def _one(value: Any) -> Iterable[str]:
    return [str(value)] if value else []


def _yes_no(value: Any) -> Iterable[str]:
    return ["yes" if value else "no"]


def _whole_words(value: Any) -> Iterable[str]:
    """Of ``model`` and ``model:timeout`` the longer: it says more, and the shorter is there for who types it."""
    return [word for word in value or () if ":" in word]


#: Response times in bands, as they are typed; the edges are the objective, what is called slow, and twice that.
_BANDS = {"<=1000": "up to 1 s", "1001..1500": "1 to 1.5 s", "1501..3000": "1.5 to 3 s", ">3000": "over 3 s"}
_EDGES = (1000, 1500, 3000)
_BAND = Case(
    *(When(latency_p95_ms__lte=edge, then=Value(place)) for place, edge in enumerate(_EDGES)),
    When(latency_p95_ms__isnull=False, then=Value(len(_EDGES))),
    default=None,
    output_field=IntegerField(),
)
_WHO = Case(
    When(caller_key="", then=Value(2)),
    When(is_returning=True, then=Value(1)),
    When(is_returning=False, then=Value(0)),
    default=None,
    output_field=IntegerField(),
)
#: Of a day: which words for a time fit what began then. Later ones are within earlier ones' spans.
_DATES = {"today": "today", "yesterday": "yesterday", "7d": "last 7 days", "30d": "last 30 days"}
_FITTING = (("today", "7d", "30d"), ("yesterday", "7d", "30d"), ("7d", "30d"), ("30d",))
_FLAGGED = Case(
    When(pk__in=CallFlag.objects.values("call"), then=Value(True)), default=Value(False), output_field=BooleanField()
)
_SOURCES: dict[str, _Source] = {
    "date": _Source("Date", "started_at", lambda place: () if place is None else _FITTING[place], _DATES, ordered=True),
    "flagged": _Source("Flagged for review", _FLAGGED, _yes_no),
    "outcome": _Source("Outcome", "outcome", _one, OUTCOMES, ordered=True),
    "response": _Source(
        "Response, p95", _BAND, lambda band: [] if band is None else [list(_BANDS)[band]], _BANDS, ordered=True
    ),
    "error": _Source("Error", "error_kinds", _whole_words),
    "fallback": _Source("Fallback", "fallbacks", lambda value: value or (), FALLBACKS, ordered=True),
    "lang": _Source("Language", "language", lambda value: {value, value.partition("-")[0]} if value else ()),
    "who": _Source("Caller", _WHO, lambda place: [] if place is None else [list(WHO)[place]], WHO, ordered=True),
    "operator": _Source("Operator involved", "has_operator", _yes_no),
    "recording": _Source("Recording", "has_recording", _yes_no),
    "version": _Source("Software", "software_version", _one),
}
#: The order in which they stand.
ORDER = ("date", "outcome", "response", "error", "fallback", "lang", "who", "flagged", "operator", "version", "recording")  # fmt: skip
#: What is counted in one pass: few values each, so that their combinations stay few.
_TOGETHER = (
    ("date", "outcome", "response", "who"),
    ("error", "fallback", "lang", "flagged", "operator", "version", "recording"),
)


def facets(query: Query, now: datetime, found: Callable[[Query], QuerySet[Call]] | None = None) -> list[Facet]:
    """All facets with their counts. ``found``: the calls of a query, where words are not what they are found by."""
    calls = found or (lambda asked: calls_of(asked, now))
    counted: dict[str, Counter[str]] = {}
    for names in _TOGETHER:
        counted |= _count(calls(query), [name for name in names if not query.asks(name)], now)
    for name in filter(query.asks, ORDER):
        counted |= _count(calls(query.without_field(name)), [name], now)
    return [_facet(name, counted[name], query) for name in ORDER]


def _count(calls: QuerySet[Call], names: list[str], now: datetime) -> dict[str, Counter[str]]:
    """How many calls have each value of these facets: one pass, grouped by all of them."""
    counted: dict[str, Counter[str]] = {name: Counter() for name in names}
    if not names:
        return counted
    columns = {f"_{name}": _grouped(name, now) for name in names}
    grouped = calls.order_by().values(**columns).annotate(_calls=Count("pk"))
    for row in grouped.values_list(*columns, "_calls"):
        for name, value in zip(names, row, strict=False):
            for word in _SOURCES[name].values(value):
                counted[name][word] += row[-1]
    return counted


def _grouped(name: str, now: datetime) -> Combinable:
    """What a facet is grouped by; times by the narrowest word that fits them now."""
    of = _SOURCES[name].of
    if name != "date":
        return F(of) if isinstance(of, str) else of
    spans = [bounds(parse(f"date:{word}"), now) for word in _DATES]
    return Case(
        *(When(_within(start, end), then=Value(place)) for place, (start, end) in enumerate(spans)),
        default=None,
        output_field=IntegerField(),
    )


def _within(start: datetime | None, end: datetime | None) -> Q:
    since = Q(started_at__gte=start) if start else Q()
    return since & Q(started_at__lt=end) if end else since


def _facet(name: str, counts: Counter[str], query: Query) -> Facet:
    source = _SOURCES[name]
    if source.ordered:
        values = [value for value in source.labels if counts[value] or has_value(query, name, _typed(value))]
    else:
        values = [value for value, count in counts.most_common(MOST_VALUES) if count]
    return Facet(name, source.title, tuple(_choice(name, value, source.labels, counts, query) for value in values))


def _choice(name: str, value: str, labels: Mapping[str, str], counts: Counter[str], query: Query) -> Choice:
    typed = _typed(value)
    chosen = has_value(query, name, typed)
    return Choice(value, labels.get(value, value), counts[value], chosen, toggled(query, name, typed))


def _typed(value: str) -> str:
    """The value as it is typed: in quotes where it has something that the language reads."""
    plain = not any(sign in value for sign in ' ",\\\t\n') and (value[:1] not in "<>" or value in _BANDS)
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

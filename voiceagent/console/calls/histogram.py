"""Calls over time, coloured by outcome: bars of one width over the range that the query asks for."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, DateTimeField, F, Func, Value

from calls.models import Call
from voiceagent.console.calls.conditions import bounds
from voiceagent.console.calls.language import OUTCOMES

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from voiceagent.console.calls.parsing import Query

_MOST_BARS = 60
_WIDTHS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 180, 360, 720, 1440, 7 * 1440, 28 * 1440, 91 * 1440, 364 * 1440, 3640 * 1440)
)
#: The drawing's size, in its own units.
WIDTH, HEIGHT = 1200, 90


@dataclass(frozen=True, slots=True)
class Piece:
    """One outcome's part of a bar, in the drawing's units from its top left."""

    outcome: str
    label: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What began from ``start`` until ``end``."""

    start: datetime
    end: datetime
    x: float
    width: float
    count: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """The bars, those without calls included; ``tallest`` is the most calls in one."""

    start: datetime
    end: datetime
    bars: tuple[Bar, ...]
    tallest: int
    outcomes: tuple[tuple[str, str, int], ...]


def histogram(query: Query, calls: QuerySet[Call], now: datetime) -> Histogram | None:
    """The histogram of these calls, over the query's range or, as far as it has none, from the first call until now.

    ``None`` where there is nothing to draw.
    """
    low, high = bounds(query, now)
    if low is None:
        low = Call.objects.order_by("started_at").values_list("started_at", flat=True).first()
    high = min(high or now, now)
    if low is None or low >= high:
        return None
    width = next((width for width in _WIDTHS if (high - low) / width <= _MOST_BARS - 1), _WIDTHS[-1])
    origin = high.replace(hour=0, minute=0, second=0, microsecond=0)
    start = origin + ((low - origin) // width) * width
    counted = _counted(calls.filter(started_at__gte=low, started_at__lt=high), width, origin)
    count = -(-(high - start) // width)
    tallest = max((sum(bar.values()) for bar in counted.values()), default=0)
    if not tallest:
        return None
    step = WIDTH / count
    bars = tuple(
        _bar(start + place * width, width, place * step, step, counted.get(start + place * width, Counter()), tallest)
        for place in range(count)
    )
    total = sum(counted.values(), Counter[str]())
    return Histogram(
        start, start + count * width, bars, tallest, tuple((o, OUTCOMES[o], total[o]) for o in OUTCOMES if total[o])
    )


def _counted(calls: QuerySet[Call], width: timedelta, origin: datetime) -> dict[datetime, Counter[str]]:
    binned: Any = Func(Value(width), "started_at", Value(origin), function="date_bin", output_field=DateTimeField())
    counted: defaultdict[datetime, Counter[str]] = defaultdict(Counter)
    rows = calls.order_by().values(_bin=binned, _outcome=F("outcome")).annotate(_calls=Count("pk"))
    for begin, outcome, number in rows.values_list("_bin", "_outcome", "_calls"):
        counted[begin][outcome] += number
    return counted


def _bar(start: datetime, width: timedelta, x: float, step: float, counts: Counter[str], tallest: int) -> Bar:
    pieces, top = [], float(HEIGHT)
    for outcome, label in OUTCOMES.items():
        if not counts[outcome]:
            continue
        height = HEIGHT * counts[outcome] / tallest
        top -= height
        pieces.append(Piece(outcome, label, counts[outcome], round(top, 2), round(height, 2)))
    shown = max(step - 1, step * 0.7)
    return Bar(start, start + width, round(x, 2), round(shown, 2), sum(counts.values()), tuple(pieces))

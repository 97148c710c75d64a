"""The performance figures as the page writes them: tables beside the charts, the stages' bars, the heat map's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse

from calls.timeline_format import NO_DATA, milliseconds
from voiceagent.console.health import figures

if TYPE_CHECKING:
    from voiceagent.console.health.figures import Performance, Spread
    from voiceagent.console.health.span import Span

#: Shades of the heat map's cells, the fullest last.
SHADES = 5
_BAR = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """One chart to be read: ``rows`` begin with the time of their column."""

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: list[tuple[datetime, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Cell:
    """Answers of one band in one column of time: ``x`` and ``y`` are its place, ``shade`` 1 to ``SHADES``."""

    x: int
    y: int
    shade: int
    title: str
    address: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a stacked bar, in thousandths of its width."""

    name: str
    ms: int
    x: int
    width: int
    place: int


def stages(found: Performance) -> list[tuple[str, int, list[Bar]]]:
    """The bars of the medians and of the 95th percentiles, on one scale."""
    sums = {name: sum(getattr(stage, name) for stage in found.stages) for name in ("p50", "p95")}
    scale = max(sums.values(), default=0) or 1
    told = []
    for name, total in sums.items():
        x, bars = 0, []
        for place, stage in enumerate(found.stages):
            ms = getattr(stage, name)
            width = round(ms * _BAR / scale)
            bars.append(Bar(stage.name, ms, x, width, place))
            x += width
        told.append((name, total, bars))
    return told


def heat(span: Span, found: Performance) -> dict[str, Any]:
    """The heat map: a cell for each band and column that has answers, and the labels of its bands."""
    most = max(found.heat.values(), default=0)
    columns, last = span.columns, len(figures.BANDS) - 1
    cells = [
        Cell(
            x=place,
            y=last - band,
            shade=1 + min(SHADES - 1, (count - 1) * SHADES // most),
            title=f"{count:,} {'answer' if count == 1 else 'answers'}, {_band(band)}",
            address=_calls(columns[place], columns[place] + span.step, band),
        )
        for (place, band), count in sorted(found.heat.items())
        if 0 <= place < len(columns)
    ]
    bands = [(last - band, milliseconds(edge)) for band, edge in enumerate(figures.BANDS)]
    return {"cells": cells, "bands": bands, "columns": len(columns), "rows": len(figures.BANDS)}


def _band(band: int) -> str:
    low = figures.BANDS[band]
    if band + 1 == len(figures.BANDS):
        return f"{milliseconds(low)} and more"
    return f"{low:,} to {milliseconds(figures.BANDS[band + 1])}"


def _calls(begin: datetime, end: datetime, band: int) -> str:
    """The turns of calls begun in this time whose answer lies in this band."""
    low = figures.BANDS[band]
    high = f"..{figures.BANDS[band + 1] - 1}" if band + 1 < len(figures.BANDS) else ""
    response = f"response:{low}{high}" if high else f"response:>={low}"
    query = f"{response} date:{begin:%Y-%m-%dT%H:%M}..{end:%Y-%m-%dT%H:%M}"
    return f"{reverse('console:calls')}?{urlencode({'q': query, 'show': 'turns'})}"


def tables(span: Span, found: Performance) -> list[Table]:
    """What the charts show, to be read."""
    columns = span.columns
    return [
        Table("response", "Response time", ("Answers", "p50", "p95", "p99"), _spreads(columns, found.by_column)),
        Table(
            "silent", "From the caller's first sound until the agent is silent", ("Interruptions", "p50", "p95", "p99"),
            _spreads(columns, found.silent_by_column),
        ),
        Table(
            "load", "Calls at once, and calls refused", ("At once", "Refused"),
            [
                (column, (str(found.at_once.get(at, 0)), str(found.refused.get(at, 0))))
                for at, column in enumerate(columns)
                if found.at_once.get(at) or found.refused.get(at)
            ],
        ),
        Table(
            "audio", "Frames of callers that came late or were dropped", ("Late", "Dropped", "Latest by", "Longest wait of an event"),
            [
                (columns[at], (f"{one['late']:,}", f"{one['dropped']:,}", milliseconds(one["worst_ms"]), milliseconds(one["waited_ms"])))
                for at, one in sorted(found.audio.items())
                if 0 <= at < len(columns)
            ],
        ),
    ]  # fmt: skip


def _spreads(columns: Sequence[datetime], by_column: dict[int, Spread]) -> list[tuple[datetime, Sequence[str]]]:
    return [
        (columns[at], (f"{spread.count:,}", *_percentiles(spread)))
        for at, spread in sorted(by_column.items())
        if 0 <= at < len(columns)
    ]


def _percentiles(spread: Spread) -> tuple[str, str, str]:
    if spread.is_few:
        values = ", ".join(f"{value:,}" for value in spread.values)
        return (f"{values} ms" if values else NO_DATA, "", "")
    return milliseconds(spread.p50), milliseconds(spread.p95), milliseconds(spread.p99)

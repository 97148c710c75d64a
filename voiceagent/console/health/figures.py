"""The numbers of the performance tab, from the records of calls that are over. Test calls are left out.

One query each, over a span of time that an index bounds. Percentiles are PostgreSQL's; of fewer than ``FEW`` answers the
answers themselves are told instead, for a percentile of three numbers says nothing.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from calls.latency import FEW
from calls.models import AgentVersion
from calls.timeline_turns import OBJECTIVE_MS, SLOW_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from voiceagent.console.health.span import Span

#: The objective: this share of answers within ``SLOW_MS``, over 30 days. What is left of the rest is the error budget.
OBJECTIVE_SHARE: Final = 0.95
#: An interruption is obeyed within this time, from the caller's first sound.
SILENT_MS: Final = 130
#: Why a caller got no agent (``calls.views``), as the row of the call says it.
REFUSED: Final = ("overload", "drain", "rate", "no_agent", "no_database")
#: Lower edges of the bands of the heat map, in ms: a third of an octave or so each, finer around the objective.
BANDS: Final = (0, 200, 300, 400, 500, 630, 800, 1000, 1250, 1500, 2000, 3000, 5000, 8000)
SLOWEST: Final = 10

_ANSWERS = """
    FROM calls_turn t JOIN calls_call c ON c.id = t.call_id
    WHERE c.started_at >= %(begin)s AND c.started_at < %(end)s AND NOT c.is_test
      AND (%(version)s = 0 OR c.agent_version_id = %(version)s)
"""
_CAUSES = _ANSWERS.replace("WHERE", "CROSS JOIN LATERAL jsonb_array_elements_text(t.causes) cause WHERE")
_COLUMN = "floor(extract(epoch FROM c.started_at - %(begin)s) / %(step_s)s)::int"


@dataclass(frozen=True, slots=True)
class Spread:
    """How answers lay. ``values``: all of them where they are few, else empty; then the percentiles are there."""

    count: int = 0
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    values: tuple[int, ...] = ()

    @property
    def is_few(self) -> bool:
        """Whether its percentiles would say nothing."""
        return self.count < FEW


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of what answers wait for, in ms over all of them. ``share_x`` and ``share``: where its bar lies, in thousandths."""

    name: str
    p50: int
    p95: int


@dataclass(slots=True)
class Performance:
    """Everything of the tab, for one span. Lists have an element for each column of the span."""

    response: Spread = field(default_factory=Spread)
    within: int = 0
    by_column: dict[int, Spread] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    heat: dict[tuple[int, int], int] = field(default_factory=dict)
    silent: Spread = field(default_factory=Spread)
    silent_by_column: dict[int, Spread] = field(default_factory=dict)
    at_once: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    failures: list[tuple[str, int, list[int]]] = field(default_factory=list)
    audio: dict[int, dict[str, int]] = field(default_factory=dict)
    slowest: list[dict[str, Any]] = field(default_factory=list)
    versions: list[tuple[datetime, str]] = field(default_factory=list)


def performance(span: Span) -> Performance:
    """All figures of a span."""
    found = Performance()
    with connection.cursor() as cursor:
        for read in (_responses, _stages, _heat, _silences, _load, _failures, _audio, _slowest):
            read(cursor, span, found)
    found.versions = [
        (version.created_at, str(version))
        for version in AgentVersion.objects.filter(created_at__gte=span.begin, created_at__lt=span.end)[:200]
    ]
    return found


def summary(span: Span) -> tuple[Spread, int]:
    """How the answers of a span lay, and how many were within ``SLOW_MS``: for a comparison."""
    found = Performance()
    with connection.cursor() as cursor:
        _responses(cursor, span, found)
    return found.response, found.within


def budget_left(count: int, within: int) -> float | None:
    """The share of the error budget that is left: 1 where no answer was late, 0 where the objective is just met, negative
    beyond it; ``None`` without answers."""
    if not count:
        return None
    return 1 - (count - within) / (count * (1 - OBJECTIVE_SHARE))


def _params(span: Span) -> dict[str, Any]:
    return {
        "begin": span.begin,
        "end": span.end,
        "step_s": span.step.total_seconds(),
        "version": span.version,
        "few": FEW,
        "slow": SLOW_MS,
        "slowest": SLOWEST,
        "refused": list(REFUSED),
        "bands": list(BANDS[1:]),
    }


def _spreads(cursor: Any, span: Span, column: str) -> tuple[Spread, dict[int, Spread], int]:
    """Of a column of turns: over the whole span, by its columns, and how many were within ``SLOW_MS``."""
    cursor.execute(
        f"""
        SELECT {_COLUMN} AS place, GROUPING({_COLUMN}) AS is_all, count(*),
               percentile_disc(array[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY t.{column}),
               CASE WHEN count(*) < %(few)s THEN array_agg(t.{column} ORDER BY t.{column}) END,
               count(*) FILTER (WHERE t.{column} <= %(slow)s)
        {_ANSWERS} AND t.{column} IS NOT NULL
        GROUP BY GROUPING SETS ((), (1))
        """,
        _params(span),
    )
    whole, by_column, within = Spread(), {}, 0
    for place, is_all, count, percentiles, values, quick in cursor.fetchall():
        p50, p95, p99 = percentiles or (None, None, None)
        spread = Spread(count, p50, p95, p99, tuple(values or ()))
        if is_all:
            whole, within = spread, quick
        else:
            by_column[place] = spread
    return whole, by_column, within


def _responses(cursor: Any, span: Span, found: Performance) -> None:
    found.response, found.by_column, found.within = _spreads(cursor, span, "latency_ms")


def _silences(cursor: Any, span: Span, found: Performance) -> None:
    found.silent, found.silent_by_column, _ = _spreads(cursor, span, "stopped_after_ms")


def _stages(cursor: Any, span: Span, found: Performance) -> None:
    names = {"end of the turn": "turn_end_wait_ms", "model": "model_wait_ms", "voice": "voice_wait_ms"}
    columns = ", ".join(
        f"percentile_disc(array[0.5, 0.95]) WITHIN GROUP (ORDER BY t.{column})" for column in names.values()
    )
    cursor.execute(f"SELECT {columns} {_ANSWERS} AND t.turn_end_wait_ms IS NOT NULL", _params(span))
    row: Sequence[Any] = cursor.fetchone()
    found.stages = [Stage(name, *times) for name, times in zip(names, row, strict=True) if times]


def _heat(cursor: Any, span: Span, found: Performance) -> None:
    cursor.execute(
        f"""
        SELECT {_COLUMN}, width_bucket(t.latency_ms, %(bands)s::int[]), count(*)
        {_ANSWERS} AND t.latency_ms IS NOT NULL GROUP BY 1, 2
        """,
        _params(span),
    )
    found.heat = {(place, band): count for place, band, count in cursor.fetchall()}


def _load(cursor: Any, span: Span, found: Performance) -> None:
    """The most calls at once in each column, and those that were turned away."""
    cursor.execute(
        """
        SELECT c.answered_at, c.ended_at, c.end_reason = ANY(%(refused)s) AND c.answered_at IS NULL, c.started_at
        FROM calls_call c
        WHERE c.started_at >= %(begin)s - interval '6 hours' AND c.started_at < %(end)s AND NOT c.is_test
          AND (%(version)s = 0 OR c.agent_version_id = %(version)s)
        """,
        _params(span),
    )
    changes: list[tuple[float, int]] = []
    refused: defaultdict[int, int] = defaultdict(int)
    step_s = span.step.total_seconds()
    for answered_at, ended_at, is_refused, started_at in cursor.fetchall():
        place = math.floor((started_at - span.begin).total_seconds() / step_s)
        if is_refused and place >= 0:
            refused[place] += 1
        if place >= 0 and not is_refused:
            found.calls += 1
        if answered_at is not None:
            changes.append(((answered_at - span.begin).total_seconds(), 1))
            changes.append((((ended_at or span.end) - span.begin).total_seconds(), -1))
    found.at_once = _at_once(changes, step_s, len(span.columns))
    found.refused = dict(refused)


def _at_once(changes: Iterable[tuple[float, int]], step_s: float, columns: int) -> dict[int, int]:
    """The most at once within each column. An end comes before a beginning at the same moment."""
    most = [0] * columns
    now, last = 0, 0
    for at_s, change in sorted(changes):
        place = min(columns - 1, max(0, math.floor(at_s / step_s)))
        for column in range(last, place + 1):
            most[column] = max(most[column], now)
        now, last = now + change, place
        if at_s >= 0:
            most[place] = max(most[place], now)
    return dict(enumerate(most))


def _failures(cursor: Any, span: Span, found: Performance) -> None:
    cursor.execute(
        f"""
        SELECT {_COLUMN}, cause, count(*) FROM (
            SELECT c.started_at, cause {_CAUSES}
            UNION ALL
            SELECT c.started_at, 'call: ' || c.end_reason FROM calls_call c
            WHERE c.started_at >= %(begin)s AND c.started_at < %(end)s AND NOT c.is_test
              AND (%(version)s = 0 OR c.agent_version_id = %(version)s) AND c.outcome = 'error'
        ) c(started_at, cause) GROUP BY 1, 2
        """,  # noqa: S608 - put together from this module's constants
        _params(span),
    )
    by_cause: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(span.columns))
    for place, cause, count in cursor.fetchall():
        by_cause[cause][place] += count
    found.failures = sorted(
        ((cause, sum(counts), counts) for cause, counts in by_cause.items()), key=lambda one: (-one[1], one[0])
    )


def _audio(cursor: Any, span: Span, found: Performance) -> None:
    cursor.execute(
        f"""
        SELECT {_COLUMN}, sum((c.audio->>'late')::bigint), sum((c.audio->>'dropped')::bigint),
               max((c.audio->>'worst_ms')::bigint), max((c.audio->>'waited_ms')::bigint)
        FROM calls_call c
        WHERE c.started_at >= %(begin)s AND c.started_at < %(end)s AND NOT c.is_test AND c.audio ? 'frames'
          AND (%(version)s = 0 OR c.agent_version_id = %(version)s)
        GROUP BY 1
        """,  # noqa: S608 - as above
        _params(span),
    )
    names = ("late", "dropped", "worst_ms", "waited_ms")
    found.audio = {
        place: {name: int(value or 0) for name, value in zip(names, values, strict=True)}
        for place, *values in cursor.fetchall()
    }


def _slowest(cursor: Any, span: Span, found: Performance) -> None:
    cursor.execute(
        f"""
        SELECT c.call_sid, c.from_number, c.started_at, t.number, t.latency_ms,
               t.turn_end_wait_ms, t.model_wait_ms, t.voice_wait_ms, t.causes
        {_ANSWERS} AND t.latency_ms IS NOT NULL ORDER BY t.latency_ms DESC, t.id LIMIT %(slowest)s
        """,
        _params(span),
    )
    names = [column.name for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found.slowest = [{**row, "causes": json.loads(row["causes"])} for row in rows]


def charts(span: Span, found: Performance, capacity: int) -> Mapping[str, Any]:
    """What the charts draw: columns as Unix seconds, and for each series a value or ``None`` for each column."""
    places = range(len(span.columns))

    def percentile(spreads: dict[int, Spread], name: str) -> list[int | None]:
        return [getattr(spreads[at], name) if at in spreads and not spreads[at].is_few else None for at in places]

    def worst_of_few(spreads: dict[int, Spread]) -> list[int | None]:
        return [max(spreads[at].values) if at in spreads and spreads[at].is_few else None for at in places]

    return {
        "at": [int(column.timestamp()) for column in span.columns],
        "objective_ms": OBJECTIVE_MS,
        "slow_ms": SLOW_MS,
        "silent_ms": SILENT_MS,
        "capacity": capacity,
        "response": {
            **{name: percentile(found.by_column, name) for name in ("p50", "p95", "p99")},
            "slowest of few": worst_of_few(found.by_column),
        },
        "silent": {
            "p95": percentile(found.silent_by_column, "p95"),
            "slowest of few": worst_of_few(found.silent_by_column),
        },
        "load": {
            "calls at once": [found.at_once.get(at, 0) for at in places],
            "refused": [found.refused.get(at, 0) for at in places],
        },
        "audio": {
            name: [found.audio.get(at, {}).get(key) for at in places]
            for name, key in (
                ("frames late", "late"),
                ("frames dropped", "dropped"),
                ("longest wait of an event, ms", "waited_ms"),
            )
        },
        "failures": {cause: counts for cause, _total, counts in found.failures[:6]},
        "versions": [[int(at.timestamp()), name] for at, name in found.versions],
    }

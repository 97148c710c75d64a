"""The list as a file: the calls or turns of a query, a page at a time, as CSV or a JSON object a line.

Small ones are streamed as the answer. Larger ones are written by the worker into a file that its owner fetches for a day
(``console.ListExport``).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from voiceagent.console.calls.conditions import calls_of, turns_of
from voiceagent.console.calls.language import OUTCOMES
from voiceagent.console.calls.listing import Sort, calls_page, turns_page
from voiceagent.console.calls.parsing import Query
from voiceagent.console.calls.rows import Beside, call_rows
from voiceagent.console.calls.snippets import covering
from voiceagent.console.exports import inert
from voiceagent.console.masks import masked
from voiceagent.console.models import ListExport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from django.db.models import QuerySet

    from calls.models import Call, Turn

#: What is streamed at once, and what is written at all.
MOST_STREAMED = 1000
MOST_ROWS = 100_000
KEPT_FOR = timedelta(days=1)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported: the query, its rows as calls or turns, in which order, as which file, and what its owner may see."""

    query: Query
    show: str
    sort: Sort
    format: str
    may: frozenset[str]
    sids: tuple[str, ...] = ()

    def calls(self, now: datetime) -> QuerySet[Call]:
        """The calls, of those that were chosen if some were."""
        found = calls_of(self.query, now)
        return found.filter(call_sid__in=self.sids) if self.sids else found

    def turns(self, now: datetime) -> QuerySet[Turn]:
        """The turns."""
        found = turns_of(self.query, now)
        return found.filter(call__call_sid__in=self.sids) if self.sids else found

    def count(self, now: datetime, most: int) -> int:
        """How many rows, counted up to ``most``."""
        found: QuerySet[Any] = self.calls(now) if self.show == "calls" else self.turns(now)
        return found.order_by()[:most].count()


def pages(wanted: Wanted, now: datetime, most: int = MOST_ROWS) -> Iterator[str]:
    """The file's text, in pieces; at most so many rows."""
    write = _WRITERS[wanted.format]()
    rows = _calls(wanted, now) if wanted.show == "calls" else _turns(wanted, now)
    left = most
    for page in rows:
        yield write(page[:left])
        left -= len(page)
        if left <= 0:
            return


def _calls(wanted: Wanted, now: datetime) -> Iterator[list[dict[str, Any]]]:
    found, after, is_first = wanted.calls(now).select_related("agent_version__agent"), "", True
    while after or is_first:
        page = calls_page(found, wanted.sort, after, _PAGE)
        after, is_first = page.after, False
        said = {row.call_sid: row for row in call_rows(page.rows, (), wanted.query, covering(wanted.may))}
        flags = Beside.of(page.rows).flags
        yield [_call(call, wanted, flags, said[call.call_sid]) for call in page.rows]


def _call(call: Call, wanted: Wanted, flags: Any, row: Any) -> dict[str, Any]:
    version = call.agent_version
    return {
        "call_sid": call.call_sid,
        "started_at": call.started_at.isoformat(),
        "caller": call.from_number if "reveal_number" in wanted.may else masked(call.from_number),
        "line": call.to_number,
        "agent": f"{version.agent.name} v{version.number}" if version else "",
        "language": call.language,
        "outcome": OUTCOMES.get(call.outcome, call.outcome),
        "end_reason": call.end_reason,
        "duration_ms": call.duration_ms,
        "turns": call.turn_count,
        "response_p50_ms": call.latency_median_ms,
        "response_p95_ms": call.latency_p95_ms,
        "response_worst_ms": call.latency_max_ms,
        "interruptions": call.barge_in_count,
        "errors": call.error_count,
        "error_kinds": " ".join(kind for kind in call.error_kinds if ":" in kind),
        "fallbacks": " ".join(call.fallbacks),
        "memories_used": call.recalled_count,
        "returning": call.is_returning,
        "operator": call.has_operator,
        "recording": call.has_recording,
        "flagged": call.pk in flags,
        "test": call.is_test,
        "software_version": call.software_version,
        "found_at_ms": row.said.at_ms if row.said else None,
        "found": row.said.text if row.said else "",
    }


def _turns(wanted: Wanted, now: datetime) -> Iterator[list[dict[str, Any]]]:
    cover = covering(wanted.may)
    after, is_first = "", True
    while after or is_first:
        page = turns_page(wanted.turns(now), after, _PAGE)
        after, is_first = page.after, False
        yield [
            {
                "call_sid": turn.call.call_sid,
                "started_at": turn.call.started_at.isoformat(),
                "turn": turn.number,
                "began_ms": turn.began_ms,
                "first_audio_ms": turn.first_audio_ms,
                "response_ms": turn.latency_ms,
                "outcome": turn.outcome,
                "caller_said": cover(turn.user_text),
                "caller_heard": cover(turn.heard_text),
            }
            for turn in page.rows
        ]


class _Csv:
    """Rows as CSV with a header. No cell is a formula to a spreadsheet."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, rows: Iterable[dict[str, Any]]) -> str:
        out = io.StringIO()
        writer = csv.writer(out)
        for row in rows:
            if not self._begun:
                writer.writerow(row)
                self._begun = True
            writer.writerow([_cell(value) for value in row.values()])
        return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return inert(value) if isinstance(value, str) else value


class _JsonLines:
    """A JSON object a line."""

    def __call__(self, rows: Iterable[dict[str, Any]]) -> str:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


_WRITERS: dict[str, Callable[[], Callable[[Iterable[dict[str, Any]]], str]]] = {"csv": _Csv, "jsonl": _JsonLines}


# --- by the worker ----------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where files wait for their owners; readable by this user only."""
    place = Path(settings.DATA_DIR) / "exports"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place


def path_of(job: ListExport) -> Path:
    """The file of a job, gzipped."""
    return folder() / f"{job.pk}.{job.format}.gz"


def write_file(job: ListExport, wanted: Wanted) -> None:
    """Write a job's file, whole or not at all, and say so in its row. Again it is the same."""
    part = path_of(job).with_suffix(".part")
    with gzip.open(part, "wt", encoding="utf-8", newline="") as file:
        part.chmod(0o600)
        for text in pages(wanted, job.asked_at):
            file.write(text)
    part.replace(path_of(job))
    ListExport.objects.filter(pk=job.pk).update(ready_at=timezone.now(), size_bytes=path_of(job).stat().st_size)


def drop_old() -> int:
    """Remove what nobody fetched for a day, files and rows. How many."""
    old = list(ListExport.objects.filter(asked_at__lt=timezone.now() - KEPT_FOR))
    for job in old:
        path_of(job).unlink(missing_ok=True)
        job.delete()
    return len(old)

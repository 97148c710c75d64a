"""Calls, turns and memories as the rows of a page: cells with their words, and the words that were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from django.db.models import Count
from django.urls import reverse

from calls.models import AgentVersion, Call, Turn
from calls.timeline_page import reason_text
from calls.timeline_turns import OBJECTIVE_MS, SLOW_MS
from memory.models import Source
from voiceagent.console.calls.conditions import search
from voiceagent.console.calls.language import OUTCOMES
from voiceagent.console.calls.snippets import Snippet, finder, first_of_each, snippet
from voiceagent.console.masks import masked
from voiceagent.console.models import CallFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voiceagent.console.calls.meaning import Near
    from voiceagent.console.calls.parsing import Query


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a column. ``kind`` is how it looks; ``title`` says more; ``value`` is a machine's form of it."""

    text: str
    kind: str = ""
    title: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: where it leads, its cells, and what was found in it with its place and closeness."""

    call_sid: str
    href: str
    cells: tuple[Cell, ...]
    said: Snippet | None = None
    said_href: str = ""
    said_at: str = ""
    close: str = ""


def call_rows(
    calls: Sequence[Call],
    columns: Sequence[str],
    query: Query,
    cover: Callable[[str], str],
    near: Mapping[int, Near] | None = None,
    carried: str = "",
) -> list[Row]:
    """A row for each call. ``near``: the turn by which each was found, where that was by meaning. ``carried`` goes along with
    every link (``Params.carried``)."""
    beside = Beside.of(calls)
    found = {pk: one.turn for pk, one in near.items()} if near is not None else _first_found(calls, query)
    find = None if near is not None else finder(query.words)
    rows = []
    for call in calls:
        turn = found.get(call.pk)
        said = snippet(turn, find, cover) if turn else None
        closeness = near[call.pk] if near and call.pk in near else None
        rows.append(_row(call, tuple(_CELLS[name](call, beside) for name in columns), said, closeness, carried))
    return rows


def turn_rows(
    turns: Sequence[Turn],
    query: Query,
    cover: Callable[[str], str],
    near: Mapping[int, Near] | None = None,
    carried: str = "",
) -> list[Row]:
    """A row for each turn: its call's start and caller, its number and its response time. ``near`` is by turn."""
    find = None if near is not None else finder(query.words)
    return [
        _row(
            turn.call,
            (_start(turn.call), Cell(masked(turn.call.from_number) or "withheld"), Cell(str(turn.number), "number"), _ms(turn.latency_ms)),
            snippet(turn, find, cover),
            near.get(turn.pk) if near else None,
            carried,
        )
        for turn in turns
    ]  # fmt: skip


TURN_COLUMNS = ("Call", "Caller", "Turn", "Response")


def moment_href(call_sid: str, at_ms: int | None, carried: str = "") -> str:
    """The call's page at a moment on its own clock."""
    address = f"{reverse('console:calls')}{quote(call_sid, safe='')}/"
    query = "&".join(filter(None, ["" if at_ms is None else urlencode({"t": at_ms / 1000}), carried]))
    return f"{address}?{query}" if query else address


def offset(at_ms: int | None) -> str:
    """A moment of a call, from its start."""
    if at_ms is None:
        return "no time"
    minutes, seconds = divmod(at_ms // 1000, 60)
    return f"{minutes}:{seconds:02}"


def _row(call: Call, cells: tuple[Cell, ...], said: Snippet | None, near: Near | None, carried: str) -> Row:
    close = f"{near.words}, {near.closeness:.0%}" if near else ""
    return Row(
        call.call_sid,
        moment_href(call.call_sid, None, carried),
        cells,
        said,
        moment_href(call.call_sid, said.at_ms, carried) if said else "",
        offset(said.at_ms) if said else "",
        close,
    )


def _first_found(calls: Sequence[Call], query: Query) -> dict[int, Turn]:
    """For each call the first turn with the words of the query; none without words."""
    if not query.words:
        return {}
    found = Turn.objects.filter(call__in=[call.pk for call in calls], words=search(query.words))
    light = found.only("call", "number", "user_text", "heard_text", "began_ms", "speech_ended_ms", "first_audio_ms")
    return first_of_each(list(light.order_by("call_id", "number").distinct("call_id")))


# --- cells ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beside:
    """What the rows of a page need beside the calls: flags by call, memories written by call id."""

    flags: Mapping[int, str]
    written: Counter[str]
    agents: Mapping[int, str]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Beside:
        flags = CallFlag.objects.filter(call__in=[call.pk for call in calls])
        written = (
            Source.objects.filter(utterance__conversation__name__in=[call.call_sid for call in calls])
            .order_by()
            .values("utterance__conversation__name")
            .annotate(facts=Count("memory", distinct=True))
        )
        versions = {call.agent_version_id for call in calls if call.agent_version_id}
        named = AgentVersion.objects.filter(pk__in=versions)
        return cls(
            dict(flags.values_list("call", "reason")),
            Counter(dict(written.values_list("utterance__conversation__name", "facts"))),
            {pk: f"{name} v{number}" for pk, name, number in named.values_list("pk", "agent__name", "number")},
        )


def _start(call: Call) -> Cell:
    return Cell("", "time", value=call.started_at.isoformat())


def _caller(call: Call, _beside: Beside) -> Cell:
    who = "" if call.is_returning is None else "returning" if call.is_returning else "new"
    return Cell(masked(call.from_number) or "withheld", "caller", who)


def _duration(call: Call, _beside: Beside) -> Cell:
    return Cell(offset(call.duration_ms) if call.duration_ms is not None else "no data", "number")


def _outcome(call: Call, _beside: Beside) -> Cell:
    why = reason_text(call.end_reason) if call.end_reason else "the call goes on"
    return Cell(OUTCOMES.get(call.outcome, call.outcome), "outcome", why, call.outcome)


def _ms(value: int | None) -> Cell:
    """Milliseconds below ten seconds, then seconds; against the objective."""
    if value is None:
        return Cell("no data", "soft")
    text = f"{value:,} ms" if value < 10_000 else f"{value / 1000:.1f} s"
    kind = "fast" if value <= OBJECTIVE_MS else "slow" if value <= SLOW_MS else "over"
    return Cell(text, kind, f"objective {OBJECTIVE_MS:,} ms", str(value))


def _memory(call: Call, beside: Beside) -> Cell:
    parts = ((call.recalled_count, "used"), (beside.written[call.call_sid], "written"))
    return Cell(" · ".join(f"{count} {what}" for count, what in parts if count))


def _flags(call: Call, beside: Beside) -> Cell:
    marks = (
        ("flagged", call.pk in beside.flags),
        ("operator", call.has_operator),
        ("test", call.is_test),
        ("gap", call.broken_count > 0),
    )
    return Cell(" ".join(word for word, there in marks if there), "flags", beside.flags.get(call.pk, ""))


def _errors(call: Call, _beside: Beside) -> Cell:
    kinds = ", ".join(kind for kind in call.error_kinds if ":" in kind)
    return Cell(str(call.error_count), "number over" if call.error_count else "number", kinds)


_CELLS: Mapping[str, Callable[[Call, Beside], Cell]] = {
    "start": lambda call, _: _start(call),
    "caller": _caller,
    "duration": _duration,
    "turns": lambda call, _: Cell(str(call.turn_count), "number"),
    "outcome": _outcome,
    "response": lambda call, _: _ms(call.latency_p95_ms),
    "bargein": lambda call, _: Cell(str(call.barge_in_count), "number"),
    "errors": _errors,
    "memory": _memory,
    "flags": _flags,
    "median": lambda call, _: _ms(call.latency_median_ms),
    "line": lambda call, _: Cell(call.to_number),
    "agent": lambda call, beside: Cell(beside.agents.get(call.agent_version_id or 0, "none")),
    "lang": lambda call, _: Cell(call.language or "no data"),
    "version": lambda call, _: Cell(call.software_version or "no data"),
    "id": lambda call, _: Cell(call.call_sid, "mono"),
}

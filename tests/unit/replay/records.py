"""Calls of the small world as records: what the archive would have of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from calls.core import record
from calls.core.state import State
from calls.replay.digest import StateDigest, layout_of
from calls.replay.log import CallRecord, Line
from tests.app.records.conversation import booked_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from calls.core.commands import Command
    from calls.core.events import Event

WALL_MS = 1_795_000_000_000


def record_of(
    steps: Iterable[tuple[State, Event, tuple[Command, ...], State]], dumps: Callable[[Any], bytes] = record.dumps
) -> CallRecord:
    """The record of these steps, each with its digest."""
    lines: list[Line] = []
    layout, sid = layout_of(State), "CA0"
    digest = StateDigest(State, layout)
    for number, (_, event, commands, after) in enumerate(steps, 1):
        sid = after.call_sid or sid
        for place, value in enumerate((event, *commands)):
            lines.append(
                Line(
                    seq=len(lines) + 1,
                    step=number,
                    kind="command" if place else "event",
                    type=type(value).__name__,
                    at_ms=event.at_ms,
                    wall_ms=WALL_MS + event.at_ms,
                    mode=str(after.mode),
                    turn=after.turn,
                    data=json.loads(dumps(value)),
                    digest="" if place else digest.of(after),
                )
            )
    return CallRecord(sid, tuple(lines), layout, len(lines))


def a_booking() -> CallRecord:
    """Four answers, a barge-in, a booking, a goodbye."""
    before, steps = State(), []
    for taken in booked_table().steps:
        steps.append((before, taken.event, taken.commands, taken.state))
        before = taken.state
    return record_of(steps)


def with_line(call: CallRecord, place: int, **changes: Any) -> CallRecord:
    """The record with another line at this place."""
    lines = list(call.lines)
    lines[place] = replace(lines[place], **changes)
    return replace(call, lines=tuple(lines))


def place_of(call: CallRecord, kind: str, number: int = 0) -> int:
    """Where the line of this type stands, the first or a later one."""
    return [place for place, line in enumerate(call.lines) if line.type == kind][number]

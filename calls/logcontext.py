"""Which call a log line belongs to: bound once for a call's tasks, so that every line of theirs names call, trace and turn.

``place`` is one object for each call, shared by all its tasks: the turn in it moves on, and lines of tasks that began
turns ago show the turn of now. ``voiceagent.logs`` puts it into the lines.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class CallPlace:
    """Where a call stands: its ids, its turn, and who has the floor (``calls.core.state.Mode``; empty before the first step)."""

    call_sid: str
    trace_id: str
    turn_id: int = 0
    state: str = ""


place: ContextVar[CallPlace | None] = ContextVar("call_place", default=None)


def enter(call_sid: str, trace_id: str) -> CallPlace:
    """From here on this task, and those it makes, belong to this call."""
    entered = CallPlace(call_sid, trace_id)
    place.set(entered)
    return entered

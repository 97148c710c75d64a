"""The ribbon of a call: who had the floor when, and where the caller stopped the agent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from calls.timeline_format import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the ribbon, in thousandths of the call."""

    x: float
    width: float
    mode: str
    label: str


def ribbon(changes: Sequence[tuple[int, str]], duration_ms: int) -> list[Segment]:
    """Who had the floor when, as stretches that fill the width."""
    if not changes or duration_ms <= 0:
        return []
    ends = [at_ms for at_ms, _mode in changes[1:]] + [duration_ms]
    return [
        Segment(
            x=_place(at_ms, duration_ms),
            width=round(_place(end_ms, duration_ms) - _place(at_ms, duration_ms), 2),
            mode=mode.lower(),
            label=f"{mode.capitalize()} from {clock(at_ms)} to {clock(end_ms)}",
        )
        for (at_ms, mode), end_ms in zip(changes, ends, strict=True)
        if end_ms > at_ms
    ]


def stops(at_ms: Iterable[int], duration_ms: int) -> list[Segment]:
    """Where the caller's voice stopped the agent."""
    return [
        Segment(_place(at, duration_ms), 0, "stop", f"Agent stopped at {clock(at)}") for at in at_ms if duration_ms > 0
    ]


def _place(at_ms: int, duration_ms: int) -> float:
    return round(min(max(at_ms, 0), duration_ms) / duration_ms * WIDTH, 2)

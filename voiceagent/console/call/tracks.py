"""The ways through archived calls that somebody is looking at, held in this process for a while.

To make one runs the whole call; to come to a moment of it then takes a few steps. Making one yields to the event loop of the
calls in this process again and again, which costs whoever waits a little and no caller anything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from calls.replay.log import version_of
from calls.replay.run import replay
from calls.replay.track import Track
from calls.replay.versions import core_of
from calls.services import transfer

if TYPE_CHECKING:
    from calls.models import Call
    from calls.replay.log import Line
    from calls.replay.run import Outcome
    from calls.replay.track import Moment

_MOST = 16
#: What was said in a call is held no longer than this after somebody last looked: it may be erased meanwhile.
_HELD_S = 600.0
#: So many steps, about a millisecond's work, between two pauses in which others have the interpreter.
_AT_ONCE, _PAUSE_S = 16, 0.0005


@dataclass(slots=True)
class _Way:
    """A way that is held, or being made by whoever has ``lock``; others who want it wait for them, and for nobody else."""

    looked_at: float
    lock: Lock = field(default_factory=Lock)
    track: Track | None = None
    steps: int = 0


_held: OrderedDict[tuple[str, int], _Way] = OrderedDict()
_lock = Lock()


def track_of(call: Call) -> Track:
    """The way through an archived call. Raises ``calls.replay.versions.UnknownVersion``."""
    way = _way(call)
    with way.lock:
        if way.track is None:
            way.track = _made(call, way)
        return way.track


def steps_run(call_sid: str, entry_count: int) -> int | None:
    """How many steps of a call have been run while its way is made here; ``None`` where nobody makes it."""
    way = _held.get((call_sid, entry_count))
    return way.steps if way is not None and way.track is None and way.lock.locked() else None


def _way(call: Call) -> _Way:
    key, now = (call.call_sid, call.entry_count), time.monotonic()
    with _lock:
        for old in [held for held, way in _held.items() if now - way.looked_at > _HELD_S and not way.lock.locked()]:
            del _held[old]
        way = _held.setdefault(key, _Way(now))
        way.looked_at = now
        _held.move_to_end(key)
        while len(_held) > _MOST:
            _held.popitem(last=False)
    return way


def _made(call: Call, way: _Way) -> Track:
    first = call.events.filter(type="CallStarted").order_by("seq").values_list("seq", flat=True).first()
    track = Track(core_of(version_of(transfer.lines_at(call, [first] if first else []))))
    for count, event in enumerate(transfer.events_of(call), 1):
        if not track.add(event):
            break
        way.steps = count
        _yield_now_and_then(count)
    return track


def visit(call: Call, track: Track, step: int, now_ms: int | None = None) -> Moment:
    """A moment of the call. Raises ``IndexError`` for a step that cannot be visited."""
    if not 0 <= step <= len(track):
        raise IndexError(f"there are {len(track)} steps, and no step {step}")
    steps = track.behind(step)
    events = list(transfer.events_of(call, track.seq(steps[0]), track.seq(steps[-1]))) if steps else []
    return track.visit(step, events, now_ms)


def events_at(call: Call, track: Track, steps: list[int]) -> dict[int, Line]:
    """The events of these steps, by step."""
    return {line.step: line for line in transfer.lines_at(call, [track.seq(step) for step in steps])}


def verdict_of(call: Call) -> Outcome:
    """The whole call once more, held against its record. Raises ``UnknownVersion`` and ``TransferError``."""
    count = 0

    def watch(*_: object) -> None:
        nonlocal count
        count += 1
        _yield_now_and_then(count)

    return replay(transfer.record_of(call.call_sid), watch)


def _yield_now_and_then(count: int) -> None:
    if count % _AT_ONCE == 0:
        time.sleep(_PAUSE_S)

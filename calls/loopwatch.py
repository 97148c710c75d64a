"""Watches the event loop: how late it runs what is due, and what held it up when that was long.

A beat in the loop says when it last ran; a thread looks at the beat and, when it is overdue, at the loop's stack. The
thread costs a wake-up per interval and sees what a profiler in the loop cannot: the code that does not give way. Of the stack it
tells places alone, never a value. Code that keeps the interpreter's lock to itself keeps the thread from looking: such a
stall has no stack.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from calls import metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_log = structlog.get_logger(__name__)

#: A stall beyond this is logged with the stack that held the loop.
BLOCKED_MS = 50
_BEAT_S = 0.02
#: The gauge shows the worst beat of this long, so that a scrape every few seconds does not miss what callers hear.
_WINDOW_S = 5.0
_STACK_FRAMES = 20
#: A loop that stalls all the time is told this often; the line says how many stalls it stands for.
_TOLD_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Stall:
    """The loop stood still for ``lag_ms``; ``stack`` is where, outermost first, as ``file:line function``. ``untold`` shorter
    ones have passed unreported since the report before."""

    lag_ms: int
    stack: tuple[str, ...]
    untold: int = 0


class LoopWatch:
    """``run`` in the loop to be watched, as a task; cancelled, it stops its thread.

    ``report`` is called in the loop with stalls over ``blocked_ms``, by default it logs: with the first at once, then with
    the longest of each ``told_every_s``. ``on_beat`` gets the lateness of every beat in milliseconds.
    """

    def __init__(
        self,
        report: Callable[[Stall], None] | None = None,
        blocked_ms: int = BLOCKED_MS,
        on_beat: Callable[[float], object] = lambda _late_ms: None,
        told_every_s: float = _TOLD_EVERY_S,
    ) -> None:
        #: The worst of the last seconds, as the gauge has it.
        self.lag_ms = 0
        self._told_every_s = told_every_s
        self._tell_from = 0.0
        self._longest: Stall | None = None
        self._untold = 0
        self._on_beat = on_beat
        self._report = report or _log_stall
        self._blocked_s = blocked_ms / 1000
        self._beat_at = 0.0
        self._seen: tuple[float, tuple[str, ...]] = (0.0, ())
        self._stop = threading.Event()

    async def run(self) -> None:
        """Beat until cancelled."""
        self._beat_at = time.monotonic()
        threading.Thread(target=self._look, args=(threading.get_ident(),), name="loop-watch", daemon=True).start()
        worst_s, window_ends_at = 0.0, self._beat_at + _WINDOW_S
        try:
            while True:
                await asyncio.sleep(_BEAT_S)
                last, now = self._beat_at, time.monotonic()
                self._beat_at = now
                late_s = max(0.0, now - last - _BEAT_S)
                worst_s = max(worst_s, late_s)
                metrics.LOOP_LAG.set(worst_s * 1000)
                self.lag_ms = round(worst_s * 1000)
                self._on_beat(late_s * 1000)
                if late_s > self._blocked_s:
                    seen_at, stack = self._seen
                    self._note(Stall(round(late_s * 1000), stack if seen_at == last else ()))
                if self._longest is not None and now >= self._tell_from:
                    self._tell(self._longest, now)
                if now > window_ends_at:
                    worst_s, window_ends_at = 0.0, now + _WINDOW_S
        finally:
            self._stop.set()

    def _note(self, stall: Stall) -> None:
        self._untold += 1
        _count(stall)
        if self._longest is None or stall.lag_ms > self._longest.lag_ms:
            self._longest = stall

    def _tell(self, longest: Stall, now: float) -> None:
        self._report(replace(longest, untold=self._untold - 1))
        self._longest, self._untold, self._tell_from = None, 0, now + self._told_every_s

    def _look(self, loop_thread: int) -> None:
        """In the thread: once per stall, note where the loop stands."""
        looked_at, spent_s = time.monotonic(), time.process_time()
        while not self._stop.wait(_BEAT_S):
            last_at, last_spent_s = looked_at, spent_s
            beat_at, looked_at, spent_s = self._beat_at, time.monotonic(), time.process_time()
            if looked_at - beat_at <= self._blocked_s or self._seen[0] == beat_at:
                continue
            # This thread slept too long itself and the process did next to nothing: it did not get the CPU, wherever
            # its loop stands now.
            late_s = looked_at - last_at - _BEAT_S
            if late_s > self._blocked_s and spent_s - last_spent_s < late_s / 2:
                self._seen = (beat_at, ())
            elif (frame := sys._current_frames().get(loop_thread)) is not None:
                self._seen = (beat_at, _stack(frame))


def _stack(frame: FrameType) -> tuple[str, ...]:
    return tuple(
        f"{'/'.join(Path(at.filename).parts[-3:])}:{at.lineno} {at.name}"
        for at in traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_STACK_FRAMES, lookup_lines=False)
    )[::-1]


#: A place has a label of its own once it has held the loop for so long in all: on a machine without time for us short
#: stalls are everywhere.
_TOLD_APART_MS = 1000
_NOT_OURS = "not in our code"
#: Where the interpreter stands while a loop waits or goes from one callback to the next: uvloop's, asyncio's.
_IDLE = re.compile(
    r"asyncio/(?:runners\.py run|base_events\.py (?:_run_once|run_forever|run_until_complete))$|/selectors\.py select$"
)
_OURS = re.compile(r"(?:^|/)((?:calls|memory|voiceagent)/.*)")
_stalled_ms: Counter[str] = Counter()


def _count(stall: Stall) -> None:
    place = _place(stall.stack)
    _stalled_ms[place] += stall.lag_ms
    told_apart = place == _NOT_OURS or _stalled_ms[place] >= _TOLD_APART_MS
    label = place if told_apart else "elsewhere"
    metrics.LOOP_STALLED_MS.labels(label).inc(stall.lag_ms)


def _place(stack: tuple[str, ...]) -> str:
    """Where a stall was, for a label: our innermost function, and what it called if that is not ours."""
    frames = [re.sub(r":\d+ ", " ", at) for at in stack]
    if not frames or _IDLE.search(frames[-1]):
        return _NOT_OURS
    ours = [found[1] for at in frames if (found := _OURS.search(at)) and not found[1].startswith("voiceagent/web.py")]
    inmost = [] if _OURS.search(frames[-1]) else frames[-1:]
    return " > ".join([*ours[-1:], *inmost]) or _NOT_OURS


def _log_stall(stall: Stall) -> None:
    _log.warning("loop.blocked", lag_ms=stall.lag_ms, stack=list(stall.stack), untold=stall.untold)

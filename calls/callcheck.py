"""The invariants, watched on a call as it happens.

Which calls are watched follows from their ids, so that every process and every rerun agrees. What is found is counted,
logged without a word of the call, and flagged on the call; the call itself never notices.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

import structlog

from calls import metrics
from calls.bus import Bus, StepTaken
from calls.core.state import State
from calls.replay.invariants import Checker, Invariant

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger(__name__)

_ALL = 1 << 64


def is_watched(call_sid: str, share: float) -> bool:
    """Whether this call is among the share (0 to 1) of calls that are watched."""
    return int.from_bytes(blake2b(call_sid.encode(), digest_size=8).digest()) < share * _ALL


class CallCheck:
    """Watches one call's bus. ``add_fact`` puts a fact into the call's log.

    An invariant is reported once for a call, at the first step that broke it. A checker that fails is our own bug and
    ends its watch.
    """

    def __init__(self, bus: Bus, call_sid: str, add_fact: Callable[[str, str], None]) -> None:
        self._call_sid = call_sid
        self._add_fact = add_fact
        self._checker = Checker()
        self._state = State()
        self._broken: dict[Invariant, int] = {}
        self._is_watching = True
        add_fact("checked", "1")
        bus.subscribe(StepTaken, self._step)

    def _step(self, step: StepTaken, _: StepTaken) -> None:
        if not self._is_watching:
            return
        before, self._state = self._state, step.state
        try:
            found = self._checker.collect(before, step.event, step.commands, step.state)
        except Exception as error:  # noqa: BLE001 - whatever the checker stumbles over is no matter of the call
            self._is_watching = False
            _log.error("invariants.check_failed", call_sid=self._call_sid, step=step.seq, error=type(error).__name__)
            return
        for violation in found:
            self._report(violation.invariant, step.seq)

    def _report(self, invariant: Invariant, step: int) -> None:
        if invariant in self._broken:
            return
        self._broken[invariant] = step
        name = invariant.name.lower()
        metrics.INVARIANT_VIOLATIONS.labels(name).inc()
        _log.error("invariant.violated", call_sid=self._call_sid, invariant=name, step=step)
        facts = [{"invariant": known.name.lower(), "step": at} for known, at in self._broken.items()]
        self._add_fact("violations", json.dumps(facts))

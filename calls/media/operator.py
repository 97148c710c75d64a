"""An operator's line into a call: their audio, and signs that they are still there.

Whoever carries the microphone (a socket, a message of another process) calls ``audio`` with each frame, or ``present`` where the
operator is silent at their end, and ``gone`` when the connection closes. All on the loop's thread, none waits. Who gives no sign for
``LEASE_MS`` counts as gone; what follows is the core's (``calls.core.operating``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from calls.codecs.mulaw import BYTES_PER_MS
from calls.core.commands import LendGate, TakeGateBack
from calls.core.events import OperatorConnected
from calls.core.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.bus import Bus, StepTaken
    from calls.core.state import State
    from calls.media.gate import Gate
    from calls.ports import Post

#: Without a sign of life for this long an operator counts as gone.
LEASE_MS = 6_000
#: How much of an operator's audio may lie unheard at the carrier. What comes in a burst beyond it is dropped, for it would make
#: everything that follows late.
MOST_AHEAD_MS = 400


class OperatorLine:
    """Of one call. ``state`` gives the call's state, ``now_ms`` its clock."""

    def __init__(self, gate: Gate, bus: Bus, post: Post, state: Callable[[], State], now_ms: Callable[[], int]) -> None:
        self._gate = gate
        self._post = post
        self._state = state
        self._now_ms = now_ms
        self._plays_until_ms = 0
        self._seen_ms = 0
        self._lost = False
        self._watching: asyncio.TimerHandle | None = None
        bus.subscribe(LendGate, self._lent)
        bus.subscribe(TakeGateBack, self._taken_back)

    @property
    def holder(self) -> str:
        """Who has taken over; empty where nobody has."""
        state = self._state()
        return state.operator if state.phase is Phase.OPERATOR else ""

    def audio(self, by: str, payload: bytes) -> bool:
        """A frame of the operator's microphone, µ-law at 8 kHz. Whether the caller will hear it: not from one who has not
        taken over, and not what is too far ahead."""
        if not self.present(by):
            return False
        now_ms = self._now_ms()
        starts_ms = max(self._plays_until_ms, now_ms)
        if starts_ms - now_ms > MOST_AHEAD_MS or not self._gate.operator_audio(payload):
            return False
        self._plays_until_ms = starts_ms + len(payload) // BYTES_PER_MS
        return True

    def present(self, by: str) -> bool:
        """The operator is there. Whether it is they who have taken over."""
        if not by or by != self.holder:
            return False
        self._seen_ms = self._now_ms()
        if self._lost:
            self._lost = False
            self._post(OperatorConnected(by=by, on=True))
        return True

    def gone(self, by: str) -> None:
        """The operator's connection is closed."""
        if by and by == self.holder and not self._lost:
            self._lost = True
            self._post(OperatorConnected(by=by, on=False))

    def close(self) -> None:
        """The call is over."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    # --- the lease

    def _lent(self, _command: LendGate, _step: StepTaken) -> None:
        self._lost = False
        self._seen_ms = self._now_ms()
        self._watch()

    def _taken_back(self, _command: TakeGateBack, _step: StepTaken) -> None:
        self.close()

    def _watch(self) -> None:
        quiet_ms = self._now_ms() - self._seen_ms
        if quiet_ms >= LEASE_MS:
            self.gone(self.holder)
            quiet_ms = 0
        self.close()
        loop = asyncio.get_running_loop()
        self._watching = loop.call_later((LEASE_MS - quiet_ms) / 1000 + 0.01, self._watch)

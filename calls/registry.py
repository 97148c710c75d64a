"""The calls of this process: how many there may be, which there are.

A slot is reserved when the webhook is answered and becomes the call's when its stream starts; a reservation that
no stream claims expires. Two calls at one free slot: the first reserves it, the second gets the busy answer. So do new calls
while those in progress suffer, though slots are free.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from calls.strain import Strains

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.session import Session


#: Calls that are over and still known, so that a late second stream of one is refused.
MOST_REMEMBERED = 10_000


class Registry:
    """Bounded by ``max_calls`` and by how the calls in progress fare. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        max_calls: int,
        reservation_s: float,
        clock: Callable[[], float] = time.monotonic,
        strains: Strains | None = None,
    ) -> None:
        self.max_calls = max_calls
        self._strains = strains or Strains()
        self.draining = False
        self._reservation_s = reservation_s
        self._clock = clock
        self._reserved: dict[str, float] = {}
        self._live: dict[str, Session] = {}
        self._over: dict[str, None] = {}

    @property
    def live(self) -> dict[str, Session]:
        """The calls in progress by ``call_sid``."""
        return self._live

    def reserve(self, call_sid: str) -> bool:
        """Reserve a slot for a ringing call; the same call again keeps its slot. ``False`` when there is none."""
        self._expire()
        if call_sid in self._live or call_sid in self._over:
            return True  # it takes no second slot: none of its streams would be let in, and the slot would outlive it
        if call_sid in self._reserved and self.draining:
            return True  # promised is promised, but no longer than the stop allows
        if call_sid not in self._reserved and self.no_room():
            return False
        self._reserved[call_sid] = self._clock() + self._reservation_s
        return True

    def no_room(self) -> str:
        """Why a new call gets no slot: ``drain``, ``no_slot``, or by what those in progress suffer
        (``calls.strain.MEASURES``). Empty where it gets one."""
        self._expire()
        if self.draining:
            return "drain"
        if self._taken() >= self.max_calls:
            return "no_slot"
        return self._strains.suffering(self._clock()) if self._live else ""  # nobody suffers where nobody is

    def observe(self, measure: str, value_ms: float) -> None:
        """How late something was, one of ``calls.strain.MEASURES``."""
        self._strains.observe(measure, value_ms, self._clock())

    def release(self, call_sid: str) -> None:
        """Give up a reservation: the call ended before its stream."""
        self._reserved.pop(call_sid, None)

    def refusal(self, call_sid: str) -> str:
        """Why this call's stream cannot begin, a key of ``calls.consumers.CLOSE_CODES``; empty where it can."""
        self._expire()
        if call_sid in self._live:
            return "already_streaming"
        if call_sid in self._over:
            return "over"  # a second log and recording would fall upon the first
        if call_sid in self._reserved:
            return ""
        if self.draining:
            return "draining"
        return "no_slot" if self._taken() >= self.max_calls else ""

    def drain(self, promised_s: float) -> None:
        """Take no new calls. Whose webhook was answered already may bring its stream within ``promised_s``."""
        self.draining = True
        latest = self._clock() + promised_s
        self._reserved = {call_sid: min(until, latest) for call_sid, until in self._reserved.items()}

    @property
    def expected(self) -> int:
        """Calls in progress, and those whose stream is yet to come."""
        self._expire()
        return self._taken()

    def claim(self, call_sid: str, session: Session) -> None:
        """The stream of a call that is not refused is here."""
        self._reserved.pop(call_sid, None)
        self._live[call_sid] = session

    def ended(self, call_sid: str) -> None:
        """The call is over; its slot is free."""
        self._live.pop(call_sid, None)
        self._over[call_sid] = None
        if len(self._over) > MOST_REMEMBERED:
            del self._over[next(iter(self._over))]

    def _taken(self) -> int:
        return len(self._live) + len(self._reserved)

    def _expire(self) -> None:
        now = self._clock()
        for call_sid in [sid for sid, until in self._reserved.items() if until <= now]:
            del self._reserved[call_sid]

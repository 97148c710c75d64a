"""The one way into a call: events, stamped with the call's clock as they enter, taken in order.

Posting never blocks. The box is bounded; a call that cannot keep up is ended, never silently robbed of facts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from calls.core.events import CarrierGone, Event, HangUpAsked, TimerFired, ToolSettled

if TYPE_CHECKING:
    from collections.abc import Callable

CAPACITY = 4000
#: What a call needs to come to its end. There are only as many of these as there are timers and tools.
_ENDING = (CarrierGone, TimerFired, ToolSettled)


class Clock:
    """Milliseconds and microseconds since the call began, from the loop's own clock (virtual in tests)."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._start = time()

    def now_ms(self) -> int:
        """Whole milliseconds since the call began."""
        return int((self._time() - self._start) * 1000)

    def now_us(self) -> int:
        """Microseconds since the call began."""
        return int((self._time() - self._start) * 1_000_000)


class Letter(NamedTuple):
    """An event with the instant it entered, in µs on the call's clock."""

    event: Event
    posted_us: int


class Mailbox:
    """Bounded and ordered; for one reader on the loop's thread."""

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._letters: deque[Letter] = deque()
        self._arrived = asyncio.Event()
        self._overflown = False

    def __len__(self) -> int:
        return len(self._letters)

    def post(self, event: Event) -> None:
        """Stamp and append. At capacity the call is asked to end, and what follows is refused but for its end."""
        if self._overflown:
            if not isinstance(event, _ENDING):
                return
        elif len(self._letters) >= self._capacity:
            self._overflown = True
            event = HangUpAsked(by="overload")
        now_us = self._clock.now_us()
        self._letters.append(Letter(replace(event, at_ms=now_us // 1000), now_us))
        self._arrived.set()

    def begin(self, event: Event, behind: type[Event]) -> None:
        """Post the call's first event: after what is there of the kind ``behind``, before all else that came while the call
        was being set up, such as a key that was pressed, or the caller who hung up again."""
        others = (place for place, letter in enumerate(self._letters) if not isinstance(letter.event, behind))
        place = next(others, len(self._letters))
        now_us = self._letters[place].posted_us if place < len(self._letters) else self._clock.now_us()
        self._letters.insert(place, Letter(replace(event, at_ms=now_us // 1000), now_us))
        self._arrived.set()

    async def get(self) -> Letter:
        """The oldest letter, waiting for one."""
        while not self._letters:
            self._arrived.clear()
            await self._arrived.wait()
        return self._letters.popleft()

"""Whether the calls in progress suffer, so that no further one is taken: fair to those who are on the line already.

One measure at a time: how late the loop runs what is due, how long events lie in mailboxes. A stall now and then is no
overload; one after the other for seconds is. It ends only after a while without a stall worth mentioning, so that the
answer to callers does not flicker. Time is an argument: seconds on any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bounds:
    """What counts as suffering. Times in milliseconds.

    A value over ``high_ms`` is bad. Bad values that are never further apart than ``gap_ms``, for ``bad_ms`` in all, are an
    overload; ``calm_ms`` without a value over ``low_ms`` end it. ``high_ms`` 0: never.
    """

    high_ms: int = 250
    low_ms: int = 100
    gap_ms: int = 1000
    bad_ms: int = 3000
    calm_ms: int = 5000


class Strain:
    """One measure, as it is observed."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._bad_since_s: float | None = None
        self._last_bad_s = 0.0
        self._last_unrest_s = 0.0
        self._over = False

    def observe(self, value_ms: float, now_s: float) -> None:
        """Something was late by ``value_ms``, and is done now. It was late all that time."""
        bounds = self._bounds
        if value_ms > bounds.low_ms:
            self._last_unrest_s = now_s
        if not bounds.high_ms or value_ms <= bounds.high_ms:
            return
        began_s = now_s - value_ms / 1000
        if self._bad_since_s is None or began_s - self._last_bad_s > bounds.gap_ms / 1000:
            self._bad_since_s = began_s
        self._last_bad_s = now_s
        if now_s - self._bad_since_s >= bounds.bad_ms / 1000:
            self._over = True

    def is_over(self, now_s: float) -> bool:
        """Whether calls suffer by this measure."""
        if self._over and now_s - self._last_unrest_s >= self._bounds.calm_ms / 1000:
            self._over, self._bad_since_s = False, None
        return self._over


#: What is measured, by the word under which refusals are counted.
MEASURES: Final = ("loop_lag", "mailbox_delay")


class Strains:
    """All measures of a process."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:
        self._strains = {name: Strain(bounds) for name in MEASURES}

    def observe(self, measure: str, value_ms: float, now_s: float) -> None:
        """A value of one of ``MEASURES``. Cheap: it comes with every event and every beat of the loop."""
        self._strains[measure].observe(value_ms, now_s)

    def suffering(self, now_s: float) -> str:
        """The first measure by which calls suffer, empty where none does."""
        return next((name for name, strain in self._strains.items() if strain.is_over(now_s)), "")

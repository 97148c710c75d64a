"""Circuit breakers: whether a vendor's operation is worth trying, known at once.

::

    with breakers.of("openai.reply").admit():  # raises VendorError("open") at once while it is open
        ...                                     # a VendorError in here counts, a cancellation says nothing

A decision is made from what this process knows and never waits. ``calls.breakersync`` shares what they know between
processes. Methods may be called from any thread: the lock is held for a few dictionary operations, never across I/O.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from calls.breakerrules import OPERATIONS, SAYS, Phase, Rules, Ruling, Window, judged, phase_at, probed
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

#: A probe that has told nothing for this long is taken for lost.
PROBE_MS: Final = 60_000


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Permit:
    """Leave for one attempt. The first of ``ok``, ``failed`` and ``dropped`` settles it; later ones do nothing.

    As a context manager it settles itself: by the ``VendorError`` that leaves the block, well without an exception, and
    saying nothing for any other, a cancellation among them.
    """

    __slots__ = ("_breaker", "ruling", "_settled", "probe")

    def __init__(self, breaker: Breaker, ruling: Ruling, *, probe: bool) -> None:
        self._breaker = breaker
        self.ruling = ruling
        self.probe = probe
        self._settled = False

    def ok(self) -> None:
        """The vendor did what was asked."""
        self._settle("ok")

    def failed(self, kind: str) -> None:
        """The attempt failed. Raises ``ValueError`` on a kind that is not in ``calls.breakerrules.SAYS``."""
        if kind not in SAYS:
            raise ValueError(f"{kind!r} is not a kind of failure")
        self._settle(kind)

    def dropped(self) -> None:
        """Cancelled, or not tried at all: nothing is known."""
        self._settle(None)

    def _settle(self, kind: str | None) -> None:
        if not self._settled:
            self._settled = True
            self._breaker._settled(self, kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, cls: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, VendorError):
            self.failed(error.kind)
        elif error is not None:
            self.dropped()
        else:
            self.ok()


class Breaker:
    """The breaker of one operation in this process. ``name`` is ``vendor.operation``."""

    def __init__(
        self,
        name: str,
        rules: Rules,
        now_ms: Callable[[], int] = wall_ms,
        draw: Callable[[], float] = random.random,
        process: str = "",
    ) -> None:
        self.name = name
        self.vendor = name.split(".", 1)[0]
        self.rules = rules
        self._now_ms = now_ms
        self._draw = draw
        self._process = process
        self._lock = threading.Lock()
        self._ruling = Ruling()
        self._window = Window(rules.window_ms)
        self._probe: Permit | None = None
        self._probe_until_ms = 0

    def admit(self) -> Permit:
        """Leave for one attempt, to be settled when it ends. Raises ``VendorError`` (``open``) at once while there is none."""
        now_ms = self._now_ms()
        with self._lock:
            phase = phase_at(self._ruling, now_ms)
            if phase is Phase.CLOSED:
                return Permit(self, self._ruling, probe=False)
            if phase is Phase.HALF_OPEN and (self._probe is None or now_ms >= self._probe_until_ms):
                self._probe = Permit(self, self._ruling, probe=True)
                self._probe_until_ms = now_ms + PROBE_MS
                return self._probe
            raise VendorError("open", self.vendor, detail=f"the breaker {self.name} is {phase}")

    @property
    def phase(self) -> Phase:
        """Its phase now."""
        return phase_at(self._ruling, self._now_ms())

    def _settled(self, permit: Permit, kind: str | None) -> None:
        now_ms = self._now_ms()
        with self._lock:
            if permit is self._probe:
                self._probe = None
            if kind is None or permit.ruling is not self._ruling:
                return  # of an attempt from before the last ruling: that has taken account of it, or of better news
            if permit.probe:
                ruling = probed(self._ruling, self.rules, kind, now_ms, self._draw(), self._process)
            else:
                self._window.add(kind, now_ms)
                counts = self._window.counts(now_ms)
                ruling = judged(self._ruling, self.rules, counts, now_ms, self._draw(), self._process)
            if ruling is not self._ruling:
                self._ruling = ruling
                self._window.clear()


#: Where nothing is shared and nothing may be cut off: it always admits.
UNGUARDED: Final = Breaker("none.any", Rules(opens=False))


class Breakers:
    """All breakers of a process, one for each of ``operations``."""

    def __init__(
        self,
        operations: Mapping[str, Rules] = OPERATIONS,
        now_ms: Callable[[], int] = wall_ms,
        draw: Callable[[], float] = random.random,
        process: str = "",
    ) -> None:
        self._breakers = {name: Breaker(name, rules, now_ms, draw, process) for name, rules in operations.items()}

    def of(self, name: str) -> Breaker:
        """The breaker of ``vendor.operation``. Raises ``LookupError`` on one that has no figures."""
        try:
            return self._breakers[name]
        except KeyError:
            raise LookupError(f"no figures for a breaker of {name}: calls.breakerrules.OPERATIONS has them") from None

    def __iter__(self) -> Iterator[Breaker]:
        return iter(self._breakers.values())

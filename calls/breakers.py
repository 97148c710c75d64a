"""Circuit breakers: whether a vendor's operation is worth trying, known at once.

::

    with breakers.of("openai.reply").admit():  # raises VendorError("open") at once while it is open
        ...                                     # a VendorError in here counts, a cancellation says nothing

A decision is made from what this process knows and never waits; ``calls.breakersync`` tells the processes what the
others know. Methods may be called from any thread: a lock is held for a few operations on dictionaries, never over I/O.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from calls import metrics
from calls.breakerrules import (
    OPERATIONS,
    SAYS,
    Phase,
    Rules,
    Ruling,
    Says,
    Window,
    greater,
    judged,
    phase_at,
    probed,
    reset,
    tripped,
)
from calls.providers.errors import VendorError
from calls.vendorwaits import Fared, Lately

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

_log = structlog.get_logger(__name__)

#: A probe that has told nothing for this long is taken for lost.
PROBE_MS: Final = 60_000
#: Whoever was refused a moment ago comes first with the next probe.
WANTED_MS: Final = 15_000
#: Without news of the others for this long a process decides alone: nobody keeps its probes apart from theirs.
ALONE_MS: Final = 2_000


class Clock:
    """Milliseconds since the epoch, by this machine's clock until ``set``; it does not jump when that one is set."""

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000

    def __call__(self) -> int:
        return int(time.monotonic() * 1000 + self._offset_ms)

    def set(self, now_ms: int) -> None:
        """It is ``now_ms`` on the clock that the processes share."""
        self._offset_ms += now_ms - self()


@dataclass(frozen=True, slots=True)
class Env:
    """What breakers take from outside: the shared clock, a number from 0 to 1, and the name of the process."""

    now_ms: Callable[[], int]
    draw: Callable[[], float] = random.random
    process: str = ""


class Permit:
    """Leave for one attempt. The first of ``ok``, ``failed`` and ``dropped`` settles it; later ones do nothing.

    As a context manager it settles itself: by the ``VendorError`` that leaves the block, well without an exception, and
    saying nothing for any other, a cancellation among them.
    """

    __slots__ = ("_answers", "_begun_ms", "_breaker", "_settled", "probe", "rank", "wait_ms")

    def __init__(
        self, breaker: Breaker, rank: tuple[int, int, int, str], *, probe: bool, begun_ms: int | None = None
    ) -> None:
        self._breaker = breaker
        self._answers = self._settled = False
        self._begun_ms = begun_ms
        self.rank = rank
        self.probe = probe
        self.wait_ms: int | None = None

    def ok(self) -> None:
        """The vendor did what was asked."""
        self._settle("ok")

    def failed(self, kind: str) -> None:
        """The attempt failed. Raises ``ValueError`` on a kind that is not in ``calls.breakerrules.SAYS``."""
        if kind not in SAYS:
            raise ValueError(f"{kind!r} is not a kind of failure")
        self._settle(kind)

    def answering(self) -> None:
        """A stream has begun. That is enough of a probe, which keeps everybody else out while it lasts; of any other attempt
        the end still counts, though a cancellation from now on means that the vendor answered."""
        self._answers = True
        self._answered()
        if self.probe:
            self.ok()

    def dropped(self) -> None:
        """Cancelled, or not tried at all: nothing is known, unless it was ``answering``."""
        self._settle("ok" if self._answers else None)

    def _answered(self) -> None:
        if self.wait_ms is None and self._begun_ms is not None:
            self.wait_ms = self._breaker._env.now_ms() - self._begun_ms

    def _settle(self, kind: str | None) -> None:
        if not self._settled:
            self._settled = True
            if kind == "ok":
                self._answered()
            self._breaker._settle(self, kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, cls: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, VendorError):
            self.failed(error.kind)
        elif error is not None:
            self.dropped()
        else:
            self.ok()


@dataclass(frozen=True, slots=True)
class View:
    """A breaker as people see it. ``failures`` by kind: those in the window of a closed one, those that opened an open
    one. ``attempts``: how many there were with them."""

    name: str
    phase: Phase
    ruling: Ruling
    attempts: int
    failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """What a process tells the others. ``wants`` of the next probe: 0 nothing, 1 it would do it, 2 it has somebody
    waiting, 3 it is doing it."""

    ruling: Ruling
    window: Mapping[str, Mapping[str, int]]
    wants: int


class Breaker:
    """The breaker of one operation in this process. ``name`` is ``vendor.operation``; ``stir`` is called when the others
    should hear of something soon."""

    def __init__(self, name: str, rules: Rules, env: Env, stir: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.vendor = name.split(".", 1)[0]
        self.rules = rules
        self._env = env
        self._stir = stir
        self._lock = threading.Lock()
        self._ruling = Ruling()
        self._mine = Window(rules.window_ms)
        self._others = Window(rules.window_ms)
        self._probe: Permit | None = None
        self._probe_until_ms = 0
        self._lease_until_ms = 0
        self._wanted_until_ms = 0
        self._heard_ms: int | None = None
        self._lately = Lately()

    # --- for those who call a vendor ------------------------------------------------------------------------------

    def admit(self, *, timed: bool = True) -> Permit:
        """Leave for one attempt, to be settled when it ends. Raises ``VendorError`` (``open``) at once while there is none;
        ``retry_after_s`` says when there may be. ``timed``: its first answer is what its callers wait for."""
        now_ms = self._env.now_ms()
        begun_ms = now_ms if timed else None
        with self._lock:
            ruling = self._ruling
            phase = phase_at(ruling, self.rules, now_ms)
            if phase is Phase.CLOSED:
                return Permit(self, ruling.rank, probe=False, begun_ms=begun_ms)
            if phase is Phase.HALF_OPEN and self._may_probe(now_ms):
                self._probe = Permit(self, ruling.rank, probe=True, begun_ms=begun_ms)
                self._probe_until_ms = now_ms + PROBE_MS
                return self._probe
            first = now_ms >= self._wanted_until_ms
            self._wanted_until_ms = now_ms + WANTED_MS
        metrics.BREAKER_REFUSED.labels(self.name).inc()
        if first and phase is Phase.HALF_OPEN:
            self._stir()
        wait_s = max(0, ruling.until_ms - now_ms) / 1000 if phase is not Phase.FORCED else None
        raise VendorError("open", self.vendor, detail=f"the breaker {self.name} is {phase}", retry_after_s=wait_s)

    def saw(self, kind: str, wait_ms: int | None = None) -> None:
        """How something fares that was admitted long ago, such as a socket that has stood for minutes: counts while the
        breaker is closed. What was begun before it opened says nothing about a fresh attempt, so it is no probe.

        ``kind`` is ``ok`` or a kind of failure; raises ``ValueError`` on others. ``wait_ms``: how long somebody waited for it.
        """
        if self._ruling.phase is Phase.CLOSED:
            permit = Permit(self, self._ruling.rank, probe=False)
            permit.wait_ms = wait_ms
            permit.failed(kind)

    def _may_probe(self, now_ms: int) -> bool:
        if self._probe is not None and now_ms < self._probe_until_ms:
            return False
        return now_ms < self._lease_until_ms or self._is_alone(now_ms)

    def _is_alone(self, now_ms: int) -> bool:
        return self._heard_ms is None or now_ms - self._heard_ms > ALONE_MS

    def _settle(self, permit: Permit, kind: str | None) -> None:
        now_ms = self._env.now_ms()
        with self._lock:
            old = self._ruling
            if permit is self._probe:
                self._probe = None
            if kind is not None:
                self._lately.add(now_ms, well=SAYS[kind] is Says.WELL, wait_ms=permit.wait_ms)
            if kind is None or permit.rank != old.rank:
                return  # of an attempt from before the last ruling, which knew better or forgave it
            if permit.probe:
                new = probed(old, self.rules, kind, now_ms, self._env.draw(), self._env.process)
            else:
                self._mine.add(kind, now_ms)
                new = self._judged(now_ms)
            self._take(new)
        self._announce(old, new)

    # --- for operators ----------------------------------------------------------------------------------------------

    def trip(self, operator: str, reason: str) -> None:
        """Hold it open until it is reset."""
        self._act(tripped, operator, reason)

    def reset(self, operator: str, reason: str) -> None:
        """Close it and forget what opened it."""
        self._act(reset, operator, reason)

    def _act(self, act: Callable[[Ruling, str, str, int, str], Ruling], operator: str, reason: str) -> None:
        with self._lock:
            old = self._ruling
            new = act(old, operator, reason, self._env.now_ms(), self._env.process)
            self._take(new)
        self._announce(old, new)

    @property
    def phase(self) -> Phase:
        """Its phase now."""
        return phase_at(self._ruling, self.rules, self._env.now_ms())

    @property
    def is_alone(self) -> bool:
        """Whether this process has no news of the others."""
        return self._is_alone(self._env.now_ms())

    def view(self) -> View:
        """How it stands."""
        now_ms = self._env.now_ms()
        with self._lock:
            ruling = self._ruling
            counts: Mapping[str, int] = dict(ruling.seen) if ruling.phase is Phase.OPEN else self._counts(now_ms)
        failures = {kind: number for kind, number in counts.items() if SAYS.get(kind) is not Says.WELL}
        return View(self.name, phase_at(ruling, self.rules, now_ms), ruling, sum(counts.values()), failures)

    def fared(self) -> Fared:
        """How attempts in this process ended in the last minutes, whatever was ruled meanwhile."""
        now_ms = self._env.now_ms()
        with self._lock:
            return self._lately.fared(now_ms)

    # --- for sharing ------------------------------------------------------------------------------------------------

    def report(self, ahead_ms: int) -> Report:
        """What the others should know. ``ahead_ms``: how long until they are told the next time."""
        now_ms = self._env.now_ms()
        with self._lock:
            window = self._mine.record(now_ms) if self._ruling.phase is Phase.CLOSED else {}
            return Report(self._ruling, window, self._wants(now_ms, ahead_ms))

    def _wants(self, now_ms: int, ahead_ms: int) -> int:
        if phase_at(self._ruling, self.rules, now_ms + ahead_ms) is not Phase.HALF_OPEN:
            return 0
        if self._probe is not None and now_ms < self._probe_until_ms:
            return 3
        return 2 if now_ms < self._wanted_until_ms else 1

    def learn(self, ruling: Ruling, windows: Iterable[tuple[Any, Any]], lease_until_ms: int, sent_ms: int) -> None:
        """What the others told at ``sent_ms``: the greatest ruling, each one's rank and window, and until when the next
        probe is this process's. A window that was counted under another ruling is left out."""
        now_ms = self._env.now_ms()
        with self._lock:
            old = self._ruling
            self._heard_ms = sent_ms
            new = greater(old, ruling) if self.rules.opens or ruling.phase is not Phase.OPEN else old
            self._take(new)
            self._lease_until_ms = lease_until_ms
            before = _not_well(self._others.counts(now_ms))
            self._others.clear()
            for rank, window in windows:
                if rank == list(new.rank):
                    with suppress(ValueError):  # another version's, perhaps: what it saw is not known here
                        self._others.add_record(window)
            if _not_well(self._others.counts(now_ms)) > before:  # what only grows old opens nothing
                new = self._judged(now_ms)
                self._take(new)
        self._announce(old, new)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _counts(self, now_ms: int) -> Mapping[str, int]:
        return self._mine.counts(now_ms) + self._others.counts(now_ms)

    def _judged(self, now_ms: int) -> Ruling:
        return judged(self._ruling, self.rules, self._counts(now_ms), now_ms, self._env.draw(), self._env.process)

    def _take(self, new: Ruling) -> None:
        if new.rank != self._ruling.rank:
            self._ruling = new
            self._mine.clear()
            self._others.clear()
            self._probe = None
            self._lease_until_ms = 0

    def _announce(self, old: Ruling, new: Ruling) -> None:
        if new.rank == old.rank:
            return
        made_here = new.made_by == self._env.process
        if made_here:
            metrics.BREAKER_TRANSITIONS.labels(self.name, new.phase.value).inc()
            self._stir()
        tell = _log.info if new.phase is Phase.CLOSED or not made_here else _log.warning
        tell(
            f"breaker.{new.phase.value}",
            breaker=self.name,
            cause=new.cause,
            by=new.by,
            seen=dict(new.seen),
            pause_ms=max(0, new.until_ms - new.since_ms),
            made_here=made_here,
        )


def _not_well(counts: Mapping[str, int]) -> int:
    return sum(number for kind, number in counts.items() if SAYS[kind] in (Says.ILL, Says.LOST))


class Breakers:
    """All breakers of a process, one for each of ``operations``."""

    def __init__(self, operations: Mapping[str, Rules] = OPERATIONS, env: Env | None = None) -> None:
        self.stirred = threading.Event()
        self.clock = Clock()
        self.env = env or Env(self.clock, process=secrets.token_hex(8))
        self._breakers = {name: Breaker(name, rules, self.env, self.stirred.set) for name, rules in operations.items()}

    def of(self, name: str) -> Breaker:
        """The breaker of ``vendor.operation``. Raises ``LookupError`` on one that has no figures."""
        try:
            return self._breakers[name]
        except KeyError:
            raise LookupError(f"no figures for a breaker of {name}: calls.breakerrules.OPERATIONS has them") from None

    def __iter__(self) -> Iterator[Breaker]:
        return iter(self._breakers.values())

    @property
    def phases(self) -> dict[str, str]:
        """The phase of each, by name."""
        return {name: breaker.phase.value for name, breaker in self._breakers.items()}

    @property
    def fared(self) -> dict[str, dict[str, Any]]:
        """How each fared lately in this process, for others to read; those that nobody asked are left out."""
        found = {name: breaker.fared() for name, breaker in self._breakers.items()}
        return {name: fared.told() for name, fared in found.items() if fared.asked}

    def expose(self) -> None:
        """Be the ones of this process: those that its metrics show and that ``current`` gives."""
        _current[:] = [self]
        for breaker in self:
            for phase in Phase:
                state = metrics.BREAKER_STATE.labels(breaker.name, phase.value)
                state.set_function(partial(_is_in, breaker, phase))
        metrics.BREAKERS_ALONE.set_function(lambda: any(breaker.is_alone for breaker in self))


def _is_in(breaker: Breaker, phase: Phase) -> bool:
    return breaker.phase is phase


#: Where nothing is shared and nothing may be cut off: it always admits.
UNGUARDED: Final = Breaker("none.any", Rules(opens=False), Env(Clock()))


_current: list[Breakers] = []


def current() -> Breakers | None:
    """The breakers that this process exposed last; ``None`` where it has none."""
    return _current[0] if _current else None

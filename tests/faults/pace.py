"""How many calls at once a machine bears on which other things run too: as many as leave the loop on time. And what of their
time was the machine's, not theirs."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

_BEAT_S = 0.02
_LOOK_S = 1.0
_FEW = 3
#: One more at a time while the loop is never later than this; half as many when it is later than that.
_CALM_MS, _LATE_MS = 30.0, 120.0
#: A stretch in which the loop stood still once for so long, or lost such a share of the time: what took too long there, or
#: came in another order, says nothing of the product. A machine that is not busy takes a twentieth to a tenth of it.
_VOID_MS, _VOID_SHARE = 150.0, 0.15


@dataclass(eq=False)
class Spell:
    """A stretch of time, and what the machine took of it.

    A call's answer is a chain of some dozens of turns of the loop. Where others have the processor each of them is a little
    late, none by much, and the sum of it is heard as silence. So what is measured in real time is judged less ``lost_ms``. Lost
    is time in which the loop was due and had not got the processor: what the product itself takes there is no excuse.
    """

    worst_late_ms: float = 0.0
    #: When, by the monotonic clock in ms, and how much.
    _lost: list[tuple[float, float]] = field(default_factory=list)

    def note(self, at_ms: float, late_ms: float, lost_ms: float) -> None:
        """The loop was late, and so much of that was not its own doing."""
        self.worst_late_ms = max(self.worst_late_ms, late_ms)
        self._lost.append((at_ms, lost_ms))

    def lost_ms(self, from_ms: float = 0.0, until_ms: float = float("inf")) -> float:
        """What was lost from then until then, by the monotonic clock. Noted when it is over: the last of it may be noted later."""
        return sum(lost for at, lost in self._lost if from_ms <= at <= until_ms + lost)

    @property
    def is_void(self) -> bool:
        """Whether what failed in it has to be tried again."""
        return self.worst_late_ms > _VOID_MS or self.lost_ms() > _VOID_SHARE * self._length_ms

    @property
    def _length_ms(self) -> float:
        return self._lost[-1][0] - self._lost[0][0] if self._lost else 0.0

    def __str__(self) -> str:
        lost = f"lost {self.lost_ms():.0f} of {self._length_ms:.0f} ms"
        return f"the loop was late by {self.worst_late_ms:.0f} ms at the worst and {lost}"


class Pace:
    """Lets work begin while the loop keeps up. An async context manager."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = min(_FEW, most)
        self._running = 0
        self._spells: list[Spell] = []
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Spell]:
        """Wait for a place, and be told what the machine took while it was held."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < self._allowed)
            self._running += 1
        spell = Spell()
        self._spells.append(spell)
        try:
            yield spell
        finally:
            self._spells.remove(spell)
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def _watch(self) -> None:
        look_at, worst_ms = time.monotonic() + _LOOK_S, 0.0
        while True:
            slept, ran = time.monotonic(), time.thread_time()
            await asyncio.sleep(_BEAT_S)
            now = time.monotonic()
            late_ms = max(0.0, now - slept - _BEAT_S) * 1000
            lost_ms = min(late_ms, max(0.0, now - slept - (time.thread_time() - ran)) * 1000)
            worst_ms = max(worst_ms, late_ms)
            for spell in self._spells:
                spell.note(now * 1000, late_ms, lost_ms)
            if now < look_at:
                continue
            if worst_ms > _LATE_MS:
                self._allowed = max(1, self._allowed // 2)
            elif worst_ms < _CALM_MS:
                self._allowed = min(self._most, self._allowed + 1)
            look_at, worst_ms = now + _LOOK_S, 0.0
            async with self._changed:
                self._changed.notify_all()

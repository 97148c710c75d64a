"""How many calls at once a machine bears on which other things run too: as many as leave the loop on time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

_BEAT_S = 0.02
_LOOK_S = 1.0
_FEW = 3
#: One more at a time while the loop is never later than this; half as many when it is later than that.
_CALM_MS, _LATE_MS = 30.0, 120.0


@dataclass(eq=False)
class Spell:
    """A stretch of time, and how late the loop was in it at the worst."""

    worst_late_ms: float = 0.0


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
        """Wait for a place, and be told how late the loop was while it was held."""
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
        loop = asyncio.get_running_loop()
        look_at, worst_ms = loop.time() + _LOOK_S, 0.0
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            late_ms = (loop.time() - due) * 1000
            worst_ms = max(worst_ms, late_ms)
            for spell in self._spells:
                spell.worst_late_ms = max(spell.worst_late_ms, late_ms)
            if loop.time() < look_at:
                continue
            if worst_ms > _LATE_MS:
                self._allowed = max(1, self._allowed // 2)
            elif worst_ms < _CALM_MS:
                self._allowed = min(self._most, self._allowed + 1)
            look_at, worst_ms = loop.time() + _LOOK_S, 0.0
            async with self._changed:
                self._changed.notify_all()

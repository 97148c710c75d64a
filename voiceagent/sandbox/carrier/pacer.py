"""One loop that gives every call its frame each 20 ms, without drift."""

from __future__ import annotations

import asyncio
import heapq
from typing import Protocol

from voiceagent.sandbox.sound import FRAME_MS

_FRAME_S = FRAME_MS / 1000


class Ticking(Protocol):
    """What the pacer drives."""

    async def tick(self) -> bool:
        """Do the work of one frame; false to be left out from now on. Must not wait for the network."""


class Pacer:
    """Calls are spread over the frame's 20 ms as they come, as real calls are. Late ticks are made up for."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Ticking]] = []
        self._count = 0
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.worst_late_ms = 0.0

    def add(self, ticking: Ticking) -> None:
        """Tick from now on."""
        self._count += 1
        heapq.heappush(self._due, (asyncio.get_running_loop().time() + _FRAME_S, self._count, ticking))
        self._some.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._due:
                self._some.clear()
                await self._some.wait()
            due, number, ticking = self._due[0]
            wait_s = due - loop.time()
            if wait_s > 0:
                # No longer than a frame: a call added meanwhile may be due earlier.
                await asyncio.sleep(min(wait_s, _FRAME_S))
                continue
            self.worst_late_ms = max(self.worst_late_ms, -wait_s * 1000)
            heapq.heappop(self._due)
            if await ticking.tick():
                heapq.heappush(self._due, (due + _FRAME_S, number, ticking))

"""The event loop's watch sees a stall, and where it was."""

from __future__ import annotations

import asyncio
import threading
import time

from calls import metrics
from calls.loopwatch import LoopWatch, Stall


def hold_the_loop(ms: int) -> None:
    """Blocks the thread: this is the fault to be found, not a wait for something."""
    time.sleep(ms / 1000)


async def watched(held_ms: int) -> list[Stall]:
    """Run a watch over a loop that is held for so long, until it has beaten after that."""
    stalls: list[Stall] = []
    task = asyncio.create_task(LoopWatch(stalls.append).run())
    await asyncio.sleep(0.05)
    hold_the_loop(held_ms)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    return stalls


def test_a_stall_is_reported_with_the_code_that_held_the_loop() -> None:
    stalls = asyncio.run(watched(250))
    longest = max(stalls, key=lambda stall: stall.lag_ms)
    assert longest.lag_ms >= 200
    assert longest.stack[-1].endswith("hold_the_loop")
    assert any("test_loopwatch.py" in at and at.endswith("watched") for at in longest.stack)
    assert metrics.LOOP_LAG._value.get() >= 200


def test_the_watching_thread_ends_with_the_watch() -> None:
    asyncio.run(watched(0))
    thread = next((thread for thread in threading.enumerate() if thread.name == "loop-watch"), None)
    if thread is not None:
        thread.join(timeout=1)
        assert not thread.is_alive()

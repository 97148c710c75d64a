"""What a stretch of time tells of the machine: the product's own doing is no excuse for it."""

from __future__ import annotations

import asyncio
import time

from tests.faults.pace import Pace, Spell

STILL_S = 0.3


async def test_a_loop_that_does_not_get_the_processor_has_lost_the_time() -> None:
    async with Pace(1) as pace, pace.turn() as spell:
        await asyncio.sleep(0.05)
        since_ms = time.monotonic() * 1000
        time.sleep(STILL_S)  # noqa: ASYNC251 - as when others have it
        until_ms = time.monotonic() * 1000
        await asyncio.sleep(0.05)
    assert spell.lost_ms(since_ms, until_ms) > 800 * STILL_S
    assert spell.is_void


async def test_a_loop_that_is_busy_has_not() -> None:
    begun = time.monotonic()
    async with Pace(1) as pace, pace.turn() as spell:
        await asyncio.sleep(0.05)
        until = time.thread_time() + STILL_S
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.05)
        whole_ms = (time.monotonic() - begun) * 1000
    assert spell.worst_late_ms > 800 * STILL_S
    assert spell.lost_ms() <= whole_ms - 1000 * STILL_S


def test_many_small_delays_make_a_stretch_void_as_one_great_one_does() -> None:
    calm, busy, stood_still = Spell(), Spell(), Spell()
    for beat in range(100):
        calm.note(20.0 * beat, 1.0, 1.0)
        busy.note(20.0 * beat, 5.0, 5.0)
        stood_still.note(20.0 * beat, 200.0 * (beat == 50), 0.0)
    assert (calm.is_void, busy.is_void, stood_still.is_void) == (False, True, True)
    assert busy.lost_ms(0, 200) == 55

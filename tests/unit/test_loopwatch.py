"""The event loop's watch sees a stall, and where it was."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from calls import loopwatch, metrics
from calls.loopwatch import LoopWatch, Stall, _place
from voiceagent.bootstrap import BASE_DIR as ROOT
from voiceagent.logs import formatter


def hold_the_loop(ms: int) -> None:
    """Blocks the thread: this is the fault to be found, not a wait for something."""
    said = "my card is four two four two"
    time.sleep(ms / 1000)
    assert said


async def watched(*held_ms: int, watch: LoopWatch | None = None, told_every_s: float = 0.0) -> list[Stall]:
    """Run a watch over a loop that is held for so long, once for each, until it has beaten after that."""
    stalls: list[Stall] = []
    task = asyncio.create_task((watch or LoopWatch(stalls.append, told_every_s=told_every_s)).run())
    await asyncio.sleep(0.05)
    for ms in held_ms:
        hold_the_loop(ms)
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


def test_the_time_is_counted_by_the_function_that_took_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopwatch, "_stalled_ms", Counter())

    def stalled_ms() -> float:
        return sum(
            sample.value
            for sample in metrics.LOOP_STALLED_MS.collect()[0].samples
            if sample.name.endswith("_total") and sample.labels["place"].endswith("test_loopwatch.py hold_the_loop")
        )

    before = stalled_ms()
    asyncio.run(watched(150))
    assert stalled_ms() == before, "a short one has no label of its own"
    asyncio.run(watched(900, 200))
    assert stalled_ms() - before >= 1000


def test_places_are_our_functions_without_lines() -> None:
    serve = "metrics/voiceagent/web.py:104 serve"
    assert _place((serve, "calls/media/vad.py:152 _judge")) == "calls/media/vad.py _judge"
    assert (
        _place((serve, "calls/media/vad.py:9 _judge", "a/b/c.py:4 run")) == "calls/media/vad.py _judge > a/b/c.py run"
    )
    assert _place((serve, "site-packages/x/y.py:4 run")) == "site-packages/x/y.py run"
    assert _place(()) == "not in our code"


@pytest.mark.parametrize(
    "inmost",
    ["asyncio/runners.py:118 run", "asyncio/base_events.py:9 _run_once", "lib/python3.13/selectors.py:452 select"],
)
def test_a_loop_that_waits_holds_nothing_up(inmost: str) -> None:
    assert _place(("metrics/voiceagent/web.py:104 serve", inmost)) == "not in our code"


#: Our code is all that ever runs in this loop: what a stop is blamed on is seen by the watch alone.
_BUSY = """
import asyncio, time
from calls.loopwatch import LoopWatch, _place

def _busy():
    end = time.monotonic() + 0.005
    while time.monotonic() < end:
        pass

async def main():
    watch = LoopWatch(lambda stall: print(stall.lag_ms, _place(stall.stack), flush=True), blocked_ms=400, told_every_s=0)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.1)
    print("ready", flush=True)
    while not task.done():
        _busy()
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_process_that_did_not_get_the_cpu_is_not_blamed_on_our_code() -> None:
    with subprocess.Popen([sys.executable, "-c", _BUSY], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(3):
                child.send_signal(signal.SIGSTOP)
                time.sleep(0.8)
                child.send_signal(signal.SIGCONT)
                lag_ms, place = child.stdout.readline().strip().split(" ", 1)
                assert int(lag_ms) >= 400
                assert place == "not in our code"
        finally:
            child.kill()


def test_a_stall_of_80_ms_is_a_line_with_the_function_and_none_of_its_values() -> None:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter("json", with_pii=False))
    logger = logging.getLogger("calls.loopwatch")
    logger.addHandler(handler)
    try:
        asyncio.run(watched(80, watch=LoopWatch(told_every_s=0.0)))
    finally:
        logger.removeHandler(handler)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    held = [line for line in lines if line["stack"] and line["stack"][-1].endswith("hold_the_loop")]
    assert [line["event"] for line in held] == ["loop.blocked"]
    assert held[0]["lag_ms"] >= 55  # what was held, without the beat that it began in
    assert "four two" not in output.getvalue()


def test_many_stalls_are_few_lines_of_which_the_longest_tells_where() -> None:
    stalls = asyncio.run(watched(90, 90, 200, 90, told_every_s=3600))
    assert len(stalls) == 1, "the first at once, the others when their time has come"
    stalls = asyncio.run(watched(90, 90, 300, 90, 0, told_every_s=0.6))
    assert len(stalls) <= 3
    assert sum(1 + stall.untold for stall in stalls) > len(stalls)
    assert max(stall.lag_ms for stall in stalls) >= 250


def test_what_the_watch_costs_is_next_to_nothing() -> None:
    """Its thread and its beat, in CPU time of the process, against a second of the clock."""

    async def quiet() -> float:
        task = asyncio.create_task(LoopWatch(lambda _: None).run())
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(1.0)
        spent = time.process_time() - began
        task.cancel()
        await asyncio.wait([task])
        return spent

    assert asyncio.run(quiet()) < 0.05


def test_the_watching_thread_ends_with_the_watch() -> None:
    asyncio.run(watched(0))
    thread = next((thread for thread in threading.enumerate() if thread.name == "loop-watch"), None)
    if thread is not None:
        thread.join(timeout=1)
        assert not thread.is_alive()

"""Many calls at once on one core: how late frames are, what a call-second costs, what a call weighs.

Each call talks, listens to a long reply, interrupts it and goes on, with detector, recording and event log on. Lateness is
what the server saw by the carrier's timestamps, so the load's own lateness is in it; that is printed beside it.
The reference is JSON decoding of the same frames on the same core, measured in the same run.
"""

from __future__ import annotations

import asyncio
import os
import time

import orjson

from bench.latency import LONG, configure, fluent, messages
from bench.parts import cpu_us
from bench.parts import messages as media_messages
from bench.rig import Rig, rig
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, CallFailedError, Carrier, PhoneCall

CALLS = int(os.environ.get("BENCH_CALLS", "40"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))
RAMP_S = 5.0
#: ``new`` callers have no memory yet; ``known`` ones have called before, and ``recall`` gives some of these memories.
FIRST_CALLER = 500 if os.environ.get("BENCH_CALLERS", "new") == "known" else int(time.time()) % 90_000 * 100 + 1000
LATE_MS = 60


async def talk(carrier: Carrier, number: int, until: float) -> PhoneCall | None:
    """One caller, until the time is up. ``None`` where the call did not come about."""
    await asyncio.sleep(number * RAMP_S / CALLS)
    phone = carrier.call(caller=f"+1555{FIRST_CALLER + number:07d}", called="+15005550006", keep_audio=False)
    try:
        await phone.start()
        await phone.wait_for(AgentStarted)
        while time.monotonic() < until:
            seen = len(phone.timeline.events)
            await phone.speak(fluent(900))
            await phone.wait_for(AgentStarted, after=seen, timeout_s=20)
            await asyncio.sleep(2.5 + number % 5)
        await phone.hang_up()
    except (TimeoutError, CallFailedError) as error:
        print(f"call {number}: {type(error).__name__} {error}")
        return None
    return phone


def underruns(phone: PhoneCall) -> int:
    """How often the agent fell silent and began again while the caller had said nothing."""
    count, speaking = 0, False
    for event in phone.timeline.events:
        if isinstance(event, AgentStarted):
            count += speaking
            speaking = True
        elif isinstance(event, CallerStarted):
            speaking = False
    return count


def late_frames(before: dict[str, float], after: dict[str, float]) -> tuple[int, int]:
    """Frames later than the bound, and all frames."""

    def grown(name: str) -> int:
        return int(after.get(name, 0) - before.get(name, 0))

    total = grown("frame_lateness_ms_count")
    return total - grown(f'frame_lateness_ms_bucket{{le="{LATE_MS}.0"}}'), total


async def measure(target: Rig) -> None:
    """Run and print."""
    await configure(target, [{"contains": "", "reply": {"text": LONG}}])
    before, memory_before = target.metrics(), target.memory_mb()
    async with target.carrier() as carrier:
        cpu, begun = target.cpu_s(), time.monotonic()
        calls = [asyncio.create_task(talk(carrier, number, begun + SECONDS)) for number in range(CALLS)]
        await asyncio.sleep(SECONDS * 0.8)
        memory = target.memory_mb()
        phones = [phone for phone in await asyncio.gather(*calls) if phone is not None]
        took_s, cpu = time.monotonic() - begun, target.cpu_s() - cpu
        own_late_ms = carrier.pacer.worst_late_ms
    late, frames = late_frames(before, target.metrics())
    call_seconds = frames / 50
    texts = media_messages()
    reference = cpu_us(lambda: [orjson.loads(text) for text in texts]) / 1e6
    each = cpu / call_seconds if call_seconds else float("nan")
    print(f"calls {len(phones)} of {CALLS}, {took_s:.0f} s, {frames} frames in, core busy {cpu / took_s:.0%}")
    print(
        f"CPU {each:.4f} s per call-second, {each / reference:.0f} x decoding its JSON; {1 / each:.0f} calls would fill the core"
    )
    print(f"memory {(memory - memory_before) / max(1, len(phones)):.1f} MB per call")
    print(f"frames late by more than {LATE_MS} ms: {late}; the load itself was late by up to {own_late_ms:.0f} ms")
    print(f"underruns (silence within a reply): {sum(map(underruns, phones))}")
    print(f"messages of the server: {sum(len(messages(phone)) for phone in phones)}")


def main() -> None:
    """Start the rig and measure."""
    with rig(max_calls=CALLS + 10) as target:
        asyncio.run(measure(target))

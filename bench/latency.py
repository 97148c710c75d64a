"""What we add to a turn and to a barge-in, with the vendors' delays fixed and known.

A turn: from the last voiced frame to the first agent audio on the carrier's socket, less the end-of-turn wait, the
model's first token and the voice's first byte. A barge-in: from the first voiced frame to ``clear`` on the socket. The
reference, measured in the same run, is a webhook's round trip to the same process.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import aiohttp

from bench.rig import DATA_DIR, Rig, rig
from calls.phrasebook import phrase_audio
from voiceagent.embedded import state
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, CallerStopped, Carrier, PhoneCall, ServerMessage
from voiceagent.sandbox.control import SandboxClient

CALLS = 5
TURNS = 6
#: The recogniser's own delay is such that the local detector always hears an interruption first.
HEARING_MS, END_MS, FIRST_TOKEN_MS, FIRST_BYTE_MS = 350, 500, 150, 100
LONG = "And then there is one more thing, and another one after that, and so it goes on for quite a while longer, as such things do. "


def fluent(ms: int) -> bytes:
    """Speech without a pause."""
    return phrase_audio("en", "trouble")[47 * 160 : 47 * 160 + ms * 8]


async def configure(target: Rig, rules: list[dict[str, object]]) -> None:
    """Fixed vendor delays for the rig's own credentials."""
    secrets = state.secrets(DATA_DIR)
    async with aiohttp.ClientSession() as session:
        ears = SandboxClient(target.sandbox_url, secrets["CARTESIA_API_KEY"], session)
        await ears.configure(
            stt={"utterances": ["Go on."], "end_ms": END_MS, "eager_end_ms": END_MS, "latency_ms": HEARING_MS},
            tts={"first_byte_ms": FIRST_BYTE_MS, "speed": 10, "max_contexts": 1000},
        )
        model = SandboxClient(target.sandbox_url, secrets["OPENAI_API_KEY"], session)
        await model.configure(llm={"first_token_ms": FIRST_TOKEN_MS, "inter_token_ms": 0, "rules": rules})


async def one_call(carrier: Carrier, turns: list[float], reactions: list[float], leaks: list[int]) -> None:
    """Turns alternate with barge-ins."""
    phone = carrier.call(caller="+15550001111", called="+15005550006")
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    for _ in range(TURNS):
        seen, sent = len(phone.timeline.events), len(messages(phone))
        await phone.speak(fluent(800))
        await phone.wait_for(AgentStarted, after=seen)
        stopped = next(e for e in phone.timeline.events[seen:] if isinstance(e, CallerStopped))
        first = next(m for m in messages(phone)[sent:] if m.event == "media")
        turns.append(first.at_ms - stopped.at_ms)
        await asyncio.sleep(0.6)
        seen, sent = len(phone.timeline.events), len(messages(phone))
        await phone.speak(fluent(300))
        began = next(e for e in phone.timeline.events[seen:] if isinstance(e, CallerStarted))
        await asyncio.sleep(0.2)
        clears = [i for i, m in enumerate(messages(phone)[sent:]) if m.event == "clear"]
        if clears:
            reactions.append(messages(phone)[sent:][clears[0]].at_ms - began.at_ms)
            leaks.append(sum(m.size for m in messages(phone)[sent + clears[0] + 1 : sent + clears[0] + 10]))
        await phone.wait_for_quiet()
        await asyncio.sleep(3)
        await phone.wait_for_quiet()
    await phone.hang_up()


def messages(phone: PhoneCall) -> list[ServerMessage]:
    """What the server has sent on the call's stream."""
    assert phone.stream is not None
    return phone.stream.messages


async def webhook_ms(target: Rig) -> float:
    """The reference: the median round trip of a request to the same process."""
    times = []
    async with aiohttp.ClientSession() as session:
        for _ in range(50):
            begun = time.perf_counter()
            async with session.get(f"{target.url}/healthz") as answer:
                await answer.read()
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


async def measure(target: Rig) -> None:
    """Run and print."""
    await configure(target, [{"contains": "", "reply": {"text": LONG}}])
    turns: list[float] = []
    reactions: list[float] = []
    leaks: list[int] = []
    async with target.carrier() as carrier:
        for _ in range(CALLS):
            await one_call(carrier, turns, reactions, leaks)
    vendors = HEARING_MS + END_MS + FIRST_TOKEN_MS + FIRST_BYTE_MS
    ours = [turn - vendors for turn in turns]
    reference = await webhook_ms(target)
    print(f"reference: a request to the same process takes {reference:.1f} ms (median of 50)")
    _row(f"added to a turn, less {vendors} ms of vendors and end-of-turn wait", ours, reference)
    _row("first voiced frame of an interruption to clear", reactions, reference)
    print(f"barge-ins {len(reactions)} of {CALLS * TURNS}, bytes of media right after a clear: {sum(leaks)}")


def _row(what: str, values: list[float], reference: float) -> None:
    ordered = sorted(values)
    p95 = ordered[int(len(ordered) * 0.95) - 1] if ordered else float("nan")
    median = statistics.median(ordered) if ordered else float("nan")
    print(f"{what}: median {median:.0f} ms, p95 {p95:.0f} ms, max {ordered[-1]:.0f} ms, {median / reference:.0f} x")


def main() -> None:
    """Start the rig and measure."""
    with rig() as target:
        asyncio.run(measure(target))

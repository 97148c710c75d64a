"""What we add to a turn and to a barge-in.

A turn: from the last voiced frame to the first agent audio on the carrier's socket, less what the vendors took. The
recogniser's share is what it was told to take; the model's and the voice's is what the stand-in's journal says it
took, from request to first token and from text to first audio. A barge-in: from the first voiced frame to ``clear`` on
the socket. The reference, measured in the same run, is a plain request's round trip to the same process. What the
server's own metrics say of the same turns and interruptions stands beside it: they must agree but for the wire.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.rig import DATA_DIR, Rig, p95, rig
from calls.phrasebook import shipped_audio
from voiceagent.embedded import state
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, CallerStopped, Carrier, PhoneCall, ServerMessage
from voiceagent.sandbox.control import SandboxClient

CALLS = 2
TURNS = 15
#: What may be added to a turn, and what an interruption may take.
ADDED_MOST_MS, REACTION_MOST_MS = 30, 130
#: The recogniser's own delay is such that the local detector always hears an interruption first.
HEARING_MS, END_MS, FIRST_TOKEN_MS, FIRST_BYTE_MS = 350, 500, 150, 100
Entry = dict[str, Any]
Spans = list[tuple[float, float]]
LONG = "And then there is one more thing, and another one after that, and so it goes on for quite a while longer, as such things do. "


def fluent(ms: int) -> bytes:
    """Speech without a pause; at 400 ms its first and last frame are loud, so that all agree on where it ends."""
    return shipped_audio("en", "trouble")[47 * 160 : 47 * 160 + ms * 8]


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


@dataclass
class Figures:
    """What was measured, in ms; ``turns`` as (last voiced frame, first audio) on the machine's clock."""

    turns: list[tuple[float, float]] = field(default_factory=list)
    reactions: list[float] = field(default_factory=list)
    leaked_bytes: int = 0


async def one_call(carrier: Carrier, figures: Figures) -> None:
    """The caller interrupts every answer: each round is a barge-in and a turn."""
    phone = carrier.call(caller="+15550001111", called="+15005550006")
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    from_ms = phone.timeline.begun_at_ms
    for number in range(TURNS + 1):
        seen, sent = len(phone.timeline.events), len(messages(phone))
        await phone.speak(fluent(400))
        await phone.wait_for(AgentStarted, after=seen)
        events, got = phone.timeline.events[seen:], messages(phone)[sent:]
        began = next(event for event in events if isinstance(event, CallerStarted))
        stopped = next(event for event in events if isinstance(event, CallerStopped))
        first = next(m.at_ms for m in got if m.event == "media" and m.at_ms > stopped.at_ms)
        if number:  # before the first there was nothing to interrupt, and the stand-in was cold
            figures.turns.append((from_ms + stopped.at_ms, from_ms + first))
            cleared = next(m.at_ms for m in got if m.event == "clear")
            figures.reactions.append(cleared - began.at_ms)
            figures.leaked_bytes += sum(m.size for m in got if cleared < m.at_ms <= stopped.at_ms)
        # The caller listens for 2 to 5 s in all: a detector may be slower after a long silence.
        # A frame more each time: what the detector takes depends on where a word begins within its window.
        await asyncio.sleep(0.7 + number % 4 + number * 0.02)
    await phone.hang_up()


async def vendor_times(target: Rig) -> tuple[Spans, Spans]:
    """When the model and the voice worked: (request, first token) and (first text, first audio), machine's clock."""
    secrets = state.secrets(DATA_DIR)
    async with aiohttp.ClientSession() as session:
        model = await SandboxClient(target.sandbox_url, secrets["OPENAI_API_KEY"], session).journal("openai.chat")
        voice = await SandboxClient(target.sandbox_url, secrets["CARTESIA_API_KEY"], session).journal("cartesia.tts")
    asked = [(e["at_ms"], e["first_token_ms"], e) for e in model if "first_token_ms" in e]
    spoken = [
        (e["texts"][0]["at_ms"], e["first_chunk_ms"], e) for e in voice if e.get("texts") and "first_chunk_ms" in e
    ]
    return _absolute(asked), _absolute(spoken)


def _absolute(spans: list[tuple[float, float, Entry]]) -> Spans:
    return sorted((begun + e["journal_from_ms"], done + e["journal_from_ms"]) for begun, done, e in spans)


def added_ms(turn: tuple[float, float], model: Spans, voice: Spans) -> float | None:
    """What a turn took beyond its vendors; ``None`` where the journal has not both."""
    inside = [
        next((done - begun for begun, done in spans if turn[0] < begun and done <= turn[1]), None)
        for spans in (model, voice)
    ]
    if inside[0] is None or inside[1] is None:
        return None
    return turn[1] - turn[0] - HEARING_MS - END_MS - inside[0] - inside[1]


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
    figures, before = Figures(), target.metrics()
    async with target.carrier() as carrier:
        for _ in range(CALLS):
            await one_call(carrier, figures)
    model, voice = await vendor_times(target)
    ours = [added for turn in figures.turns if (added := added_ms(turn, model, voice)) is not None]
    after = target.metrics()
    reference = await webhook_ms(target)
    print(f"reference: a request to the same process takes {reference:.1f} ms (median of 50)")
    _row(f"added to a turn ({len(ours)} of {len(figures.turns)} turns)", ours, ADDED_MOST_MS, reference)
    _row("first voiced frame of an interruption to clear", figures.reactions, REACTION_MOST_MS, reference)
    print(f"bytes of media between a clear and the end of the caller's words: {figures.leaked_bytes}")
    _beside("turn_latency_ms", [audio - voiced for voiced, audio in figures.turns], before, after)
    _beside("barge_in_reaction_ms", figures.reactions, before, after)


def _row(what: str, values: list[float], most_ms: int, reference: float) -> None:
    if not values:
        print(f"{what}: nothing measured")
        return
    median, within = statistics.median(values), sum(value <= most_ms for value in values)
    print(
        f"{what}: median {median:.0f} ms, p95 {p95(values):.0f} ms, max {max(values):.0f} ms, "
        f"{median / reference:.1f} x; within {most_ms} ms: {within} of {len(values)}"
    )


def _beside(metric: str, seen: list[float], before: dict[str, float], after: dict[str, float]) -> None:
    """The mean that the server observed of a histogram, beside the mean on the wire."""
    total, count = (after.get(metric + end, 0) - before.get(metric + end, 0) for end in ("_sum", "_count"))
    if seen and count:
        print(f"{metric}: mean {total / count:.0f} ms by the server, {statistics.mean(seen):.0f} ms on the wire")


def main() -> None:
    """Start the rig and measure."""
    with rig() as target:
        asyncio.run(measure(target))

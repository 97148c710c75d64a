"""What a reply prepared at the probable end of a turn saves: from the turn's confirmation to the first agent audio.

The stand-ins take Twilio's published target times (recognition 350 ms, model's first token 375, voice's first byte 100),
and the probable end comes 500 ms before the certain one. The reference, in the same run, is an agent that waits for
the confirmation. A confirmation counts from when the recogniser's message left the stand-in, by its journal.
"""

from __future__ import annotations

import asyncio
import statistics
from bisect import bisect_left
from typing import TYPE_CHECKING

import aiohttp

from bench.latency import fluent, messages
from bench.rig import DATA_DIR, PATIENT_NUMBER, SPECULATIVE_NUMBER, Rig, p95, rig
from voiceagent.embedded import state
from voiceagent.sandbox.carrier import AgentStarted, Carrier
from voiceagent.sandbox.control import SandboxClient

if TYPE_CHECKING:
    from collections.abc import Sequence

TURNS = 12
HEARING_MS, END_MS, EAGER_BEFORE_MS, FIRST_TOKEN_MS, FIRST_BYTE_MS = 350, 800, 500, 375, 100
REPLY = "Certainly, we have a table for you then."


async def configure(target: Rig) -> None:
    """The published target times, for the rig's own credentials."""
    secrets = state.secrets(DATA_DIR)
    async with aiohttp.ClientSession() as session:
        ears = SandboxClient(target.sandbox_url, secrets["CARTESIA_API_KEY"], session)
        await ears.configure(
            stt={
                "utterances": ["Is there a table for two?"],
                "end_ms": END_MS,
                "eager_end_ms": END_MS - EAGER_BEFORE_MS,
                "latency_ms": HEARING_MS,
            },
            tts={"first_byte_ms": FIRST_BYTE_MS, "speed": 10},
        )
        model = SandboxClient(target.sandbox_url, secrets["OPENAI_API_KEY"], session)
        rules: list[dict[str, object]] = [{"contains": "", "reply": {"text": REPLY}}]
        await model.configure(llm={"first_token_ms": FIRST_TOKEN_MS, "inter_token_ms": 0, "rules": rules})


async def first_audio(carrier: Carrier, number: str) -> list[float]:
    """One call of so many turns; when the first audio of each answer came, on the machine's clock in ms."""
    phone = carrier.call(caller="+15550001111", called=number)
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    times = []
    for _ in range(TURNS):
        seen, sent = len(phone.timeline.events), len(messages(phone))
        await phone.speak(fluent(600))
        await phone.wait_for(AgentStarted, after=seen)
        times.append(phone.timeline.begun_at_ms + next(m.at_ms for m in messages(phone)[sent:] if m.event == "media"))
        await phone.wait_for_quiet()
    await phone.hang_up()
    return times


async def confirmed(target: Rig) -> list[float]:
    """When the recogniser ended turns, on the machine's clock in ms, in order."""
    secrets = state.secrets(DATA_DIR)
    async with aiohttp.ClientSession() as session:
        entries = await SandboxClient(target.sandbox_url, secrets["CARTESIA_API_KEY"], session).journal("cartesia.stt")
    return sorted(
        entry["journal_from_ms"] + event["at_ms"]
        for entry in entries
        for event in entry.get("events", [])
        if event["type"] == "turn.end"
    )


def waits(audio: Sequence[float], ends: Sequence[float]) -> list[float]:
    """For each first audio the time since the confirmation before it; audio just before one belongs to that one."""
    found = []
    for at in audio:
        index = bisect_left(ends, at + 5)
        if index:
            found.append(at - ends[index - 1])
    return found


async def measure(target: Rig) -> None:
    """Run and print."""
    await configure(target)
    async with target.carrier() as carrier:
        early = await first_audio(carrier, SPECULATIVE_NUMBER)
        patient = await first_audio(carrier, PATIENT_NUMBER)
    ends = await confirmed(target)
    with_it, without = waits(early, ends), waits(patient, ends)
    for what, values in (("with a prepared reply", with_it), ("without", without)):
        ordered = sorted(values)
        print(
            f"{what}: median {statistics.median(ordered):.0f} ms, p95 {p95(ordered):.0f} ms ({len(ordered)} of {TURNS} turns)"
        )
    share = statistics.median(with_it) / statistics.median(without)
    print(f"the prepared reply takes {share:.2f} of the time after the confirmation")


def main() -> None:
    """Start the rig and measure."""
    with rig() as target:
        asyncio.run(measure(target))

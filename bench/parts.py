"""The parts of the hot path, one by one, on one core.

Each figure is CPU time for one call-second (fifty frames), and its ratio to decoding the same second's JSON alone.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from calls.codecs import mulaw
from calls.codecs.twilio import Outbound, decode
from calls.core import events as e
from calls.core.machine import step
from calls.core.policy import AgentProfile
from calls.core.state import State
from calls.media.vad import Batch, SpeechDetector
from calls.phrasebook import shipped_audio
from calls.replay.digest import StateDigest, layout_of
from calls.replay.invariants import Checker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from calls.core.commands import Command

FRAMES = 50
SECONDS = 60
TOGETHER = 8


def frames() -> list[bytes]:
    """A minute of speech in frames of 20 ms."""
    audio = (shipped_audio("en", "trouble") * 20)[: SECONDS * 8000]
    return [audio[at : at + 160] for at in range(0, len(audio), 160)]


def messages() -> list[str]:
    """The same as the carrier sends it."""
    return [
        orjson.dumps(
            {
                "event": "media",
                "sequenceNumber": str(number + 2),
                "streamSid": "MZ" + "0" * 32,
                "media": {
                    "track": "inbound",
                    "chunk": str(number + 1),
                    "timestamp": str(number * 20),
                    "payload": base64.b64encode(frame).decode(),
                },
            }
        ).decode()
        for number, frame in enumerate(frames())
    ]


def pieces_and_marks() -> Iterator[e.Event]:
    """A minute of the greeting: ten pieces of audio a second, and the marks of those before them."""
    for number in range(SECONDS * 10):
        yield e.AudioSent(at_ms=number * 100, turn=0, epoch=1, piece=number, size_bytes=800)
        yield e.MarkReturned(at_ms=number * 100 + 1, turn=0, epoch=1, piece=number - 1)


def cpu_us(work: Callable[[], Any]) -> float:
    """CPU time for one call-second in µs; the best of three, since only noise makes it longer."""
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best * 1e6 / SECONDS


async def _in_loop(work: Callable[[], Any]) -> None:
    work()


def main() -> None:
    """Print the table."""
    texts, raw = messages(), frames()
    wire = Outbound("MZ" + "0" * 32)

    hiss = np.random.default_rng(7).normal(0, 400, SECONDS * 8000)
    noise = [mulaw.from_samples(hiss[at : at + 160]) for at in range(0, len(hiss), 160)]

    def detect(heard: list[bytes]) -> None:
        detector = SpeechDetector(lambda _: None)
        for number, frame in enumerate(heard):
            detector.feed(frame, number * 20)

    def detect_together() -> None:
        batch = Batch(wait_ms=1000)  # flushed by hand
        detectors = [SpeechDetector(lambda _: None, batch=batch) for _ in range(TOGETHER)]
        for number, frame in enumerate(raw[: len(raw) // TOGETHER]):
            for detector in detectors:
                detector.feed(frame, number * 20)
            batch.flush()

    def core() -> None:
        agent = AgentProfile("bench", 1, "Be brief.", "Hello, this is the bench.", "v")
        state, _ = step(State(), e.CallStarted(call_sid="CA", agent=agent))
        for event in pieces_and_marks():
            state, _ = step(state, event)

    def steps_of_a_minute() -> list[tuple[State, e.Event, tuple[Command, ...], State]]:
        agent = AgentProfile("bench", 1, "Be brief.", "Hello, this is the bench.", "v")
        found, state = [], State()
        for event in (e.CallStarted(call_sid="CA", agent=agent), *pieces_and_marks()):
            after, commands = step(state, event)
            found.append((state, event, commands, after))
            state = after
        return found

    steps = steps_of_a_minute()

    def checker() -> None:
        watching = Checker()
        for taken in steps:
            watching.collect(*taken)

    def digests() -> None:
        digest = StateDigest(State, layout_of(State), orjson.dumps)
        for *_, after in steps[::2]:
            digest.of(after)

    base = cpu_us(lambda: [orjson.loads(text) for text in texts])
    rows = {
        "JSON alone (reference)": base,
        "decode 50 media messages": cpu_us(lambda: [decode(text) for text in texts]),
        "encode 50 media messages": cpu_us(lambda: [wire.media(frame) for frame in raw]),
        "speech detector, 31 windows of speech": cpu_us(lambda: detect(raw)),
        "the same of loud steady noise": cpu_us(lambda: detect(noise)),
        f"speech, {TOGETHER} calls together": cpu_us(lambda: asyncio.run(_in_loop(detect_together))),
        "core, 20 steps (10 pieces, 10 marks)": cpu_us(core),
        "invariants, the same 20 steps": cpu_us(checker),
        "digest of a state, 10 times": cpu_us(digests),
    }
    for name, figure in rows.items():
        print(f"{name:40} {figure:9.0f} µs per call-second   {figure / base:6.1f} x")

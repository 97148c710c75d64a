"""µ-law (G.711) and 16-bit linear audio, 8 kHz mono: tables, levels, and the tones of the keypad.

One byte is one sample; 8 bytes are one millisecond. Linear audio is little-endian ``int16``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 8000
BYTES_PER_MS = 8
#: The quietest µ-law sample. ``0x00`` is nearly full scale, so padding with zeros is a loud click.
SILENCE = 0xFF
SILENCE_BYTE = b"\xff"
#: Level of digital silence: an ``int16`` stream of zeros has no logarithm.
FLOOR_DBFS = -96.0
_BIAS = 0x84
_CLIP = 32635
_FULL_SCALE = 32768.0

Samples = NDArray[np.int16]


class AudioError(ValueError):
    """Audio that cannot be what it is said to be."""


def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + _BIAS << ((code & 0x70) >> 4)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> NDArray[np.uint8]:
    """µ-law byte of every ``int16``, at the index of its two's complement."""
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(linear), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(linear < 0, 0x80, 0)
    table: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return table


_TO_LINEAR = _decode_table()
_TO_MULAW = _encode_table()
_TO_FLOAT = (_TO_LINEAR / _FULL_SCALE).astype(np.float32)


def to_samples(mulaw: bytes) -> Samples:
    """Linear samples of µ-law bytes."""
    return _TO_LINEAR[np.frombuffer(mulaw, np.uint8)]


def to_float(mulaw: bytes) -> NDArray[np.float32]:
    """Samples from -1.0 to 1.0, as speech detectors want them."""
    return _TO_FLOAT[np.frombuffer(mulaw, np.uint8)]


def from_samples(samples: NDArray[Any]) -> bytes:
    """µ-law bytes of linear samples; what lies outside ``int16`` is clipped."""
    if samples.dtype != np.int16:
        samples = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return _TO_MULAW[samples.view(np.uint16)].tobytes()


def decode(mulaw: bytes) -> bytes:
    """PCM16 little-endian of µ-law bytes; twice as long."""
    return to_samples(mulaw).astype("<i2", copy=False).tobytes()


def encode(pcm: bytes) -> bytes:
    """µ-law of PCM16 little-endian bytes. Raises ``AudioError`` on an odd number of bytes."""
    if len(pcm) % 2:
        raise AudioError(f"16-bit audio has an even number of bytes, not {len(pcm)}")
    return from_samples(np.frombuffer(pcm, "<i2").astype(np.int16, copy=False))


def silence(duration_ms: int) -> bytes:
    """µ-law silence."""
    return SILENCE_BYTE * (duration_ms * BYTES_PER_MS)


def level_dbfs(mulaw: bytes) -> float:
    """Root mean square level relative to full scale, from ``FLOOR_DBFS`` to 0; the floor for no audio."""
    if not mulaw:
        return FLOOR_DBFS
    values = to_float(mulaw)
    power = float(np.dot(values, values)) / len(values)
    return max(10.0 * float(np.log10(power)), FLOOR_DBFS) if power > 0 else FLOOR_DBFS


def peak_dbfs(mulaw: bytes) -> float:
    """Level of the loudest sample relative to full scale, from ``FLOOR_DBFS`` to 0."""
    loudest = float(np.abs(to_float(mulaw)).max()) if mulaw else 0.0
    return max(20.0 * float(np.log10(loudest)), FLOOR_DBFS) if loudest > 0 else FLOOR_DBFS


_ROWS_HZ = (697, 770, 852, 941)
_COLUMNS_HZ = (1209, 1336, 1477, 1633)
#: The two frequencies of every key (ITU-T Q.23).
DTMF_HZ: dict[str, tuple[int, int]] = {
    key: (_ROWS_HZ[row], _COLUMNS_HZ[column])
    for row, keys in enumerate(("123A", "456B", "789C", "*0#D"))
    for column, key in enumerate(keys)
}
_EDGE_MS = 5


def tone(frequencies_hz: tuple[int, ...], duration_ms: int, level: float = 0.4) -> bytes:
    """The sum of sines as µ-law, with short ramps at both ends so that it does not click.

    ``level`` is the peak of the sum, as a share of full scale.
    """
    at_s = np.arange(duration_ms * BYTES_PER_MS) / SAMPLE_RATE
    wave = np.zeros(len(at_s))
    for frequency in frequencies_hz:
        wave += np.sin(2 * np.pi * frequency * at_s)
    edge = min(_EDGE_MS * BYTES_PER_MS, len(wave) // 2)
    if edge:
        ramp = np.linspace(0.0, 1.0, edge)
        wave[:edge] *= ramp
        wave[-edge:] *= ramp[::-1]
    return from_samples(wave * (level * 32767 / max(len(frequencies_hz), 1)))


def dtmf(digits: str, tone_ms: int = 120, gap_ms: int = 80) -> bytes:
    """Keys as in-band tones, each followed by a gap. ``w`` and ``,`` are half a second of silence.

    Raises ``AudioError`` for what is not a key.
    """
    pieces: list[bytes] = []
    for digit in digits.upper():
        if digit in "W,":
            pieces.append(silence(500))
        elif digit in DTMF_HZ:
            pieces.append(tone(DTMF_HZ[digit], tone_ms) + silence(gap_ms))
        else:
            raise AudioError(f"{digit!r} is not a key of a telephone")
    return b"".join(pieces)

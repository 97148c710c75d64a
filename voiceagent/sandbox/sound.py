"""Telephone audio: mu-law, resampling, WAV files and the deterministic tone of the scripted voice.

Samples are ``int16`` arrays, mono, unless a name says otherwise. Rates are in Hz.
"""

from __future__ import annotations

import functools
import re
import wave
import zlib
from math import gcd
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

Samples = NDArray[np.int16]

PHONE_RATE = 8000
FRAME_BYTES = 160
FRAME_MS = 20
MULAW_SILENCE = b"\xff"
SILENT_FRAME = MULAW_SILENCE * FRAME_BYTES

_BIAS = 0x84
_CLIP = 32635
# Mu-law codes grow quieter with their low seven bits: inverting them gives a loudness from 0 to 127.
LOUDNESS = bytes(127 - (code & 0x7F) for code in range(256))


@functools.cache
def _decode_table() -> Samples:
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent = (codes >> 4) & 7
    magnitude = (((codes & 0x0F) << 3) + _BIAS << exponent) - _BIAS
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


@functools.cache
def _encode_table() -> NDArray[np.uint8]:
    """Mu-law code of every 16-bit sample, indexed by the sample read as unsigned."""
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(linear), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(linear < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return codes


def mulaw_decode(data: bytes) -> Samples:
    """Samples of mu-law bytes (G.711)."""
    return _decode_table()[np.frombuffer(data, dtype=np.uint8)]


def mulaw_encode(samples: Samples) -> bytes:
    """Mu-law bytes of samples, one byte each (G.711)."""
    return bytes(_encode_table()[samples.view(np.uint16)].tobytes())


def loudness(mulaw: bytes) -> float:
    """Mean loudness of mu-law bytes on the code's own logarithmic scale: 0 is silence, 127 full scale."""
    return sum(mulaw.translate(LOUDNESS)) / len(mulaw) if mulaw else 0.0


@functools.cache
def _filter_bank(up: int, down: int, taps: int = 24) -> NDArray[np.float32]:
    """Windowed-sinc filters, one per output phase, cut off below the lower of the two Nyquist rates."""
    scale = min(1.0, up / down) * 0.94
    half = int(np.ceil(taps / scale))
    offsets = np.arange(-half, half + 1)
    phases = (np.arange(up) * down % up) / up
    position = offsets[None, :] - phases[:, None]
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip(position / (half + 1), -1, 1))
    bank = scale * np.sinc(position * scale) * window
    bank /= bank.sum(axis=1, keepdims=True)
    return bank.astype(np.float32)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """The same sound at another rate, low-pass filtered so that nothing folds back."""
    if from_rate == to_rate or not len(samples):
        return samples
    factor = gcd(from_rate, to_rate)
    up, down = to_rate // factor, from_rate // factor
    bank = _filter_bank(up, down)
    width = bank.shape[1]
    half = width // 2
    padded = np.pad(samples.astype(np.float32), (half, half + 1))
    count = len(samples) * up // down
    out = np.empty(count, dtype=np.float32)
    for phase in range(min(up, count)):
        index = np.arange(phase, count, up)
        starts = index * down // up
        windows = np.lib.stride_tricks.sliding_window_view(padded, width)[starts]
        out[index] = windows @ bank[phase]
    return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


def read_wav(source: str | Path | IO[bytes]) -> tuple[Samples, int]:
    """Mono samples and rate of a PCM WAV file (8, 16, 24 or 32 bits, any rate, channels averaged)."""
    with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
        width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype=np.uint8)
    if width == 1:
        wide = (raw.astype(np.int32) - 128) << 8
    else:
        # The top two bytes of each little-endian sample are its 16-bit value.
        wide = raw.reshape(-1, width)[:, -2:].copy().view("<i2").astype(np.int32)[:, 0]
    mono = wide.reshape(-1, channels).mean(axis=1) if channels > 1 else wide
    return mono.astype(np.int16), rate


def wav_bytes(samples: Samples, rate: int) -> bytes:
    """A mono 16-bit WAV file."""
    import io

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def read_phone_audio(path: Path) -> bytes:
    """A WAV file as mu-law at 8 kHz."""
    samples, rate = read_wav(path)
    return mulaw_encode(resample(samples, rate, PHONE_RATE))


def frames(mulaw: bytes) -> Iterator[bytes]:
    """Frames of 20 ms; the last one is filled with silence."""
    for start in range(0, len(mulaw), FRAME_BYTES):
        yield mulaw[start : start + FRAME_BYTES].ljust(FRAME_BYTES, MULAW_SILENCE)


_TONE_SECONDS = 4


@functools.cache
def tone(rate: int) -> Samples:
    """Four seconds of a voice-like tone that repeats without a seam: 150 Hz with harmonics, throbbing at 4 Hz."""
    at = np.arange(_TONE_SECONDS * rate) / rate
    throb = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * at)
    sound = sum(np.sin(2 * np.pi * 150 * k * at) / k for k in (1, 2, 3, 4, 5))
    return np.asarray(6000 * throb * sound, dtype=np.int16)


@functools.cache
def mulaw_tone() -> bytes:
    """:func:`tone` at 8 kHz as mu-law."""
    return mulaw_encode(tone(PHONE_RATE))


#: The three tones of a chord, one of each row (Hz): 20 ms hold whole periods of each, so that a frame tells them apart.
CHORD_HZ = (tuple(range(400, 1200, 100)), tuple(range(1300, 2100, 100)), tuple(range(2200, 3000, 100)))
_NOT_SPOKEN = re.compile(r"\W+")


def chord_of(word: str) -> tuple[int, int, int]:
    """Which tone of each row a word has; case and punctuation do not matter. One chord in 512: words may share one."""
    code = zlib.crc32(_NOT_SPOKEN.sub("", word.lower()).encode())
    return code % 8, code // 8 % 8, code // 64 % 8


@functools.lru_cache(maxsize=512)
def chord(word: str, rate: int) -> Samples:
    """A fiftieth of a second of a word's chord, repeating without a seam at every rate that is a multiple of 50 Hz."""
    at = np.arange(rate // 50) / rate
    tones = [row[tone] for row, tone in zip(CHORD_HZ, chord_of(word), strict=True)]
    return np.asarray(4000 * sum(np.sin(2 * np.pi * hz * at) for hz in tones), dtype=np.int16)


ENCODINGS = ("pcm_s16le", "pcm_s32le", "pcm_f16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw")
BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_s32le": 4, "pcm_f16le": 2, "pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}


@functools.cache
def _alaw_tables() -> tuple[Samples, NDArray[np.uint8]]:
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (codes >> 4) & 7, codes & 0x0F
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    decode = np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)
    order = np.argsort(decode, kind="stable")
    levels = decode[order].astype(np.int32)
    middles = (levels[1:] + levels[:-1]) / 2
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    return decode, order[np.searchsorted(middles, linear)].astype(np.uint8)


def decode(data: bytes, encoding: str) -> Samples:
    """Samples of raw audio in one of :data:`ENCODINGS`. Raises ``ValueError`` for a cut-off sample."""
    if len(data) % BYTES_PER_SAMPLE[encoding]:
        raise ValueError("audio ends inside a sample")
    if encoding == "pcm_mulaw":
        return mulaw_decode(data)
    if encoding == "pcm_alaw":
        return _alaw_tables()[0][np.frombuffer(data, dtype=np.uint8)]
    if encoding == "pcm_s16le":
        return np.frombuffer(data, dtype="<i2").astype(np.int16)
    if encoding == "pcm_s32le":
        return (np.frombuffer(data, dtype="<i4") >> 16).astype(np.int16)
    kind = "<f2" if encoding == "pcm_f16le" else "<f4"
    unit = np.nan_to_num(np.frombuffer(data, dtype=kind).astype(np.float32))
    return np.asarray(np.clip(unit, -1, 1) * 32767, dtype=np.int16)


def encode(samples: Samples, encoding: str) -> bytes:
    """Raw audio of samples in one of ``pcm_mulaw``, ``pcm_alaw``, ``pcm_s16le``, ``pcm_f32le``."""
    if encoding == "pcm_mulaw":
        return mulaw_encode(samples)
    if encoding == "pcm_alaw":
        return bytes(_alaw_tables()[1][samples.view(np.uint16)].tobytes())
    if encoding == "pcm_f32le":
        return (samples.astype("<f4") / 32768).tobytes()
    return samples.astype("<i2").tobytes()

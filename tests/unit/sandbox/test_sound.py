"""Audio of the stand-ins: the codes of G.711, resampling that neither shifts nor folds, WAV files of any kind."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from voiceagent.sandbox import sound


def sine(hz: float, rate: int, seconds: float = 0.5) -> sound.Samples:
    return np.asarray(10000 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate), dtype=np.int16)


def loudest_hz(samples: sound.Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * rate / len(samples)


def test_mulaw_has_the_values_of_the_standard() -> None:
    known = {0xFF: 0, 0x7F: 0, 0x00: -32124, 0x80: 32124, 0xF0: 120, 0x70: -120, 0xE0: 372}
    assert {code: int(sound.mulaw_decode(bytes([code]))[0]) for code in known} == known


def test_every_mulaw_code_survives_a_round_trip_but_the_second_zero() -> None:
    codes = bytes(range(256))
    assert sound.mulaw_encode(sound.mulaw_decode(codes)) == codes.replace(b"\x7f", b"\xff")


def test_every_alaw_code_survives_a_round_trip() -> None:
    codes = bytes(range(256))
    assert sound.encode(sound.decode(codes, "pcm_alaw"), "pcm_alaw") == codes


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_resampling_keeps_length_and_pitch(rate: int) -> None:
    out = sound.resample(sine(440, rate), rate, 8000)
    assert len(out) == pytest.approx(4000, abs=1)
    assert loudest_hz(out, 8000) == pytest.approx(440, abs=3)
    assert np.abs(out[200:-200]).max() == pytest.approx(10000, rel=0.03)


def test_what_is_above_the_new_nyquist_frequency_is_gone() -> None:
    out = sound.resample(sine(6000, 16000), 16000, 8000)
    assert np.abs(out[200:-200].astype(int)).max() < 100


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_word_sounds_as_its_chord_and_no_other(rate: int) -> None:
    samples = np.resize(sound.chord("Hello,", rate), rate)
    spectrum = np.abs(np.fft.rfft(samples))
    tones = tuple(row[tone] for row, tone in zip(sound.CHORD_HZ, sound.chord_of("hello"), strict=True))
    assert tuple(sorted(int(hz) for hz in np.argsort(spectrum)[-3:])) == tones
    assert sound.chord_of("goodbye") != sound.chord_of("hello")
    assert sound.loudness(sound.mulaw_encode(np.resize(sound.chord("hello", 8000), 8000))) > 60


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_every_width_are_read(width: int) -> None:
    value = 64 << 8
    raw = {1: bytes([64 + 128]), 2: value.to_bytes(2, "little"), 3: (value << 8).to_bytes(3, "little")}
    frame = raw.get(width, (value << 16).to_bytes(4, "little"))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(11025)
        file.writeframes(frame * 2 * 10)
    buffer.seek(0)
    samples, rate = sound.read_wav(buffer)
    assert rate == 11025
    assert samples.tolist() == [value] * 10

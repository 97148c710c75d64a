"""The µ-law codec against the rules of G.711, and the keypad's tones against their frequencies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.codecs import mulaw

ALL_CODES = bytes(range(256))


def test_known_values_of_the_standard() -> None:
    samples = mulaw.to_samples(bytes([0x00, 0x80, 0xFF, 0x7F, 0xF0, 0x8F, 0x0F]))
    assert samples.tolist() == [-32124, 32124, 0, 0, 120, 16764, -16764]


def test_every_code_comes_back_through_linear_except_negative_zero() -> None:
    again = mulaw.encode(mulaw.decode(ALL_CODES))
    assert again[:0x7F] + again[0x80:] == ALL_CODES[:0x7F] + ALL_CODES[0x80:]
    assert again[0x7F] == mulaw.SILENCE


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=400))
def test_quantising_stays_within_half_a_step(values: list[int]) -> None:
    pcm = np.array(values, dtype="<i2")
    back = np.frombuffer(mulaw.decode(mulaw.encode(pcm.tobytes())), "<i2").astype(int)
    # The step of µ-law grows with the magnitude: a sixteenth of its power of two; the loudest clip at 32124.
    allowed = np.maximum((np.abs(pcm.astype(int)) + 0x84) / 32 + 1, np.abs(pcm.astype(int)) - 32124)
    assert (np.abs(back - pcm.astype(int)) <= allowed).all()


@given(st.integers(-32768, 32766))
def test_encoding_keeps_the_order_of_levels(value: int) -> None:
    low, high = np.frombuffer(mulaw.decode(mulaw.encode(np.array([value, value + 1], "<i2").tobytes())), "<i2")
    assert low <= high


def test_an_odd_number_of_bytes_is_not_16_bit_audio() -> None:
    with pytest.raises(mulaw.AudioError, match="even number of bytes, not 3"):
        mulaw.encode(b"abc")


def test_floats_are_clipped_and_empty_audio_is_empty() -> None:
    assert mulaw.from_samples(np.array([1e9, -1e9])) == bytes([0x80, 0x00])
    assert mulaw.decode(b"") == mulaw.encode(b"") == b""


def test_float_samples_are_shares_of_full_scale() -> None:
    floats = mulaw.to_float(ALL_CODES)
    assert floats.dtype == np.float32
    assert np.abs(floats).max() == pytest.approx(32124 / 32768)


def test_silence_is_quiet_and_as_long_as_asked() -> None:
    assert mulaw.silence(20) == b"\xff" * 160
    assert mulaw.level_dbfs(mulaw.silence(20)) == mulaw.FLOOR_DBFS
    assert mulaw.peak_dbfs(mulaw.silence(20)) == mulaw.FLOOR_DBFS
    assert mulaw.level_dbfs(b"") == mulaw.peak_dbfs(b"") == mulaw.FLOOR_DBFS


def test_levels_of_a_known_sine() -> None:
    sine = mulaw.tone((1000,), 500, level=0.5)
    assert mulaw.peak_dbfs(sine) == pytest.approx(-6.0, abs=0.3)
    assert mulaw.level_dbfs(sine) == pytest.approx(-9.1, abs=0.3)


def loudest_frequencies(audio: bytes, count: int) -> set[int]:
    spectrum = np.abs(np.fft.rfft(mulaw.to_float(audio) * np.hanning(len(audio))))
    found: set[int] = set()
    while len(found) < count:
        peak = int(spectrum.argmax())
        found.add(round(peak * mulaw.SAMPLE_RATE / len(audio)))
        spectrum[max(peak - 8, 0) : peak + 9] = 0
    return found


@pytest.mark.parametrize("key", mulaw.DTMF_HZ)
def test_each_key_has_its_two_frequencies(key: str) -> None:
    found = sorted(loudest_frequencies(mulaw.dtmf(key, tone_ms=400, gap_ms=0), 2))
    assert found == pytest.approx(sorted(mulaw.DTMF_HZ[key]), abs=3)


def test_keys_pauses_and_gaps_add_up() -> None:
    audio = mulaw.dtmf("1,#w", tone_ms=100, gap_ms=50)
    assert len(audio) == (150 + 500 + 150 + 500) * mulaw.BYTES_PER_MS
    assert audio[100 * 8 : 150 * 8] == mulaw.silence(50)
    assert mulaw.dtmf("") == b""


def test_a_tone_starts_and_ends_silent_so_that_it_does_not_click() -> None:
    samples = np.abs(mulaw.to_samples(mulaw.tone((697, 1209), 100)).astype(int))
    assert samples[0] == samples[-1] == 0
    assert samples.max() > 10_000
    assert samples[:8].max() < 2_500


def test_a_tone_of_no_length_is_empty() -> None:
    assert mulaw.tone((440,), 0) == b""


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(mulaw.AudioError, match="'X' is not a key"):
        mulaw.dtmf("1x")

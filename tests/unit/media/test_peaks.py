"""Peaks and figures of sound that is known."""

from __future__ import annotations

import numpy as np
import pytest

from calls.media.peaks import PEAK_SAMPLES, Peaks


def fed(*pieces: list[int]) -> Peaks:
    made = Peaks()
    for piece in pieces:
        made.feed(np.array(piece, dtype=np.int16))
    return made


def test_a_byte_for_every_20_ms_is_its_loudest_sample() -> None:
    quiet, loud = [0] * PEAK_SAMPLES, [0] * (PEAK_SAMPLES - 1) + [-32768]
    half = [16384] + [0] * (PEAK_SAMPLES - 1)
    assert list(fed(quiet + loud, half, [128]).peaks) == [0, 255, 128, 1]


def test_an_hour_is_180_000_bytes() -> None:
    made = Peaks()
    for _ in range(60):
        made.feed(np.zeros(8000 * 60, dtype=np.int16))
    assert len(made.peaks) == 3600 * 50


def test_pieces_must_hold_whole_stretches() -> None:
    made = fed([1] * 100)
    with pytest.raises(ValueError, match="last piece"):
        made.feed(np.zeros(160, dtype=np.int16))


def test_figures_of_a_known_tone() -> None:
    """A second of a tone at half scale, then a second of silence: the level is of what sounds."""
    tone = (np.sin(np.arange(8000) * 0.3) * 16384).astype(np.int16)
    made = Peaks()
    made.feed(tone)
    made.feed(np.zeros(8000, dtype=np.int16))
    figures = made.figures()
    assert figures["level_dbfs"] == pytest.approx(-9.0, abs=0.1)  # half scale is -6, a sine 3 below
    assert figures["quiet_share"] == 0.5
    assert figures["clipped_share"] == 0


def test_figures_of_silence_and_of_nothing() -> None:
    assert fed([0] * 320).figures() == {"level_dbfs": None, "quiet_share": 1.0, "clipped_share": 0.0}
    assert Peaks().figures() == {"level_dbfs": None, "quiet_share": 1.0, "clipped_share": 0.0}


def test_clipping_is_counted() -> None:
    assert fed([32124] * 80 + [100] * 80).figures()["clipped_share"] == 0.5

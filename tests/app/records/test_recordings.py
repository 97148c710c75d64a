"""The stereo file: both sides whole, aligned to the sample, and never half there."""

from __future__ import annotations

import hashlib
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calls.services import recordings

if TYPE_CHECKING:
    from pathlib import Path

SID = "CA" + "0" * 32


def sides(folder: Path, caller: bytes | None, agent: bytes | None) -> None:
    for name, audio in (("in", caller), ("out", agent)):
        if audio is not None:
            (folder / f"{SID}.{name}.ulaw").write_bytes(audio)


def samples(folder: Path) -> np.ndarray:
    with wave.open(str(folder / f"{SID}.wav"), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)


def test_clicks_lie_where_they_were(tmp_path: Path) -> None:
    """One loud sample at a known place on each side, across the boundaries of the pieces it is read in."""
    size = 200_001
    places = {"caller": (0, 65_535, 65_536, 131_072, size - 1), "agent": (1, 65_535, 65_537, 150_000)}
    caller, agent = bytearray(b"\xff" * size), bytearray(b"\xff" * 150_001)
    for place in places["caller"]:
        caller[place] = 0x80
    for place in places["agent"]:
        agent[place] = 0x00
    sides(tmp_path, bytes(caller), bytes(agent))

    stored = recordings.write_stereo(tmp_path, SID)

    found = samples(tmp_path)
    assert len(found) == size
    assert tuple(np.flatnonzero(found[:, 0])) == places["caller"]
    assert tuple(np.flatnonzero(found[:, 1])) == places["agent"]
    assert set(found[list(places["caller"]), 0]) == {32124}
    assert set(found[list(places["agent"]), 1]) == {-32124}
    assert stored
    assert (stored.duration_ms, stored.size_bytes) == (25_000, 44 + size * 4)
    assert stored.sha256 == hashlib.sha256((tmp_path / stored.file).read_bytes()).hexdigest()


def test_the_picture_is_the_same_from_the_raw_sides_and_from_the_file(tmp_path: Path) -> None:
    """More than one piece is read, and the last one ends within a peak."""
    sides(tmp_path, b"\x80" * 70_001 + b"\xff" * 3_000, b"\xff" * 20_000 + b"\x10" * 1_000)

    stored = recordings.write_stereo(tmp_path, SID)

    assert stored
    picture = stored.picture
    assert len(picture.caller) == len(picture.agent) == -(-73_001 // 160)
    assert picture.caller[0] > 250
    assert (picture.agent[124], picture.agent[125]) == (0, round(15996 / 32768 * 256))  # µ-law 0x10 is -15996
    assert recordings.picture_of(tmp_path / stored.file) == picture


def test_a_file_that_is_no_recording_has_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"x\.wav"):
        recordings.picture_of(path)


def test_every_code_is_expanded_by_the_standard(tmp_path: Path) -> None:
    sides(tmp_path, bytes(range(256)), None)

    recordings.write_stereo(tmp_path, SID)

    left = samples(tmp_path)[:, 0].astype(int)
    assert list(left[128:] + left[:128]) == [0] * 128, "the two halves mirror each other"
    assert (left[0x00], left[0x7E], left[0x7F], left[0xFE], left[0xEF], left[0x80]) == (-32124, -8, 0, 8, 132, 32124)
    assert (np.diff(left[:128]) > 0).all()


@pytest.mark.parametrize(
    ("caller", "agent", "length"), [(b"\x80" * 5, None, 5), (None, b"\x80" * 7, 7), (b"", b"\x80", 1)]
)
def test_a_missing_side_is_silence(tmp_path: Path, caller: bytes | None, agent: bytes | None, length: int) -> None:
    sides(tmp_path, caller, agent)

    assert recordings.write_stereo(tmp_path, SID)

    found = samples(tmp_path)
    assert len(found) == length
    assert (not found[:, 0].any()) == (not caller)
    assert (not found[:, 1].any()) == (not agent)


@pytest.mark.parametrize(("caller", "agent"), [(None, None), (b"", b""), (b"", None)])
def test_no_audio_makes_no_file(tmp_path: Path, caller: bytes | None, agent: bytes | None) -> None:
    sides(tmp_path, caller, agent)

    assert recordings.write_stereo(tmp_path, SID) is None
    assert not list(tmp_path.glob("*.wav*"))


def test_again_gives_the_same_bytes(tmp_path: Path) -> None:
    sides(tmp_path, b"\x10" * 999, b"\x90" * 1001)

    assert recordings.write_stereo(tmp_path, SID) == recordings.write_stereo(tmp_path, SID)


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides(tmp_path, b"\x10" * 999, None)
    before = recordings.write_stereo(tmp_path, SID)
    sides(tmp_path, b"\x10" * 200_000, None)

    def full(_fd: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recordings.os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            recordings.write_stereo(tmp_path, SID)

    assert before
    assert hashlib.sha256((tmp_path / before.file).read_bytes()).hexdigest() == before.sha256
    assert not list(tmp_path.glob("*.part"))


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    sides(tmp_path, b"\x10", None)
    recordings.write_stereo(tmp_path, SID)

    assert (tmp_path / f"{SID}.wav").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sid", ["", "../CA1", "CA1/../x", "CA 1", "CA1.wav", "CA\x00"])
def test_an_id_that_is_no_file_name(tmp_path: Path, sid: str) -> None:
    with pytest.raises(ValueError, match="call id"):
        recordings.write_stereo(tmp_path, sid)

"""Recordings that a user names: every usual kind is said, and what cannot be is named with what to do."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("av", reason="the local engines are an optional set of requirements")

import av

from voiceagent.sandbox import sound
from voiceagent.sandbox.call import lines
from voiceagent.sandbox.call.recording import RecordingError, read

if TYPE_CHECKING:
    from pathlib import Path

SECOND = sound.tone(sound.PHONE_RATE)[: sound.PHONE_RATE]


def wav(code: int, bits: int, channels: int, rate: int, data: bytes) -> bytes:
    """A WAV file of any format: 1 is PCM, 3 float, 6 A-law, 7 mu-law."""
    block = channels * bits // 8
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, rate * block, block, bits)
    return b"RIFF" + struct.pack("<I", 28 + len(head) + len(data)) + b"WAVE" + head + struct.pack("<4sI", b"data", len(data)) + data  # fmt: skip


def pcm(rate: int, channels: int) -> bytes:
    samples = sound.resample(SECOND, sound.PHONE_RATE, rate)
    return wav(1, 16, channels, rate, np.repeat(samples, channels).astype("<i2").tobytes())


def deep(samples: sound.Samples) -> bytes:
    return np.stack([np.zeros_like(samples), samples], axis=1).astype("<i2").tobytes()


KINDS = {
    **{f"pcm-{rate}-{channels}": pcm(rate, channels) for rate in (8000, 16000, 44100) for channels in (1, 2)},
    "float": wav(3, 32, 1, 8000, (SECOND / 32768).astype("<f4").tobytes()),
    "24-bit": wav(1, 24, 1, 8000, b"".join(deep(SECOND[at : at + 1])[1:] for at in range(len(SECOND)))),
    "32-bit": wav(1, 32, 1, 8000, deep(SECOND)),
    "mulaw": wav(7, 8, 1, 8000, sound.mulaw_encode(SECOND)),
    "alaw": wav(6, 8, 1, 8000, sound.encode(SECOND, "pcm_alaw")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_usual_kinds_of_wav_are_the_same_sound(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    path.write_bytes(KINDS[kind])
    heard = sound.mulaw_decode(read(path)).astype(float)
    assert len(heard) == pytest.approx(sound.PHONE_RATE, abs=10)
    middle = slice(800, 7200)
    assert np.corrcoef(heard[middle], SECOND[middle])[0, 1] > 0.99
    assert np.abs(heard).max() == pytest.approx(np.abs(SECOND).max(), rel=0.1)


def test_what_a_telephone_records_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "one.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=44100)
        frame = av.AudioFrame.from_ndarray(sound.resample(SECOND, 8000, 44100).reshape(1, -1), "s16", "mono")
        frame.rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert len(read(path)) == pytest.approx(sound.PHONE_RATE, abs=800)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no recording that can be read: name a WAV"),
        (b"not a recording", "is no recording that can be read: name a WAV"),
        (pcm(8000, 1)[:30], "is no recording that can be read: name a WAV"),
        (wav(1, 16, 1, 8000, b""), "is an empty recording: name a WAV"),
        (None, "cannot be opened: No such file or directory"),
    ],
)
def test_what_is_no_recording_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path} {words}")
    assert "\n" not in str(refused.value)


def test_a_folder_and_a_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=f"^{tmp_path} cannot be opened: Is a directory"):
        read(tmp_path)
    picture = tmp_path / "one.ppm"
    picture.write_bytes(b"P6 2 2 255\n" + bytes(12))
    with pytest.raises(RecordingError, match=r"holds no sound|no recording"):
        read(picture)


def test_each_recording_interrupts_the_answer_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(pcm(22050, 1))
    script = lines.from_files([path, path, path], barge_in_after_ms=500)
    assert [item.barge_in_after_ms for item in script.lines] == [None, 500, 500]
    assert len(script.lines[0].audio) == pytest.approx(8000, abs=10)
    assert [item.barge_in_after_ms for item in lines.from_files([path, path], None).lines] == [None, None]


def test_a_single_recording_is_followed_by_a_bundled_interruption(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(pcm(8000, 1))
    own, spare = lines.from_files([path], barge_in_after_ms=1500).lines
    assert (own.text, own.barge_in_after_ms) == ("a.wav", None)
    assert (spare.barge_in_after_ms, spare.expects) == (1500, None)
    assert spare.audio == sound.read_phone_audio(lines.AUDIO / "4-interrupt.wav")

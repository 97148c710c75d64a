"""Both sides of a call as one stereo WAV: 16 bit, 8 kHz, caller left, agent right.

The media recorder leaves two raw µ-law files that begin at the same sample. Here they are read in step, the shorter
one padded with silence, and written next to their place before one rename makes the file appear whole or not at all.
The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import wave
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

import numpy as np

from calls.codecs import mulaw
from calls.logkeys import checked_sid
from calls.media.peaks import PEAK_SAMPLES, Peaks

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE_HZ = 8000
#: Frames that are read at once: whole peaks.
_CHUNK = 400 * PEAK_SAMPLES


@dataclass(frozen=True, slots=True)
class Pictured:
    """What is drawn and said of the sound: peaks of each side (``calls.media.peaks``), and figures by side."""

    caller: bytes = b""
    agent: bytes = b""
    figures: dict[str, dict[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished recording; ``file`` is its name in the recordings folder."""

    file: str
    duration_ms: int
    size_bytes: int
    sha256: str
    picture: Pictured = Pictured()


@dataclass(frozen=True, slots=True)
class Sides:
    """The raw files of a call. Either may be missing."""

    caller: Path
    agent: Path

    @property
    def samples(self) -> int:
        """Length of the longer one; a sample is a byte."""
        return max(_size(self.caller), _size(self.agent))


def raw_sides(folder: Path, call_sid: str) -> Sides:
    """Where the media recorder leaves the two sides. Raises ``ValueError`` for an id that is no file name."""
    sid = checked_sid(call_sid)
    return Sides(folder / f"{sid}.in.ulaw", folder / f"{sid}.out.ulaw")


def write_stereo(folder: Path, call_sid: str) -> Stored | None:
    """Make ``{call_sid}.wav`` of the raw sides; ``None`` if there is no audio. Raises ``OSError``."""
    sides = raw_sides(folder, call_sid)
    samples = sides.samples
    if not samples:
        return None
    target = folder / f"{call_sid}.wav"
    part = folder / f"{call_sid}.wav.{uuid4().hex}.part"
    try:
        with part.open("wb") as file:
            part.chmod(0o600)
            picture = _write(file, sides, samples)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Stored(target.name, samples * 1000 // RATE_HZ, target.stat().st_size, _sha256(target), picture)


def picture_of(path: Path) -> Pictured:
    """The same of a finished recording. Raises ``OSError``, and ``ValueError`` for a file that is no such recording."""
    sides = Peaks(), Peaks()
    try:
        with wave.open(str(path), "rb") as wav:
            if (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) != (2, 2, RATE_HZ):
                raise ValueError(f"{path.name} is no stereo recording of 16 bit at 8 kHz")
            while raw := wav.readframes(_CHUNK):
                frames = np.frombuffer(raw, "<i2").reshape(-1, 2)
                for side, samples in zip(sides, frames.T, strict=True):
                    side.feed(samples)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path.name} cannot be read as a WAV file: {error}") from error
    return _pictured(*sides)


def _pictured(caller: Peaks, agent: Peaks) -> Pictured:
    return Pictured(caller.peaks, agent.peaks, {"caller": caller.figures(), "agent": agent.figures()})


def stored_path(folder: Path, file: str) -> Path | None:
    """Where a finished recording lies; ``None`` if it is gone, or was never within the folder."""
    path = (folder.resolve() / file).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def drop_raw(folder: Path, call_sid: str) -> None:
    """Remove the raw sides once the stereo file stands."""
    sides = raw_sides(folder, call_sid)
    if (folder / f"{call_sid}.wav").is_file():
        sides.caller.unlink(missing_ok=True)
        sides.agent.unlink(missing_ok=True)


def drop_all(folder: Path, call_sid: str) -> None:
    """Remove every file of a call. Raises ``OSError``."""
    sides = raw_sides(folder, call_sid)
    for path in (sides.caller, sides.agent, folder / f"{call_sid}.wav"):
        path.unlink(missing_ok=True)


def drop_unfinished(folder: Path, unix_s: float) -> None:
    """Remove what a worker that died before this time was writing."""
    for part in folder.glob("*.part"):
        if part.stat().st_mtime < unix_s:
            part.unlink(missing_ok=True)


def raw_older_than(folder: Path, unix_s: float) -> Iterator[str]:
    """Ids of calls whose raw sides were last written before this time and have a stereo file."""
    sids = {path.name.split(".")[0] for path in folder.glob("*.ulaw") if path.stat().st_mtime < unix_s}
    yield from sorted(sid for sid in sids if (folder / f"{sid}.wav").is_file())


def _write(file: BinaryIO, sides: Sides, samples: int) -> Pictured:
    caller, agent = Peaks(), Peaks()
    with ExitStack() as stack:
        left, right = (
            stack.enter_context(path.open("rb")) if path.is_file() else None for path in (sides.caller, sides.agent)
        )
        wav = stack.enter_context(wave.open(file, "wb"))
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(RATE_HZ)
        wav.setnframes(samples)
        for start in range(0, samples, _CHUNK):
            count = min(_CHUNK, samples - start)
            frames = np.empty((count, 2), dtype="<i2")
            frames[:, 0] = _linear(left, count)
            frames[:, 1] = _linear(right, count)
            caller.feed(frames[:, 0])
            agent.feed(frames[:, 1])
            wav.writeframesraw(frames.tobytes())
    return _pictured(caller, agent)


def _linear(file: BinaryIO | None, count: int) -> mulaw.Samples:
    codes = (file.read(count) if file else b"").ljust(count, mulaw.SILENCE_BYTE)
    return mulaw.to_samples(codes)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

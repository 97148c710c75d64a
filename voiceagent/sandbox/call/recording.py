"""Recordings that a user names, of any kind that FFmpeg's libraries read, as telephone audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voiceagent.sandbox import sound

if TYPE_CHECKING:
    from pathlib import Path

#: Samples a second that a recording of speech can have. At others a resampler takes hundreds of megabytes.
_LOWEST_RATE, _HIGHEST_RATE = 4_000, 384_000
_ADVICE = "name a WAV, FLAC, MP3, M4A or Ogg file with speech in it."


class RecordingError(Exception):
    """A file that cannot be said on the telephone; the message names it and says what to do."""


def read(path: Path) -> bytes:
    """A recording as mu-law at 8 kHz, its channels mixed. Raises :class:`RecordingError`."""
    try:
        import av
    except ImportError:
        raise RecordingError(f"{path} cannot be read without PyAV: pip install -r requirements-sandbox.txt") from None
    try:
        with path.open("rb") as file, av.open(file, "r") as container:
            if not container.streams.audio:
                raise RecordingError(f"{path} holds no sound: {_ADVICE}")
            rate = getattr(container.streams.audio[0], "rate", 0)  # one of a kind that cannot be decoded has none
            if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
                raise RecordingError(f"{path} has {rate} samples a second that can be read: {_ADVICE}")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=sound.PHONE_RATE)
            pieces = [
                piece.to_ndarray()[0]
                for frame in (*container.decode(audio=0), None)
                for piece in resampler.resample(frame)
            ]
    except av.FFmpegError:
        raise RecordingError(f"{path} is no recording that can be read: {_ADVICE}") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be opened: {error.strerror}.") from None
    if not pieces:
        raise RecordingError(f"{path} is an empty recording: {_ADVICE}")
    return sound.mulaw_encode(np.concatenate(pieces))

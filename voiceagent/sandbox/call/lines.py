"""What the caller says: the bundled conversation, audio files, or text spoken by the local voice."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voiceagent.sandbox import sound
from voiceagent.sandbox.call import recording
from voiceagent.sandbox.carrier.stream import VOICED

if TYPE_CHECKING:
    from collections.abc import Sequence

AUDIO = Path(__file__).resolve().parent.parent / "audio"
# The caller's voice is the local one, higher: one hears who speaks.
CALLER_PITCH = 1.18
PATIENCE_MS = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One thing the caller says (8 kHz mu-law).

    ``patience_ms`` is the silence after the agent has stopped, on top of the 700 ms that show that it has;
    ``barge_in_after_ms``: do not wait for the end of the answer, but for so much of it.
    """

    text: str
    audio: bytes
    patience_ms: int = PATIENCE_MS
    barge_in_after_ms: int | None = None
    # A word that the agent's answer must contain, where its words are known.
    expects: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing in it is loud enough to be heard as somebody speaking."""
        return not any(sound.loudness(frame) > VOICED for frame in sound.frames(self.audio))


@dataclass(frozen=True, slots=True)
class Script:
    """A whole conversation. ``ends_by_server``: after the last line the agent hangs up."""

    lines: tuple[Line, ...]
    ends_by_server: bool = False
    functions: tuple[str, ...] = ()


class NoVoiceError(Exception):
    """The local voice is not installed."""


def bundled(barge_in_after_ms: int | None = None) -> Script:
    """The conversation that comes with the product."""
    described = json.loads((AUDIO / "conversation.json").read_text(encoding="utf-8"))
    lines = []
    for item in described["lines"]:
        line = Line(
            item["text"],
            sound.read_phone_audio(AUDIO / item["file"]),
            item.get("patience_ms", PATIENCE_MS),
            item.get("barge_in_after_ms"),
            item.get("expects"),
        )
        if line.barge_in_after_ms is not None and barge_in_after_ms is not None:
            line = replace(line, barge_in_after_ms=barge_in_after_ms)
        lines.append(line)
    return Script(tuple(lines), ends_by_server=True, functions=tuple(described.get("functions", ())))


def from_files(paths: Sequence[Path], barge_in_after_ms: int | None) -> Script:
    """One line per file. Raises :class:`recording.RecordingError`."""
    lines = [Line(path.name, recording.read(path)) for path in paths]
    return Script(_interrupting(lines, barge_in_after_ms))


def from_texts(texts: Sequence[str], barge_in_after_ms: int | None) -> Script:
    """One line per text, spoken by the local voice. Raises :class:`NoVoiceError`."""
    lines = [Line(text, speak(text)) for text in texts]
    return Script(_interrupting(lines, barge_in_after_ms))


def _interrupting(lines: list[Line], barge_in_after_ms: int | None) -> tuple[Line, ...]:
    """Every line but the first interrupts the answer to the one before; a single one is followed by one that does."""
    if barge_in_after_ms is None:
        return tuple(lines)
    if len(lines) == 1:
        spare = next(line for line in bundled().lines if line.barge_in_after_ms is not None)
        lines.append(replace(spare, expects=None))
    return tuple(replace(line, barge_in_after_ms=barge_in_after_ms) if at else line for at, line in enumerate(lines))


def speak(text: str) -> bytes:
    """A text in the caller's voice, with a breath of silence after it. Raises :class:`NoVoiceError`."""
    try:
        from voiceagent.sandbox.engines import piper_voice

        pieces = [
            piper_voice.synthesise(unit, sound.PHONE_RATE, 1.0, CALLER_PITCH).samples
            for unit in piper_voice.units(text)
        ]
    except ImportError as error:
        raise NoVoiceError(
            f"The local voice is not installed ({error.name}): pip install -r requirements-sandbox.txt"
        ) from None
    return b"".join(sound.mulaw_encode(piece) for piece in pieces) + sound.MULAW_SILENCE * 800

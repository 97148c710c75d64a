"""The messages of a Twilio media stream, both ways. The carrier's names for things stay in this module.

Inbound text becomes a typed message, or ``BadMessage`` with one stable word for the cause; nothing else is raised.
Numbers that the wire carries as strings are integers here.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

#: The audio every stream carries; anything else cannot be played or understood.
ENCODING, SAMPLE_RATE, CHANNELS = "audio/x-mulaw", 8000, 1
MAX_MESSAGE_BYTES = 65536
_DIGITS = frozenset("0123456789*#ABCD")
_MAX_INT_CHARS = 18


class BadMessage(ValueError):
    """A message that is not what the protocol allows.

    ``cause`` is stable: ``too_large``, ``not_json``, ``not_an_object``, ``no_event``,
    ``missing_field``, ``wrong_type``, ``not_a_number``, ``not_base64``, ``bad_digit``. ``where`` names the field.
    """

    def __init__(self, cause: str, where: str = "") -> None:
        super().__init__(f"{cause}: {where}" if where else cause)
        self.cause = cause
        self.where = where


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message; it names no stream."""

    protocol: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The stream's identity and what the TwiML handed over (unsigned strings)."""

    stream_sid: str
    call_sid: str
    account_sid: str
    encoding: str
    sample_rate: int
    channels: int
    tracks: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def is_phone_audio(self) -> bool:
        """Whether the audio is the µ-law this product works with."""
        return (self.encoding, self.sample_rate, self.channels) == (ENCODING, SAMPLE_RATE, CHANNELS)


class Media(NamedTuple):
    """Audio of the caller. A tuple, since fifty a second per call are made.

    ``payload``: raw µ-law. ``chunk`` counts from 1. ``timestamp_ms``: presentation time since the stream's start.
    """

    stream_sid: str
    chunk: int
    timestamp_ms: int
    payload: bytes
    track: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key the caller pressed."""

    stream_sid: str
    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A playback mark that came back: played, or flushed by a clear."""

    stream_sid: str
    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The call ended or was redirected away."""

    stream_sid: str
    call_sid: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event this version does not know; to be ignored."""

    event: str


Inbound = Connected | Start | Media | Dtmf | Mark | Stop | Unknown


def decode(text: str | bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> Inbound:
    """The message in one text frame. Raises ``BadMessage`` and nothing else."""
    if len(text) > max_bytes:
        raise BadMessage("too_large", f"{len(text)} bytes")
    try:
        data = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BadMessage("not_json") from error
    if type(data) is not dict:
        raise BadMessage("not_an_object")
    event = data.get("event")
    if type(event) is not str:
        raise BadMessage("no_event")
    reader = _READERS.get(event)
    return reader(data) if reader is not None else Unknown(event[:64])


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if type(value) is not str:
        raise BadMessage("missing_field" if value is None else "wrong_type", name)
    return value


def _optional_text(data: dict[str, Any], name: str) -> str:
    return "" if data.get(name) is None else _text(data, name)


def _object(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    if type(value) is not dict:
        raise BadMessage("missing_field" if value is None else "wrong_type", name)
    return value


def _number(data: dict[str, Any], name: str) -> int:
    """A whole number written as a string; the few that are JSON numbers are taken too."""
    value = data.get(name)
    if type(value) is str:
        if not (value.isascii() and value.isdecimal() and len(value) <= _MAX_INT_CHARS):
            raise BadMessage("not_a_number", name)
        return int(value)
    if type(value) is int and value >= 0:
        return value
    raise BadMessage("missing_field" if value is None else "wrong_type", name)


def _connected(data: dict[str, Any]) -> Connected:
    return Connected(protocol=_optional_text(data, "protocol"), version=_optional_text(data, "version"))


def _start(data: dict[str, Any]) -> Start:
    start = _object(data, "start")
    audio = _object(start, "mediaFormat")
    return Start(
        stream_sid=_text(data, "streamSid"),
        call_sid=_text(start, "callSid"),
        account_sid=_text(start, "accountSid"),
        encoding=_text(audio, "encoding"),
        sample_rate=_number(audio, "sampleRate"),
        channels=_number(audio, "channels"),
        tracks=_tracks(start.get("tracks")),
        parameters=_parameters(start.get("customParameters")),
    )


def _tracks(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if type(value) is not list or not all(type(item) is str for item in value):
        raise BadMessage("wrong_type", "tracks")
    return tuple(value)


def _parameters(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if type(value) is not dict or not all(type(item) is str for item in value.values()):
        raise BadMessage("wrong_type", "customParameters")
    return value


def _media(data: dict[str, Any]) -> Media:
    """The hot path: what is well formed is read at once; only what is not is read again, to name the cause."""
    try:
        media = data["media"]
        sid, track, chunk, timestamp = data["streamSid"], media["track"], media["chunk"], media["timestamp"]
        if type(sid) is str and type(track) is str and len(chunk) < _MAX_INT_CHARS and len(timestamp) < _MAX_INT_CHARS:
            payload = a2b_base64(media["payload"], strict_mode=True)
            if chunk.isdecimal() and timestamp.isdecimal():
                return Media(sid, int(chunk), int(timestamp), payload, track)
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    return _media_slowly(data)


def _media_slowly(data: dict[str, Any]) -> Media:
    media = _object(data, "media")
    encoded = _text(media, "payload")
    try:
        payload = a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise BadMessage("not_base64", "payload") from error
    return Media(
        _text(data, "streamSid"),
        _number(media, "chunk"),
        _number(media, "timestamp"),
        payload,
        _optional_text(media, "track"),
    )


def _dtmf(data: dict[str, Any]) -> Dtmf:
    digit = _text(_object(data, "dtmf"), "digit")
    if digit not in _DIGITS:
        raise BadMessage("bad_digit", "digit")
    return Dtmf(_text(data, "streamSid"), digit)


def _mark(data: dict[str, Any]) -> Mark:
    return Mark(_text(data, "streamSid"), _text(_object(data, "mark"), "name"))


def _stop(data: dict[str, Any]) -> Stop:
    stop = data.get("stop")
    return Stop(_text(data, "streamSid"), _optional_text(_object(data, "stop"), "callSid") if stop is not None else "")


_READERS: dict[str, Callable[[dict[str, Any]], Inbound]] = {
    "media": _media,
    "mark": _mark,
    "dtmf": _dtmf,
    "connected": _connected,
    "start": _start,
    "stop": _stop,
}


class Outbound:
    """Writes the messages of one stream as text frames; what does not change is prepared once."""

    __slots__ = ("_clear", "_mark_head", "_media_head")

    def __init__(self, stream_sid: str) -> None:
        sid = orjson.dumps(stream_sid).decode()
        self._media_head = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{sid}}}'

    def media(self, payload: bytes) -> str:
        """Raw µ-law of any length."""
        return f'{self._media_head}{b2a_base64(payload, newline=False).decode("ascii")}"}}}}'

    def mark(self, name: str) -> str:
        """A playback mark."""
        return f"{self._mark_head}{orjson.dumps(name).decode()}}}}}"

    def clear(self) -> str:
        """Empty the carrier's buffer; all outstanding marks come back."""
        return self._clear


class MarkName(NamedTuple):
    """What a mark of ours says: which piece of which epoch of which turn."""

    turn: int
    epoch: int
    piece: int


_MARK_NAME = re.compile(r"t([0-9]{1,9})\.e([0-9]{1,9})\.p([0-9]{1,9})")


def mark_name(turn: int, epoch: int, piece: int) -> str:
    """The name under which a piece's end is marked."""
    return f"t{turn}.e{epoch}.p{piece}"


def parse_mark_name(name: str) -> MarkName | None:
    """The numbers in a mark's name; None where it is not one of ours."""
    match = _MARK_NAME.fullmatch(name)
    return MarkName(int(match[1]), int(match[2]), int(match[3])) if match else None

"""One call as one file: JSON lines, gzipped or plain.

The first line says what it is, then one line for each entry of the log, then the recording in pieces where it goes
along, then one line with the count and the SHA-256 of all bytes before it. The same call always gives the same bytes.
``docs/replay.md`` describes the lines.
"""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from calls.core.record import build, payload
from calls.replay.log import CallRecord, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "voiceagent.call"
VERSION = 1
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_SURROGATE = b"\\ud"
_PIECE_BYTES = 48 * 1024
#: Unpacked at a time: what stands before a damage in the same slice is lost.
_SLICE_BYTES = 256
#: Two hours of sound in stereo with its log. A file of a few kilobytes can unpack to gigabytes.
MOST_BYTES = 512 * 1024 * 1024
#: Fields of an entry that are left out where they are empty.
_OPTIONAL = ("digest", "error")


class CallFileError(ValueError):
    """A file that holds no call; the message says why."""


@dataclass(frozen=True, slots=True)
class CallFile:
    """What a file holds. ``record.damage`` says where it broke off, if it did; ``audio`` is a WAV, or empty."""

    record: CallRecord
    audio: bytes = b""


def written(record: CallRecord, audio: bytes = b"", *, packed: bool = True) -> bytes:
    """The file's bytes."""
    text = b"".join(_lines(record, audio))
    whole = text + _line({"end": {"lines": text.count(b"\n"), "sha256": sha256(text).hexdigest()}})
    return gzip.compress(whole, mtime=0) if packed else whole


def _lines(record: CallRecord, audio: bytes) -> Iterator[bytes]:
    yield _line(
        {
            "format": FORMAT,
            "version": VERSION,
            "call_sid": record.call_sid,
            "entries": len(record.lines) if record.entries is None else record.entries,
            "facts": record.facts,
            "layout": record.layout,
        }
    )
    for line in record.lines:
        yield _line({name: value for name, value in payload(line).items() if value or name not in _OPTIONAL})
    for at in range(0, len(audio), _PIECE_BYTES):
        yield _line({"audio": b64encode(audio[at : at + _PIECE_BYTES]).decode()})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read(raw: bytes) -> CallFile:
    """What these bytes hold, as far as they can be read. Raises ``CallFileError`` where that is not even a beginning."""
    lines, damage = _text(raw)
    header = _header(lines[0])
    entries: list[Line] = []
    audio: list[bytes] = []
    for number, text in enumerate(lines[1:], 2):
        try:
            value = _parsed(text)
            if "end" in value:
                damage = damage or _wrong_end(value["end"], lines, number)
                break
            if "audio" in value:
                audio.append(b64decode(value["audio"], validate=True))
            else:
                entries.append(_entry(value))
        except (ValueError, TypeError, RecursionError) as error:
            damage = damage or f"line {number} of the file cannot be read: {error}"
            break
    else:
        damage = damage or f"the file ends after line {len(lines)}"
    record = CallRecord(
        header["call_sid"], tuple(entries), header["layout"], header["entries"], header["facts"], damage
    )
    return CallFile(record, b"".join(audio))


def _parsed(text: bytes) -> Any:
    """The line's value. Raises ``ValueError`` also for half a surrogate pair, which no text of a call has."""
    value = json.loads(text.decode())  # of bytes the library would take other encodings, and halves of characters
    if _SURROGATE in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _entry(value: Any) -> Line:
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        raise TypeError("its data is no object")
    line: Line = build(Line, value)
    return line


def _text(raw: bytes) -> tuple[list[bytes], str]:
    """The lines, unpacked as far as that goes, and why no further."""
    if not raw.startswith(_GZIP):
        return raw.removesuffix(b"\n").split(b"\n"), ""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    text, damage = bytearray(), ""
    try:
        for at in range(0, len(raw), _SLICE_BYTES):
            text += unpacker.decompress(raw[at : at + _SLICE_BYTES])
            if len(text) > MOST_BYTES:
                raise CallFileError(f"the file unpacks to more than {MOST_BYTES >> 20} MiB")
    except zlib.error as error:
        damage = f"the file cannot be unpacked: {error}"
    return bytes(text).removesuffix(b"\n").split(b"\n"), damage


_HEADER = {"call_sid": str, "entries": int, "facts": dict, "layout": dict}


def _header(text: bytes) -> dict[str, Any]:
    try:
        value = _parsed(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise CallFileError("this is not a call's file")
    if value.get("version") != VERSION:
        raise CallFileError(f"the file has version {value.get('version')!r}; this release reads version {VERSION}")
    for name, kind in _HEADER.items():
        if not isinstance(value.get(name), kind):
            raise CallFileError(f"the file's first line has no {name}")
    return value


def _wrong_end(end: Any, lines: list[bytes], number: int) -> str:
    before = b"\n".join(lines[: number - 1]) + b"\n"
    if end != {"lines": number - 1, "sha256": sha256(before).hexdigest()}:
        return "the file was changed: its last line does not fit the others"
    return f"there is something after the file's last line, {number}" if number < len(lines) else ""

"""The event log as values: entries of a Redis stream, read so that no broken one can stop the rest. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calls.core.record import COMMAND_TYPES, EVENT_TYPES, RecordError, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KINDS: dict[str, Mapping[str, Any]] = {"event": EVENT_TYPES, "command": COMMAND_TYPES}
_MAX_INT = 2**53
_MAX_TURN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``value`` is the event or command, or ``None`` where it cannot be read and ``error`` says why."""

    seq: int
    step: int
    kind: str
    type: str
    at_ms: int
    wall_ms: int
    mode: str
    turn: int
    data: Any
    digest: str = ""
    value: Any = None
    error: str = ""


def read(raw: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Entry]:
    """Entries of a stream, by sequence number, each number once: the first one counts."""
    by_seq: dict[int, Entry] = {}
    for stream_id, fields in raw:
        entry = read_entry(stream_id, fields)
        by_seq.setdefault(entry.seq, entry)
    return [by_seq[seq] for seq in sorted(by_seq)]


def read_entry(stream_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """One entry. A broken one keeps its place by the stream id and carries what was there."""
    text = {_text(name): _text(value) for name, value in fields.items()}
    place = _number(_text(stream_id).split("-")[0], 0)
    head: dict[str, Any] = {
        "seq": _number(text.get("seq"), place, low=1),
        "step": _number(text.get("step"), 0),
        "type": clean(text.get("type", ""))[:40],
        "at_ms": _number(text.get("at_ms"), 0),
        "wall_ms": _number(text.get("wall_ms"), 0),
        "mode": clean(text.get("mode", ""))[:16],
        "turn": _number(text.get("turn"), 0, high=_MAX_TURN),
        "digest": clean(text.get("digest", ""))[:16],
    }
    try:
        data, value = _value(text)
    except (ValueError, RecursionError) as error:
        raw = clean(text.get("data", json.dumps(text)))
        return Entry(**head, kind="broken", data={"raw": raw}, error=clean(str(error) or type(error).__name__)[:200])
    shown = clean_tree(data)
    changed = "" if shown == data else "characters that cannot be stored were replaced"
    return Entry(**head, kind=text["kind"], data=shown, value=value, error=changed)


def _value(text: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    known = _KINDS.get(text.get("kind", ""))
    if known is None:
        raise RecordError(f"kind must be event or command, not {text.get('kind')!r}")
    if not text.get("seq", "").isdigit():
        raise RecordError("no sequence number")
    data = json.loads(text.get("data", ""))
    if not isinstance(data, dict):
        raise RecordError("data is not an object")
    name = data.get("type")
    if not isinstance(name, str) or name not in known or name != text.get("type"):
        raise RecordError(f"unknown type {name!r}")
    return data, build(known[name], {key: value for key, value in data.items() if key != "type"})


def clean(text: str) -> str:
    """The text without what PostgreSQL cannot store: NUL and halves of surrogate pairs."""
    return text.replace("\x00", "\ufffd").encode("utf-8", errors="replace").decode()


def clean_tree(value: Any) -> Any:
    """The same for all texts in a JSON value."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_tree(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): clean_tree(item) for name, item in value.items()}
    return value


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw


def _number(text: str | None, default: int, low: int = 0, high: int = _MAX_INT) -> int:
    """A whole number within bounds, else the default."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > 16:
        return default
    return int(text) if low <= int(text) <= high else default

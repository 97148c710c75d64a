"""Events and commands as JSON and back: the record that replays.

The type tag is the class name; fields are the dataclass's own. Encoding is deterministic (sorted keys, no floats),
so two equal values always give equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from calls.replay.cores.v2 import commands, events
from calls.replay.cores.v2.commands import Command
from calls.replay.cores.v2.events import Event

if TYPE_CHECKING:
    import types


class RecordError(ValueError):
    """A record that cannot be read; the message says what is wrong and where."""


def _subclasses(module: types.ModuleType, base: type) -> dict[str, type]:
    return {
        name: cls
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }


EVENT_TYPES: dict[str, type[Event]] = _subclasses(events, Event)
COMMAND_TYPES: dict[str, type[Command]] = _subclasses(commands, Command)


def payload(value: Any) -> Any:
    """A dataclass tree as plain JSON values (dicts, lists, strings, ints, bools)."""
    if is_dataclass(value):
        return {f.name: payload(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [payload(item) for item in value]
    return value


def tagged(value: Event | Command) -> dict[str, Any]:
    """``{"type": class name, ...fields}``."""
    return {"type": type(value).__name__, **payload(value)}


def dumps(value: Event | Command) -> bytes:
    """Deterministic JSON of one event or command."""
    return json.dumps(tagged(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def event_from(data: dict[str, Any]) -> Event:
    """The event of a tagged mapping. Raises ``RecordError``."""
    built: Event = _from_tagged(data, EVENT_TYPES)
    return built


def command_from(data: dict[str, Any]) -> Command:
    """The command of a tagged mapping. Raises ``RecordError``."""
    built: Command = _from_tagged(data, COMMAND_TYPES)
    return built


def _from_tagged(data: dict[str, Any], known: dict[str, Any]) -> Any:
    name = data.get("type")
    if name not in known:
        raise RecordError(f"unknown type {name!r} in a record")
    return build(known[name], {key: value for key, value in data.items() if key != "type"})


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def build(cls: Any, data: Any) -> Any:
    """``cls`` from plain JSON values, checking types and names. Raises ``RecordError``."""
    if is_dataclass(cls):
        return _build_dataclass(cls, data)
    if get_origin(cls) is tuple:
        if not isinstance(data, list):
            raise RecordError(f"expected a list, got {type(data).__name__}")
        return tuple(build(get_args(cls)[0], item) for item in data)
    if isinstance(cls, type) and not (isinstance(data, cls) and (cls is bool or not isinstance(data, bool))):
        raise RecordError(f"expected {cls.__name__}, got {data!r}")
    return data


def _build_dataclass(cls: Any, data: Any) -> Any:
    if not isinstance(data, dict):
        raise RecordError(f"{cls.__name__}: expected an object, got {type(data).__name__}")
    hints = _hints(cls)
    unknown = data.keys() - hints.keys()
    if unknown:
        raise RecordError(f"{cls.__name__}: unknown field {sorted(unknown)[0]!r}")
    try:
        return cls(**{name: build(hints[name], value) for name, value in data.items()})
    except TypeError as error:
        raise RecordError(f"{cls.__name__}: {error}") from error
    except RecordError as error:
        raise RecordError(f"{cls.__name__}: {error}") from error

"""Inputs made of other inputs: by bytes, and, where an input is JSON, by its values, which bytes alone rarely reach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

#: Values that were trouble somewhere: limits, other kinds, halves of characters, names of others.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, -0.0, float("nan"), float("inf"), "", " ", "0",
    "\x00", "\ud800", "\u2028", "é" * 3, "9" * 400, "-1", "1e9", "٣", "a" * 3000, "../..", "*", [], {}, [[]], [None], {"": {}},
)  # fmt: skip
_ODD_BYTES = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\r\n\r\n",
    b"%00",
    b"=",
    b"&",
    b"[",
    b"{",
    b'"',
    b"\\u0000",
)
_DEEP = 400


def mutated(
    data: bytes, rng: Random, others: Sequence[bytes] = (), by_bytes: Callable[[bytes], bytes] | None = None
) -> bytes:
    """One input from another: JSON mostly by its values, everything else by bytes, or as ``by_bytes`` does it.

    Of an input with several lines one line is changed.
    """
    if rng.random() < 0.7:
        lines = data.split(b"\n")
        place = rng.randrange(len(lines))
        head, mark, text = _json_of(lines[place])
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            lines[place] = head + mark + _written(_changed(value, rng), rng)
            return b"\n".join(lines)
    return by_bytes(data) if by_bytes else _by_bytes(data, rng, others)


def _json_of(line: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before the JSON of a line: a server-sent event has a name there, a log's entry other fields."""
    for mark in (b"data: ", b"\xff"):
        head, found, text = line.rpartition(mark)
        if found:
            return head, mark, text
    return b"", b"", line


def _written(value: Any, rng: Random) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _changed(value: Any, rng: Random) -> Any:
    """``value`` with one thing in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {key: one for key, one in value.items() if key != name}
            case 1:
                return {**value, str(rng.choice(ODD)): value[name]}
            case 2:
                return {**value, name: value[rng.choice(list(value))]}
            case _:
                return {**value, name: _changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        changes = ([_changed(value[place], rng)], [], [value[place]] * rng.choice((2, 3, 100)))
        return [*value[:place], *rng.choice(changes), *value[place + 1 :]]
    match rng.randrange(6):
        case 0 if isinstance(value, str) and value:
            place = rng.randrange(len(value))
            return value[:place] + str(rng.choice(ODD))[:80] + value[place + rng.randrange(2) :]
        case 1 if isinstance(value, int) and abs(value) < 2**70:
            return rng.choice((-value, value + 1, value * 2**32, value / 3, str(value)))
        case 2:
            return [value]
        case 3:
            return _nested(value, rng.choice((2, _DEEP)))
        case _:
            return rng.choice(ODD)


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def _by_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    at, until = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    match rng.randrange(5):
        case 0:
            return data[:at] + data[until:]
        case 1:
            return data[:until] + data[at:]
        case 2 if others:
            return data[:at] + rng.choice(others)[at:]
        case 3:
            return data[:at] + rng.choice(_ODD_BYTES) + data[at:]
        case _:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]

"""The web process's log as a person wants it: one line when a call starts, one when it ends."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_S = 0.2
_MARK = b'"call.'


def render(raw: bytes) -> str | None:
    """A readable line for a ``call.started`` or ``call.ended`` log line; None for all others."""
    if _MARK not in raw:
        return None
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    painter = _PAINTERS.get(str(fields.get("event")))
    return painter(fields) if painter else None


def _started(fields: dict[str, Any]) -> str:
    who = f" from {fields['pii_from']}" if fields.get("pii_from") else ""
    agent = f", answered by {fields['agent']}" if fields.get("agent") else ""
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} started{who}{agent}"


def _ended(fields: dict[str, Any]) -> str:
    parts = [
        f"{fields['duration_ms'] / 1000:.1f} s" if _is_number(fields.get("duration_ms")) else "",
        _count(fields.get("turns"), "turn"),
        _count(fields.get("barge_ins"), "barge-in"),
        f"answers in {fields['turn_latency_ms']:.0f} ms" if _is_number(fields.get("turn_latency_ms")) else "",
        str(fields.get("reason") or ""),
    ]
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} ended: " + ", ".join(part for part in parts if part)


_PAINTERS: dict[str, Callable[[dict[str, Any]], str]] = {"call.started": _started, "call.ended": _ended}


def _clock(fields: dict[str, Any]) -> str:
    """The local time of day out of an ISO time."""
    try:
        moment = datetime.datetime.fromisoformat(str(fields.get("timestamp")))
    except ValueError:
        return "--:--:--"
    return f"{moment.astimezone():%H:%M:%S}"


def _count(value: Any, noun: str) -> str:
    return f"{value} {noun}{'' if value == 1 else 's'}" if _is_number(value) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


async def follow(log: Path, say: Callable[[str], None]) -> None:
    """Say a line for every call that the log tells of from now on. Runs until cancelled.

    The file stands between the two processes on purpose: a supervisor that is busy, or gone, never holds up a call.
    """
    reader = _Reader(log)
    while True:
        await asyncio.sleep(_POLL_S)
        for line in filter(None, map(render, reader.lines())):
            say(line)


class _Reader:
    """Reads what a growing file has gained since the last look; whole lines only."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def lines(self) -> list[bytes]:
        """The new lines. A file that has become shorter was put aside: the new one is read from its beginning."""
        if not self._log.exists():
            return []
        if self._log.stat().st_size < self._position:
            self._position, self._rest = 0, b""
        with self._log.open("rb") as file:
            file.seek(self._position)
            gained = self._rest + file.read()
            self._position = file.tell()
        *lines, self._rest = gained.split(b"\n")
        return lines

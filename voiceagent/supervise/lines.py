"""The logs of web process and worker as a person wants them: what became of each call, and what a stop waits for."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_S = 0.2
_MARK = re.compile(rb'"(?:call|drain|stream|webhook)\.')
_REFUSED = {
    "no_agent": "no active agent has the number that was called",
    "overload": "MAX_CALLS calls are in progress, or those in progress suffer",
    "rate": "the number has called too often within a minute (CALLS_PER_NUMBER_PER_MINUTE)",
    "drain": "the server is stopping",
    "no_database": "the database does not answer",
}
_SIGNATURE = {
    "missing": "it is not signed",
    "mismatch": "its signature does not fit: PUBLIC_BASE_URL must be what the carrier calls, TWILIO_AUTH_TOKEN the account's",
}


def render(raw: bytes) -> str | None:
    """A readable line for a log line that tells what became of a call or holds up a stop; None for all others."""
    if not _MARK.search(raw):
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
        _answers(fields),
        str(fields.get("reason") or ""),
    ]
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} ended: " + ", ".join(part for part in parts if part)


def _answers(fields: dict[str, Any]) -> str:
    """How fast they were; a call with turns and no answer says so."""
    if _is_number(fields.get("turn_latency_ms")):
        return f"answers in {fields['turn_latency_ms']:.0f} ms"
    return "answers: no data" if _is_number(fields.get("turns")) and fields["turns"] else ""


def _refused(fields: dict[str, Any]) -> str:
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} refused: {_REFUSED.get(*_twice(fields.get('why')))}"


def _archived(fields: dict[str, Any]) -> str | None:
    """Only what nobody was there to tell of: the process that had the call is gone."""
    if fields.get("reason") != "process_died" or fields.get("result") != "archived":
        return None
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} had lost its process; what was recorded is archived"


def _abandoned(fields: dict[str, Any]) -> str:
    return f"{_clock(fields)}  call {fields.get('call_sid', '?')} closed: {str(fields.get('reason')).replace('_', ' ')}"


def _request_refused(fields: dict[str, Any]) -> str:
    return (
        f"{_clock(fields)}  request to {fields.get('path', '?')} refused: {_SIGNATURE.get(*_twice(fields.get('why')))}"
    )


def _stream_refused(fields: dict[str, Any]) -> str:
    why = str(fields.get("why")).removeprefix("signature_")
    return f"{_clock(fields)}  media stream refused: {_SIGNATURE.get(*_twice(why))}"


def _waiting(fields: dict[str, Any]) -> str:
    return f"Waiting for {_calls(fields)}, up to {fields.get('seconds', 0):g} s. Ctrl-C again to stop at once."


def _closing(fields: dict[str, Any]) -> str:
    return f"Time is up: {_calls(fields)} told goodbye, up to {fields.get('seconds', 0):g} s more."


_PAINTERS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "call.started": _started,
    "call.ended": _ended,
    "call.refused": _refused,
    "call.archived": _archived,
    "call.abandoned": _abandoned,
    "webhook.refused": _request_refused,
    "stream.refused": _stream_refused,
    "drain.begun": _waiting,
    "drain.closing": _closing,
}


def _twice(why: Any) -> tuple[str, str]:
    """A word to look up, and what to say where it is not found."""
    return str(why), str(why).replace("_", " ")


def _calls(fields: dict[str, Any]) -> str:
    return _count(fields.get("calls"), "call")


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
    """Say a line for whatever the log tells of calls from now on. Runs until cancelled, and then looks once more.

    The file stands between the two processes on purpose: a supervisor that is busy, or gone, never holds up a call.
    """
    reader = _Reader(log)
    try:
        while True:
            await asyncio.sleep(_POLL_S)
            reader.tell(say)
    finally:
        reader.tell(say)


class _Reader:
    """Reads what a growing file has gained since the last look; whole lines only."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what is new."""
        for line in filter(None, map(render, self.lines())):
            say(line)

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

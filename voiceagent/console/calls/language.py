"""The query language of the calls list: what there is to ask for, one row a field. Pure.

``outcome:error response:>1500 bargein:>2 lang:en -test:yes has:operator "cancel my order"``

- Terms stand side by side and all hold. A minus before a term turns it round.
- ``field:value``; ``field:a,b`` is any of them; ``field:>3``, ``>=``, ``<``, ``<=``; ``field:3..5``, ``3..`` and ``..5``
  are ranges with both ends in them. ``has:operator`` is short for ``operator:yes``.
- Words and ``"words in this order"`` are looked for in what was said and heard, all of them in one turn.

``calls.parsing`` reads and writes it, ``calls.conditions`` asks the database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, tzinfo

#: The longest query that is read, in characters; what comes after is told and left out.
MOST_CHARS = 2000
#: So many terms, and values of a term, are more than anybody types.
MOST_TERMS = 40
MOST_VALUES = 20


class Op(StrEnum):
    """How a value is compared."""

    IS = ""
    MORE = ">"
    MORE_OR_SAME = ">="
    LESS = "<"
    LESS_OR_SAME = "<="
    RANGE = ".."


class Kind(StrEnum):
    """What the values of a field are."""

    COUNT = "count"
    MILLISECONDS = "milliseconds"
    LENGTH = "length"
    MOMENT = "moment"
    CHOICE = "choice"
    YES_NO = "yes or no"
    NAME = "name"
    DIGITS = "digits"
    CALL_ID = "call id"


@dataclass(frozen=True, slots=True)
class Field:
    """A row of the language. ``column`` is where the database has it; ``turn_column`` where a turn has its own.

    ``choices`` maps each allowed value to its words; ``needs`` is the permission of ``console`` without which it is refused.
    """

    name: str
    kind: Kind
    title: str
    column: str
    example: str
    choices: Mapping[str, str] = field(default_factory=dict)
    turn_column: str = ""
    needs: str = ""

    @property
    def is_ordered(self) -> bool:
        """Whether values can be compared."""
        return self.kind in _ORDERED


_ORDERED = frozenset((Kind.COUNT, Kind.MILLISECONDS, Kind.LENGTH, Kind.MOMENT))

#: How a call ended, coarsely; ``calls.models.outcomes`` says which end is which.
OUTCOMES = MappingProxyType(
    {
        "completed": "completed",
        "transferred": "transferred",
        "silent": "caller fell silent",
        "missed": "never connected",
        "stopped": "stopped by us",
        "error": "error",
        "live": "in progress",
    }
)
FALLBACKS = MappingProxyType(
    {
        "model": "model asked again",
        "voice": "voice begun again",
        "ear": "recogniser replaced",
        "phrase": "recorded phrase",
    }
)
WHO = MappingProxyType({"new": "new caller", "returning": "returning", "withheld": "number withheld"})
YES_NO = MappingProxyType({"yes": "yes", "no": "no"})

_ROWS = (
    Field("date", Kind.MOMENT, "when it started", "started_at", "date:7d"),
    Field("outcome", Kind.CHOICE, "how it ended", "outcome", "outcome:error,missed", OUTCOMES),
    Field("end", Kind.NAME, "the exact end", "end_reason", "end:caller_hung_up"),
    Field("response", Kind.MILLISECONDS, "response time, p95", "latency_p95_ms", "response:>1500", turn_column="latency_ms"),
    Field("median", Kind.MILLISECONDS, "response time, median", "latency_median_ms", "median:>1s"),
    Field("slowest", Kind.MILLISECONDS, "slowest response", "latency_max_ms", "slowest:>3s"),
    Field("duration", Kind.LENGTH, "how long it was", "duration_ms", "duration:>3m"),
    Field("turns", Kind.COUNT, "turns of the caller", "turn_count", "turns:<3"),
    Field("bargein", Kind.COUNT, "interruptions by the caller", "barge_in_count", "bargein:>2"),
    Field("errors", Kind.COUNT, "errors", "error_count", "errors:>0"),
    Field("error", Kind.NAME, "what failed", "error_kinds", "error:model:timeout", turn_column="causes"),
    Field("fallback", Kind.CHOICE, "what stood in for a provider", "fallbacks", "fallback:model", FALLBACKS),
    Field("recalled", Kind.COUNT, "memories used", "recalled_count", "recalled:>0"),
    Field("lang", Kind.NAME, "language", "language", "lang:en"),
    Field("who", Kind.CHOICE, "new or returning caller", "is_returning", "who:new", WHO),
    Field("caller", Kind.DIGITS, "last digits of the caller's number", "from_number", "caller:1234", needs="reveal_number"),
    Field("line", Kind.DIGITS, "last digits of the line dialled", "to_number", "line:0006"),
    Field("agent", Kind.NAME, "agent", "agent_version__agent__name", 'agent:"Bella Vista"'),
    Field("version", Kind.NAME, "software version", "software_version", "version:0.1.0"),
    Field("id", Kind.CALL_ID, "beginning of the call id", "call_sid", "id:CA12ab"),
    Field("test", Kind.YES_NO, "test call", "is_test", "test:yes", YES_NO),
    Field("flagged", Kind.YES_NO, "flagged for review", "flagged", "flagged:yes", YES_NO),
    Field("operator", Kind.YES_NO, "operator involved", "has_operator", "has:operator", YES_NO),
    Field("recording", Kind.YES_NO, "recording kept", "recording", "has:recording", YES_NO),
    Field("violation", Kind.YES_NO, "invariant violated", "violations", "has:violation", YES_NO),
    Field("gap", Kind.YES_NO, "record incomplete", "broken_count", "has:gap", YES_NO),
)  # fmt: skip
_YES_NO_NAMES = MappingProxyType({row.name: row.title for row in _ROWS if row.kind is Kind.YES_NO})
_HAS = Field("has", Kind.CHOICE, "short for …:yes", "", "has:recording", _YES_NO_NAMES)
#: Every field by its name.
FIELDS: Mapping[str, Field] = MappingProxyType({row.name: row for row in (*_ROWS, _HAS)})


# --- values -----------------------------------------------------------------------------------------------------------

_COUNT = re.compile(r"[0-9]{1,9}")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_TIME = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?(ms|s|m|h)?")
_CLOCK = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,2}):([0-9]{2})")
_AGO = re.compile(r"([0-9]{1,5})(m|h|d|w)")
_AGO_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:T([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?)?)?")
_DIGITS = re.compile(r"[0-9]{2,15}")
_CALL_ID = re.compile(r"CA[0-9a-zA-Z]{0,62}", re.IGNORECASE)
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time that a word for it means, from ``start`` up to and without ``end``."""

    start: datetime
    end: datetime


def milliseconds(text: str, unit: str) -> int:
    """``1500``, ``1.5s``, ``3m`` or ``3:12`` in ms; ``unit`` is meant where none stands. Raises ``ValueError``."""
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((hours * 60 + minutes) * 60 + seconds) * 1000
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError
    whole, fraction, written = found.groups()
    scale = _UNITS_MS[written or unit]
    return int(whole) * scale + int((fraction or "0").ljust(3, "0")) * scale // 1000


def span(text: str, now: datetime) -> Span:
    """What a word for a time means at ``now`` (aware, in the reader's zone); ``7d`` is from seven days ago until now.

    Raises ``ValueError``, and ``OverflowError`` for a time that the calendar does not have.
    """
    zone = now.tzinfo
    if text in ("today", "yesterday"):
        day = now.date() - timedelta(days=text == "yesterday")
        return Span(_midnight(day.year, day.month, day.day, zone), _midnight(*_next_day(day), zone))
    if ago := _AGO.fullmatch(text):
        return Span(now - timedelta(**{_AGO_UNITS[ago[2]]: int(ago[1])}), now)
    found = _DAY.fullmatch(text)
    if not found:
        raise ValueError
    year, month, day_of, hour, minute, second = (None if part is None else int(part) for part in found.groups())
    start = datetime(year or 0, month or 1, day_of or 1, hour or 0, minute or 0, second or 0, tzinfo=zone)
    if second is not None:
        return Span(start, start + timedelta(seconds=1))
    if hour is not None:
        return Span(start, start + timedelta(minutes=1))
    if day_of is not None:
        return Span(start, _midnight(*_next_day(start.date()), zone))
    if month is not None:
        return Span(start, _midnight(start.year + start.month // 12, start.month % 12 + 1, 1, zone))
    return Span(start, _midnight(start.year + 1, 1, 1, zone))


def is_ago(text: str) -> bool:
    """Whether a word for a time counts back from now."""
    return _AGO.fullmatch(text) is not None


def _midnight(year: int, month: int, day: int, zone: tzinfo | None) -> datetime:
    return datetime(year, month, day, tzinfo=zone)


def _next_day(day: date) -> tuple[int, int, int]:
    after = day + timedelta(days=1)
    return after.year, after.month, after.day


def _count(text: str, _row: Field) -> str:
    if not _COUNT.fullmatch(text):
        raise ValueError("takes whole numbers, such as 2")
    return text


def _span_of_ms(unit: str, example: str) -> Callable[[str, Field], str]:
    def read(text: str, _row: Field) -> str:
        try:
            milliseconds(text.lower(), unit)
        except ValueError:
            raise ValueError(f"takes a time, such as {example}") from None
        return text.lower()

    return read


#: A moment at which every word for a time can be tried.
_SOME_TIME = datetime.fromisoformat("2026-01-15T12:00:00+00:00")


def _moment(text: str, _row: Field) -> str:
    written = text.upper() if text[:1].isdigit() and "-" in text else text.lower()
    try:
        span(written, _SOME_TIME)
    except (ValueError, OverflowError):
        raise ValueError("takes today, yesterday, 7d (m, h, d, w back from now), 2026-11, 2026-11-30 or 2026-11-30T14:05") from None  # fmt: skip
    return written


def _choice(text: str, row: Field) -> str:
    if text.lower() not in row.choices:
        raise ValueError("takes")
    return text.lower()


def _name(text: str, _row: Field) -> str:
    if not 0 < len(text) <= _LONGEST_NAME:
        raise ValueError("takes a name")
    return text


def _last_digits(text: str, _row: Field) -> str:
    digits = text.removeprefix("+")
    if not _DIGITS.fullmatch(digits):
        raise ValueError("takes the last digits of a number, two at least")
    return digits


def _call_id(text: str, _row: Field) -> str:
    if not _CALL_ID.fullmatch(text):
        raise ValueError("takes the beginning of a call id, such as CA12ab")
    return "CA" + text[2:]


#: How a value of each kind is read: the same in one spelling; ``ValueError`` says what the field takes.
READERS: Mapping[Kind, Callable[[str, Field], str]] = MappingProxyType(
    {
        Kind.COUNT: _count,
        Kind.MILLISECONDS: _span_of_ms("ms", "1500, 1500ms or 1.5s"),
        Kind.LENGTH: _span_of_ms("s", "90, 90s, 3m or 3:12"),
        Kind.MOMENT: _moment,
        Kind.CHOICE: _choice,
        Kind.YES_NO: _choice,
        Kind.NAME: _name,
        Kind.DIGITS: _last_digits,
        Kind.CALL_ID: _call_id,
    }
)

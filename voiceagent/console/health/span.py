"""The stretch of time that the screen shows, from its address: ``?range=24h``, ``?from=…&until=…``, ``?version=7``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What can be chosen: its length, and into what it is divided, so that charts have 48 to 60 columns.
RANGES: dict[str, tuple[timedelta, timedelta]] = {
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "6h": (timedelta(hours=6), timedelta(minutes=6)),
    "24h": (timedelta(hours=24), timedelta(minutes=30)),
    "7d": (timedelta(days=7), timedelta(hours=3)),
    "30d": (timedelta(days=30), timedelta(hours=12)),
}
NAMES = {"1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
DEFAULT = "24h"


@dataclass(frozen=True, slots=True)
class Span:
    """From ``begin`` until before ``end``, in columns of ``step``; ``version`` is an agent version's id, 0: all."""

    name: str
    begin: datetime
    end: datetime
    step: timedelta
    version: int = 0

    @property
    def columns(self) -> list[datetime]:
        """Where each column begins."""
        count = -((self.begin - self.end) // self.step)
        return [self.begin + self.step * number for number in range(count)]

    @property
    def previous(self) -> Span:
        """As long, just before it."""
        return Span(self.name, self.begin - (self.end - self.begin), self.begin, self.step, self.version)

    def query(self, **other: object) -> str:
        """Its address, with something else in place."""
        return urlencode({"range": self.name, "version": self.version or "", **other})


def span_of(asked: Mapping[str, str], now: datetime) -> Span:
    """What an address asks for; what it does not say, or says wrong, is the default. Whole columns, the last one under way."""
    name = asked.get("range", DEFAULT)
    length, step = RANGES.get(name) or RANGES[DEFAULT]
    seconds = int(step.total_seconds())
    end = datetime.fromtimestamp((int(now.timestamp()) // seconds + 1) * seconds, UTC)
    version = asked.get("version", "")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    return Span(name if name in RANGES else DEFAULT, end - length, end, step, number)

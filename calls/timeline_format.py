"""Numbers and times as the pages of records show them: one way to write each, for the admin and the timeline alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

if TYPE_CHECKING:
    from datetime import datetime

NO_DATA = "no data"
_DAY, _SECONDS = "j M Y", "H:i:s"


def clock(at_ms: int | None) -> str:
    """An offset within the call: ``1:07.3``. Empty for ``None``."""
    if at_ms is None:
        return ""
    tenths = at_ms // 100
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def exact_clock(at_ms: int) -> str:
    """An offset to the millisecond: ``1:07.342``."""
    return f"{at_ms // 60_000}:{at_ms // 1000 % 60:02d}.{at_ms % 1000:03d}"


def length(duration_ms: int | None) -> str:
    """How long a call was: ``3:12``, from an hour on ``1:03:12``; ``no data`` for ``None``."""
    if duration_ms is None:
        return NO_DATA
    seconds = round(duration_ms / 1000)
    minutes, hours = seconds // 60 % 60, seconds // 3600
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def milliseconds(value: int | None) -> str:
    """Milliseconds below ten seconds, then seconds; ``no data`` for ``None``."""
    if value is None:
        return NO_DATA
    return f"{value:,} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def moment(at: datetime | None) -> str:
    """A time of day with its date, to the second. The server's zone, by name; ``times.js`` makes it the reader's."""
    if at is None:
        return NO_DATA
    local = localtime(at)
    text = date_format(local, f"{_DAY}, {_SECONDS} T")
    return format_html('<time datetime="{}" data-local="moment">{}</time>', local.isoformat(), text)


def stacked_moment(at: datetime) -> str:
    """The same in two lines, for the cell of a list."""
    local = localtime(at)
    return format_html(
        '<time class="stack" datetime="{0}" data-local="day">{1}</time>'
        '<time class="stack" datetime="{0}" data-local="clock">{2}</time>',
        local.isoformat(),
        date_format(local, _DAY),
        date_format(local, f"{_SECONDS} T"),
    )


def exact_time(at: datetime) -> str:
    """A time of day to the millisecond, without its date."""
    local = localtime(at)
    text = f"{date_format(local, _SECONDS)}.{local.microsecond // 1000:03d}"
    return format_html('<time datetime="{}" data-local="exact">{}</time>', local.isoformat(), text)

"""Numbers, times and states as the memory's pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

from memory import people
from memory.crypto import SealBroken
from memory.overview import STATES

if TYPE_CHECKING:
    from datetime import datetime

    from memory.people import Person

NOTHING = "–"
SEALED = "cannot be opened: MEMORY_KEY was changed"
_SHOWN_DIGITS = 4


class ReadOnlyMixin:
    """For ``ModelAdmin``: rows are written by services only, and nobody deletes one by hand."""

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """By services only."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """By services only."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Erasing is what removes."""
        return False


def masked(number: str) -> str:
    """A number by its last digits."""
    return f"••• {number[-_SHOWN_DIGITS:]}" if len(number) > _SHOWN_DIGITS else "•••"


def number(person: Person, *, whole: bool) -> str:
    """A caller's number, ``whole`` for whoever may see it."""
    try:
        found = people.number_of(person)
    except SealBroken:
        return SEALED
    return found if whole else masked(found)


def moment(at: datetime | None, missing: str = NOTHING) -> str:
    """A day and a time. The server's zone, by name; ``times.js`` makes it the reader's."""
    if at is None:
        return missing
    local = localtime(at)
    text = date_format(local, "j M Y, H:i:s T")
    return format_html('<time datetime="{}" data-local="moment">{}</time>', local.isoformat(), text)


def clock(at_ms: int) -> str:
    """A place in a recording: ``1:07.3``; empty where there is none."""
    if at_ms < 0:
        return ""
    tenths = at_ms // 100
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 fact``, ``1,200 facts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def caller_url(person_id: Any) -> str:
    """A caller's page."""
    return reverse("admin:memory_caller_change", args=[person_id])


#: What each state means, for the reader.
MEANS = {
    "current": "holds now, and calls are told it",
    "disputed": "contradicts something firmer; waits for a person to decide",
    "superseded": "was true until another value replaced it",
    "retracted": "is not true any more",
    "corrected": "was wrong, and has been replaced",
    "forgotten": "set aside: no call is told it, and it is erased in a while unless it is brought back",
    "expired": "too old to be told without being asked for",
}
assert MEANS.keys() == STATES.keys()  # noqa: S101 - two tables of one thing

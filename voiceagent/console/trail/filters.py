"""What a reader of the trail asks for, from the address of the page; what is no question is left out, never an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.dateparse import parse_date

from voiceagent.console.audit import ACTIONS
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

PAGE = 100
FIELDS = ("who", "action", "call", "entry", "reason", "since", "until")


@dataclass(frozen=True, slots=True)
class Filters:
    """The fields of the form, as text; ``wrong`` names those that were not understood."""

    values: dict[str, str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()

    def rows(self) -> QuerySet[AuditEntry]:
        """The entries asked for, newest first."""
        found, of = AuditEntry.objects.order_by("-id"), self.values
        asked = {
            "username__icontains": of.get("who"),
            "action": of.get("action"),
            "call_sid": of.get("call"),
            "entry__icontains": of.get("entry"),
            "reason__icontains": of.get("reason"),
            "at__gte": _midnight(of.get("since")),
            "at__lt": _midnight(of.get("until"), days=1),
        }
        return found.filter(**{name: value for name, value in asked.items() if value})


def read(query: Mapping[str, str]) -> Filters:
    """The filters of a query string."""
    given = {name: query.get(name, "").strip()[:200] for name in FIELDS}
    values = {name: value for name, value in given.items() if value}
    wrong: list[str] = [name for name in ("since", "until") if name in values and _midnight(values[name]) is None]
    if values.get("action", "") not in ("", *ACTIONS):
        wrong.append("action")
    return Filters({name: value for name, value in values.items() if name not in wrong}, tuple(wrong))


def _midnight(day: str | None, days: int = 0) -> datetime | None:
    try:
        parsed = parse_date(day or "")
        if parsed is None:
            return None
        return timezone.make_aware(datetime.combine(parsed + timedelta(days), time()))
    except (ValueError, OverflowError):
        return None

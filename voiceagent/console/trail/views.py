"""The audit trail: who did what, to read, filter and take away. Nothing here changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponseBadRequest
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from voiceagent.console import audit, exports, threads
from voiceagent.console.access import needs
from voiceagent.console.trail import filters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    from voiceagent.console.models import AuditEntry

COLUMNS = ("at", "username", "address", "action", "call_sid", "entry", "reason", "before", "after")
MOST_ROWS = 100_000
_PIECE = 500


@needs("console.view_audit")
@require_safe
def trail(request: HttpRequest) -> HttpResponse:
    """A page of the trail, newest first; ``before`` is the id that the page begins below."""
    asked = filters.read(request.GET)
    rows = asked.rows()
    below = request.GET.get("before", "")
    if below.isascii() and below.isdigit() and len(below) < 19:
        rows = rows.filter(pk__lt=int(below))
    found = list(rows[: filters.PAGE + 1])
    shown = found[: filters.PAGE]
    context = {
        "entries": [(entry, audit.ACTIONS.get(entry.action, entry.action)) for entry in shown],
        "filters": asked,
        "actions": audit.ACTIONS,
        "query": urlencode(asked.values),
        "older": shown[-1].pk if len(found) > filters.PAGE else None,
        "is_first": not below,
    }
    return render(request, "console/trail/trail.html", context)


@needs("console.view_audit")
@require_POST
async def export(request: HttpRequest) -> HttpResponseBase:
    """The entries of the filters as a file, at most 100,000; that it was taken stands in the trail first."""
    format = request.POST.get("format", "")
    if format not in exports.FORMATS:
        return HttpResponseBadRequest("format is csv or jsonl")
    asked = filters.read(request.POST)
    entry = await audit.arecord(request, "audit.exported", after={"format": format, **asked.values})
    return exports.response("audit", format, COLUMNS, _rows(asked, entry.pk))


def _piece(rows: QuerySet[AuditEntry], below: int) -> list[AuditEntry]:
    return list(rows.filter(pk__lt=below)[:_PIECE])


async def _rows(asked: filters.Filters, below: int) -> AsyncIterator[dict[str, Any]]:
    rows, told = asked.rows(), 0
    while told < MOST_ROWS:
        piece = await threads.run(_piece, rows, below)
        for entry in piece:
            yield {column: getattr(entry, column) for column in COLUMNS} | {"at": entry.at.isoformat()}
        told += len(piece)
        if len(piece) < _PIECE:
            return
        below = piece[-1].pk

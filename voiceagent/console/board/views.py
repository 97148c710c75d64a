"""The board as a page: whole as it is sent, so that it can be read without scripts; the socket keeps it true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.shortcuts import render

from calls.timeline_format import length
from calls.timeline_page import reason_text
from voiceagent.console import threads
from voiceagent.console.access import may, microphone, needs
from voiceagent.console.board import reading
from voiceagent.console.board.board import Board
from voiceagent.console.board.rows import FILTERS, LETTERS, ORDERS, ordered, plain
from voiceagent.console.logtail import client, closing
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

#: The six figures by their filter, as the strip names them.
FIGURES = {
    "all": "Calls now",
    "slow": "Response time",
    "attention": "Needs attention",
    "long": "Longest call",
    "errors": "Errors",
    "fallback": "Dependencies",
}
_ORDERS = {"attention": "Attention", "newest": "Newest", "longest": "Longest"}
_RIBBON_MS = 60_000
#: State's letter → where its stretch of the ribbon begins, of 16 from the top; as board.js has it.
_TOPS = {"L": 9, "T": 5, "S": 0, "O": 0, "C": 12, "E": 12, "!": 12}


@microphone
@needs("console.view_console")
async def board(request: HttpRequest) -> HttpResponse:
    """All calls now. ``?filter=``, ``?order=`` and ``?call=`` say what of them is shown, and how."""
    chosen = request.GET.get("filter", "")
    order = request.GET.get("order", "")
    chosen, order = chosen if chosen in FILTERS else "all", order if order in ORDERS else "attention"
    async with closing(client()) as redis:
        shots = await reading.try_look(redis)
    now_ms = reading.now_ms()
    may_read = await threads.run(may, request.user, "console.see_unredacted")
    found = Board(linger_ms=settings.BOARD_LINGER_S * 1000, redact=plain if may_read else redacted_text)
    found.see(shots or [], now_ms)
    found.age(now_ms)
    found.probes = await reading.probes.now()
    if unknown := found.unknown:
        found.nth_calls |= await reading.nth_calls(unknown)
    whole = found.whole()
    longest = whole["strip"]["long"]
    if since := longest.get("since"):
        longest["value"] = length(now_ms - since)
    context: dict[str, Any] = {
        "is_away": shots is None,
        "figures": [(name, title, whole["strip"][name]) for name, title in FIGURES.items()],
        "rows": [{**row, **_drawn(row, now_ms)} for row in ordered(whole["rows"], order, chosen)],
        "count": len(whole["rows"]),
        "chosen": chosen,
        "order": order,
        "orders": _ORDERS,
        "letters": [(letter, state) for state, letter in LETTERS.items()],
        **await threads.run(_empty),
    }
    return await threads.run(render, request, "console/board/board.html", context)


@needs("console.view_console")
async def empty(request: HttpRequest) -> HttpResponse:
    """What an empty board shows, anew: the page asks for it when the last call has gone."""
    return await threads.run(render, request, "console/board/empty.html", await threads.run(_empty))


def _empty() -> dict[str, Any]:
    today = reading.today()
    last = today.last
    return {
        "today": today,
        "last_length": length(last.duration_ms) if last and last.duration_ms is not None else "",
        "last_reason": reason_text(last.end_reason) if last else "",
    }


def _drawn(row: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """What scripts count and draw, as it is at this moment."""
    until_ms = row["ended"] or now_ms
    begins = until_ms - row["zero"] - _RIBBON_MS
    ends = [at_ms for at_ms, _ in row["ribbon"][1:]] + [until_ms - row["zero"]]
    segments = [
        {
            "x": max(at_ms, begins),
            "width": max(0, end_ms - max(at_ms, begins)),
            "top": _TOPS[letter],
            "height": 16 - _TOPS[letter],
            "letter": letter,
        }
        for (at_ms, letter), end_ms in zip(row["ribbon"], ends, strict=True)
        if end_ms > begins and letter in _TOPS
    ]
    return {
        "elapsed": length(until_ms - row["zero"]),
        "since_text": f"{max(0, now_ms - row['since']) // 1000}\u00a0s",
        "begins": begins,
        "segments": segments,
    }

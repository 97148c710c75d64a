"""The list of callers, and the page of one: who it is, their calls, what is remembered, and the entry that is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.shortcuts import render
from django.utils import timezone

from calls.models import Call
from calls.timeline_page import reason_text
from memory import overview, people
from memory.admin.audit import recorded
from memory.core import slots
from memory.db import scoped
from memory.manager import current
from memory.models import Caller, ErasureRequest
from memory.services import cards, joining, tombstones
from memory.services.forgetting import KEPT
from voiceagent.console.access import may, needs
from voiceagent.console.callers import entries, forms, listing
from voiceagent.console.callers.caller import of_caller
from voiceagent.console.callers.entries import TABS, Entry, Reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from memory.people import Person
    from voiceagent.console.callers.entries import Closely

_MOST_CALLS = 50
_MOST_CHARS = 500
_WAYS = {"words": "words", "meaning": "meaning"}
_TAB_NAMES = {"current": "Current", "superseded": "Superseded", "forgotten": "Forgotten", "all": "All"}


def _typed(request: HttpRequest, name: str, most: int = _MOST_CHARS) -> str:
    return request.GET.get(name, "")[:most].strip()


@needs("console.view_console")
def callers(request: HttpRequest) -> HttpResponse:
    """Everybody who is remembered, those seen last first, or those that fit."""
    text, only = _typed(request, "q"), _typed(request, "only", 20)
    only = only if only in listing.FILTERS else ""
    with recorded(request, "list callers") as use:
        found = listing.page(text, only, _typed(request, "after", 100))
        use.items = len(found.rows)
    is_further = bool(request.GET.get("after"))
    context = {
        "found": found,
        "text": text,
        "only": only,
        "filters": listing.FILTERS,
        "is_further": is_further,
        "nobody": not (found.rows or text or only or is_further) and not Caller.objects.exists(),
    }
    return render(request, "console/callers/list.html", context)


@dataclass(frozen=True, slots=True)
class Talk:
    """A call or a conversation in a caller's history, and what it taught. ``url`` is empty where there is no page."""

    at: datetime
    name: str
    url: str
    outcome: str
    facts: str
    taught: Sequence[Entry]


@of_caller("console.view_console", "see caller")
def caller(request: HttpRequest, person: Person) -> HttpResponse:
    """The page of one caller."""
    return caller_page(request, person)


def caller_page(request: HttpRequest, person: Person, status: int = 200, **more: Any) -> HttpResponse:
    """The same, for views that answer with it: ``more`` stands beside what it shows, a form with its errors or a conflict."""
    row = Caller.objects.get(pk=person.id)
    card = cards.on_card(person, now=timezone.now())
    reader = Reader(person, request.user, card)
    tab = _typed(request, "tab", 20)
    tab = tab if tab in TABS else "current"
    text, by = _typed(request, "q"), _typed(request, "by", 10)
    by = by if by in _WAYS else "words"
    ids = overview.fact_ids(person, among=TABS[tab])
    pages = Paginator(ids, entries.PAGE).get_page(request.GET.get("page"))
    found, problem = reader.found(text, by, tab) if text else (reader.read(list(pages.object_list)), "")
    figures = listing.figures(person.key_hash)
    chosen = _chosen(request, reader, found, more.get("fact_id"))
    context = {
        "person": person,
        "row": row,
        "number": people.number_of(person),
        "caller_name": current().profile(person).name,
        "figures": figures,
        "first": min(filter(None, (figures["first"], row.created_at))),
        "unwanted": tombstones.never(person.key_hash),
        "keeping": listing.keeping(row.retention_days, unwanted=False),
        "levels": overview.levels(person, len(card)),
        "talks": _talks(person, reader),
        "tab": tab,
        "tabs": [(name, _TAB_NAMES[name], count) for name, count in overview.states_counted(person, TABS).items()],
        "text": text,
        "by": by,
        "ways": _WAYS,
        "found": found,
        "problem": problem,
        "pages": pages,
        "chosen": chosen,
        "kept_days": KEPT.days,
        "forms": forms.for_entry(chosen.entry) if chosen else {},
        "add_form": forms.AddForm(),
        "slots": slots.SLOTS,
        "keeping_form": forms.KeepingForm(initial={"days": row.retention_days}),
        "probe_form": forms.ProbeForm(),
        "pairs": _pairs(person, reader) if may(request.user, "console.change_memory") else [],
        "erasures": ErasureRequest.objects.filter(caller_hash=person.key_hash)[:5],
        **more,
    }
    return render(request, "console/callers/caller.html", context, status=status)


def _chosen(request: HttpRequest, reader: Reader, found: Sequence[Entry], asked: UUID | None) -> Closely | None:
    """The entry of the address, else the first one."""
    wanted = asked or people.as_id(_typed(request, "entry", 40))
    if wanted is None and found:
        wanted = people.as_id(found[0].fact.id)
    return entries.closely(reader, wanted, raw=may(request.user, "console.see_raw")) if wanted else None


def _pairs(person: Person, reader: Reader) -> list[tuple[Entry, Entry, float | None]]:
    pairs = joining.suggestions(person)
    wanted = [people.as_id(fact.id) for pair in pairs for fact in (pair.first, pair.second)]
    read = {entry.fact.id: entry for entry in reader.read([one for one in wanted if one])}
    return [(read[pair.first.id], read[pair.second.id], pair.cosine) for pair in pairs]


def _talks(person: Person, reader: Reader) -> list[Talk]:
    """Calls, and conversations that were imported, newest first."""
    calls = list(Call.objects.filter(caller_key=person.key_hash).order_by("-started_at")[:_MOST_CALLS])
    sids = {call.call_sid for call in calls}
    with scoped(person.id):
        others = [one for one in overview.conversations(person)[:_MOST_CALLS] if one.name not in sids]
    taught = entries.taught(person, [*sids, *(one.name for one in others)], reader)
    talks = [_call(call, taught) for call in calls] + [
        Talk(one.began_at, one.name, "", "imported" if one.origin == "import" else "the call's record is gone",
             f"{getattr(one, 'line_count', 0)} lines", taught.get(one.name, ()))
        for one in others
    ]  # fmt: skip
    return sorted(talks, key=lambda talk: talk.at, reverse=True)[:_MOST_CALLS]


def _call(call: Call, taught: Mapping[str, Sequence[Entry]]) -> Talk:
    if call.status != Call.Status.ENDED:
        outcome = "in progress"
    else:
        outcome = reason_text(call.end_reason)
    return Talk(
        call.started_at,
        call.call_sid,
        entries.call_url(call.call_sid),
        outcome,
        f"{call.turn_count} turn{'' if call.turn_count == 1 else 's'}",
        taught.get(call.call_sid, ()),
    )

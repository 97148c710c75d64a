"""Erasing a caller everywhere: what will go, the four digits, and a checklist that completes as the erasure does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from memory import overview, people
from memory.admin.audit import recorded
from memory.models import ErasureRequest
from memory.services import chain, erasure, housekeeping
from memory.services.subjects import stores
from voiceagent.console import audit
from voiceagent.console.access import needs
from voiceagent.console.callers import forms
from voiceagent.console.callers.caller import of_caller, operator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from memory.people import Person

_STORES = {
    "memory": "The memory: entries, what was said, card, history",
    "redis": "Redis: card, what calls were told, queued tasks",
    "calls": "Calls: records, transcripts, events, recordings; names in bookings",
}
_State = ErasureRequest.State


@of_caller("console.erase_caller", "erase caller")
def erase(request: HttpRequest, person: Person) -> HttpResponse:
    """Say what goes and what stays; with the last four digits of the number, do it."""
    number = people.number_of(person)
    form = forms.EraseForm(request.POST if request.method == "POST" else None, wanted=number[-people.TAIL_DIGITS :])
    if request.method == "POST" and form.is_valid():
        now = timezone.now()
        with transaction.atomic():
            if form.cleaned_data["unwanted"]:
                housekeeping.remember(person, False, now=now)
            asked = erasure.ask_caller(person, by=operator(request), now=now)
            audit.record(
                request,
                "caller.erased",
                entry=str(person.id),
                reason=form.cleaned_data["reason"],
                after={"erasure": str(asked.pk), "remembered in future": not form.cleaned_data["unwanted"]},
            )
            chain.send_erasures()
        return HttpResponseRedirect(reverse("console:erasure", args=[asked.pk]))
    context = {
        "person": person,
        "number": number,
        "form": form,
        "totals": overview.totals(person),
        "names": len(erasure.names_of(person)),
    }
    return render(request, "console/callers/erase.html", context, status=422 if form.errors else 200)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the checklist. ``state``: ``done``, ``waiting`` or ``failed``; ``told`` says how much of what."""

    what: str
    state: str
    told: str = ""


@needs("console.view_console")
def checklist(request: HttpRequest, erasure_id: UUID) -> HttpResponse:
    """How far an erasure is: by hashes and numbers, it names nobody. ``?part``: the list alone, for a page that asks again."""
    asked = get_object_or_404(ErasureRequest, pk=erasure_id)
    with recorded(request, "see erasure", asked.caller_hash):
        context = {
            "asked": asked,
            "steps": steps(asked),
            "is_done": asked.state == _State.VERIFIED,
            "kept": asked.receipt.get("kept", ()),
        }
        part = "console/callers/_checklist.html" if "part" in request.GET else "console/callers/erasure.html"
        return render(request, part, context)


def steps(asked: ErasureRequest) -> list[Step]:
    """The erasure as a list of what is done and what is not."""
    receipt = asked.receipt
    failed, through = receipt.get("failed", {}), set(receipt.get("through", ()))
    found = [
        Step("Nothing of it is written any more, in any process", "done"),
        Step("Calls in progress hold nothing of it", "done" if through or failed else "waiting"),
    ]
    for store in stores():
        state = "failed" if store.name in failed else "done" if store.name in through else "waiting"
        told = failed.get(store.name, "") or _counted(receipt.get("removed", {}).get(store.name, {}))
        found.append(Step(_STORES.get(store.name, store.name), state, told if state != "waiting" else ""))
    if calls := receipt.get("waiting"):
        found.append(Step("Calls in progress end, and are erased then", "waiting", f"{calls} not over yet"))
    searched = _counted(receipt.get("searched", {}))
    if asked.state == _State.VERIFIED:
        found.append(Step("A search of every table, every key and all files finds nothing", "done", searched))
    elif left := receipt.get("found"):
        found.append(Step("A search found something left: it is tried again", "failed", _counted(left)))
    else:
        found.append(Step("A search of every table, every key and all files", "waiting", failed.get("search", "")))
    return found


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items()) or "nothing was there"

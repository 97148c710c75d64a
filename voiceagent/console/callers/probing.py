"""The recall probe: type what the caller might say, see what a call would recall now, from where, and why not the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from memory import people
from memory.core import budget
from memory.core.values import Hit, Kind
from memory.embedding.port import EmbeddingError
from memory.manager import current
from voiceagent.console import audit
from voiceagent.console.callers import forms
from voiceagent.console.callers.caller import of_caller
from voiceagent.console.callers.entries import call_url

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from memory.manager import Probe
    from memory.people import Person

WHY_NOT = {
    "floor": "too far from the question",
    "duplicate": "says what is told already",
    "budget": "no room left",
    "superseded": "was corrected since",
    "late": "came too late",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A hit for a template. ``share`` is its score against the best one, 0 to 100; ``total`` what the prompt holds with it.
    ``cut`` says that the line lies above it: ``floor`` or ``budget``."""

    hit: Hit
    what: str
    said_at: datetime
    level: str
    share: int
    tokens: int
    total: int
    why_not: str
    cut: str = ""
    entry: str = ""
    url: str = ""


@of_caller("console.see_unredacted", "probe recall")
def probe(request: HttpRequest, person: Person) -> HttpResponse:
    """The probe; asked by POST, since what is typed is no address."""
    form = forms.ProbeForm(request.POST if request.method == "POST" else None)
    found: Probe | None = None
    if form.is_valid():
        audit.record(request, "memory.probed", entry=str(person.id))
        try:
            found = current().probe(person, form.cleaned_data["text"])
        except (ValueError, EmbeddingError) as error:
            form.add_error("text", f"{error}.")
    limits = budget.Budget()
    told = lines(found, limits) if found else []
    context = {
        "person": person,
        "number": people.number_of(person),
        "caller_name": current().profile(person).name,
        "form": form,
        "found": found,
        "lines": told,
        "limits": limits,
        "in_prompt": sum(one.hit.in_prompt for one in told),
        "tokens": max((one.total for one in told), default=0),
        "card_lines": found.card.text.splitlines() if found else [],
        "card_tokens": budget.tokens_of(found.card.text) if found else 0,
        "asked_at": timezone.now(),
    }
    return render(request, "console/callers/probe.html", context)


def lines(found: Probe, limits: budget.Budget) -> list[Line]:
    """The hits in the order of the ranking, each with what it costs; the first one that the budget or the floor cuts off says so."""
    best = max((hit.score for hit in found.recollection.hits), default=0) or 1
    told: list[Line] = []
    total, cuts = 0, {"budget", "floor"}
    for hit in found.recollection.hits:
        cost = budget.tokens_of(budget.line(hit.row, limits.item_chars))
        total += cost if hit.in_prompt else 0
        cut = hit.why_not if hit.why_not in cuts else ""
        cuts.discard(cut)
        is_line = hit.row.kind is Kind.UTTERANCE
        origin = hit.row.origin
        told.append(
            Line(
                hit=hit,
                what=("caller said" if hit.row.role == "user" else "assistant said") if is_line else hit.row.kind.value,
                said_at=hit.row.said_at,
                level="L1 + L2" if hit.row.id in found.on_card else hit.level.value,
                share=max(round(100 * hit.score / best), 0),
                tokens=cost,
                total=total,
                why_not=WHY_NOT.get(hit.why_not, hit.why_not),
                cut=cut,
                entry="" if is_line else hit.row.id,
                url=call_url(origin.conversation, origin.seq // 2) if origin.conversation.startswith("CA") else "",
            )
        )
    return told

"""Agents: what answers which number and how, every version of it, and what one changed against another."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Prefetch
from django.forms import inlineformset_factory
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calls.admin.agents import AgentAdmin
from calls.admin.versions import names_of_changes, shown_changes, shown_values
from calls.forms import AgentForm, AgentNumberForm
from calls.models import Agent, AgentNumber, AgentVersion
from calls.services import editing
from voiceagent.console import audit
from voiceagent.console.access import needs
from voiceagent.console.agents import stale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.forms import BaseInlineFormSet, ModelForm
    from django.http import HttpRequest, HttpResponse


#: Versions that the page lists; older ones are in the admin.
_SHOWN_VERSIONS = 50
#: Over how long calls are counted.
_DAYS = 7
_Numbers = inlineformset_factory(Agent, AgentNumber, form=AgentNumberForm, extra=1)


@require_safe
@needs("console.view_console")
def agents(request: HttpRequest) -> HttpResponse:
    """All of them."""
    newest = AgentVersion.objects.order_by("-number").defer("profile")
    rows = Agent.objects.prefetch_related("numbers", Prefetch("versions", queryset=newest)).order_by(
        "-is_active", "name"
    )
    since = timezone.now() - timedelta(days=_DAYS)
    counts = dict(
        AgentVersion.objects.filter(calls__started_at__gte=since, calls__is_test=False)
        .values_list("agent_id")
        .annotate(Count("calls"))
    )
    shown = [(row, next(iter(row.versions.all()), None), counts.get(row.pk, 0)) for row in rows]
    return render(request, "console/agents/agents.html", {"rows": shown, "days": _DAYS})


@require_safe
@needs("console.view_console")
def agent(request: HttpRequest, pk: int) -> HttpResponse:
    """One: the form for whoever may edit it, its values for others."""
    found = get_object_or_404(Agent, pk=pk)
    return _page(request, found, AgentForm(instance=found), _Numbers(instance=found))


@needs("console.edit_agents")
def new(request: HttpRequest) -> HttpResponse:
    """A new one: the form, and its saving."""
    return _edited(request, Agent())


@require_POST
@needs("console.edit_agents")
def save(request: HttpRequest, pk: int) -> HttpResponse:
    """Save one, which makes a version where a call would notice. Of two at once the second one is told about the first."""
    with transaction.atomic():
        return _edited(request, get_object_or_404(Agent.objects.select_for_update(), pk=pk))


@require_safe
@needs("console.view_console")
def versions(request: HttpRequest, pk: int) -> HttpResponse:
    """Every version, and what one changed against another: ``?from=3&to=5``; without them the newest against the one before."""
    found = get_object_or_404(Agent, pk=pk)
    rows = list(found.versions.select_related("created_by").annotate(calls_made=Count("calls")).order_by("-number"))
    by_number = {str(row.number): row for row in rows}
    to = by_number.get(request.GET.get("to", "")) or next(iter(rows), None)
    before = by_number.get(request.GET.get("from", "")) or _before(rows, to)
    listed = [(row, names_of_changes(_before(rows, row), row)) for row in rows[:_SHOWN_VERSIONS]]
    context = {
        "agent": found,
        "rows": listed,
        "all": rows,
        "before": before,
        "to": to,
        "changes": shown_changes(before, to) if to else "",
        "values": shown_values(to) if to else "",
    }
    return render(request, "console/agents/versions.html", context)


def _before(rows: Sequence[AgentVersion], version: AgentVersion | None) -> AgentVersion | None:
    """The version just before this one. ``rows``: newest first."""
    return next((row for row in rows if version is not None and row.number < version.number), None)


def _edited(request: HttpRequest, found: Agent) -> HttpResponse:
    if request.method != "POST":
        return _page(request, found, AgentForm(instance=found), _Numbers(instance=found))
    if found.pk and (conflict := _conflict(request, found)) is not None:
        return conflict
    form, numbers = AgentForm(request.POST, instance=found), _Numbers(request.POST, instance=found)
    if not (form.is_valid() and numbers.is_valid()):
        return _page(request, found, form, numbers, status=422)
    with transaction.atomic():
        before = editing.newest_version(found) if found.pk else None
        audit.record(
            request,
            "agent.changed",
            entry=f"agent {found.pk or 'new'}",
            before={"version": before},
            after={"changed": [*form.changed_data, *(["numbers"] if numbers.has_changed() else [])]},
        )
        told = editing.save(form.save(commit=False), request.user)
        numbers.save()
    for sentence in told:
        messages.success(request, sentence)
    return redirect("console:agent", pk=found.pk)


def _conflict(request: HttpRequest, found: Agent) -> HttpResponse | None:
    """Where somebody was faster: what was typed beside how it stands. ``None``: nobody was."""
    now, typed = (AgentForm(instance=found), AgentForm(request.POST, instance=found))
    typed_numbers = _Numbers(request.POST, instance=found)
    given = request.POST.get("seen", "")
    differ = stale.differences(given, (typed, typed_numbers), (now, _Numbers(instance=found)))
    if not any(one.there for one in differ):
        return None
    rows = stale.new_rows(typed_numbers)
    numbers = _Numbers(instance=found, initial=rows)
    numbers.extra = len(rows) + 1
    form = AgentForm(stale.merged(request.POST, now, differ), instance=found)
    return _page(request, found, form, numbers, status=409, conflict=differ)


def _page(
    request: HttpRequest,
    found: Agent,
    form: ModelForm[Agent],
    numbers: BaseInlineFormSet[AgentNumber, Agent, Any],
    status: int = 200,
    conflict: Sequence[stale.Difference] = (),
) -> HttpResponse:
    # A form that was sent has put what was typed into its agent.
    stored = Agent.objects.get(pk=found.pk) if found.pk else Agent()
    newest = stored.versions.select_related("created_by").order_by("-number").first() if stored.pk else None
    differing = {one.name for one in conflict}
    groups = []
    for title, options in AgentAdmin.fieldsets[:-1]:
        fields = [form[str(name)] for name in options["fields"]]
        marked = any(field.errors or field.name in differing for field in fields)
        groups.append((title or "Agent", fields, marked or "collapse" not in options.get("classes", ())))
    context: dict[str, Any] = {
        "agent": stored,
        "newest": newest,
        "form": form,
        "groups": groups,
        "numbers": numbers,
        "seen": stale.seen(AgentForm(instance=stored), _Numbers(instance=stored)),
        "conflict": conflict,
        "differing": differing,
        "values": shown_values(newest) if newest else "",
    }
    return render(request, "console/agents/agent.html", context, status=status)

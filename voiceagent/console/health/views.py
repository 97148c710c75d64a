"""Health: how callers fare over time, and how everything behind the calls stands now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calls import breakers, control
from calls.breakerwords import ACTS, ReasonForm
from calls.models import AgentVersion
from calls.runtime import current_if_built
from voiceagent.celery import app as celery
from voiceagent.console import audit, threads
from voiceagent.console.access import needs
from voiceagent.console.health import figures, shown, system
from voiceagent.console.health.span import NAMES, RANGES, Span, span_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

#: What is done for rows that are due; a task that died left its row due, so this is also how it is tried again.
SWEEPS = (
    "calls.tasks.sweep",
    "memory.tasks.sweep",
    "memory.tasks.finish_erasures",
    "calls.tasks.render_phrases",
)


@require_safe
@needs("console.view_console")
def health(request: HttpRequest) -> HttpResponse:
    """The performance tab."""
    span = span_of(request.GET, timezone.now())
    found = figures.performance(span)
    runtime = current_if_built()
    capacity = runtime.registry.max_calls if runtime is not None else 0
    context = {
        "tab": "performance",
        "span": span,
        "ranges": [(name, NAMES[name], span.query(range=name)) for name in RANGES],
        "versions": AgentVersion.objects.select_related("agent").order_by("-created_at")[:50],
        "found": found,
        "objective": _objective(span, found),
        "before": figures.summary(span.previous),
        "charts": figures.charts(span, found, capacity),
        "tables": shown.tables(span, found),
        "heat": shown.heat(span, found),
        "stages": shown.stages(found),
    }
    return render(request, "console/health/performance.html", context)


def _objective(span: Span, found: figures.Performance) -> dict[str, Any]:
    """Over 30 days, whatever the page shows: a budget is of a month."""
    month = span_of({"range": "30d"}, timezone.now())
    spread, within = (found.response, found.within) if span == month else figures.summary(month)
    return {"count": spread.count, "within": within, "left": figures.budget_left(spread.count, within)}


@require_safe
@needs("console.view_console")
async def dependencies(request: HttpRequest) -> HttpResponse:
    """The system tab."""
    context = {"tab": "system", **await _now(), "installation": await threads.run(system.installation)}
    return await threads.run(render, request, "console/health/system.html", context)


@require_safe
@needs("console.view_console")
async def state(request: HttpRequest) -> HttpResponse:
    """What of it changes, for a page that is open."""
    return await threads.run(render, request, "console/health/system.html#state", await _now())


async def _now() -> dict[str, Any]:
    shots = await system.shots()
    return {
        "cards": await system.cards(shots),
        "processes": system.processes(shots),
        "asked_at": timezone.now(),
        "acts": ACTS,
    }


@require_POST
@needs("console.operate_breakers")
def breaker(request: HttpRequest, name: str, act: str) -> HttpResponse:
    """Trip or reset one, for a reason."""
    found = next((one for one in breakers.current() or () if one.name == name), None)
    what = ACTS.get(act)
    if found is None or what is None:
        raise Http404
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say why: whoever comes next will read it.")
        return redirect("console:dependencies")
    reason = form.cleaned_data["reason"]
    audit.record(request, "breaker.operated", entry=name, reason=reason, before=str(found.view().phase), after=act)
    what.do(found, request.user.get_username(), reason)
    messages.success(request, f"{name} was {what.done}. All processes know within a second.")
    return redirect("console:dependencies")


@require_POST
@needs("console.operate_breakers")
def retry(request: HttpRequest) -> HttpResponse:
    """Have everything that is due looked at now."""
    audit.record(request, "tasks.retried")
    try:
        for name in SWEEPS:
            celery.send_task(name, retry=False)
    except Exception as error:  # noqa: BLE001 - the broker is away, in any of its ways
        messages.error(request, f"The task queue does not answer ({type(error).__name__}). Nothing was sent.")
        return redirect("console:dependencies")
    messages.success(request, "Workers look at everything that is due: archives, memories, erasures, phrases.")
    return redirect("console:dependencies")


@require_POST
@needs("console.operate_breakers")
async def drain(request: HttpRequest) -> HttpResponse:
    """Have a process take no new calls."""
    process, form = request.POST.get("process", ""), ReasonForm(request.POST)
    if process not in {shot.process for shot in await system.shots()}:
        raise Http404
    if not form.is_valid():
        messages.error(request, "Say why: whoever comes next will read it.")
        return redirect("console:dependencies")
    await audit.arecord(request, "process.drained", entry=process, reason=form.cleaned_data["reason"])
    outcome = await control.ask(process, "drain", request.user.get_username())
    if outcome.accepted:
        messages.success(
            request, f"{process} takes no new calls. Its calls go on to their end; restart it to take calls again."
        )
    else:
        messages.error(request, f"{process} did not answer: it is gone, or Redis is away.")
    return redirect("console:dependencies")

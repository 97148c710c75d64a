"""Circuit breakers in the admin: how each stands and why, and two things that an operator can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse

from calls import breakers
from calls.breakerrules import Phase
from calls.models import CircuitBreaker
from calls.timeline_format import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from calls.breakers import Breaker, View

    _BreakerAdmin = admin.ModelAdmin[CircuitBreaker]
else:
    _BreakerAdmin = admin.ModelAdmin

VIEW, OPERATE = "calls.view_circuitbreaker", "calls.operate_breakers"
_SHOWN_ACTS = 20

#: What each operation does, for somebody who has just been paged.
WHAT: Final[Mapping[str, str]] = {
    "cartesia.stt": "hears what callers say",
    "cartesia.stt_batch": "hears again what was said while the recogniser was away",
    "cartesia.tts": "speaks the replies",
    "openai.reply": "thinks of the replies",
    "openai.reply_second": "thinks of the replies while the first model fails",
    "openai.embeddings": "vectors for searches outside calls",
    "openai.distil": "facts from calls that have ended",
    "twilio.rest": "hangs up and transfers calls",
}
#: What lies behind the kind that opened one, where an operator can do more than wait.
_MEANS: Final[Mapping[str, str]] = {
    "quota": "the account at the vendor is used up: top it up, then reset",
    "auth": "the vendor refuses the key: put the right one in place, restart",
    "rate_limited": "more at once than the account may: raise its limit, or take fewer calls",
    "refused": "nobody listens at the vendor's address",
    "timeout": "no answer in time",
    "hung": "answers began and did not go on",
    "cut": "connections ended before the answers did",
    "garbage": "answers that are none: another server at that address?",
    "server": "the vendor's own failure",
    "overloaded": "the vendor has too much to do",
}
_PHASES: Final[Mapping[Phase, str]] = {
    Phase.CLOSED: "closed",
    Phase.HALF_OPEN: "half-open",
    Phase.OPEN: "open",
    Phase.FORCED: "held open",
}


class ReasonForm(forms.Form):
    """Why an operator does it: others will read it during the same outage."""

    reason = forms.CharField(
        max_length=200, help_text="Shown here and in the log to whoever comes next. No caller's data."
    )


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator can do. ``will``: what happens then, in sentences."""

    verb: str
    done: str
    is_harsh: bool
    will: tuple[str, ...]


ACTS: Final[Mapping[str, Act]] = {
    "trip": Act(
        "Trip",
        "tripped",
        True,
        (
            "Nothing is asked of it any more, in all processes within a second, until somebody resets it.",
            "What it does is missing from calls meanwhile: callers hear the phrases for it, or the second model.",
            "Answers and sockets that are under way go on to their end.",
        ),
    ),
    "reset": Act(
        "Reset",
        "reset",
        False,
        (
            "It is asked again at once, by all calls; what it was opened for is forgotten.",
            "Where it still fails the breaker opens again by itself.",
        ),
    ),
}


class BreakerAdmin(_BreakerAdmin):
    """One page with all breakers as this process sees them, and one that asks before something is done."""

    def get_urls(self) -> list[URLPattern]:
        """No list of rows and no form: there is no table."""
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name="calls_circuitbreaker_changelist"),
            path("<str:name>/<str:act>/", view(self.act), name="calls_circuitbreaker_act"),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may act may look."""
        return request.user.has_perm(VIEW) or request.user.has_perm(OPERATE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one for each operation."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By ``act`` only."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is one for each operation."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """All of them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        here = breakers.current()
        rows = [_row(breaker) for breaker in here or ()]
        context = {
            "title": "Circuit breakers",
            "rows": rows,
            "troubled": sum(row["phase"] is not Phase.CLOSED for row in rows),
            "are_shared": not any(breaker.is_alone for breaker in here or ()),
            "acts": _past_acts(),
            "may_operate": request.user.has_perm(OPERATE),
        }
        return self._page(request, "breakers", context)

    def act(self, request: HttpRequest, name: str, act: str) -> HttpResponse:
        """Ask for the reason, then do it."""
        if not request.user.has_perm(OPERATE):
            raise PermissionDenied
        breaker, what = _found(name), ACTS.get(act)
        if breaker is None or what is None:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            _note(request, name, f"{what.done}: {form.cleaned_data['reason']}")
            {"trip": breaker.trip, "reset": breaker.reset}[act](
                request.user.get_username(), form.cleaned_data["reason"]
            )
            messages.success(request, f"The breaker {name} was {what.done}. All processes know within a second.")
            return HttpResponseRedirect(reverse("admin:calls_circuitbreaker_changelist"))
        context = {"title": f"{what.verb} {name}", "act": what, "row": _row(breaker), "form": form}
        return self._page(request, "breaker_act", context)

    def _page(self, request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
        own = {**self.admin_site.each_context(request), "opts": CircuitBreaker._meta, **context}
        return render(request, f"admin/calls/{template}.html", own)


def _found(name: str) -> Breaker | None:
    return next((breaker for breaker in breakers.current() or () if breaker.name == name), None)


def _note(request: HttpRequest, name: str, what: str) -> None:
    """On record before it is done. The log line with user and reason is the breaker's own."""
    LogEntry.objects.create(
        user_id=str(request.user.pk),
        content_type=ContentType.objects.get_for_model(CircuitBreaker),
        object_id=name,
        object_repr=name,
        action_flag=CHANGE,
        change_message=what,
    )


def _past_acts() -> list[dict[str, Any]]:
    found = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(CircuitBreaker))
    return [
        {
            "name": entry.object_id,
            "what": entry.change_message,
            "by": entry.user.get_username(),
            "at": moment(entry.action_time),
        }
        for entry in found.select_related("user").order_by("-action_time")[:_SHOWN_ACTS]
    ]


def _row(breaker: Breaker) -> dict[str, Any]:
    view = breaker.view()
    return {
        "name": view.name,
        "what": WHAT.get(view.name, ""),
        "phase": view.phase,
        "state": _PHASES[view.phase],
        "since": _moment(view.ruling.since_ms) if view.ruling.since_ms else "the start",
        "why": _why(view),
        "failed": _failed(view, breaker.rules.window_ms),
        "next": _next(view),
        "acts": ["reset"]
        if view.phase is Phase.FORCED
        else ["trip"]
        if view.phase is Phase.CLOSED
        else ["reset", "trip"],
    }


def _why(view: View) -> str:
    ruling = view.ruling
    if ruling.by:
        return f"{'held open' if view.phase is Phase.FORCED else 'reset'} by {ruling.by}: {ruling.cause}"
    if view.phase is Phase.CLOSED:
        return "a probe did well" if ruling.since_ms else ""
    times = f", for the {_ordinal(ruling.openings)} time in a row" if ruling.openings > 1 else ""
    means = f": {_MEANS[ruling.cause]}" if ruling.cause in _MEANS else ""
    return f"{ruling.cause.replace('_', ' ')}{times}{means}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _failed(view: View, window_ms: int) -> str:
    """``5 of 6 attempts: 3 timeout, 2 cut``."""
    if not view.attempts:
        return "nothing was asked lately" if view.phase is Phase.CLOSED else ""
    within = f" within {window_ms // 1000} s" if view.phase is Phase.CLOSED else ""
    kinds = sorted(view.failures.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in kinds)
    return f"{sum(view.failures.values())} of {view.attempts} attempts{within} failed{f': {told}' if told else ''}"


def _next(view: View) -> str:
    if view.phase is Phase.FORCED:
        return "none until it is reset"
    if view.phase is Phase.OPEN:
        return _moment(view.ruling.until_ms)
    return "the next attempt" if view.phase is Phase.HALF_OPEN else ""


def _moment(at_ms: int) -> str:
    return moment(datetime.fromtimestamp(at_ms / 1000, UTC))

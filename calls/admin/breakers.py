"""Circuit breakers in the admin: how each stands and why, and two things that an operator can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse

from calls import breakers
from calls.breakerrules import Phase
from calls.breakerwords import ACTS, ReasonForm, row_of
from calls.models import CircuitBreaker
from calls.timeline_format import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from calls.breakers import Breaker

    _BreakerAdmin = admin.ModelAdmin[CircuitBreaker]
else:
    _BreakerAdmin = admin.ModelAdmin

VIEW, OPERATE = "calls.view_circuitbreaker", "calls.operate_breakers"
_SHOWN_ACTS = 20


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
        rows = [row_of(breaker) for breaker in here or ()]
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
            what.do(breaker, request.user.get_username(), form.cleaned_data["reason"])
            messages.success(request, f"The breaker {name} was {what.done}. All processes know within a second.")
            return HttpResponseRedirect(reverse("admin:calls_circuitbreaker_changelist"))
        context = {"title": f"{what.verb} {name}", "act": what, "row": row_of(breaker), "form": form}
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

"""The raw log in the admin: for an engineer who looks for an entry across calls. A call's own log is on its timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.utils.functional import cached_property
from django.utils.html import format_html

from calls import timeline_page
from calls.admin.readonly import ReadOnlyMixin
from calls.timeline_format import exact_clock, moment

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from calls.models import CallEvent

    _EventAdmin = admin.ModelAdmin[CallEvent]
    _Paginator = Paginator[CallEvent]
else:
    _EventAdmin = admin.ModelAdmin
    _Paginator = Paginator


class UncountedPaginator(_Paginator):
    """Pages without counting millions of rows first: knows only whether the next page exists."""

    _MOST = 100_000

    @cached_property
    def count(self) -> int:
        """The number of rows, up to a bound."""
        return cast("QuerySet[CallEvent]", self.object_list).order_by()[: self._MOST].count()


class CallEventAdmin(ReadOnlyMixin, _EventAdmin):
    """The raw log. Meant to be opened from a call; without one it shows the newest entries."""

    list_display = ("shown_place", "kind", "type", "mode", "turn", "shown_summary", "call")
    list_display_links = ("shown_place",)
    list_filter = ("kind",)
    list_select_related = ("call",)
    list_per_page = 200
    show_full_result_count = False
    paginator = UncountedPaginator
    ordering: ClassVar = ["-pk"]
    search_fields: ClassVar = ["=call__call_sid", "=type"]
    search_help_text = "A call id or a type, in full"
    fields: ClassVar = [
        "call", ("seq", "step", "offset", "time"), ("kind", "type", "mode", "turn"), "error", "shown_data",
    ]  # fmt: skip
    readonly_fields: ClassVar = ["offset", "time", "shown_data"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An entry goes with its call and not before: the record replays whole or not at all."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "Call events", **(extra_context or {})})

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Without the call where it is chosen already."""
        return self.list_display[:-1] if "call__id__exact" in request.GET else self.list_display

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """In order within a call; otherwise newest first, along the primary key."""
        return ("call", "seq") if "call__id__exact" in request.GET else ("-pk",)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Links come here with the call's id."""
        return lookup == "call__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description="Offset", ordering="at_ms")
    def shown_place(self, event: CallEvent) -> str:
        """Place in the call."""
        return exact_clock(event.at_ms)

    @admin.display(description="Values")
    def shown_summary(self, event: CallEvent) -> str:
        """One line."""
        return timeline_page.summary(event)

    @admin.display(description="Offset")
    def offset(self, event: CallEvent) -> str:
        """Place in the call."""
        return exact_clock(event.at_ms)

    @admin.display(description="Time")
    def time(self, event: CallEvent) -> str:
        """When it happened."""
        return moment(event.at)

    @admin.display(description="Data")
    def shown_data(self, event: CallEvent) -> str:
        """All of it."""
        return format_html("<pre>{}</pre>", timeline_page.as_json(event.data))

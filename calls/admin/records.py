"""Calls in the admin: a list to find one, a page to read one, its events page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.timezone import localtime

from calls import selectors, timeline_page
from calls.admin.readonly import STYLES, ReadOnlyMixin, pretty
from calls.models import Agent, Booking, Call, CallEvent, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest

    _TurnInline = admin.TabularInline[Turn, Call]
    _CallAdmin = admin.ModelAdmin[Call]
    _EventAdmin = admin.ModelAdmin[CallEvent]
    _BookingAdmin = admin.ModelAdmin[Booking]
    _Paginator = Paginator[CallEvent]
else:
    _TurnInline = admin.TabularInline
    _CallAdmin = _EventAdmin = _BookingAdmin = admin.ModelAdmin
    _Paginator = Paginator

_LISTEN = "calls.listen_recording"


class AgentFilter(admin.SimpleListFilter):
    """By agent, whatever its version was."""

    title = "agent"
    parameter_name = "agent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """All agents."""
        return [*((str(pk), name) for pk, name in Agent.objects.values_list("pk", "name")), ("none", "(no agent)")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        """Calls of the chosen one."""
        value = self.value()
        if value == "none":
            return queryset.filter(agent_version=None)
        return queryset.filter(agent_version__agent=int(value)) if value and value.isdigit() else queryset


class EndReasonFilter(admin.SimpleListFilter):
    """By end reason, in words."""

    title = "end"
    parameter_name = "end"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """The reasons that occur."""
        found = (
            Call.objects.exclude(end_reason="").order_by("end_reason").values_list("end_reason", flat=True).distinct()
        )
        return [(reason, reason.replace("_", " ")) for reason in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        """Calls that ended so."""
        return queryset.filter(end_reason=self.value()) if self.value() else queryset


class InvariantFilter(admin.SimpleListFilter):
    """By whether the invariants held while the call was watched."""

    title = "invariants"
    parameter_name = "invariants"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """The three cases."""
        return [("violated", "violated"), ("held", "held"), ("unwatched", "not watched")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        """Calls of the chosen case."""
        match self.value():
            case "violated":
                return queryset.exclude(violations=[])
            case "held":
                return queryset.filter(checked=True, violations=[])
            case "unwatched":
                return queryset.filter(checked=False)
        return queryset


class TurnInline(ReadOnlyMixin, _TurnInline):
    """The conversation, read only."""

    model = Turn
    extra = 0
    can_delete = False
    fields: ClassVar = ["number", "kind", "outcome", "user_text", "heard_text", "shown_latency"]
    readonly_fields: ClassVar = ["number", "kind", "outcome", "user_text", "heard_text", "shown_latency"]
    ordering: ClassVar = ["number"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Turn]:
        """Without the search column."""
        return super().get_queryset(request).defer("words")

    @admin.display(description="Latency")
    def shown_latency(self, turn: Turn) -> str:
        """From the caller's last sound to the answer's first."""
        return "" if turn.latency_ms is None else timeline_page.milliseconds(turn.latency_ms)


class CallAdmin(ReadOnlyMixin, _CallAdmin):
    """Calls: found by number, id, or words that were spoken."""

    class Media:
        css = STYLES

    list_display = (
        "shown_start", "shown_numbers", "agent_version", "shown_length", "shown_turns", "shown_latency",
        "shown_end", "shown_checks", "shown_links",
    )  # fmt: skip
    list_display_links = ("shown_start",)
    list_filter = (
        "status",
        AgentFilter,
        EndReasonFilter,
        InvariantFilter,
        "started_at",
    )
    list_select_related = (
        "agent_version",
        "recording",
    )
    list_per_page = 50
    show_full_result_count = False
    search_fields: ClassVar = ["call_sid"]
    search_help_text = "Call id, part of a number, or words spoken in the call"
    ordering: ClassVar = ["-started_at", "-pk"]
    inlines: ClassVar = [TurnInline]
    fieldsets: ClassVar = [
        (None, {"fields": ["shown_links", ("call_sid", "agent_version"), ("from_number", "to_number", "direction")]}),
        ("Course", {"fields": [("status", "shown_end", "shown_length"), ("started_at", "answered_at", "ended_at")]}),
        (
            "Measured",
            {"fields": [("turn_count", "barge_in_count", "error_count"), ("latency_median_ms", "latency_max_ms")]},
        ),
        (
            "Carrier",
            {
                "fields": [
                    "carrier_status",
                    "carrier_status_at",
                    "carrier_duration_s",
                    "sip_response_code",
                    "account_sid",
                ]
            },
        ),
        ("Record", {"fields": [("archived_at", "entry_count", "broken_count"), "shown_checks", "process"]}),
    ]
    readonly_fields: ClassVar = ["shown_links", "shown_end", "shown_length", "shown_checks"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        """With agent and recording, without what the pages do not show."""
        return super().get_queryset(request).select_related("agent_version", "recording")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Call], search_term: str
    ) -> tuple[QuerySet[Call], bool]:
        """By id, number or spoken words; through the index, without joining turns."""
        words = search_term.replace("\x00", "").strip()
        return (selectors.calls_with(queryset, words) if words else queryset), False

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """The columns; the recording's link only for whoever may listen."""
        if request.user.has_perm(_LISTEN):
            return (*self.list_display, "shown_recording")
        return self.list_display

    @admin.display(description="Started", ordering="started_at")
    def shown_start(self, call: Call) -> str:
        """Day and time, to the second, in two short lines."""
        local = localtime(call.started_at)
        return _stack(date_format(local, "j M Y"), date_format(local, "H:i:s"))

    @admin.display(description="From, to", ordering="from_number")
    def shown_numbers(self, call: Call) -> str:
        """Caller above, line dialled below."""
        return _stack(call.from_number or "unknown", f"to {call.to_number or 'unknown'}")

    @admin.display(description="Turns", ordering="turn_count")
    def shown_turns(self, call: Call) -> str:
        """Turns, and how many of them the caller cut."""
        cut = call.barge_in_count
        return _stack(str(call.turn_count), f"{cut} barge-in{'' if cut == 1 else 's'}" if cut else "")

    @admin.display(description="Length", ordering="duration_ms")
    def shown_length(self, call: Call) -> str:
        """How long it was."""
        return timeline_page.length(call.duration_ms)

    @admin.display(description="Median latency", ordering="latency_median_ms")
    def shown_latency(self, call: Call) -> str:
        """From the caller's last sound to the answer's first, in the middle turn."""
        return timeline_page.milliseconds(call.latency_median_ms)

    @admin.display(description="End", ordering="end_reason")
    def shown_end(self, call: Call) -> str:
        """Why it ended, or how far it is; and whether its record is complete."""
        why = call.end_reason.replace("_", " ") or str(call.get_status_display())
        return _stack(why, "archived" if call.archived_at else "not archived yet")

    @admin.display(description="Invariants")
    def shown_checks(self, call: Call) -> str:
        """Which of them did not hold, and from which step on."""
        broken = [f"{found['invariant'].replace('_', ' ')} (step {found['step']})" for found in call.violations]
        return _stack("violated", ", ".join(broken)) if broken else ("held" if call.checked else "not watched")

    @admin.display(description="Open")
    def shown_links(self, call: Call) -> str:
        """Timeline and events."""
        events = reverse("admin:calls_callevent_changelist") + f"?call__id__exact={call.pk}"
        return format_html(
            '<a class="stack" href="{}">Timeline</a><a class="stack" href="{}">Events</a>',
            reverse("timeline:call", args=[call.call_sid]),
            events,
        )

    @admin.display(description="Recording")
    def shown_recording(self, call: Call) -> str:
        """The sound, if there is any."""
        recording = getattr(call, "recording", None)
        if recording is None:
            return "none"
        href = reverse("timeline:audio", args=[call.call_sid])
        return format_html('<a href="{}">{}</a>', href, timeline_page.length(recording.duration_ms))


def _stack(first: str, second: str) -> str:
    """Two lines in one cell."""
    return format_html('<span class="stack">{}</span><span class="stack">{}</span>', first, second)


class UncountedPaginator(_Paginator):
    """Pages without counting millions of rows first: knows only whether the next page exists."""

    _MOST = 100_000

    @cached_property
    def count(self) -> int:
        """The number of rows, up to a bound."""
        return cast("QuerySet[CallEvent]", self.object_list).order_by()[: self._MOST].count()


class CallEventAdmin(ReadOnlyMixin, _EventAdmin):
    """The raw log. Meant to be opened from a call; without one it shows the newest entries."""

    class Media:
        css = STYLES

    list_display = (
        "call",
        "seq",
        "at_ms",
        "kind",
        "type",
        "mode",
        "turn",
        "shown_summary",
    )
    list_display_links = ("seq",)
    list_filter = ("kind",)
    list_select_related = ("call",)
    list_per_page = 200
    show_full_result_count = False
    paginator = UncountedPaginator
    ordering: ClassVar = ["-pk"]
    search_fields: ClassVar = ["=call__call_sid", "=type"]
    search_help_text = "A call id or a type, in full"
    fields: ClassVar = ["call", "seq", "step", "kind", "type", "at_ms", "at", "mode", "turn", "error", "shown_data"]
    readonly_fields: ClassVar = ["shown_data"]

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """In order within a call; otherwise newest first, along the primary key."""
        return ("call", "seq") if "call__id__exact" in request.GET else ("-pk",)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Links come here with the call's id."""
        return lookup == "call__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description="Values")
    def shown_summary(self, event: CallEvent) -> str:
        """One line."""
        return timeline_page.event_line(event).summary

    @admin.display(description="Data")
    def shown_data(self, event: CallEvent) -> str:
        """All of it."""
        return pretty(event.data)


class BookingAdmin(_BookingAdmin):
    """Reservations taken on the phone. People may correct and cancel them."""

    list_display = ("date", "time", "name", "party_size", "reference", "shown_call", "created_at")
    list_display_links = ("date", "time", "name")
    list_filter = ("date",)
    search_fields: ClassVar = ["name", "reference"]
    readonly_fields: ClassVar = ["call_sid", "reference", "created_at"]
    fields: ClassVar = ["name", "party_size", "date", "time", "reference", "call_sid", "created_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """They come from calls."""
        return False

    @admin.display(description="Taken in")
    def shown_call(self, booking: Booking) -> str:
        """The call's timeline."""
        if not booking.call_sid:
            return ""
        return format_html('<a href="{}">Timeline</a>', reverse("timeline:call", args=[booking.call_sid]))

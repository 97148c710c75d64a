"""Calls in the admin: a list to find one, a page to read one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from calls import selectors, timeline_page
from calls.admin.readonly import ReadOnlyMixin, stack
from calls.models import Agent, Call
from calls.services import erasure
from calls.timeline_format import length, milliseconds, moment, stacked_moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    _CallAdmin = admin.ModelAdmin[Call]
else:
    _CallAdmin = admin.ModelAdmin

_LISTEN = "console.hear_recording"
#: What a call's rows are spread over; whoever deletes a call must be allowed to delete all of it.
_PARTS = ("call", "turn", "callevent", "recording")


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


class AttentionFilter(admin.SimpleListFilter):
    """By what makes a call worth a look."""

    title = "what happened"
    parameter_name = "with"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """All there are."""
        return [(name, text) for name, (text, _condition) in selectors.ATTENTION.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        """Calls with the chosen one."""
        chosen = selectors.ATTENTION.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


class CallAdmin(ReadOnlyMixin, _CallAdmin):
    """Calls: found by number, id, or words that were spoken."""

    list_display = (
        "shown_start", "shown_numbers", "agent_version", "shown_length", "shown_turns", "shown_latency", "shown_end",
        "shown_timeline",
    )  # fmt: skip
    list_display_links = ("shown_start",)
    list_filter = (
        AttentionFilter,
        "status",
        AgentFilter,
        EndReasonFilter,
        ("started_at", admin.DateFieldListFilter),
    )
    date_hierarchy = "started_at"
    list_per_page = 50
    show_full_result_count = False
    search_fields: ClassVar = ["call_sid"]
    search_help_text = "Words spoken in the call, digits of a number, or the beginning of a call id or caller key"
    ordering: ClassVar = ["-started_at", "-pk"]
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": [
                    ("from_number", "to_number", "agent_version"),
                    ("started", "answered", "ended"),
                    ("shown_length", "status", "why"),
                ]
            },
        ),
        (
            "Measured",
            {"fields": [("turn_count", "barge_in_count", "error_count"), ("median_latency", "longest_latency")]},
        ),
        (
            "Carrier",
            {
                "fields": [
                    ("call_sid", "account_sid", "direction"),
                    ("carrier_status", "carrier_told", "carrier_length", "sip_response_code"),
                ]
            },
        ),
        (
            "Record",
            {"fields": [("archived", "entry_count", "broken_count"), "invariants", ("process", "trace"), "caller"]},
        ),
    ]
    readonly_fields: ClassVar = [
        "started", "answered", "ended", "shown_length", "why", "median_latency", "longest_latency", "carrier_told",
        "carrier_length", "archived", "invariants", "trace", "caller",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        """With agent and recording."""
        return super().get_queryset(request).select_related("agent_version", "recording")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Call], search_term: str
    ) -> tuple[QuerySet[Call], bool]:
        """By id, number, caller's key or spoken words; through the index, without joining turns."""
        words = search_term.replace("\x00", "").strip()
        return (selectors.calls_with(queryset, words) if words else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; while it is empty, how to place a call."""
        numbers = None if Call.objects.exists() else selectors.answering_numbers()
        return super().changelist_view(request, {"title": "Calls", "no_calls": numbers, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page: the row's values, the recording for whoever may listen, and the turns."""
        call: Call = kwargs["obj"]
        turns = selectors.turns_of(call)
        context |= {
            "title": f"Call from {call.from_number if call.caller_key else 'a withheld number'}",
            "subtitle": None,
            "exchanges": timeline_page.exchanges(turns, selectors.beside_turns(call)),
            "most_turns": selectors.MOST_TURNS if len(turns) == selectors.MOST_TURNS else 0,
            "recording": getattr(call, "recording", None) if request.user.has_perm(_LISTEN) else None,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- deleting

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """What would go: counted, since a call has thousands of events. What is not archived yet stays."""
        calls = Call.objects.filter(pk__in=[call.pk for call in objs])
        counts = {str(Call._meta.verbose_name_plural): calls.count(), **selectors.parts_of(calls)}
        missing = {part for part in _PARTS if not request.user.has_perm(f"calls.delete_{part}")}
        closed = erasure.erasable(calls)
        open_calls = [f"{call}, which is not archived yet" for call in calls.exclude(pk__in=closed.values("pk"))]
        return [f"{call}, its recording and what is remembered of it" for call in closed], counts, missing, open_calls

    def delete_model(self, request: HttpRequest, obj: Call) -> None:
        """With its sound, and what the memory made of it."""
        erasure.forget_calls(Call.objects.filter(pk=obj.pk), by=f"operator:{request.user.get_username()}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> None:
        """With their sound, and what the memory made of them."""
        erasure.forget_calls(queryset, by=f"operator:{request.user.get_username()}")

    # --- the list

    @admin.display(description="Started", ordering="started_at")
    def shown_start(self, call: Call) -> str:
        """Day and time, to the second, in two short lines."""
        return stacked_moment(call.started_at)

    @admin.display(description="From, to", ordering="from_number")
    def shown_numbers(self, call: Call) -> str:
        """Caller above, line dialled below."""
        return stack(call.from_number or "unknown", f"to {call.to_number or 'unknown'}")

    @admin.display(description="Turns", ordering="turn_count")
    def shown_turns(self, call: Call) -> str:
        """The caller's turns, and how often the caller cut the agent."""
        cut = call.barge_in_count
        return stack(str(call.turn_count), f"{cut} barge-in{'' if cut == 1 else 's'}" if cut else "")

    @admin.display(description="Length", ordering="duration_ms")
    def shown_length(self, call: Call) -> str:
        """How long it was."""
        return length(call.duration_ms)

    @admin.display(description="Answers after", ordering="latency_median_ms")
    def shown_latency(self, call: Call) -> str:
        """From the caller's last sound to the answer's first: the median, and the longest."""
        if call.latency_median_ms is None:
            return milliseconds(None)
        return stack(milliseconds(call.latency_median_ms), f"at most {milliseconds(call.latency_max_ms)}")

    @admin.display(description="End", ordering="end_reason")
    def shown_end(self, call: Call) -> str:
        """Why it ended, or how far it is; and what is wrong with its record."""
        errors = call.error_count
        told = (
            "" if call.archived_at or call.status != Call.Status.ENDED else "being archived",
            f"{errors} error{'' if errors == 1 else 's'}" if errors else "",
            "invariant violated" if call.violations else "",
        )
        why = call.end_reason.replace("_", " ") or str(call.get_status_display())
        return stack(why, ", ".join(filter(None, told)))

    @admin.display(description="Open")
    def shown_timeline(self, call: Call) -> str:
        """The timeline, where the recording is played."""
        address = reverse("console:call", args=[call.call_sid])
        return format_html('<a class="button" href="{}">Timeline</a>', address)

    # --- the page

    @admin.display(description="Started")
    def started(self, call: Call) -> str:
        """When it rang."""
        return moment(call.started_at)

    @admin.display(description="Answered")
    def answered(self, call: Call) -> str:
        """When its stream began."""
        return moment(call.answered_at)

    @admin.display(description="Ended")
    def ended(self, call: Call) -> str:
        """When it was over."""
        return moment(call.ended_at)

    @admin.display(description="End")
    def why(self, call: Call) -> str:
        """The end reason, as it is searched for and as a sentence."""
        return f"{call.end_reason}: {timeline_page.end_reason(call)}" if call.end_reason else "not ended"

    @admin.display(description="Answers after, median")
    def median_latency(self, call: Call) -> str:
        """From the caller's last sound to the answer's first, in the middle turn."""
        return milliseconds(call.latency_median_ms)

    @admin.display(description="Longest wait")
    def longest_latency(self, call: Call) -> str:
        """The same in the slowest turn."""
        return milliseconds(call.latency_max_ms)

    @admin.display(description="Carrier's last word")
    def carrier_told(self, call: Call) -> str:
        """When the carrier reported that status."""
        return moment(call.carrier_status_at)

    @admin.display(description="Length by the carrier")
    def carrier_length(self, call: Call) -> str:
        """What the carrier bills."""
        return length(None if call.carrier_duration_s is None else call.carrier_duration_s * 1000)

    @admin.display(description="Archived")
    def archived(self, call: Call) -> str:
        """When the record was closed."""
        return moment(call.archived_at) if call.archived_at else "not yet"

    @admin.display(description="Invariants")
    def invariants(self, call: Call) -> str:
        """Whether they were watched as it happened, and which did not hold from which step on."""
        broken = [f"{found['invariant'].replace('_', ' ')} (step {found['step']})" for found in call.violations]
        return f"violated: {', '.join(broken)}" if broken else ("held" if call.checked else "not watched")

    @admin.display(description="Trace")
    def trace(self, call: Call) -> str:
        """The id under which traces and log lines of this call are found, and whether the trace was exported."""
        if not call.trace_id:
            return "none"
        kept = "" if call.trace_kept else " (in log lines only: its spans were not exported)"
        return format_html("<code>{}</code>{}", call.trace_id, kept)

    @admin.display(description="Caller's key")
    def caller(self, call: Call) -> str:
        """The hash that stands for this caller, as a link to all calls of the same one."""
        if not call.caller_key:
            return "withheld number"
        href = reverse("admin:calls_call_changelist") + f"?q={call.caller_key}"
        return format_html('<code>{}</code> <a href="{}">all calls of this caller</a>', call.caller_key[:16], href)

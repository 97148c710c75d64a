"""Reservations in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models
from django.urls import reverse
from django.utils.formats import date_format, time_format
from django.utils.html import format_html

from calls import selectors
from calls.timeline_format import moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from calls.models import Booking

    _BookingAdmin = admin.ModelAdmin[Booking]
else:
    _BookingAdmin = admin.ModelAdmin


class WhenFilter(admin.SimpleListFilter):
    """By day, from today on: reservations lie ahead."""

    title = "when"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """The spans that somebody at the door asks for."""
        return [("today", "today"), ("week", "the next 7 days"), ("upcoming", "today and later"), ("past", "past")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Booking]) -> QuerySet[Booking]:
        """Those within."""
        return selectors.bookings_when(queryset, self.value() or "")


class BookingAdmin(_BookingAdmin):
    """Reservations taken on the phone. People may correct and cancel them."""

    list_display = ("shown_date", "shown_time", "name", "party_size", "reference", "taken", "shown_call")
    list_display_links = ("shown_date", "shown_time", "name")
    list_filter = (WhenFilter,)
    search_fields: ClassVar = ["name", "reference"]
    search_help_text = "Name or reference"
    readonly_fields: ClassVar = ["shown_call", "reference", "taken"]
    fields: ClassVar = ["name", "party_size", ("date", "time"), "reference", "taken", "shown_call"]

    formfield_overrides: ClassVar = {
        models.DateField: {"widget": forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})},
        models.TimeField: {"widget": forms.TimeInput(format="%H:%M", attrs={"type": "time"})},
    }

    def has_add_permission(self, request: HttpRequest) -> bool:
        """They come from calls."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "Bookings", **(extra_context or {})})

    @admin.display(description="Date", ordering="date")
    def shown_date(self, booking: Booking) -> str:
        """With the day of the week."""
        return date_format(booking.date, "D j M Y")

    @admin.display(description="Time", ordering="time")
    def shown_time(self, booking: Booking) -> str:
        """Hours and minutes."""
        return time_format(booking.time, "H:i")

    @admin.display(description="Taken", ordering="created_at")
    def taken(self, booking: Booking) -> str:
        """When the caller made it."""
        return moment(booking.created_at)

    @admin.display(description="Taken in")
    def shown_call(self, booking: Booking) -> str:
        """The call's timeline."""
        if not booking.call_sid:
            return "no call"
        address = reverse("console:call", args=[booking.call_sid])
        return format_html('<a class="button" href="{}">Timeline</a>', address)

"""Reservations that agents took on the phone."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Booking(models.Model):
    """A table, reserved once per ``key``: a tool call that is repeated finds the same row."""

    key = models.CharField(max_length=120, unique=True, editable=False)
    call_sid = models.CharField("call id", max_length=64, blank=True, db_index=True)
    reference = models.CharField(max_length=12)
    name = models.CharField(max_length=80)
    party_size = models.PositiveSmallIntegerField("guests")
    date = models.DateField()
    time = models.TimeField()
    created_at = models.DateTimeField("taken", db_default=Now())

    class Meta:
        ordering: ClassVar = ["-date", "-time"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(party_size__gte=1), name="booking_has_guests"),
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.party_size} on {self.date} at {self.time}"

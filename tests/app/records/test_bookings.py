"""Reservations: once per key, in words the model can use."""

from __future__ import annotations

import asyncio
import json

import pytest

from calls.models import Booking
from calls.services.bookings import enter_booking, reference_of
from calls.tools import ToolContext, ToolError, run_tool

DETAILS = {"call_sid": "CA1", "name": "Maria", "party_size": 4, "date": "2026-11-28", "time": "19:00"}


@pytest.mark.django_db
def test_the_same_key_has_one_effect() -> None:
    first = enter_booking(key="CA1:3:call_1", **DETAILS)  # type: ignore[arg-type]
    second = enter_booking(key="CA1:3:call_1", **{**DETAILS, "name": "Mary"})  # type: ignore[arg-type]

    assert first == second
    assert Booking.objects.get().name == "Maria"
    assert len(first.reference) == 5


def test_references_can_be_read_out() -> None:
    references = {reference_of(f"key {number}") for number in range(500)}

    assert len(references) == 500
    assert not set("".join(references)) & set("01IO")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"date": "Saturday"}, "YYYY-MM-DD"), ({"date": "2026-02-30"}, "YYYY-MM-DD"), ({"time": "seven"}, "HH:MM")],
)
def test_what_is_no_time_is_refused_in_words(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        enter_booking(key="k", **{**DETAILS, **changes})  # type: ignore[arg-type]
    assert not Booking.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_tool_books_once() -> None:
    arguments = '{"name":"Maria Jensen","party_size":4,"date":"2026-11-28","time":"19:00"}'
    context = ToolContext("CA1", 3, "CA1:3:call_1")

    first = asyncio.run(run_tool("book_table", arguments, context))
    second = asyncio.run(run_tool("book_table", arguments, context))

    booking = Booking.objects.get()
    assert first == second
    assert first[0] == "ok"
    assert json.loads(first[1])["reference"] == booking.reference
    assert (booking.name, booking.party_size) == ("Maria Jensen", 4)
    assert (str(booking.date), str(booking.time), booking.call_sid) == ("2026-11-28", "19:00:00", "CA1")

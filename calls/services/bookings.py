"""Reservations: written off the event loop, once per key."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date as Date
from datetime import time as Time

from channels.db import database_sync_to_async
from django.db import transaction

from calls.models import Booking
from calls.services.entries import clean
from calls.tools import ToolError

#: Own threads: the shared one may be held by somebody's slow query while a caller waits.
_EXECUTOR = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bookings")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_REFERENCE_LENGTH = 5


async def book(key: str, call_sid: str, name: str, party_size: int, date: str, time: str) -> Booking:
    """Enter a reservation; the same ``key`` again gives the same row. Raises ``ToolError``."""
    enter = database_sync_to_async(enter_booking, thread_sensitive=False, executor=_EXECUTOR)
    booking: Booking = await enter(key=key, call_sid=call_sid, name=name, party_size=party_size, date=date, time=time)
    return booking


def enter_booking(*, key: str, call_sid: str, name: str, party_size: int, date: str, time: str) -> Booking:
    """The synchronous half of ``book``. ``date`` is YYYY-MM-DD, ``time`` HH:MM."""
    day, hour = _day(date), _hour(time)
    with transaction.atomic():
        booking, _ = Booking.objects.get_or_create(
            key=key,
            defaults={
                "call_sid": call_sid,
                "reference": reference_of(key),
                "name": clean(name),
                "party_size": party_size,
                "date": day,
                "time": hour,
            },
        )
    return booking


def reference_of(key: str) -> str:
    """Five letters or digits without look-alikes, to be read out on the phone."""
    number = int.from_bytes(hashlib.sha256(key.encode(errors="backslashreplace")).digest()[:8])
    letters = []
    for _ in range(_REFERENCE_LENGTH):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


def _day(text: str) -> Date:
    try:
        return Date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"the date must be written YYYY-MM-DD, not {text!r}") from None


def _hour(text: str) -> Time:
    try:
        return Time.fromisoformat(text).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise ToolError(f"the time must be written HH:MM, not {text!r}") from None

"""Deleting calls for good: rows, sound, and what Redis still has of them. Bookings stay: they are the house's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.db import transaction
from redis.exceptions import RedisError

from calls import surroundings
from calls.logkeys import LIVE_KEY, events_key, meta_key
from calls.models import Call
from calls.services import recordings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

_log = structlog.get_logger(__name__)


def erasable(found: QuerySet[Call]) -> QuerySet[Call]:
    """Those whose record is closed: what is still being written would come back."""
    return found.filter(archived_at__isnull=False)


def erase_calls(found: QuerySet[Call]) -> int:
    """Delete the closed ones of these calls with all that belongs to them. How many."""
    sids = list(erasable(found).values_list("call_sid", flat=True))
    with transaction.atomic():
        Call.objects.filter(call_sid__in=sids).delete()
        transaction.on_commit(lambda: _forget(sids))
    _log.info("calls.erased", calls=len(sids))
    return len(sids)


def _forget(sids: Iterable[str]) -> None:
    """What no transaction holds. Redis lets go by itself within the hour; a file that stays is told."""
    folder = surroundings.recordings_dir()
    for sid in sids:
        try:
            recordings.drop_all(folder, sid)
        except OSError as error:
            _log.error("recording.not_erased", call_sid=sid, error=str(error))
    try:
        with surroundings.redis_client() as client:
            for sid in sids:
                client.delete(events_key(sid), meta_key(sid))
                client.zrem(LIVE_KEY, sid)
    except RedisError as error:
        _log.warning("erasure.redis_away", error=type(error).__name__)

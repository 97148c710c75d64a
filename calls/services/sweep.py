"""Finds what nobody finished: calls whose process died, calls whose archive task got lost, calls that never began, calls
that the memory was not told of.

A call that cannot be archived is tried again after a growing pause, kept in its meta, so that one bad call does not
cost every sweep its time.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import cast

import redis
import structlog
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from calls import surroundings
from calls.logkeys import DEAD_AFTER_MS, LIVE_KEY, events_key, meta_key
from calls.models import Call
from calls.services import meanings, recordings, remembering
from calls.services.archive import KEEP_S, archive_call

_log = structlog.get_logger(__name__)

_FIRST_RETRY_MS = 15_000
_LAST_RETRY_MS = 3_600_000
#: After this time a call that is still ringing never began, and one in progress without a log has lost it.
ABANDONED_AFTER = timedelta(minutes=5)
_AT_ONCE = 200


def sweep(client: redis.Redis) -> Counter[str]:
    """Archive and close what is overdue. How many calls came to what (``Archived``, ``failed``, ``closed``)."""
    done: Counter[str] = Counter()
    now_ms = time.time_ns() // 1_000_000
    for sid in _overdue(client, now_ms):
        done[_attempt(sid, client, now_ms)] += 1
    done["closed"] = _close_abandoned(client, now_ms, done)
    done.update(remembering.remember_due())
    done["embedded_turns"] = meanings.embed_due()
    _drop_raw_files()
    return +done


def _overdue(client: redis.Redis, now_ms: int) -> list[str]:
    """Calls without a heartbeat for too long, the oldest first, without those that wait for another attempt."""
    found = cast(
        "list[bytes]",
        client.zrangebyscore(LIVE_KEY, "-inf", now_ms - DEAD_AFTER_MS, start=0, num=_AT_ONCE),
    )
    return [sid.decode("utf-8", errors="replace") for sid in found]


def _attempt(sid: str, client: redis.Redis, now_ms: int) -> str:
    wait_until = cast("bytes | None", client.hget(meta_key(sid), "archive_retry_ms"))
    if wait_until and wait_until.isdigit() and int(wait_until) > now_ms:
        return "waiting"
    try:
        return archive_call(sid, client).value
    except ValueError as error:
        # Not an id of ours: nothing under this name can ever be archived.
        _log.error("sweep.unknown_entry", error=str(error))
        client.zrem(LIVE_KEY, sid)
        return "failed"
    except (redis.RedisError, OperationalError, InterfaceError):
        # Redis or the database is away: that is no fault of this call.
        raise
    except Exception as error:  # noqa: BLE001 - one call must not keep the sweeper from the others
        _postpone(sid, client, now_ms, error)
        return "failed"


def _postpone(sid: str, client: redis.Redis, now_ms: int, error: Exception) -> None:
    failures = client.hincrby(meta_key(sid), "archive_failures", 1)
    pause = min(_FIRST_RETRY_MS * 2 ** min(failures, 10), _LAST_RETRY_MS)
    client.hset(meta_key(sid), "archive_retry_ms", str(now_ms + pause))
    _log.exception("sweep.archive_failed", call_sid=sid, failures=failures, retry_in_ms=pause, exc_info=error)


def _close_abandoned(client: redis.Redis, now_ms: int, done: Counter[str]) -> int:
    """Close rows that no log will ever close: never connected, or in progress with the log gone."""
    old = Call.objects.exclude(status=Call.Status.ENDED).filter(started_at__lt=timezone.now() - ABANDONED_AFTER)
    closed = 0
    for call in old.order_by("started_at")[:_AT_ONCE]:
        if client.zscore(LIVE_KEY, call.call_sid) is not None:
            continue
        if client.exists(events_key(call.call_sid)):
            done[_attempt(call.call_sid, client, now_ms)] += 1
            continue
        now = timezone.now()
        reason = "not_connected" if call.status == Call.Status.RINGING else "process_died"
        closed += Call.objects.filter(pk=call.pk, status=call.status).update(
            status=Call.Status.ENDED, end_reason=reason, ended_at=now, archived_at=now
        )
        _log.info("call.abandoned", call_sid=call.call_sid, reason=reason)
    return closed


def _drop_raw_files() -> None:
    """Remove the raw sides of recordings that have been archived for as long as their log is kept."""
    folder = surroundings.recordings_dir()
    recordings.drop_unfinished(folder, time.time() - KEEP_S)
    for sid in recordings.raw_older_than(folder, time.time() - KEEP_S):
        recordings.drop_raw(folder, sid)

"""Deleting calls for good: rows, sound, and what Redis still has of them. Bookings stay: they are the house's own.

``CallRecords`` is the part of the calls in the erasure of a caller or a conversation (``memory.services.erasure``). A
call in progress goes on, and its record is erased in place of being archived. When a whole caller goes, bookings lose
the name: the table stays reserved under its reference.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from calls import surroundings
from calls.logkeys import LIVE_KEY, events_key, meta_key
from calls.models import Booking, Call
from calls.services import recordings
from memory import people
from memory.callers import caller_key
from memory.services import erasure as memory_erasure
from memory.services import tombstones
from memory.services.subjects import Pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import redis
    from django.db.models import QuerySet

    from memory.services.subjects import Subject

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


def forget_calls(found: QuerySet[Call], *, by: str) -> int:
    """The same, and what the memory made of them: a call that somebody deleted is not remembered. How many calls.

    ``by`` is who asked, for the receipts.
    """
    kept: defaultdict[str, list[str]] = defaultdict(list)
    for sid, key in erasable(found).exclude(caller_key="").values_list("call_sid", "caller_key"):
        kept[key].append(sid)
    count = erase_calls(found)
    transaction.on_commit(lambda: _forget_conversations(kept, by))
    return count


def _forget_conversations(kept: Mapping[str, list[str]], by: str) -> None:
    for key, sids in kept.items():
        person = people.by_hash(key)
        names = memory_erasure.known_conversations(person, sids) if person else []
        if person and names:
            memory_erasure.forget_conversations(person, names, by=by, now=timezone.now())


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


# --- as a part of a caller's erasure ----------------------------------------------------------------------------------


class CallRecords:
    """Calls with turns, events and sound, what Redis has of them, and the names in bookings."""

    name = "calls"

    def names(self, subject: Subject) -> Iterable[str]:
        """Ids of the caller's calls until the erasure, those in progress included."""
        yield from _calls_of(subject).values_list("call_sid", flat=True)
        yield from _live_of(subject)

    def remove(self, subject: Subject) -> Mapping[str, int]:
        """Calls whose record is closed; the others are erased when they end."""
        if not subject.is_call:
            return {}
        sids = _sids(subject)
        closed = erasable(Call.objects.filter(call_sid__in=sids))
        counts: Counter[str] = Counter()
        for label, count in closed.delete()[1].items():
            counts[_PARTS.get(label, label)] += count
        open_sids = _open(sids)
        gone = [sid for sid in sids if sid not in open_sids]
        counts["files"] = _drop_files(gone)
        counts["redis keys"] = _drop_keys(gone)
        counts["bookings made anonymous"] = _detach_bookings(sids, nameless=subject.is_whole)
        return counts

    def find(self, subject: Subject) -> Mapping[str, int]:
        """What is left of the calls."""
        if not subject.is_call:
            return {}
        sids = _sids(subject)
        with surroundings.redis_client() as client:
            keys = sum(int(client.exists(events_key(sid), meta_key(sid))) for sid in sids)
        left = {
            "calls": _calls_of(subject).count() + Call.objects.filter(call_sid__in=sids).count(),
            "files": len(_files(sids)),
            "redis keys": keys,
            "bookings": Booking.objects.filter(call_sid__in=sids).count(),
        }
        return {what: count for what, count in left.items() if count}

    def pending(self, subject: Subject) -> Pending:
        """Calls in progress, and calls from after the erasure of everything before."""
        if not subject.is_call:
            return Pending()
        newer = (
            Call.objects.filter(caller_key=subject.caller_hash, started_at__gt=subject.at) if subject.is_whole else ()
        )
        return Pending(len(_open(_sids(subject))), len(newer))


def is_erased(call_sid: str, from_number: str, began_at: datetime | None = None) -> bool:
    """Whether this call was erased, or its caller since it began: then nothing of it may be written."""
    return tombstones.conversation_erased(caller_key(from_number, surroundings.caller_secret()), call_sid, began_at)


def erase_instead(call_sid: str, meta: Mapping[str, str], client: redis.Redis) -> bool:
    """Let go of a call that ended, if it was erased while it went on. Whether it was; else nothing has happened.

    ``meta`` are the facts of its log. Raises what the database, Redis and the file system raise.
    """
    row = Call.objects.filter(call_sid=call_sid).first()
    number = meta.get("from_number") or (row.from_number if row else "")
    began_at = _moment(meta.get("started_wall_ms", "")) or (row.started_at if row else None)
    if not is_erased(call_sid, number, began_at):
        return False
    key = caller_key(number, surroundings.caller_secret())
    with transaction.atomic():
        Call.objects.filter(call_sid=call_sid).delete()
        _detach_bookings([call_sid], nameless=tombstones.caller_erased(key, began_at))
    _drop_files([call_sid])
    client.delete(events_key(call_sid), meta_key(call_sid))
    client.zrem(LIVE_KEY, call_sid)
    _log.info("call.erased", call_sid=call_sid)
    return True


_PARTS = {
    "calls.Call": "calls",
    "calls.Turn": "turns",
    "calls.TurnMeaning": "meanings of turns",
    "calls.CallEvent": "events",
    "calls.Recording": "recordings",
    "calls.Waveform": "waveforms",
}
#: What stands in a booking in place of the name.
NAMELESS = "(erased)"
_IN_FILE_NAMES = re.compile(r"[A-Za-z0-9]{2,64}")


def _calls_of(subject: Subject) -> QuerySet[Call]:
    """The caller's calls, in and out, until the erasure."""
    if not subject.is_whole:
        own = Call.objects.filter(call_sid__in=subject.conversations)
        return own.filter(Q(caller_key=subject.caller_hash) | Q(caller_key=""))
    placed = Q(direction__startswith="outbound", to_number=subject.number) if subject.number else Q()
    return Call.objects.filter(Q(caller_key=subject.caller_hash) | placed, started_at__lte=subject.at)


def _live_of(subject: Subject) -> Iterator[str]:
    """Calls of which only Redis knows yet: their webhook did not reach the database."""
    if not subject.is_whole:
        return
    try:
        with surroundings.redis_client() as client:
            for raw in cast("list[bytes]", client.zrange(LIVE_KEY, 0, -1)):
                sid = raw.decode(errors="replace")
                number = cast("bytes | None", client.hget(meta_key(sid), "from_number")) or b""
                if caller_key(number.decode(errors="replace"), surroundings.caller_secret()) == subject.caller_hash:
                    yield sid
    except RedisError as error:
        _log.warning("erasure.redis_away", error=type(error).__name__)


def _sids(subject: Subject) -> list[str]:
    """Names of conversations that can be ids of calls. An import's conversation may be called anything."""
    return [name for name in subject.conversations if _IN_FILE_NAMES.fullmatch(name)]


def _open(sids: list[str]) -> set[str]:
    """Those whose record is not closed."""
    unclosed = Call.objects.filter(call_sid__in=sids, archived_at__isnull=True).values_list("call_sid", flat=True)
    with surroundings.redis_client() as client:
        return set(unclosed) | {sid for sid in sids if client.zscore(LIVE_KEY, sid) is not None}


def _files(sids: Iterable[str]) -> list[Path]:
    """Files that belong to these calls, whatever their ending."""
    wanted = set(sids)
    return [path for path in surroundings.recordings_dir().iterdir() if path.name.split(".")[0] in wanted]


def _drop_files(sids: Iterable[str]) -> int:
    """Remove the sound. How many files. Raises ``OSError``."""
    found = _files(sids)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _drop_keys(sids: Iterable[str]) -> int:
    """Remove what Redis has. How many keys. Raises ``RedisError``."""
    with surroundings.redis_client() as client:
        gone = 0
        for sid in sids:
            gone += client.delete(events_key(sid), meta_key(sid))
            client.zrem(LIVE_KEY, sid)
    return gone


def _detach_bookings(sids: Iterable[str], *, nameless: bool) -> int:
    """Bookings stay, without the call they were taken in; ``nameless``: without the caller's name too."""
    rows = list(Booking.objects.filter(call_sid__in=list(sids)))
    for row in rows:
        row.call_sid, row.key = "", f"erased:{row.pk}"
        row.name = NAMELESS if nameless else row.name
        row.save(update_fields=["call_sid", "key", "name"])
    return len(rows)


def _moment(unix_ms: str) -> datetime | None:
    """A time of a call's meta; ``None`` where it is none."""
    if not unix_ms.isascii() or not unix_ms.isdigit() or len(unix_ms) > 15:
        return None
    return datetime.fromtimestamp(int(unix_ms) / 1000, UTC)

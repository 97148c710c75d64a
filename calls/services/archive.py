"""From the event log in Redis to rows: once, whoever asks and however often.

What makes it safe to run again, at the same time, or after a worker died half-way:

- all rows of a call are written in one transaction under a lock on its row, so there is nothing half-written;
- a call whose rows hold as many entries as the stream is done: somebody else did it, which is success;
- entries and turns are keyed by call and number, so writing them again changes nothing;
- Redis is let go of only after the commit, and only an hour later, so the source outlives a crash in between.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import batched
from typing import TYPE_CHECKING, Any, cast

import structlog
from django.db import transaction
from django.utils import timezone

from calls import surroundings
from calls.logkeys import DEAD_AFTER_MS, LIVE_KEY, checked_sid, events_key, meta_key
from calls.models import Call, CallEvent, Recording, Turn, Waveform
from calls.models.call import TRACE_ID_LENGTH, VERSION_LENGTH
from calls.services import carrier, entries, erasure, findable, recordings, timeline
from calls.services.entries import Entry
from calls.timeline_turns import course

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import redis

    from calls.services.recordings import Pictured, Stored
    from calls.services.timeline import CallFacts, TurnFacts
    from calls.timeline_turns import Course, Waits

_log = structlog.get_logger(__name__)

#: How long the source stays in Redis after archiving.
KEEP_S = 3600
_PAGE = 1000
_ROWS = 1000
_OUTCOMES = frozenset(Turn.Outcome.values)


class Archived(StrEnum):
    """What became of an attempt."""

    ARCHIVED = "archived"
    ALREADY = "already"
    LIVE = "live"
    NOTHING = "nothing"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Source:
    """What there is of a call: in Redis, or in a file."""

    meta: dict[str, str]
    entries: list[Entry]
    heartbeat_ms: int | None = None


def archive_call(call_sid: str, client: redis.Redis) -> Archived:
    """Archive a call that has ended. One that is still alive is left alone, one that was erased meanwhile let go of.

    Raises what Redis, the database or the file system raise; then nothing has been let go of, and the next attempt
    starts from the beginning.
    """
    sid = checked_sid(call_sid)
    source = _read(sid, client)
    if not source.entries and not source.meta:
        client.zrem(LIVE_KEY, sid)
        return Archived.NOTHING
    facts = timeline.fold(source.entries)
    if _is_alive(source, facts):
        return Archived.LIVE
    if erasure.erase_instead(sid, source.meta, client):
        return Archived.ERASED
    facts = timeline.with_reason(facts, source.meta.get("end_reason", "")[:40] or "process_died")
    stored = recordings.write_stereo(surroundings.recordings_dir(), sid)
    result = write(sid, source, facts, stored, is_remembered=True)
    _let_go(sid, client)
    _log.info(
        "call.archived",
        call_sid=sid,
        trace_id=source.meta.get("trace_id", ""),
        result=result.value,
        reason=facts.end_reason,
        entries=facts.entries,
        broken=facts.broken,
    )
    return result


def _read(sid: str, client: redis.Redis) -> Source:
    meta = cast("dict[bytes, bytes]", client.hgetall(meta_key(sid)))
    heartbeat = client.zscore(LIVE_KEY, sid)
    return Source(
        meta={entries.clean(_text(name)): entries.clean(_text(value)) for name, value in meta.items()},
        entries=entries.read(_pages(sid, client)),
        heartbeat_ms=None if heartbeat is None else int(heartbeat),
    )


def _pages(sid: str, client: redis.Redis) -> Iterable[tuple[bytes, Mapping[bytes, bytes]]]:
    first = "-"
    while page := cast(
        "list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(events_key(sid), min=first, count=_PAGE)
    ):
        yield from page
        first = "(" + _text(page[-1][0])


def _is_alive(source: Source, facts: CallFacts) -> bool:
    """Neither ended nor silent for too long."""
    if facts.end_reason or "ended_wall_ms" in source.meta or source.heartbeat_ms is None:
        return False
    return _now_ms() - source.heartbeat_ms < DEAD_AFTER_MS


def write(
    sid: str, source: Source, facts: CallFacts, stored: Stored | None, *, is_remembered: bool = False
) -> Archived:
    """Write all rows of a call, unless they are there. ``is_remembered``: the memory is to be told, if the caller has one."""
    with transaction.atomic():
        known = carrier.call_facts(source.meta)
        Call.objects.get_or_create(call_sid=sid, defaults=known)
        call = Call.objects.select_for_update(of=("self",)).get(call_sid=sid)
        if call.archived_at and call.entry_count >= facts.entries and _has(call, stored):
            return Archived.ALREADY
        _write_events(call, source.entries)
        _write_turns(call, facts.turns, course(source.entries))
        _write_recording(call, stored, source.meta)
        _complete(call, known)
        _write_call(call, source, facts, is_remembered=is_remembered)
    return Archived.ARCHIVED


def _has(call: Call, stored: Stored | None) -> bool:
    return stored is None or Recording.objects.filter(call=call, sha256=stored.sha256).exists()


def _write_events(call: Call, log: Iterable[Entry]) -> None:
    for batch in batched(log, _ROWS):
        CallEvent.objects.bulk_create((_event(call, entry) for entry in batch), ignore_conflicts=True)


def _event(call: Call, entry: Entry) -> CallEvent:
    return CallEvent(
        call=call,
        seq=entry.seq,
        step=entry.step,
        kind=entry.kind,
        type=entry.type,
        at_ms=entry.at_ms,
        at=_moment(entry.wall_ms),
        mode=entry.mode,
        turn=entry.turn,
        digest=entry.digest,
        data=entry.data,
        error=entry.error,
    )


def _write_turns(call: Call, turns: Iterable[TurnFacts], times: Course) -> None:
    rows = []
    ended_ms = -1
    for turn in turns:
        rows.append(_turn(call, turn, times))
        rows[-1].began_ms = times.began_ms(turn, ended_ms)
        ended_ms = max(ended_ms, turn.speech_ended_ms or -1)
    columns = [f.name for f in Turn._meta.concrete_fields if f.name not in ("id", "call", "number") and not f.generated]
    Turn.objects.bulk_create(
        rows, batch_size=_ROWS, update_conflicts=True, unique_fields=["call", "number"], update_fields=columns
    )


def _turn(call: Call, turn: TurnFacts, times: Course) -> Turn:
    return Turn(
        call=call,
        number=turn.number,
        kind=turn.kind,
        outcome=turn.outcome if turn.outcome in _OUTCOMES else Turn.Outcome.CALL_ENDED,
        interrupted=turn.interrupted,
        user_text=turn.user_text,
        generated_text=turn.generated_text,
        heard_text=turn.heard_text,
        speech_ended_ms=turn.speech_ended_ms,
        committed_ms=turn.committed_ms,
        first_audio_ms=turn.first_audio_ms,
        closed_ms=turn.closed_ms,
        latency_ms=turn.latency_ms,
        **_waits(times.waits(turn)),
        stopped_after_ms=times.stopped_ms.get(turn.number),
        wasted_chars=turn.wasted_chars,
        wasted_tokens=turn.wasted_tokens,
        spoken_words=list(turn.spoken_words),
        recalled=turn.recalled,
        causes=list(turn.causes),
    )


def _waits(waits: Waits | None) -> dict[str, int]:
    return {f"{name}_wait_ms": ms for name, ms in asdict(waits).items()} if waits else {}


def _write_recording(call: Call, stored: Stored | None, meta: Mapping[str, str]) -> None:
    if stored is None:
        return
    recording, _is_new = Recording.objects.update_or_create(
        call=call,
        defaults={
            "file": stored.file,
            "duration_ms": stored.duration_ms,
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
            "starts_at_ms": _signed(meta.get("sound_from_ms")),
        },
    )
    write_waveform(recording, stored.picture)


def write_waveform(recording: Recording, picture: Pictured) -> Waveform:
    """Keep what a recording looks like."""
    shown = {"caller": picture.caller, "agent": picture.agent, "figures": picture.figures}
    return Waveform.objects.update_or_create(recording=recording, defaults=shown)[0]


def _write_call(call: Call, source: Source, facts: CallFacts, *, is_remembered: bool) -> None:
    began = facts.first_wall_ms if facts.first_wall_ms is not None else _whole(source.meta.get("started_wall_ms"))
    call.answered_at = _moment(began) if began else call.answered_at
    if call.answered_at:
        call.started_at = min(call.started_at, call.answered_at)
    call.ended_at = _moment(facts.last_wall_ms) if facts.last_wall_ms else call.ended_at or timezone.now()
    call.status = Call.Status.ENDED
    call.end_reason = facts.end_reason
    call.duration_ms = facts.duration_ms
    call.turn_count = facts.turn_count
    call.barge_in_count = facts.barge_ins
    call.latency_median_ms = facts.latency_median_ms
    call.latency_max_ms = facts.latency_max_ms
    call.error_count = facts.errors
    call.entry_count = facts.entries
    call.broken_count = facts.broken + facts.missing
    call.trace_id = source.meta.get("trace_id", "")[:TRACE_ID_LENGTH] or call.trace_id
    call.trace_kept = "trace_kept" in source.meta
    call.process = source.meta.get("process", "")[:255]
    call.state_layout = _parsed(source.meta.get("state_layout"), dict)
    call.checked = "checked" in source.meta
    call.audio = _counts(_parsed(source.meta.get("audio"), dict))
    call.violations = _parsed(source.meta.get("violations"), list)
    for name, value in findable.columns(source.entries, facts).items():
        setattr(call, name, value)
    call.has_recording = Recording.objects.filter(call=call).exists()
    call.is_returning = _was_here_before(call)
    call.software_version = source.meta.get("software", "")[:VERSION_LENGTH] or call.software_version
    call.archived_at = call.meaning_due_at = timezone.now()
    # With the rows or not at all: what was said cannot get lost between here and the memory.
    is_remembered = is_remembered and "reads_only" not in source.meta
    call.remember_due_at = call.archived_at if is_remembered and call.caller_key else None
    call.save()


def _was_here_before(call: Call) -> bool | None:
    """Whether the caller had called before; ``None`` for a withheld number."""
    if not call.caller_key:
        return None
    return Call.objects.filter(caller_key=call.caller_key, started_at__lt=call.started_at).exists()


def _complete(call: Call, known: Mapping[str, Any]) -> None:
    """What the row lacks because the database was away when the call rang, and a later callback made the row."""
    for name, value in known.items():
        if not getattr(call, name):
            setattr(call, name, value)


def _parsed(text: str | None, kind: type) -> Any:
    """A fact of the meta that is JSON; empty where it is none of this kind."""
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError):
        return kind()
    return value if isinstance(value, kind) else kind()


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    """Those that are counts: the meta is read from outside."""
    return {name: value for name, value in found.items() if type(value) is int and 0 <= value < 2**53}


def _let_go(sid: str, client: redis.Redis) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.expire(events_key(sid), KEEP_S)
    pipe.expire(meta_key(sid), KEEP_S)
    pipe.zrem(LIVE_KEY, sid)
    pipe.execute()


def _moment(unix_ms: int | None) -> datetime:
    """Unix milliseconds as a time; nonsense becomes the epoch, so that a broken entry still has a place."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms or 0)
    except OverflowError:
        return datetime(1970, 1, 1, tzinfo=UTC)


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _signed(text: str | None) -> int:
    """Milliseconds on the call's clock, which may lie before its start; 0 for what is none."""
    digits = (text or "").removeprefix("-")
    return int(text or 0) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

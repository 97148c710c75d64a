"""Archiving: the same rows, however often, by however many, and whatever broke on the way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, connections
from django.forms.models import model_to_dict
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from calls.bus import Bus
from calls.calllog import CallLog
from calls.logcontext import CallPlace
from calls.logkeys import LIVE_KEY, events_key, meta_key
from calls.metrics import CallMetrics
from calls.models import Call, CallEvent, Recording, Turn
from calls.services.archive import Archived, archive_call
from calls.services.carrier import open_call, record_carrier_status
from calls.tickets import Ticket
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from calls.models import AgentVersion

SID = "CA" + "0" * 32


def rows() -> dict[str, list[dict[str, Any]]]:
    """Everything in the tables, without the time of archiving."""
    found = {
        model.__name__: [model_to_dict(row) for row in model.objects.order_by("pk").all()]
        for model in (Call, Turn, CallEvent, Recording)
    }
    for call in found["Call"]:
        call.pop("archived_at")
    return found


def test_a_call_becomes_rows(archived: Callable[[Conversation], Call], version: AgentVersion) -> None:
    talk = booked_table()

    call = archived(talk)

    assert (call.status, call.end_reason, call.agent_version) == (Call.Status.ENDED, "agent_hung_up", version)
    assert (call.turn_count, call.barge_in_count, call.error_count, call.broken_count) == (4, 1, 0, 0)
    assert call.duration_ms == talk.now
    assert call.entry_count == sum(1 + len(taken.commands) for taken in talk.steps) == call.events.count()
    assert call.archived_at
    assert call.answered_at
    assert call.ended_at
    assert (call.ended_at - call.answered_at).total_seconds() * 1000 == talk.now
    assert call.caller_key
    cut = call.turns.get(number=1)
    assert (cut.outcome, cut.interrupted) == ("interrupted", True)
    assert cut.heard_text == "Gladly! We are open from noon to ten in"
    assert cut.generated_text.startswith(cut.heard_text)
    assert cut.latency_ms == cut.first_audio_ms - cut.speech_ended_ms == 720  # type: ignore[operator]
    assert (cut.turn_end_wait_ms, cut.model_wait_ms, cut.voice_wait_ms) == (260, 310, 150)
    assert cut.stopped_after_ms == 90  # the detector's time to be sure; at once after that
    assert call.turns.get(number=0).latency_ms is None
    assert (call.latency_median_ms, call.latency_max_ms) == (920, 1390)


def test_the_log_line_the_metrics_and_the_row_count_the_same(archived: Callable[[Conversation], Call]) -> None:
    talk = booked_table()
    bus = Bus(on_error=pytest.fail)
    CallLog(bus, Ticket(talk.call_sid, "", "", "", 1, talk.profile), CallPlace(talk.call_sid, ""))
    CallMetrics(bus, lambda: talk.now)
    before = [REGISTRY.get_sample_value(f"turn_latency_ms_{name}") or 0 for name in ("count", "sum")]
    with capture_logs() as lines:
        for taken in talk.steps:
            bus.publish(taken)

    call = archived(talk)

    ended = next(line for line in lines if line["event"] == "call.ended")
    assert (ended["turns"], ended["barge_ins"]) == (call.turn_count, call.barge_in_count)
    assert ended["turn_latency_ms"] == call.latency_median_ms
    after = [REGISTRY.get_sample_value(f"turn_latency_ms_{name}") or 0 for name in ("count", "sum")]
    latencies_ms = [turn.latency_ms for turn in call.turns.exclude(latency_ms=None)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [len(latencies_ms), sum(latencies_ms)]


def test_the_record_replays_from_the_rows(archived: Callable[[Conversation], Call]) -> None:
    from calls.core.machine import step
    from calls.core.record import command_from, event_from, tagged
    from calls.core.state import State

    call = archived(booked_table())

    state = State()
    expected: list[Any] = []
    for row in call.events.order_by("seq"):
        if row.kind == "event":
            assert expected == []
            state, commands = step(state, event_from(row.data))
            expected = [tagged(command) for command in commands]
        else:
            command_from(row.data)
            assert row.data == expected.pop(0)
    assert expected == []
    assert state.phase == "ended"


def test_twice_changes_nothing(archived: Callable[[Conversation], Call], client_redis: redis.Redis) -> None:
    archived(booked_table())
    before = rows()

    assert archive_call(SID, client_redis) is Archived.ALREADY

    assert rows() == before


@pytest.mark.django_db(transaction=True)
def test_at_the_same_time_writes_once(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table())
    (recordings / f"{SID}.in.ulaw").write_bytes(b"\x80" * 8000)
    start = threading.Barrier(4)
    results: list[Archived] = []

    def work() -> None:
        try:
            start.wait()
            results.append(archive_call(SID, client_redis))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [Archived.ALREADY] * 3 + [Archived.ARCHIVED]
    assert Call.objects.get().entry_count == CallEvent.objects.count()
    assert Turn.objects.count() == 5
    assert Recording.objects.count() == 1
    assert not list(recordings.glob("*.part"))


class _DiesAfter:
    """Fails the connection's statement number ``count``, as a worker that is killed there would leave it."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise DatabaseError("killed here")
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_a_death_after_any_statement_leaves_all_or_nothing(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table())
    (recordings / f"{SID}.out.ulaw").write_bytes(b"\x00" * 8000)
    deaths = 0
    for count in range(100):
        try:
            with connection.execute_wrapper(_DiesAfter(count)):
                archive_call(SID, client_redis)
        except DatabaseError:
            deaths += 1
            assert Turn.objects.count() == CallEvent.objects.count() == Recording.objects.count() == 0
            assert client_redis.zscore(LIVE_KEY, SID) is not None, "let go of before the commit"
        else:
            break

    assert deaths >= 8, "the wrapper did not see the statements"
    assert Call.objects.get().entry_count == CallEvent.objects.count() > 300
    assert Turn.objects.count() == 5


def test_redis_is_kept_an_hour_and_the_call_is_no_longer_live(
    archived: Callable[[Conversation], Call], client_redis: redis.Redis
) -> None:
    archived(booked_table())

    assert client_redis.zscore(LIVE_KEY, SID) is None
    assert 3500 < client_redis.ttl(events_key(SID)) <= 3600  # type: ignore[operator]
    assert 3500 < client_redis.ttl(meta_key(SID)) <= 3600  # type: ignore[operator]


def test_a_broken_entry_is_kept_and_marked(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    talk = booked_table()
    log_call(talk)
    total = sum(1 + len(taken.commands) for taken in talk.steps)
    good = {"step": 1, "kind": "event", "type": "EarReady", "at_ms": 1, "wall_ms": 1, "mode": "X", "turn": 0}
    poison: list[dict[str, Any]] = [
        {"rubbish": b"\xff\xfe"},
        {**good, "seq": total + 2, "data": b"{"},
        {**good, "seq": total + 3, "data": b'{"type":"NoSuchEvent","at_ms":1}'},
        {**good, "seq": total + 4, "data": b'{"type":"EarReady","at_ms":"soon"}'},
        {**good, "seq": total + 5, "data": b"[" * 100_000},
        {**good, "seq": total + 6, "kind": "wish", "data": b'{"type":"EarReady","at_ms":1}'},
        {**good, "seq": "9" * 40, "turn": "9" * 40, "at_ms": -5, "data": b'{"type":"EarReady","at_ms":1}'},
        {
            **good,
            "seq": total + 8,
            "type": "WordsHeard",
            "data": b'{"type":"WordsHeard","at_ms":1,"text":"a\\u0000b\\ud800"}',
        },
    ]
    for place, fields in enumerate(poison, total + 1):
        client_redis.xadd(events_key(SID), fields, id=f"{place}-0")  # type: ignore[arg-type]

    assert archive_call(SID, client_redis) is Archived.ARCHIVED

    call = Call.objects.get()
    broken = list(call.events.filter(kind="broken").order_by("seq"))
    assert [row.seq for row in broken] == list(range(total + 1, total + 7))
    assert all(row.error and "raw" in row.data for row in broken)
    replaced = call.events.get(seq=total + 8)
    assert (replaced.kind, replaced.data["text"]) == ("event", "a\ufffdb?")
    assert "replaced" in replaced.error
    assert call.events.get(seq=total + 7).turn == 0
    assert (call.turn_count, call.end_reason, call.broken_count) == (4, "agent_hung_up", 6)


def test_missing_entries_are_counted(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table())
    client_redis.xdel(events_key(SID), "10-0", "11-0")

    archive_call(SID, client_redis)

    assert Call.objects.get().broken_count == 2


def test_a_call_whose_webhook_never_reached_the_database(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    log_call(booked_table())

    archive_call(SID, client_redis)

    call = Call.objects.get()
    assert (call.from_number, call.to_number, call.agent_version) == ("+15551234567", "+15005550006", version)
    assert call.caller_key


def test_the_carriers_words_survive_the_archive(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table())
    open_call(call_sid=SID, from_number="+15551234567", to_number="+15005550006")
    record_carrier_status({"CallSid": SID, "CallStatus": "completed", "SequenceNumber": "3", "CallDuration": "23"})

    archive_call(SID, client_redis)

    call = Call.objects.get()
    assert (call.carrier_status, call.carrier_duration_s, call.end_reason) == ("completed", 23, "agent_hung_up")


def test_what_came_after_a_wrong_death_certificate_is_added(
    redis_url: str, client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    """A process that hung for a minute was taken for dead; it woke up, and its call ended properly."""
    import asyncio

    from tests.app.records.conftest import meta_of, write_log

    whole = booked_table()
    half = Conversation(steps=whole.steps[:120])
    asyncio.run(write_log(redis_url, half, meta_of(version)))
    archive_call(SID, client_redis)
    call = Call.objects.get()
    assert (call.end_reason, call.turns.last().outcome) == ("process_died", "call_ended")  # type: ignore[union-attr]

    for taken in whole.steps[120:]:
        asyncio.run(_append(redis_url, whole, taken))
    assert archive_call(SID, client_redis) is Archived.ARCHIVED

    call.refresh_from_db()
    assert (call.end_reason, call.turn_count) == ("agent_hung_up", 4)
    assert call.entry_count == call.events.count()
    assert set(call.turns.values_list("outcome", flat=True)) == {"answered", "interrupted"}


async def _append(url: str, talk: Conversation, taken: Any) -> None:
    """One more step by the process that woke up, with the numbers it had given."""
    import redis.asyncio as aioredis

    from calls.logwire import Noted, Wire, share_of

    first = 1 + sum(1 + len(earlier.commands) for earlier in talk.steps[: taken.seq - 1])
    noted = Noted(first, taken.seq, taken.wall_ms, taken.event, taken.commands, taken.state.mode, taken.state.turn)
    async with aioredis.Redis.from_url(url) as client:
        owner = (await client.hget(meta_key(talk.call_sid), "log")).decode()
        assert await Wire(client).send([share_of(talk.call_sid, owner, {}, [noted])], (), 0) == [b""]

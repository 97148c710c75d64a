"""The sweeper: calls whose process died, whose task got lost, that never began, and one that cannot be archived."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from calls import tasks
from calls.logkeys import LIVE_KEY, meta_key
from calls.models import Call, Turn
from calls.services.carrier import mark_answered, open_call
from calls.services.sweep import sweep
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

SID = "CA" + "0" * 32

pytestmark = pytest.mark.usefixtures("recordings", "version")


def died_at(step: int, sid: str = SID) -> Conversation:
    """A conversation whose process was killed after so many steps."""
    return Conversation(call_sid=sid, steps=booked_table(sid).steps[:step])


def kill(client: redis.Redis, sid: str = SID, ago_ms: int = 31_000) -> None:
    """Take back what only a proper end writes."""
    client.hdel(meta_key(sid), "ended_wall_ms")
    client.zadd(LIVE_KEY, {sid: time.time() * 1000 - ago_ms})


def test_a_call_whose_process_died(log_call: Callable[[Conversation], None], client_redis: redis.Redis) -> None:
    log_call(died_at(120))
    kill(client_redis)

    assert sweep(client_redis) == {"archived": 1}

    call = Call.objects.get()
    assert (call.end_reason, call.status) == ("process_died", "ended")
    lost = call.turns.last()
    assert lost
    assert (lost.outcome, lost.closed_ms) == ("call_ended", None)
    assert lost.user_text
    assert lost.generated_text.startswith(lost.heard_text)
    assert client_redis.zcard(LIVE_KEY) == 0


def test_a_living_call_is_left_alone(log_call: Callable[[Conversation], None], client_redis: redis.Redis) -> None:
    log_call(died_at(120))
    kill(client_redis, ago_ms=20_000)

    assert sweep(client_redis) == {}
    with_task = tasks.archive(SID)

    assert with_task == "live"
    assert not Call.objects.exists()
    assert client_redis.zscore(LIVE_KEY, SID) is not None


def test_a_call_whose_archive_task_got_lost(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis
) -> None:
    log_call(booked_table())
    client_redis.zadd(LIVE_KEY, {SID: time.time() * 1000 - 31_000})

    assert sweep(client_redis) == {"archived": 1}
    assert sweep(client_redis) == {}

    assert Call.objects.get().end_reason == "agent_hung_up"


def test_calls_that_never_began_are_closed(client_redis: redis.Redis) -> None:
    for sid, minutes in (("CAold", 6), ("CAnew", 4), ("CAlost", 6)):
        open_call(call_sid=sid, from_number="+15551234567", to_number="+15005550006")
        Call.objects.filter(call_sid=sid).update(started_at=timezone.now() - timedelta(minutes=minutes))
    mark_answered(call_sid="CAlost")

    assert sweep(client_redis) == {"closed": 2}

    assert dict(Call.objects.values_list("call_sid", "end_reason")) == {
        "CAold": "not_connected",
        "CAnew": "",
        "CAlost": "process_died",
    }


def test_a_long_call_in_progress_is_not_closed(client_redis: redis.Redis) -> None:
    open_call(call_sid=SID, from_number="", to_number="")
    mark_answered(call_sid=SID)
    Call.objects.update(started_at=timezone.now() - timedelta(minutes=20))
    client_redis.zadd(LIVE_KEY, {SID: time.time() * 1000})

    assert sweep(client_redis) == {}


def test_one_bad_call_does_not_hold_up_the_others_and_is_tried_later(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    good = "CA" + "1" * 32
    for sid in (SID, good):
        log_call(booked_table(sid))
        kill(client_redis, sid)
    # A folder where the recording should be written: fails for this call only, until somebody clears it away.
    (recordings / f"{SID}.in.ulaw").write_bytes(b"\xff" * 800)
    (recordings / f"{SID}.wav").mkdir()

    assert sweep(client_redis) == {"failed": 1, "archived": 1}
    assert sweep(client_redis) == {"waiting": 1}
    assert Call.objects.get().call_sid == good

    (recordings / f"{SID}.wav").rmdir()
    client_redis.hset(meta_key(SID), "archive_retry_ms", "0")
    assert sweep(client_redis) == {"archived": 1}
    assert Turn.objects.count() == 10


def test_a_database_that_is_away_is_no_fault_of_the_call(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis
) -> None:
    log_call(booked_table())
    kill(client_redis)

    def away(*_: object) -> None:
        raise OperationalError("the server closed the connection")

    with pytest.raises(OperationalError), connection.execute_wrapper(away):
        sweep(client_redis)

    assert client_redis.hget(meta_key(SID), "archive_retry_ms") is None
    assert sweep(client_redis) == {"archived": 1}


def test_rubbish_in_the_live_set_is_thrown_out(client_redis: redis.Redis) -> None:
    client_redis.zadd(LIVE_KEY, {"../../etc/passwd": 1, b"\xff\xfe": 1, "CAnothing": 1})

    sweep(client_redis)

    assert client_redis.zcard(LIVE_KEY) <= 1
    assert not Call.objects.exists()


def test_raw_sides_go_an_hour_after_the_recording_stands(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    raw = recordings / f"{SID}.in.ulaw"
    raw.write_bytes(b"\x80" * 8000)
    orphan = recordings / "CAorphan.in.ulaw"
    orphan.write_bytes(b"\x80" * 8000)
    log_call(booked_table())
    kill(client_redis)
    sweep(client_redis)
    assert raw.exists(), "kept for another run"

    for path in (raw, orphan):
        os.utime(path, (time.time() - 3700,) * 2)
    sweep(client_redis)

    assert not raw.exists()
    assert orphan.exists(), "audio that is in no recording is never thrown away"
    assert (recordings / f"{SID}.wav").exists()


def test_only_one_sweep_at_a_time(client_redis: redis.Redis, log_call: Callable[[Conversation], None]) -> None:
    log_call(booked_table())
    kill(client_redis)

    with client_redis.lock("calls:sweeping", timeout=10):
        assert tasks.sweep() == {}

    assert tasks.sweep() == {"archived": 1}
    assert client_redis.exists("calls:sweeping") == 0

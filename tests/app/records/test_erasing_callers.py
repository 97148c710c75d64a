"""A caller is erased: calls, sound, bookings and memory, also of the call that is going on; nothing of it comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from django.db import connection

from calls.eventlog import LogConf, LogWriter
from calls.logkeys import LIVE_KEY, events_key, meta_key
from calls.management.sources import FILE_SUFFIX
from calls.models import Booking, Call, Turn
from calls.replay.callfile import read, written
from calls.services import transfer
from calls.services.archive import Archived, archive_call
from calls.services.carrier import Recorded, open_call, record_carrier_status
from calls.services.sweep import sweep
from calls.services.transfer import TransferError
from memory import people
from memory.core.values import Said
from memory.services import erasure
from memory.services.writing import Erased, write_conversation
from tests.app.records.conftest import meta_of
from tests.app.records.conversation import booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from calls.models import AgentVersion
    from memory.people import Person
    from tests.app.records.conversation import Conversation

NUMBER, OTHER = "+15551234567", "+15557654321"
FIRST, SECOND, THIRD = (f"CA{number:032d}" for number in (1, 2, 3))
#: When the conversations of these tests began, and later.
BEGAN = datetime.fromtimestamp(1_795_000_000, UTC)
NOW = BEGAN + timedelta(hours=1)
#: What only this caller said, is called, or is known by.
PRIVATE = ("book a table for Saturday", "Maria", "Jensen", NUMBER[1:], FIRST)


def remembered(sid: str, number: str = NUMBER, text: str = "Maria Jensen. A table for Saturday, please.") -> Person:
    """The call in the memory."""
    person = people.ensure(number)
    said = [Said(0, "user", text, BEGAN)]
    write_conversation(person, sid, said, began_at=BEGAN)
    return person


def everywhere(client: redis.Redis, folder: Path, text: str) -> list[str]:
    """Where this text stands: every column of every table, every key, every file; a search of its own."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608 - names of the catalogue
            rows = [row for (row,) in cursor.fetchall() if text.casefold() in row.casefold()]
            found += [table] * len(rows)
    for key in client.scan_iter():
        if text.encode() in key + (client.dump(key) or b""):
            found.append(key.decode())
    for path in folder.parent.rglob("*"):
        if text in path.name or (path.is_file() and text.encode() in path.read_bytes()):
            found.append(path.name)
    return found


@pytest.fixture
def called(archived: Callable[[Conversation], Call], client_redis: redis.Redis) -> Call:
    """An archived call of somebody who is remembered, with a booking; and another caller's call."""
    other = archived(booked_table(SECOND))
    Call.objects.filter(pk=other.pk).update(from_number=OTHER, caller_key=people.hash_of(OTHER), started_at=BEGAN)
    Call.objects.get(pk=other.pk).events.all().delete()
    Call.objects.get(pk=other.pk).turns.all().delete()
    client_redis.delete(events_key(SECOND), meta_key(SECOND))
    call = archived(booked_table(FIRST))
    Call.objects.filter(pk=call.pk).update(started_at=BEGAN)
    Booking.objects.create(
        key=f"{FIRST}:1",
        call_sid=FIRST,
        reference="K7M2P",
        name="Maria Jensen",
        party_size=4,
        date="2026-11-28",
        time="19:00",
    )
    remembered(FIRST)
    remembered(SECOND, OTHER, "The same for me.")
    return call


def test_after_an_erasure_nothing_of_the_caller_is_anywhere(
    called: Call, client_redis: redis.Redis, recordings: Path
) -> None:
    for text in PRIVATE:
        assert everywhere(client_redis, recordings, text), text
    person, turns = people.find(NUMBER), called.turns.count()
    assert person is not None

    request = erasure.erase_caller(person, by="operator:ann", now=NOW)

    assert request.state == "verified", request.receipt
    for text in PRIVATE:
        assert everywhere(client_redis, recordings, text) == [], text
    removed = request.receipt["removed"]["calls"]
    assert removed["calls"] == removed["recordings"] == removed["bookings made anonymous"] == 1
    assert (removed["turns"], removed["files"], removed["redis keys"]) == (turns, 3, 2)
    assert removed["events"] == called.entry_count


def test_another_callers_records_stay(called: Call, client_redis: redis.Redis, recordings: Path) -> None:
    erasure.erase_number(NUMBER, by="operator:ann", now=NOW)

    assert set(Call.objects.values_list("call_sid", flat=True)) == {SECOND}
    assert {path.name.split(".")[0] for path in recordings.iterdir()} == {SECOND}
    assert people.find(OTHER) is not None


def test_a_booking_stays_under_its_reference(called: Call, client_redis: redis.Redis) -> None:
    erasure.erase_number(NUMBER, by="operator:ann", now=NOW)

    booking = Booking.objects.get()
    assert (booking.reference, booking.party_size, str(booking.date)) == ("K7M2P", 4, "2026-11-28")
    assert (booking.name, booking.call_sid) == ("(erased)", "")


def test_one_call_goes_with_its_record_and_the_booking_keeps_the_name(called: Call, client_redis: redis.Redis) -> None:
    person = people.find(NUMBER)
    assert person is not None

    request = erasure.forget_conversation(person, FIRST, by="operator:ann", now=NOW)

    assert request.state == "verified", request.receipt
    assert not Call.objects.filter(call_sid=FIRST).exists()
    assert (Booking.objects.get().name, Booking.objects.get().call_sid) == ("Maria Jensen", "")
    assert people.find(NUMBER) is not None


def test_the_record_of_a_call_that_recalled_another_does_not_keep_its_erasure_open(
    called: Call, client_redis: redis.Redis
) -> None:
    person = people.find(NUMBER)
    assert person is not None
    later = Call.objects.get(call_sid=SECOND)
    recalled = {"items": [{"conversation": FIRST, "quote": "A table"}]}
    Turn.objects.create(call=later, number=9, kind="answer", outcome="answered", recalled=recalled)

    request = erasure.forget_conversation(person, FIRST, by="operator:ann", now=NOW)

    assert request.state == "verified", request.receipt
    assert request.receipt["searched"]["calls_turn, quoting"] == 1
    assert any("in which it was recalled" in kept for kept in request.receipt["kept"])


def test_a_caller_without_a_memory_is_erased_too(
    archived: Callable[[Conversation], Call], client_redis: redis.Redis, recordings: Path
) -> None:
    archived(booked_table(FIRST))
    Call.objects.update(started_at=BEGAN)

    request = erasure.erase_number("+1 555 123-4567", by="operator:ann", now=NOW)

    assert request.state == "verified", request.receipt
    assert everywhere(client_redis, recordings, NUMBER[1:]) == []


def test_a_call_from_after_the_erasure_stays(
    archived: Callable[[Conversation], Call], client_redis: redis.Redis
) -> None:
    archived(booked_table(FIRST))
    Call.objects.update(started_at=NOW + timedelta(seconds=1))

    request = erasure.erase_number(NUMBER, by="caller", now=NOW)

    assert (request.state, request.receipt["newer"]) == ("verified", 1)
    assert Call.objects.get().call_sid == FIRST


# --- a call that is going on ------------------------------------------------------------------------------------------


class Ongoing:
    """A call whose log is being written by the real writer, one part of it at a time."""

    def __init__(self, url: str, talk: Conversation, meta: dict[str, str]) -> None:
        self._runner = asyncio.Runner()
        self._steps = list(talk.steps)
        self._runner.run(self._open(url, talk.call_sid, meta))

    async def _open(self, url: str, sid: str, meta: dict[str, str]) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=2)
        self._writer = LogWriter(self._client, lambda sid: None, conf=LogConf(flush_ms=1))
        self._running = asyncio.create_task(self._writer.run())
        self._log = self._writer.open(sid, meta)

    def go_on(self, steps: int) -> None:
        """So many steps happen and are written."""

        async def part() -> None:
            for taken in self._steps[:steps]:
                self._log.on_step(taken)
            del self._steps[:steps]
            while self._log.has_news:  # noqa: ASYNC110 - the writer tells of the end of a log alone
                await asyncio.sleep(0)

        self._runner.run(part())

    def end(self) -> None:
        """The rest happens, and the log is closed."""
        self.go_on(len(self._steps))

        async def last() -> None:
            assert await self._log.aclose()
            assert await self._writer.aclose() == 0
            await self._running
            await self._client.aclose()

        self._runner.run(last())
        self._runner.close()


def test_a_call_in_progress_goes_on_and_is_erased_when_it_ends(
    version: AgentVersion, redis_url: str, client_redis: redis.Redis, recordings: Path
) -> None:
    open_call(call_sid=THIRD, from_number=NUMBER, to_number="+15005550006", agent_version_id=version.pk)
    Call.objects.update(status="in_progress", started_at=BEGAN)
    for side in ("in", "out"):
        (recordings / f"{THIRD}.{side}.ulaw").write_bytes(b"\x80" * 16000)
    Booking.objects.create(
        key=f"{THIRD}:1", call_sid=THIRD, name="Maria Jensen", party_size=4, date="2026-11-28", time="19:00"
    )
    call = Ongoing(redis_url, booked_table(THIRD), meta_of(version))
    call.go_on(20)

    request = erasure.erase_number(NUMBER, by="caller", now=NOW)

    assert (request.state, request.receipt["waiting"]) == ("removed", 1)
    assert client_redis.exists(events_key(THIRD))
    assert erasure.finish_open(now=NOW) == {"removed": 1}
    call.end()
    assert archive_call(THIRD, client_redis) is Archived.ERASED
    assert archive_call(THIRD, client_redis) is Archived.NOTHING
    late = {"CallSid": THIRD, "From": NUMBER, "To": "+15005550006", "CallStatus": "completed"}
    assert record_carrier_status(late) is Recorded.STALE
    assert erasure.finish_open(now=NOW) == {"verified": 1}
    assert not Call.objects.exists()
    for text in (*PRIVATE[:-1], THIRD):
        assert everywhere(client_redis, recordings, text) == [], text
    with pytest.raises(Erased):
        remembered(THIRD)


def test_a_call_of_which_only_redis_knows_is_erased_when_it_ends(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table(THIRD))
    assert not Call.objects.exists()

    request = erasure.erase_number(NUMBER, by="operator:ann", now=NOW)
    assert (request.state, request.receipt["waiting"]) == ("removed", 1)

    client_redis.zadd(LIVE_KEY, {THIRD: 0})
    assert sweep(client_redis) == {"erased": 1}
    assert erasure.finish_open(now=NOW) == {"verified": 1}
    assert everywhere(client_redis, recordings, NUMBER[1:]) == []


def test_an_erased_call_is_not_imported_again(called: Call, client_redis: redis.Redis, tmp_path: Path) -> None:
    file = tmp_path / f"x{FILE_SUFFIX}"
    file.write_bytes(written(transfer.record_of(FIRST), b"", packed=True))
    erasure.erase_number(NUMBER, by="operator:ann", now=NOW)

    with pytest.raises(TransferError, match="erased"):
        transfer.take_over(read(file.read_bytes()))
    assert not Call.objects.filter(call_sid=FIRST).exists()

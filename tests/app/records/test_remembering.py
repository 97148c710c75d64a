"""An archived call is handed to the memory once, and whatever breaks on the way it stays due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from calls import tasks
from calls.logkeys import LIVE_KEY
from calls.models import Call
from calls.services import remembering
from calls.services.archive import archive_call
from calls.services.remembering import Remembered, remember, remember_due, said_in
from calls.services.sweep import sweep
from memory import people, selectors
from memory.manager import MCPMemoryManager
from memory.models import Conversation, Tombstone, Utterance
from tests.app.records.conftest import meta_of, write_log
from tests.app.records.conversation import Conversation as Talk
from tests.app.records.conversation import booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from calls.models import AgentVersion

SID = "CA" + "0" * 32
CALLER = "+15551234567"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def due() -> bool:
    return Call.objects.get(call_sid=SID).remember_due_at is not None


def test_what_both_sides_heard_of_each_other_is_remembered_with_its_second(archived: Callable[[Talk], Call]) -> None:
    call = archived(booked_table())

    assert remember(SID) is Remembered.REMEMBERED

    person = people.find(CALLER)
    assert person is not None
    lines = selectors.lines(person)
    assert [(line.seq, line.role, line.text) for line in lines][:4] == [
        (1, "assistant", "Bella Vista, good day! How can I help you?"),
        (2, "user", "Hi, I would like to book a table for Saturday."),
        (3, "assistant", "Gladly! We are open from noon to ten in"),
        (4, "user", "At seven, for four people."),
    ]
    assert "terrace" not in " ".join(line.text for line in lines), "what was never heard was not said"
    first_words = call.events.filter(type="SpeechStarted").order_by("seq").first()
    assert first_words is not None
    assert lines[1].audio_ms == first_words.data["voiced_at_ms"]
    assert call.answered_at is not None
    assert lines[1].said_at == call.answered_at + timedelta(milliseconds=lines[1].audio_ms)
    assert [line.audio_ms for line in lines] == sorted(line.audio_ms for line in lines)
    conversation = Conversation.objects.get()
    assert (conversation.name, conversation.began_at, conversation.ended_at) == (SID, call.answered_at, call.ended_at)


def test_once(archived: Callable[[Talk], Call]) -> None:
    archived(booked_table())
    assert due()
    remember(SID)
    before = list(Utterance.objects.values())

    assert remember(SID) is Remembered.NOTHING
    Call.objects.update(remember_due_at=LONG_AGO)
    assert remember(SID) is Remembered.REMEMBERED

    assert list(Utterance.objects.values()) == before
    assert not due()


def test_a_withheld_number_is_not_remembered(
    redis_url: str, client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    asyncio.run(write_log(redis_url, booked_table(), meta_of(version, from_number="anonymous")))
    archive_call(SID, client_redis)

    assert not due()
    assert remember(SID) is Remembered.NOTHING
    assert not Conversation.objects.exists()


def test_a_test_call_says_so_and_one_that_reads_only_is_not_remembered(
    redis_url: str, client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    asyncio.run(write_log(redis_url, booked_table(), meta_of(version, is_test="1", reads_only="1")))
    archive_call(SID, client_redis)

    assert Call.objects.get().is_test
    assert not due()
    assert remember(SID) is Remembered.NOTHING


def test_an_erased_call_is_refused_for_good(archived: Callable[[Talk], Call]) -> None:
    archived(booked_table())
    person = people.ensure(CALLER)
    Tombstone.objects.create(
        scope="conversation", caller_hash=person.key_hash, subject=people.keyed("conversation", SID)
    )

    assert remember(SID) is Remembered.REFUSED
    assert not due()
    assert not Utterance.objects.exists()


def test_the_archive_stands_whatever_becomes_of_the_memory(
    log_call: Callable[[Talk], None], client_redis: redis.Redis, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_broker(*_: object, **__: object) -> None:
        raise BrokerError("the broker is away")

    monkeypatch.setattr(tasks.remember, "apply_async", no_broker)
    log_call(booked_table())

    assert tasks.archive(SID) == "archived"
    assert Call.objects.get().archived_at
    assert due()


def test_a_broken_memory_keeps_the_call_due_and_the_others_going(
    archived: Callable[[Talk], Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "CA" + "1" * 32
    for talk in (booked_table(), booked_table(other)):
        archived(talk)
    Call.objects.update(remember_due_at=LONG_AGO)
    real = MCPMemoryManager.write_call

    def breaks(self: MCPMemoryManager, number: str, call_sid: str, *args: Any, **kwargs: Any) -> Any:
        if call_sid == SID:
            raise RuntimeError("Maria Jensen said something odd")
        return real(self, number, call_sid, *args, **kwargs)

    monkeypatch.setattr(MCPMemoryManager, "write_call", breaks)

    assert remember_due() == {"not_remembered": 1, "remembered": 1}
    assert Call.objects.get(call_sid=SID).remember_due_at > timezone.now()  # type: ignore[operator]
    monkeypatch.undo()
    Call.objects.filter(call_sid=SID).update(remember_due_at=LONG_AGO)
    assert remember_due() == {"remembered": 1}


def test_a_database_that_is_away_moves_nothing(
    archived: Callable[[Talk], Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(booked_table())
    Call.objects.update(remember_due_at=LONG_AGO)

    def away(*_: object, **__: object) -> None:
        raise remembering.OperationalError("the server closed the connection")

    monkeypatch.setattr(MCPMemoryManager, "write_call", away)
    with pytest.raises(DatabaseError):
        remember_due()
    assert Call.objects.get().remember_due_at == LONG_AGO


def test_the_sweep_takes_up_what_no_task_did_but_leaves_time_for_it(
    log_call: Callable[[Talk], None], client_redis: redis.Redis, recordings: Path
) -> None:
    log_call(booked_table())
    client_redis.zadd(LIVE_KEY, {SID: 1})

    assert sweep(client_redis) == {"archived": 1}
    assert sweep(client_redis) == {}
    Call.objects.update(remember_due_at=timezone.now() - 2 * remembering.GRACE)

    assert sweep(client_redis) == {"remembered": 1}
    assert Utterance.objects.exists()


def test_what_is_archived_later_is_remembered_too(
    redis_url: str, client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    from tests.app.records.test_archive import _append

    whole = booked_table()
    asyncio.run(write_log(redis_url, Talk(steps=whole.steps[:120]), meta_of(version)))
    archive_call(SID, client_redis)
    remember(SID)
    some = set(Utterance.objects.values_list("seq", flat=True))

    for taken in whole.steps[120:]:
        asyncio.run(_append(redis_url, whole, taken))
    archive_call(SID, client_redis)

    assert due()
    assert remember(SID) is Remembered.REMEMBERED
    assert some < set(Utterance.objects.values_list("seq", flat=True))


def test_a_call_without_a_word_needs_no_memory(archived: Callable[[Talk], Call]) -> None:
    talk = Talk()
    talk.begin()
    talk.hang_up()
    call = archived(talk)

    assert call.answered_at is not None
    assert list(said_in(call, call.answered_at)) == []
    assert remember(SID) is Remembered.NOTHING
    assert not due()
    assert people.find(CALLER) is None

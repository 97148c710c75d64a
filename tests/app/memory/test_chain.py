"""The chain after a call: queued with its rows, done step by step, and taken up again by whoever finds it undone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis
from celery import current_app
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Retry
from celery.signals import task_success
from django.db import OperationalError
from django.utils import timezone
from kombu import Producer
from kombu.exceptions import OperationalError as BrokerError

from memory import manager, selectors, tasks
from memory.core.values import Said
from memory.db import erasing
from memory.embedding.port import EmbeddingError
from memory.models import Caller, Conversation, Utterance
from memory.services import chain
from tests.app.memory.people import MARIA, MONDAY, maria

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TALK = (
    Said(0, "assistant", "Bella Vista, good day! How can I help you?", MONDAY, audio_ms=300),
    Said(2, "user", "Hello, my name is Maria Jensen and I am allergic to peanuts.", MONDAY, audio_ms=4200),
)


@pytest.fixture
def queue(redis_url: str) -> Iterator[redis.Redis]:
    """An empty broker."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@contextmanager
def worker() -> Iterator[None]:
    """A real worker on the real broker, in a thread of this process."""
    with start_worker(current_app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        yield


def write(name: str = "CA1", *said: Said) -> Conversation:
    manager.current().write_call(MARIA, name, said or TALK, began_at=MONDAY, ended_at=MONDAY)
    return Conversation.objects.get(name=name)


def ids(conversation: Conversation) -> tuple[str, str]:
    return str(conversation.caller_id), str(conversation.pk)


@pytest.mark.django_db(transaction=True)
def test_writing_queues_the_chain_after_its_commit(queue: redis.Redis) -> None:
    conversation = write()

    assert queue.llen("celery") == 1
    assert timezone.now() < conversation.due_at <= timezone.now() + chain.GRACE


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_loses_nothing(queue: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BrokerError("Connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(Producer, "publish", refused)
        conversation = write()
    assert queue.llen("celery") == 0
    assert chain.send_due() == 0, "it has its time"

    Conversation.objects.update(due_at=LONG_AGO)
    assert tasks.sweep() == 1
    assert queue.llen("celery") == 1
    conversation.refresh_from_db()
    assert conversation.due_at > timezone.now()


@pytest.mark.django_db
def test_the_longer_it_takes_the_rarer_it_is_sent(queue: redis.Redis) -> None:
    conversation = write()
    for age, pause in (
        (timedelta(0), chain.GRACE),
        (timedelta(minutes=20), timedelta(minutes=20)),
        (timedelta(days=3), timedelta(hours=1)),
    ):
        Conversation.objects.update(written_at=timezone.now() - age, due_at=LONG_AGO)
        chain.send_due()
        conversation.refresh_from_db()
        assert abs(conversation.due_at - timezone.now() - pause) < timedelta(seconds=30)


@pytest.mark.django_db
def test_a_line_that_cannot_be_embedded_is_found_by_words_and_the_chain_goes_on(
    queue: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise EmbeddingError("the weights are missing")

    monkeypatch.setattr(tasks, "embed_conversation", broken)
    conversation = write()
    tasks.embed(*ids(conversation))

    conversation.refresh_from_db()
    assert conversation.embedded_at is None
    assert selectors.legs(maria(), "peanuts", b"", "")


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError("Maria Jensen"), EmbeddingError("busy", retryable=True)])
def test_what_may_pass_is_tried_again_and_says_nothing_of_what_was_said(
    queue: redis.Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_: object) -> None:
        raise error

    monkeypatch.setattr(tasks, "embed_conversation", away)
    conversation = write()
    with pytest.raises((Retry, tasks.StepFailed)) as told:
        tasks.embed.apply(ids(conversation), throw=True)

    assert "Maria" not in str(told.value) + repr(told.value.__context__)


@pytest.mark.django_db
def test_a_caller_or_a_conversation_that_is_gone_is_nobodys_business(queue: redis.Redis) -> None:
    conversation = write()
    named = ids(conversation)
    with erasing():
        Caller.objects.all().delete()

    for step in chain.STEPS:
        current_app.tasks[step](*named)
    assert not Utterance.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_does_it_all(queue: redis.Redis) -> None:
    conversation = write()
    ended = threading.Event()

    @task_success.connect(sender=current_app.tasks[chain.STEPS[-1]], weak=False)
    def _note(**_: object) -> None:
        ended.set()

    with worker():
        assert ended.wait(50)
    task_success.disconnect(_note, sender=current_app.tasks[chain.STEPS[-1]])

    assert Utterance.objects.filter(vector=None).count() == 0
    conversation.refresh_from_db()
    assert conversation.embedded_at

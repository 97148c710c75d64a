"""The chain after a call: queued with its rows, done step by step, and taken up again by whoever finds it undone."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from celery import current_app
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
from memory.keys import What
from memory.models import Caller, Conversation, Memory, MemoryEvent, Source, Utterance
from memory.services import asking, chain
from memory.stores.l1 import L1, Told
from tests.app.memory.changes import changes_of
from tests.app.memory.people import MARIA, MONDAY, maria
from tests.worker import working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voiceagent.sandbox.control import Handle

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

    _work()

    conversation.refresh_from_db()
    assert conversation.embedded_at
    assert conversation.distilled_at
    assert conversation.card_at
    assert not Utterance.objects.filter(vector=None).exists()
    assert not Memory.objects.filter(vector=None).exists()
    (allergy,) = manager.current().timeline(maria(), slot="health.allergy")
    (source,) = allergy.sources
    assert (source.quote, source.seq, source.audio_ms) == ("I am allergic to peanuts", 2, 4200)
    laid = L1(queue).card(maria().key_hash)
    assert laid is not None
    assert laid.card.name == "Maria"
    assert "Allergic to peanuts" in laid.card.text


@pytest.mark.django_db(transaction=True)
def test_a_step_that_was_tried_again_leads_on_to_the_next(queue: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_FIRST_PAUSE_S", 0)
    real, tries = tasks.embed_conversation, []

    def away_at_first(*args: Any) -> Any:
        tries.append(args)
        if len(tries) < 3:
            raise OperationalError("the server closed the connection")
        return real(*args)

    monkeypatch.setattr(tasks, "embed_conversation", away_at_first)
    conversation = write()

    _work()

    conversation.refresh_from_db()
    assert len(tries) == 3
    assert conversation.embedded_at
    assert conversation.card_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("done", [0, 1, 2])
def test_what_a_worker_that_died_between_the_steps_left_is_taken_up(queue: redis.Redis, done: int) -> None:
    conversation = write()
    queue.delete("celery")
    for step in chain.STEPS[:done]:
        current_app.tasks[step](*ids(conversation))
    facts = Memory.objects.count()
    assert tasks.sweep() == 0, "the worker has its time"
    Conversation.objects.update(due_at=LONG_AGO)

    assert tasks.sweep() == 1
    _work()

    conversation.refresh_from_db()
    assert conversation.card_at
    assert Memory.objects.count() == 3, "name, allergy, summary"
    assert facts in (0, 3)
    assert tasks.sweep() == 0


@pytest.mark.django_db
def test_every_step_twice_changes_nothing(queue: redis.Redis) -> None:
    conversation = write()
    for step in chain.STEPS:
        current_app.tasks[step](*ids(conversation))
    before = [list(kind._default_manager.order_by("pk").values()) for kind in (Memory, Source, MemoryEvent)]

    for step in chain.STEPS:
        current_app.tasks[step](*ids(conversation))

    assert [list(kind._default_manager.order_by("pk").values()) for kind in (Memory, Source, MemoryEvent)] == before


@pytest.mark.django_db
def test_lines_that_came_while_the_card_was_built_have_a_chain_of_their_own(queue: redis.Redis) -> None:
    conversation = write()
    for step in chain.STEPS[:2]:
        current_app.tasks[step](*ids(conversation))
    write("CA1", *TALK, Said(4, "user", "I am vegan.", MONDAY))

    tasks.card(*ids(conversation))

    conversation.refresh_from_db()
    assert conversation.card_at is None


@pytest.mark.django_db
def test_what_was_told_in_the_call_becomes_a_fact_after_it_and_is_let_go(queue: redis.Redis) -> None:
    code = "The parking code of my building is four seven one one, please remember it."
    conversation = write("CA1", Said(6, "user", code, MONDAY))
    l1 = L1(queue)
    l1.tell(maria(), "CA1", Told("k1", 3, "The parking code of the caller's building is 4711"))

    tasks.distil(*ids(conversation))

    assert "The parking code of the caller's building is 4711" in [
        fact.text for fact in manager.current().timeline(maria())
    ]
    assert l1.told(maria(), "CA1") == []


@pytest.mark.django_db
def test_calls_in_progress_hear_that_more_is_known(queue: redis.Redis) -> None:
    conversation = write()
    tasks.distil(*ids(conversation))
    with changes_of(queue, conversation.caller_id) as next_change:
        tasks.card(*ids(conversation))

        assert next_change() == What.CHANGED


@pytest.mark.django_db
def test_a_model_that_stays_away_is_given_up_and_the_card_is_built(
    queue: redis.Redis, openai_at: Handle, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LONGEST_WAIT_S", 0)
    settings.OPENAI_DISTIL_MODEL = "gpt-6-luna"
    openai_at.fault("openai.structured", "refuse", status=503, times=0)
    conversation = write()

    with pytest.raises(Retry):
        tasks.distil.apply(ids(conversation), throw=True)
    conversation.refresh_from_db()
    assert conversation.due_at > timezone.now() + chain.GRACE - timedelta(seconds=5)
    assert conversation.distilled_at is None
    tasks.distil.apply(ids(conversation), throw=True, retries=5)

    conversation.refresh_from_db()
    assert (conversation.distil_error, conversation.distilled_by) == ("status_503", "rules-1")
    tasks.card(*ids(conversation))
    assert manager.current().profile(maria()).name == "Maria"


def _work() -> None:
    """Let a real worker on the real broker, in a thread, come to the end of the chain."""
    last = current_app.tasks[chain.STEPS[-1]]
    ended = threading.Event()

    @task_success.connect(sender=last, weak=False)
    def _note(**_: object) -> None:
        ended.set()

    with working(current_app):
        assert ended.wait(50)
    task_success.disconnect(_note, sender=last)
    assert [thread.name for thread in threading.enumerate() if thread.name == "breakers"] == [], "it goes on telling"

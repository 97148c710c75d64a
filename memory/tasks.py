"""Celery's entry to the memory: what is done with a conversation, step by step. Ids in, nothing out.

Each step can run again at any time, and at the same time elsewhere: what it did stands in the rows. A step that may
succeed later is tried again after growing pauses; one that cannot is logged, and the sweep comes back to it. No error
text goes on from here, only its kind: it may hold what was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import structlog
from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from memory import keys, manager, people, surroundings
from memory.db import scoped
from memory.embedding.port import EmbeddingError
from memory.models import Conversation
from memory.services import cards, chain, distilling, erasure, forgetting, housekeeping
from memory.services.asking import AskFailed
from memory.services.embedding import embed_conversation, embed_facts
from memory.services.writing import Erased

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Task

    from memory.people import Person

_log = structlog.get_logger(__name__)

_RETRIES = 5
_FIRST_PAUSE_S = 2
_LONGEST_PAUSE_S = 300
#: Whoever is away now may be back in a moment.
_AWAY = (OperationalError, InterfaceError, RedisError)


class StepFailed(Exception):
    """A step that did not succeed; says the kind of failure only."""


class Unfinished(Exception):
    """A step asks for another try; says the kind of failure only."""


def _step(name: str) -> Callable[[Callable[..., None]], Any]:
    """A task over one conversation of one caller. Nothing is done for a caller or a conversation that is gone."""

    def made(work: Callable[[Task[..., Any], Person, Conversation], None]) -> Any:
        @shared_task(
            bind=True, name=name, acks_late=True, reject_on_worker_lost=True, ignore_result=True, max_retries=_RETRIES
        )
        def task(self: Task[..., Any], caller_id: str, conversation_id: str) -> None:
            person = people.by_id(caller_id)
            if person is None:
                return
            with scoped(person.id):
                conversation = Conversation.objects.filter(caller_id=person.id, pk=UUID(conversation_id)).first()
            if conversation is None:
                return
            away = ""
            try:
                work(self, person, conversation)
            except _AWAY as error:
                away = type(error).__name__
            except Unfinished as error:
                away = str(error)
            except Erased:
                _log.info("memory.erased_meanwhile", conversation=conversation_id)
            if away:  # outside of the handlers: what is raised here must not carry what they caught
                _again(self, away, conversation)

        return task

    return made


def _again(task: Task[..., Any], kind: str, conversation: Conversation) -> NoReturn:
    """Ask for another try after a pause. Raises Celery's ``Retry``, or ``StepFailed`` after the last one."""
    pause_s = min(_FIRST_PAUSE_S * 4**task.request.retries, _LONGEST_PAUSE_S)
    chain.postpone(conversation.pk, pause_s)
    raise task.retry(exc=StepFailed(kind), countdown=pause_s)


def _can_retry(task: Task[..., Any]) -> bool:
    return bool(task.request.retries < _RETRIES)


@_step("memory.tasks.embed")
def embed(task: Task[..., Any], person: Person, conversation: Conversation) -> None:
    """Give the lines of a conversation their vectors. Where that fails they are found by their words, and the chain goes on."""
    try:
        embed_conversation(person, conversation.pk)
    except EmbeddingError as error:
        if error.retryable and _can_retry(task):
            raise Unfinished("EmbeddingError") from None
        _log.error("memory.not_embedded", conversation=str(conversation.pk), reason=str(error))
        return
    with scoped(person.id):
        Conversation.objects.filter(pk=conversation.pk).update(embedded_at=timezone.now())


@_step("memory.tasks.distil")
def distil(task: Task[..., Any], person: Person, conversation: Conversation) -> None:
    """Read a conversation for facts. A model that stays away leaves what the rules found."""
    l1 = manager.current().l1
    # The caller's line of a turn has twice its number: ``calls.services.remembering``.
    told = [(2 * item.turn, item.text) for item in l1.told(person, conversation.name)]
    try:
        distilling.distil(person, conversation.pk, now=timezone.now(), told=told)
    except AskFailed as error:
        if error.retryable and _can_retry(task):
            raise Unfinished(error.kind) from None
        distilling.give_up(person, conversation.pk, error.kind, now=timezone.now())
    l1.drop_told([conversation.name])
    _embed_facts(person)


@_step("memory.tasks.card")
def card(_task: Task[..., Any], person: Person, conversation: Conversation) -> None:
    """Lay the caller's card ready for the next call, and tell those in progress that more is known."""
    cards.build(person, now=timezone.now(), lay=manager.current().l1.put_card)
    with surroundings.redis_client() as client:
        keys.publish(client, person.id, keys.What.CHANGED)
    with scoped(person.id):
        # What was written meanwhile is not in the card: its own chain will be.
        read = Q(distilled_at__isnull=False) | Q(distil_attempts__gt=distilling.MOST_ATTEMPTS)
        Conversation.objects.filter(read, pk=conversation.pk).update(card_at=timezone.now())


@shared_task(name=chain.FACTS, acks_late=True, ignore_result=True)
def embed_entered(caller_id: str) -> None:
    """Give facts that somebody entered their vectors; until then they are found by their words."""
    person = people.by_id(caller_id)
    if person is not None:
        _embed_facts(person)


@shared_task(name="memory.tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Send again what a dead worker or a lost queue left undone."""
    return chain.send_due()


def _embed_facts(person: Person) -> None:
    try:
        embed_facts(person)
    except EmbeddingError as error:
        _log.error("memory.facts_not_embedded", caller=str(person.id), reason=str(error))


@shared_task(name=chain.ERASURES, ignore_result=True)
def finish_erasures() -> dict[str, int]:
    """Take up erasures that a dead process, a failing store or a call in progress left open. How many came to what."""
    return dict(erasure.finish_open(now=timezone.now()))


@shared_task(name="memory.tasks.keep_house", ignore_result=True)
def keep_house() -> dict[str, int]:
    """What time does to memories: facts expire, old conversations go, keys move to the newest secret. How many of each."""
    now = timezone.now()
    done = {
        "expired": housekeeping.expire(now),
        "let_go": housekeeping.let_go(now),
        "forgotten": forgetting.erase_overdue(now),
        "tails": housekeeping.note_tails(),
    }
    for keys_so_far in housekeeping.rewrap():
        done["keys_moved"] = keys_so_far["moved"]
    return done

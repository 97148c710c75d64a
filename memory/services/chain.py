"""What is done with a conversation once it is written: embed, distil, card; queued here, done by ``memory.tasks``.

The rows say what was done and what is due, the queue is only the fast way there: what it loses, a sweep sends again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from celery import chain, signature
from django.db import transaction
from django.db.models import Count, Min, Q
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from memory.models import Conversation

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from celery.canvas import Signature

_log = structlog.get_logger(__name__)

STEPS = ("memory.tasks.embed", "memory.tasks.distil", "memory.tasks.card")
FACTS = "memory.tasks.embed_entered"
ERASURES = "memory.tasks.finish_erasures"
#: How long a chain that was sent has before a sweep sends it again; doubled as time goes on, up to an hour.
GRACE = timedelta(minutes=3)
_LONGEST_PAUSE = timedelta(hours=1)
_AT_ONCE = 100


def send(caller_id: UUID, conversation_id: UUID) -> None:
    """Queue what is to be done with a conversation, after the transaction around this if there is one."""
    Conversation.objects.filter(pk=conversation_id).update(due_at=timezone.now() + GRACE)
    transaction.on_commit(lambda: _queue(caller_id, conversation_id))


def send_facts(caller_id: UUID) -> None:
    """Queue the vectors of what was entered, after the transaction around this. What gets lost the next conversation brings."""
    facts = signature(FACTS, args=(str(caller_id),), immutable=True)
    transaction.on_commit(lambda: _sent(facts, caller=str(caller_id)))


def send_erasures() -> None:
    """Queue what was asked to be erased, after the transaction around this; a lost task's work is taken up within a minute."""
    transaction.on_commit(lambda: _sent(signature(ERASURES, immutable=True)))


def postpone(conversation_id: UUID, pause_s: float) -> None:
    """A step comes again by itself after this pause: no sweep is needed before."""
    due_at = timezone.now() + timedelta(seconds=pause_s) + GRACE
    Conversation.objects.filter(pk=conversation_id).update(due_at=due_at)


def send_due() -> int:
    """Queue what is not done and should have been, the longest due first. How many."""
    now = timezone.now()
    due = Conversation.objects.filter(card_at__isnull=True, due_at__lt=now).order_by("due_at")[:_AT_ONCE]
    sent = 0
    for conversation_id, caller_id, written_at in list(due.values_list("pk", "caller_id", "written_at")):
        pause = min(max(now - written_at, GRACE), _LONGEST_PAUSE)
        Conversation.objects.filter(pk=conversation_id).update(due_at=now + pause)
        sent += _queue(caller_id, conversation_id)
    return sent


def waiting() -> tuple[dict[str, int], datetime | None]:
    """How many conversations wait for each step of the chain, and when the oldest of them was written."""
    found = Conversation.objects.filter(card_at__isnull=True).aggregate(
        embed=Count("pk", filter=Q(embedded_at__isnull=True)),
        distil=Count("pk", filter=Q(distilled_at__isnull=True)),
        card=Count("pk"),
        oldest=Min("written_at"),
    )
    oldest: datetime | None = found.pop("oldest")
    return found, oldest


def _queue(caller_id: UUID, conversation_id: UUID) -> bool:
    steps = [signature(step, args=(str(caller_id), str(conversation_id)), immutable=True) for step in STEPS]
    return _sent(chain(*steps), conversation=str(conversation_id))


def _sent(work: Signature, **of: str) -> bool:
    try:
        work.apply_async(retry=False)
    except BrokerError as error:
        _log.warning("memory.not_queued", error=type(error).__name__, **of)
        return False
    return True

"""What was said in archived calls, as vectors, so that operators find calls by meaning. Written by the worker alone.

``Call.meaning_due_at`` is set in the transaction that archives and taken back here. What cannot be embedded is found by its
words. A call that is erased takes its vectors along: they hang on its turns.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import batched
from typing import TYPE_CHECKING

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calls.models import Call, Turn, TurnMeaning
from calls.models.meaning import DIMENSIONS
from memory import surroundings as memory_surroundings
from memory.embedding.port import EmbeddingError

if TYPE_CHECKING:
    from memory.embedding.port import Embedder

_log = structlog.get_logger(__name__)

#: A call that the sweeper finds was not taken up by its task; so many at once, some seconds of work.
GRACE = timedelta(minutes=1)
_CALLS_AT_ONCE = 20
_BATCH = 64


def embed_call(call_sid: str) -> int:
    """Embed the turns of a call that have no vector of today's model. How many.

    Raises ``EmbeddingError`` and what the database raises; then the call stays due.
    """
    call = Call.objects.filter(call_sid=call_sid, meaning_due_at__isnull=False).first()
    if call is None:
        return 0
    model = memory_surroundings.embedder()
    done = sum(_write(turns, model) for turns in batched(_unmeant(call, model), _BATCH))
    # Not what another archiving made due meanwhile.
    Call.objects.filter(pk=call.pk, meaning_due_at=call.meaning_due_at).update(meaning_due_at=None)
    return done


def embed_due() -> int:
    """Embed what should have been by now, the oldest first, some calls at a time. How many turns."""
    due = Call.objects.filter(meaning_due_at__lt=timezone.now() - GRACE).order_by("meaning_due_at")
    done = 0
    for call_sid in list(due.values_list("call_sid", flat=True)[:_CALLS_AT_ONCE]):
        try:
            done += embed_call(call_sid)
        except EmbeddingError as error:
            _log.error("meaning.not_embedded", call_sid=call_sid, error=str(error))
            Call.objects.filter(call_sid=call_sid, meaning_due_at__isnull=False).update(
                meaning_due_at=timezone.now() + timedelta(hours=1)
            )
    return done


def _unmeant(call: Call, model: Embedder) -> list[Turn]:
    said = call.turns.exclude(user_text="", heard_text="").exclude(Q(meaning__model=model.name))
    return list(said.only("pk", "user_text", "heard_text").order_by("number"))


def _write(turns: tuple[Turn, ...], model: Embedder) -> int:
    texts = [f"{turn.user_text}\n{turn.heard_text}".strip() for turn in turns]
    rows = [
        TurnMeaning(turn_id=turn.pk, model=model.name, vector=vector.tolist())
        for turn, vector in zip(turns, model.embed_many(texts), strict=True)
        if len(vector) == DIMENSIONS and vector.any()
    ]
    with transaction.atomic():
        # The turns may have been erased while the model read them: then there is nothing to hang a vector on.
        there = set(
            Turn.objects.select_for_update(of=("self",), no_key=True)
            .filter(pk__in=[row.turn_id for row in rows])
            .values_list("pk", flat=True)
        )
        TurnMeaning.objects.bulk_create(
            [row for row in rows if row.turn_id in there],
            update_conflicts=True,
            unique_fields=["turn"],
            update_fields=["model", "vector"],
        )
    return len(there)

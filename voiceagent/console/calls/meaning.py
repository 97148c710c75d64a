"""The search by meaning: the turns nearest to a question, among the calls that fit the rest of the query.

It reads ``calls.models.TurnMeaning``, made of what was said word for word: for who may see transcripts without redaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection, transaction
from pgvector.django import CosineDistance

from calls.models import Call, Turn, TurnMeaning
from memory import surroundings
from voiceagent.console.calls.conditions import condition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voiceagent.console.calls.parsing import Query

#: So many turns are found, and how close one has to be: 1 is the same, 0 has nothing to do with it.
NEAREST = 200
LEAST = 0.2
#: How many neighbours the index looks at before it looks for more, since filters leave some out.
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Near:
    """A turn and how close it is to the question, as a cosine."""

    turn: Turn
    closeness: float

    @property
    def words(self) -> str:
        """How close in words."""
        return next(words for least, words in _WORDS if self.closeness >= least)


_WORDS = ((0.65, "very close"), (0.45, "close"), (0.3, "related"), (-1.0, "loosely related"))


def calls_among(near: Iterable[Near]) -> list[Call]:
    """The calls of these turns, each once, in their order."""
    return list({one.turn.call_id: one.turn.call for one in near}.values())


def question(query: Query) -> str:
    """What is asked by meaning: the words of the query, in order."""
    return " ".join(term.parts[0].low for term in query.words)


def nearest(query: Query, now: datetime, limit: int = NEAREST) -> list[Near]:
    """The nearest turns, closest first, with their calls. None where no words are asked for.

    Raises ``EmbeddingError``.
    """
    asked = question(query)
    if not asked:
        return []
    model = surroundings.embedder()
    vector = model.embed_query(asked)
    if not vector.any():
        return []
    found = (
        TurnMeaning.objects.filter(condition(query, now, prefix="turn__call__", words=False), model=model.name)
        .annotate(distance=CosineDistance("vector", vector.tolist()))
        .order_by("distance")
        .values_list("turn_id", "distance")[:limit]
    )
    with transaction.atomic(), connection.cursor() as cursor:
        # The index gives a few neighbours, of which filters leave some out: then it goes on, in order.
        cursor.execute("SET LOCAL hnsw.iterative_scan = 'strict_order'")
        cursor.execute("SET LOCAL hnsw.ef_search = %s", [_LOOKED_AT])
        unrelated = model.unrelated_cosine
        closeness = {turn_id: (1 - distance - unrelated) / (1 - unrelated) for turn_id, distance in found}
    # Whole rows are read of what is shown alone.
    near = {turn_id: close for turn_id, close in closeness.items() if close >= LEAST}
    turns = (
        Turn.objects.select_related("call")
        .defer("words", "spoken_words", "recalled", "call__state_layout")
        .in_bulk(near)
    )
    return [Near(turns[turn_id], close) for turn_id, close in near.items() if turn_id in turns]

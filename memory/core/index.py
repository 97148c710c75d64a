"""Everything that one caller's memory holds, searched exactly, in the process, for the length of a call. Pure.

A row's score is by meaning and by words at once: the cosine of the vectors plus ``word_weight`` times the share that
its BM25 has of the highest this question could reach here. Both count what was said just before a row: its vector is
the average of the utterance alone and with it (``memory.embedding.vectors``), its words count at a lower weight. The
figures behind each number stand in ``docs/decisions`` under ranking.

One thread at a time may change an index; searches change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memory.core import text
from memory.core.bm25 import Words
from memory.core.values import Hit, Kind, Row, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from numpy.typing import NDArray

_DAY_S = 86_400.0
_FIRST_ROWS = 64
#: Removed rows stay as holes until there are this many, and more than the rest: then the index is built anew.
_HOLES = 256


@dataclass(frozen=True, slots=True)
class Ranking:
    """How rows are ranked. Cosines at or below ``unrelated_cosine`` (a property of the embedding) count as nothing."""

    unrelated_cosine: float = 0.0
    #: The share of the words beside the cosine's 1.
    word_weight: float = 0.8
    #: What a word said just before counts against one said in the row itself.
    before_weight: float = 0.3
    #: BM25: how soon repetition stops counting, and how much long texts are discounted.
    saturation: float = 1.2
    length_discount: float = 0.5
    #: Added for a row of this moment, halved every ``recency_half_days``.
    recency_bonus: float = 0.02
    recency_half_days: float = 30.0
    #: Added for importance 1, in proportion.
    importance_bonus: float = 0.04
    #: Taken from what was corrected since, unless the question is about the past.
    corrected_penalty: float = 0.3


class CallerIndex:
    """The rows of one caller. Of two rows with one id the later counts; their order is otherwise of no matter."""

    def __init__(self, rows: Iterable[Row] = (), ranking: Ranking | None = None) -> None:
        self.ranking = ranking or Ranking()
        self._corrected: dict[str, tuple[str, int]] = {}
        self._begin()
        for row in rows:
            self.put(row)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._place

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its id.

        A row that is not active is never offered. Of a superseded one it is remembered that the utterance it came from
        was corrected. Raises ``ValueError`` for a vector that is not of the other rows' dimension.
        """
        vector = np.frombuffer(row.vector, dtype=np.float32)
        if vector.size and self._vectors.shape[1] not in (0, vector.size):
            raise ValueError(
                f"row {row.id} has a vector of dimension {vector.size}, the others have {self._vectors.shape[1]}: "
                "vectors of two models cannot be compared, embed the row again"
            )
        self.discard(row.id)
        if row.status is Status.ACTIVE:
            self._append(row, vector)
        elif row.status is Status.SUPERSEDED and row.origin.seq >= 0:
            self._corrected[row.id] = (row.origin.conversation, row.origin.seq)

    def discard(self, row_id: str) -> None:
        """Forget a row; nothing happens where there is none."""
        self._corrected.pop(row_id, None)
        place = self._place.pop(row_id, None)
        if place is None:
            return
        origin = (self._rows[place].origin.conversation, self._rows[place].origin.seq)
        if self._said.get(origin) == place:
            del self._said[origin]
        self._words.remove(place)
        self._gone[place] = True
        if len(self._rows) - len(self._place) > max(_HOLES, len(self._place)):
            kept = [self._rows[place] for place in self._place.values()]
            self._begin()
            for row in kept:
                self._append(row, np.frombuffer(row.vector, dtype=np.float32))

    def search(self, asked: str, vector: NDArray[np.float32] | None, now: datetime, limit: int = 20) -> list[Hit]:
        """The ``limit`` best rows for a question, best first, the later said of two with one score.

        ``asked`` is in the form ``text.question`` gives; ``vector`` its embedding, or ``None`` where that is not there:
        then the words decide alone. An utterance that was corrected since comes lower, with ``why_not`` ``superseded``,
        unless the question is about the past. A row without any word or meaning in common with the question may be
        among the last. Raises ``ValueError`` for a vector of a wrong dimension.
        """
        count = len(self._rows)
        if not self._place or limit < 1:
            return []
        rank = self.ranking
        scores = rank.word_weight * self._words.shares(text.tokens(asked))
        if vector is not None and self._vectors.shape[1]:
            if vector.size != self._vectors.shape[1]:
                raise ValueError(
                    f"the question has a vector of dimension {vector.size}, rows have {self._vectors.shape[1]}"
                )
            cosines = self._vectors[:count] @ vector
            scores += np.maximum((cosines - rank.unrelated_cosine) / (1 - rank.unrelated_cosine), 0)
        days = np.maximum(now.timestamp() - self._said_at[:count], 0) / _DAY_S
        scores += rank.recency_bonus * np.exp2(-days / rank.recency_half_days)
        scores += rank.importance_bonus * self._importance[:count]
        corrected: set[int] = set() if text.asks_past(asked) else self._corrected_places()
        scores[list(corrected)] -= rank.corrected_penalty
        scores[self._gone[:count]] = -np.inf
        best = np.argpartition(-scores, min(limit, count - 1))[:limit] if limit < count else np.arange(count)
        best = best[np.lexsort((-self._said_at[best], -scores[best]))][: len(self._place)]
        return [
            Hit(self._rows[place], float(scores[place]), why_not="superseded" if place in corrected else "")
            for place in best.tolist()
        ]

    def _begin(self) -> None:
        rank = self.ranking
        self._rows: list[Row] = []
        self._place: dict[str, int] = {}
        self._said: dict[tuple[str, int], int] = {}
        self._words = Words(rank.saturation, rank.length_discount, rank.before_weight)
        self._vectors: NDArray[np.float32] = np.zeros((_FIRST_ROWS, 0), dtype=np.float32)
        self._said_at: NDArray[np.float64] = np.zeros(_FIRST_ROWS)
        self._importance: NDArray[np.float32] = np.zeros(_FIRST_ROWS, dtype=np.float32)
        self._gone: NDArray[np.bool_] = np.zeros(_FIRST_ROWS, dtype=np.bool_)

    def _append(self, row: Row, vector: NDArray[np.float32]) -> None:
        place = len(self._rows)
        if place == len(self._gone):
            self._vectors = _doubled(self._vectors)
            self._said_at = _doubled(self._said_at)
            self._importance = _doubled(self._importance)
            self._gone = _doubled(self._gone)
        if vector.size:
            if not self._vectors.shape[1]:
                self._vectors = np.zeros((len(self._gone), vector.size), dtype=np.float32)
            self._vectors[place] = vector
        self._said_at[place] = row.said_at.timestamp()
        self._importance[place] = row.importance
        self._rows.append(row)
        self._place[row.id] = place
        if row.kind is Kind.UTTERANCE and row.origin.seq >= 0:
            self._said[row.origin.conversation, row.origin.seq] = place
        self._words.append(text.tokens(row.text), text.tokens(row.before))

    def _corrected_places(self) -> set[int]:
        """Where the utterances are that something superseded was taken from."""
        return {self._said[origin] for origin in self._corrected.values() if origin in self._said}


def _doubled[T: np.generic](held: NDArray[T]) -> NDArray[T]:
    return np.concatenate((held, np.zeros_like(held)))

"""Everything that one caller's memory holds, searched exactly, in the process, for the length of a call. Pure.

A row's score is by meaning and by words at once: the cosine of the vectors plus ``word_weight`` times the share that
its BM25 has of the highest this question could reach here. Both count what was said just before a row: its vector is
the average of the utterance alone and with it (``memory.embedding.vectors``), its words count at a lower weight. Who said
it, whether it tells anything at all, its age and its importance raise or lower that score in proportion, so that what has
nothing to do with the question stays at 0. The figures behind each number stand in ``docs/decisions/0010-ranking.md``.

One thread at a time may change an index; searches change nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from memory.core import text
from memory.core.bm25 import Words
from memory.core.speakers import Speakers
from memory.core.values import Hit, Kind, Row, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from numpy.typing import NDArray

_DAY_S = 86_400.0
_FIRST_ROWS = 64
#: Kinds of rows that may say again what a fact says; of which it has at least so many telling words.
_RETOLD, _LEAST_TELLING = (Kind.UTTERANCE, Kind.SUMMARY), 2
#: Words of the narration, not of the fact.
_NARRATED = frozenset(text.tokens("the caller"))
#: Removed rows stay as holes until there are this many, and more than the rest: then the index is built anew.
_HOLES = 256
_ROLES = {"user": 1, "assistant": 2}
_FIRST_PERSON = re.compile(r"\b(?:i|my|me|mine|myself)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How rows are ranked. Cosines at or below ``unrelated_cosine`` (a property of the embedding) count as nothing."""

    unrelated_cosine: float = 0.0
    #: The share of the words beside the cosine's 1.
    word_weight: float = 0.7
    #: What a word said just before counts against one said in the row itself.
    before_weight: float = 0.3
    #: BM25: how soon repetition stops counting, and how much long texts are discounted.
    saturation: float = 1.2
    length_discount: float = 0.5
    #: The share of its score that an utterance loses for telling nothing: all of it at no telling word outside of
    #: questions, a third at ``telling_words`` of them, none at many.
    silence_loss: float = 0.7
    telling_words: float = 1.5
    #: Parts of the score that are added: for what was said by the one speaker whom the question names, or who asks about
    #: himself; for a row of this moment, halved every ``recency_half_days``; for importance 1, in proportion.
    speaker_bonus: float = 0.3
    recency_bonus: float = 0.03
    recency_half_days: float = 30.0
    importance_bonus: float = 0.1
    #: The part that is taken from what was corrected since, unless the question is about the past.
    corrected_loss: float = 0.4


class CallerIndex:
    """The rows of one caller. Of two rows with one id the later counts; their order is otherwise of no matter."""

    def __init__(self, rows: Iterable[Row] = (), ranking: Ranking | None = None) -> None:
        self.ranking = ranking or Ranking()
        # While an index is built each line is looked at once: what was said is in the next row's context again.
        self._lines: dict[str, list[str]] = {}
        self._stems: dict[str, str] = {}
        #: What was superseded: where it was said, and its telling words.
        self._corrected: dict[str, tuple[tuple[str, int], frozenset[str]]] = {}
        self._begin()
        for row in rows:
            self._put(row)
        self._lines.clear()

    def __len__(self) -> int:
        return len(self._place)

    def facts(self) -> list[Row]:
        """The facts that are offered: every row that is not an utterance."""
        return [row for row in map(self._rows.__getitem__, self._place.values()) if row.kind is not Kind.UTTERANCE]

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._place

    def put(self, row: Row) -> None:
        """Add a row, or replace the one with its id.

        A row that is not active is never offered. Of a superseded one it is remembered that the utterance it came from
        was corrected. Raises ``ValueError`` for a vector that is not of the other rows' dimension.
        """
        self._put(row)
        self._lines.clear()

    def _put(self, row: Row) -> None:
        vector = np.frombuffer(row.vector, dtype=np.float32)
        if vector.size and self._vectors.shape[1] not in (0, vector.size):
            raise ValueError(
                f"row {row.id} has a vector of dimension {vector.size}, the others have {self._vectors.shape[1]}: "
                "vectors of two models cannot be compared, embed the row again"
            )
        self.discard(row.id)
        if row.status is Status.ACTIVE:
            self._append(row, vector)
        elif row.status is Status.SUPERSEDED:
            telling = frozenset(text.tokens(row.origin.quote or row.text)) - _NARRATED
            self._corrected[row.id] = ((row.origin.conversation, row.origin.seq), telling)

    def discard(self, row_id: str) -> None:
        """Forget a row; nothing happens where there is none."""
        self._corrected.pop(row_id, None)
        place = self._place.pop(row_id, None)
        if place is None:
            return
        origin = (self._rows[place].origin.conversation, self._rows[place].origin.seq)
        if self._said.get(origin) == place:
            del self._said[origin]
        if self._rows[place].kind is Kind.UTTERANCE:
            self._speakers.remove(self._rows[place])
        self._words.remove(place)
        self._gone[place] = True
        if len(self._rows) - len(self._place) > max(_HOLES, len(self._place)):
            kept = [self._rows[place] for place in self._place.values()]
            self._begin()
            for row in kept:
                self._append(row, np.frombuffer(row.vector, dtype=np.float32))
            self._lines.clear()

    def in_first_person(self, asked: str) -> str:
        """The form of a question that is embedded: as the one it is about would put it. See ``memory.core.speakers``."""
        return self._speakers.in_first_person(asked)

    def search(self, asked: str, vector: NDArray[np.float32] | None, now: datetime, limit: int = 20) -> list[Hit]:
        """The ``limit`` best rows for a question, best first, the later said of two with one score.

        ``asked`` is in the form ``text.question`` gives; ``vector`` the embedding of ``in_first_person`` of it, or ``None``
        where that is not there: then the words decide alone. An utterance that was corrected since comes lower, with ``why_not`` ``superseded``,
        unless the question is about the past. A row without any word or meaning in common with the question has the score 0. Raises ``ValueError`` for a vector of a wrong dimension.
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
            # Not a product of BLAS: its threads wait for one another when the cores are busy, for milliseconds.
            cosines = np.einsum("ij,j->i", self._vectors[:count], vector)
            scores += np.maximum((cosines - rank.unrelated_cosine) / (1 - rank.unrelated_cosine), 0)
        days = np.maximum(now.timestamp() - self._said_at[:count], 0) / _DAY_S
        bonus = 1 + rank.recency_bonus * np.exp2(-days / rank.recency_half_days)
        bonus += rank.importance_bonus * self._importance[:count]
        bonus += rank.speaker_bonus * (self._roles[:count] == self._asked_role(asked))
        scores *= bonus * self._told[:count]
        corrected: set[int] = set() if text.asks_past(asked) else self._corrected_places()
        scores[list(corrected)] *= 1 - rank.corrected_loss
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
        self._told: NDArray[np.float32] = np.zeros(_FIRST_ROWS, dtype=np.float32)
        self._roles: NDArray[np.int8] = np.zeros(_FIRST_ROWS, dtype=np.int8)
        self._speakers = Speakers()
        self._gone: NDArray[np.bool_] = np.zeros(_FIRST_ROWS, dtype=np.bool_)

    def _append(self, row: Row, vector: NDArray[np.float32]) -> None:
        place = len(self._rows)
        if place == len(self._gone):
            self._vectors = _doubled(self._vectors)
            self._said_at = _doubled(self._said_at)
            self._importance = _doubled(self._importance)
            self._told = _doubled(self._told)
            self._roles = _doubled(self._roles)
            self._gone = _doubled(self._gone)
        if vector.size:
            if not self._vectors.shape[1]:
                self._vectors = np.zeros((len(self._gone), vector.size), dtype=np.float32)
            self._vectors[place] = vector
        self._said_at[place] = row.said_at.timestamp()
        own = self._tokens(row.text)
        told = self._tokens(text.statements(row.text)) if row.kind is Kind.UTTERANCE else own
        self._importance[place] = row.importance
        self._told[place] = 1 - self.ranking.silence_loss * math.exp(-len(told) / self.ranking.telling_words)
        self._roles[place] = _ROLES.get(row.role, 0)
        self._rows.append(row)
        self._place[row.id] = place
        if row.kind is Kind.UTTERANCE:
            self._speakers.add(row)
            self._said[row.origin.conversation, row.origin.seq] = place
        self._words.append(own, chain.from_iterable(self._tokens(line) for line in row.before.splitlines()))

    def _tokens(self, line: str) -> list[str]:
        found = self._lines.get(line)
        if found is None:
            found = self._lines[line] = text.tokens(line, self._stems)
        return found

    def _asked_role(self, asked: str) -> int:
        """The number of the one role that the question is about, -1 where that is nobody or several."""
        named = {_ROLES.get(role, 0) for role in self._speakers.named(asked).values() if role}
        if not named and _FIRST_PERSON.search(asked):
            named = {_ROLES["user"]}
        return named.pop() if len(named) == 1 else -1

    def _corrected_places(self) -> set[int]:
        """The utterances that something superseded was taken from, and what says all of it again: the agent's answers,
        summaries. Not what a standing fact was taken from: it may name the old value beside the new one."""
        if not self._corrected:
            return set()
        found = set()
        for origin, telling in self._corrected.values():
            if origin in self._said and origin[1] >= 0:
                found.add(self._said[origin])
            if len(telling) >= _LEAST_TELLING:
                found |= {place for place in self._words.holding(telling) if self._rows[place].kind in _RETOLD}
        stands = {(row.origin.conversation, row.origin.seq) for row in self.facts() if row.kind is not Kind.SUMMARY}
        return found - {self._said[origin] for origin in stands if origin in self._said}


def _doubled[T: np.generic](held: NDArray[T]) -> NDArray[T]:
    return np.concatenate((held, np.zeros_like(held)))

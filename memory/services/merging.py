"""What was found in a conversation into the facts of its caller: the decisions of ``memory.core.merge``, carried out.

One transaction under a lock on the caller's row, so that two workers take turns and the second finds the work done.
Whatever proposed a candidate, it is held against the utterance itself: what is not the caller's own words is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import structlog

from memory import selectors, surroundings
from memory.core import merge as deciding
from memory.core.decisions import Ask
from memory.core.values import Candidate, Kind, Known
from memory.embedding.port import EmbeddingError
from memory.people import Person
from memory.services.bench import Applied, Bench, bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from memory.core.decisions import Verdict
    from memory.embedding.port import Embedder

    #: Says for each of these how its candidate stands to the facts it is near, by their ids; what is left out is unrelated.
    Judge = Callable[[Sequence[Ask], Sequence[Known]], Sequence[Mapping[str, Verdict]]]

_log = structlog.get_logger(__name__)


def apply(
    person: Person,
    conversation_id: UUID,
    candidates: Iterable[Candidate],
    *,
    by: str,
    now: datetime,
    judge: Judge | None = None,
) -> list[Applied]:
    """Merge what was found in one conversation; ``by`` stands in the history of what it changes.

    ``judge`` is asked outside the lock about free facts that are near known ones; without it they are facts of their
    own. The same again changes nothing. Raises ``memory.services.writing.Erased`` where the caller is gone.
    """
    near = _Nearness(surroundings.embedder)
    near.prepare(wanted := list(candidates))
    if not wanted:
        return []
    merging = _Merging(person, conversation_id, by, now, near)
    done, asks = merging.first(wanted)
    if not asks:
        return done
    verdicts = judge(asks, selectors.known(person)) if judge else [{} for _ in asks]
    return done + merging.second(list(zip((ask.candidate for ask in asks), verdicts, strict=True)))


@dataclass(frozen=True, slots=True)
class _Merging:
    """The merge of one conversation, in one or two transactions."""

    person: Person
    conversation_id: UUID
    by: str
    now: datetime
    near: _Nearness

    def first(self, candidates: Sequence[Candidate]) -> tuple[list[Applied], list[Ask]]:
        """All candidates at once. What somebody must be asked about is handed back."""
        with self._locked() as table:
            quoted, done = table.quoted(candidates)
            decisions = deciding.merge(table.facts, quoted, table.how)
            asks = [decision for decision in decisions if isinstance(decision, Ask)]
            done += [table.carry_out(decision) for decision in decisions if not isinstance(decision, Ask)]
        return done, asks

    def second(self, judged: Sequence[tuple[Candidate, Mapping[str, Verdict]]]) -> list[Applied]:
        """Those that were asked about, one by one: each may be near the one before it."""
        done = []
        with self._locked() as table:
            for one, verdicts in judged:
                quoted, refused = table.quoted([one])
                done += refused
                for decision in deciding.merge(table.facts, quoted, table.how):
                    if isinstance(decision, Ask):
                        decision = deciding.settle(table.facts, decision, verdicts, table.how)
                    done.append(table.carry_out(decision))
        return done

    def _locked(self) -> AbstractContextManager[Bench]:
        return bench(self.person, self.conversation_id, by=self.by, now=self.now, near=self.near, model=self.near.model)


class _Nearness:
    """How near a candidate is to the facts that are known, by the local embedding. Without it nothing is near."""

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._embedder: Embedder | None = None
        self._vectors: dict[str, NDArray[np.float32]] = {}

    @property
    def model(self) -> str:
        """The name of the embedding; empty where there is none."""
        return self._embedder.name if self._embedder else ""

    def prepare(self, candidates: Iterable[Candidate]) -> None:
        """Embed what will be compared, before the lock is taken."""
        texts = [one.text for one in candidates if not one.slot]
        if not texts:
            return
        try:
            self._embedder = self._load()
            self._vectors.update(zip(texts, self._embedder.embed_many(texts), strict=True))
        except EmbeddingError as error:
            _log.warning("memory.nothing_compared", reason=str(error))
            self._embedder = None

    def __call__(self, one: Candidate, facts: Sequence[Known]) -> list[tuple[str, float]]:
        """Every fact with its cosine. Summaries are no statements: nothing is near one."""
        if self._embedder is None or one.kind is Kind.SUMMARY:
            return []
        compared = [fact for fact in facts if fact.kind is not Kind.SUMMARY]
        asked = self._vectors[one.text]
        return [(fact.id, float(self._of(fact, self._embedder) @ asked)) for fact in compared]

    def _of(self, fact: Known, embedder: Embedder) -> NDArray[np.float32]:
        if fact.vector:
            return np.frombuffer(fact.vector, dtype=np.float32)
        if fact.text not in self._vectors:
            self._vectors[fact.text] = embedder.embed_many([fact.text])[0]
        return self._vectors[fact.text]

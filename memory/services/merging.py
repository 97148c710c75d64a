"""What was found in a conversation into the facts of its caller: the decisions of ``memory.core.merge``, carried out.

One transaction under a lock on the caller's row, so that two workers take turns and the second finds the work done.
Whatever proposed a candidate, it is held against the utterance itself: what is not the caller's own words is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

import numpy as np
import structlog
from django.db import transaction

from memory import selectors, surroundings, textsearch
from memory.core import merge as deciding
from memory.core import slots
from memory.core.decisions import Add, Ask, Decision, Dispute, Ignore, Reinforce, Retract, fingerprint
from memory.core.decisions import apply as after
from memory.core.merge import Merging
from memory.core.values import Candidate, Kind, Known, Status
from memory.db import scoped
from memory.embedding.port import EmbeddingError
from memory.ids import new_id
from memory.models import Caller, Memory, MemoryEvent, Source, Utterance
from memory.people import Person
from memory.services import tombstones
from memory.services.writing import Erased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from memory.core.decisions import Verdict
    from memory.embedding.port import Embedder

    #: Says for each of these how its candidate stands to the facts it is near, by their ids; what is left out is unrelated.
    Judge = Callable[[Sequence[Ask], Sequence[Known]], Sequence[Mapping[str, Verdict]]]

_log = structlog.get_logger(__name__)

What = MemoryEvent.What


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a candidate. ``what`` is a word of ``MemoryEvent.What``, ``ignored`` or ``refused``.

    ``fact_id`` is the fact that was made or reinforced; ``why`` says why there is none.
    """

    candidate: Candidate
    what: str
    fact_id: str = ""
    why: str = ""


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
        with self._locked() as bench:
            quoted, done = bench.quoted(candidates)
            decisions = deciding.merge(bench.facts, quoted, bench.how)
            asks = [decision for decision in decisions if isinstance(decision, Ask)]
            done += [bench.carry_out(decision) for decision in decisions if not isinstance(decision, Ask)]
        return done, asks

    def second(self, judged: Sequence[tuple[Candidate, Mapping[str, Verdict]]]) -> list[Applied]:
        """Those that were asked about, one by one: each may be near the one before it."""
        done = []
        with self._locked() as bench:
            for one, verdicts in judged:
                quoted, refused = bench.quoted([one])
                done += refused
                for decision in deciding.merge(bench.facts, quoted, bench.how):
                    if isinstance(decision, Ask):
                        decision = deciding.settle(bench.facts, decision, verdicts, bench.how)
                    done.append(bench.carry_out(decision))
        return done

    @contextmanager
    def _locked(self) -> Iterator[_Bench]:
        forgotten = tombstones.forgotten(self.person.key_hash)
        with transaction.atomic():
            # Two workers of one caller take turns; an erasure in between leaves no row to lock.
            if not Caller.objects.select_for_update().filter(pk=self.person.id).exists():
                raise Erased("the caller was erased")
            with scoped(self.person.id):
                rows = Utterance.objects.filter(caller_id=self.person.id, conversation_id=self.conversation_id)
                said = {row.seq: row for row in rows.select_related("conversation")}
                how = Merging(
                    conversation=next((row.conversation.name for row in said.values()), ""),
                    said_at={seq: row.said_at for seq, row in said.items()},
                    now=self.now,
                    new_id=lambda: str(new_id()),
                    near=self.near,
                    forgotten=lambda one, at: forgotten.covers(one.kind, one.slot, one.value, one.text, at),
                )
                facts = selectors.known(self.person, self.near.model)
                yield _Bench(self.person, self.by, self.now, said, how, facts)


@dataclass(slots=True)
class _Bench:
    """What a merge works on, inside its transaction. ``facts`` are as they stand after each decision."""

    person: Person
    by: str
    now: datetime
    said: Mapping[int, Utterance]
    how: Merging
    facts: list[Known]

    def quoted(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Applied]]:
        """Those that quote the caller, each with the place of its quote; the others are refused."""
        good, refused = [], []
        for one in candidates:
            found = self._place(one)
            if isinstance(found, str):
                refused.append(Applied(one, "refused", why=found))
            else:
                good.append(replace(one, start=found, end=found + len(one.quote)))
        return good, refused

    def _place(self, one: Candidate) -> int | str:
        """Where the quote begins in its utterance, or why it is none."""
        said = self.said.get(one.seq)
        if said is None:
            return "no_such_utterance"
        if said.role != Utterance.Role.USER:
            return "not_said_by_the_caller"
        text = self.person.open(said.text_sealed, "utterance", said.pk, "text")
        if not one.quote.strip():
            return "no_quote"
        if one.start >= 0 and text[one.start : one.start + len(one.quote)] == one.quote:
            return one.start
        start = text.find(one.quote)
        return start if start >= 0 else "quote_not_found"

    def carry_out(self, decision: Decision) -> Applied:
        """Write what was decided."""
        match decision:
            case Add():
                what, fact_id = self._add(decision), decision.id
            case Reinforce():
                what, fact_id = self._reinforce(decision), decision.fact_id
            case Ignore():
                return Applied(decision.candidate, "ignored", why=decision.why)
            case Ask():
                raise ValueError("somebody must be asked first")
            case _:
                assert_never(decision)
        self.facts = after(self.facts, [decision], self.how.conversation)
        return Applied(decision.candidate, what, fact_id)

    def _add(self, add: Add) -> str:
        retracts = isinstance(add, Retract)
        one, row = add.candidate, UUID(add.id)
        slot = slots.find(one.slot)
        # What ends makes room first: the database admits one value of a slot at a time.
        self._end(add.ends, add.valid_from, Status.RETRACTED if retracts else Status.SUPERSEDED)
        digest = self.person.key.digest
        Memory.objects.create(
            id=row,
            caller_id=self.person.id,
            kind=one.kind,
            slot=one.slot,
            single=slot is not None and not slot.many,
            text_sealed=self.person.seal(one.text, "memory", row, "text"),
            value_sealed=self.person.seal(one.value, "memory", row, "value"),
            value_hash=digest(one.value) if one.value else "",
            content_hash=digest(fingerprint(one.slot, one.value, one.text)),
            importance=one.importance,
            confidence=add.confidence,
            status=add.status,
            valid_from=add.valid_from,
            valid_to=add.valid_to,
            recorded_at=self.now,
            superseded_by_id=UUID(add.superseded_by) if add.superseded_by else None,
            expires_at=add.expires_at,
            extractor=one.extractor[:120],
            words=textsearch.vector(one.text, "", self.person.locale),
        )
        Memory.objects.filter(pk__in=map(UUID, add.ends)).update(superseded_by=row)
        self._source(one, row)
        what = What.RETRACTED if retracts else What.DISPUTED if isinstance(add, Dispute) else What.ADDED
        self._event(row, what, **({"against": add.against} if isinstance(add, Dispute) else {}))
        for ended in add.ends:
            self._event(UUID(ended), What.RETRACTED if retracts else What.SUPERSEDED, by_fact=add.id)
        return what

    def _reinforce(self, decision: Reinforce) -> str:
        row = UUID(decision.fact_id)
        self._end(decision.ends, decision.valid_from, Status.SUPERSEDED)
        Memory.objects.filter(pk__in=map(UUID, decision.ends)).update(superseded_by=row)
        Memory.objects.filter(caller_id=self.person.id, pk=row).update(
            confidence=decision.confidence,
            importance=decision.importance,
            valid_from=decision.valid_from,
            expires_at=decision.expires_at,
        )
        self._source(decision.candidate, row)
        self._event(row, What.REINFORCED)
        for ended in decision.ends:
            self._event(UUID(ended), What.SUPERSEDED, by_fact=decision.fact_id)
        return What.REINFORCED

    def _end(self, ends: Iterable[str], at: datetime, status: Status) -> None:
        Memory.objects.filter(caller_id=self.person.id, pk__in=map(UUID, ends)).update(valid_to=at, status=status)

    def _source(self, one: Candidate, row: UUID) -> None:
        Source.objects.get_or_create(
            memory_id=row,
            utterance=self.said[one.seq],
            start=one.start,
            end=one.end,
            defaults={"caller_id": self.person.id, "by": "caller"},
        )

    def _event(self, row: UUID, what: str, **data: str) -> None:
        MemoryEvent.objects.create(
            caller_id=self.person.id,
            memory_id=row,
            what=what,
            by=self.by,
            at=self.now,
            data={"conversation": self.how.conversation, **data},
        )


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

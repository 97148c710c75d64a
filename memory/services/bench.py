"""Where decisions over a caller's facts are carried out: one transaction, under the caller's lock, each step in the history.

``merging`` works here on what was said in a conversation, ``correcting`` on what somebody entered.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from django.db import transaction

from memory import selectors, textsearch
from memory.core import slots
from memory.core.decisions import Add, Ask, Decision, Dispute, Ignore, Reinforce, Retract, fingerprint
from memory.core.decisions import apply as after
from memory.core.merge import Merging
from memory.core.values import Candidate, Known, Status
from memory.db import scoped
from memory.ids import new_id
from memory.models import Caller, Memory, MemoryEvent, Source, Utterance
from memory.people import Person
from memory.services import tombstones
from memory.services.writing import Erased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    #: Which of these facts are near a candidate without a slot, as id and cosine.
    Nearness = Callable[[Candidate, Sequence[Known]], Iterable[tuple[str, float]]]

What = MemoryEvent.What
#: The sequence number of what nobody said: somebody entered it.
ENTERED = -1


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a candidate. ``what`` is a word of ``MemoryEvent.What``, ``ignored`` or ``refused``.

    ``fact_id`` is the fact that was made or reinforced; ``why`` says why there is none.
    """

    candidate: Candidate
    what: str
    fact_id: str = ""
    why: str = ""


@contextmanager
def bench(
    person: Person,
    conversation_id: UUID | None,
    *,
    by: str,
    now: datetime,
    near: Nearness = lambda _one, _facts: (),
    model: str = "",
) -> Iterator[Bench]:
    """Work on a caller's facts in one transaction, under the caller's lock. Raises ``memory.services.writing.Erased``.

    ``model`` is the local embedding's name, whose vectors the facts then bring. Without a conversation it is for what is
    entered and not said: candidates have the sequence number ``ENTERED``, and ``by`` is their source.
    """
    forgotten = tombstones.forgotten(person.key_hash)
    with transaction.atomic():
        # Two workers of one caller take turns; an erasure in between leaves no row to lock.
        if not Caller.objects.select_for_update().filter(pk=person.id).exists():
            raise Erased("the caller was erased")
        with scoped(person.id):
            rows = Utterance.objects.filter(caller_id=person.id)
            rows = rows.filter(conversation_id=conversation_id) if conversation_id else rows.none()
            rows = rows.defer("words", "vector", "openai_vector")
            said = {row.seq: row for row in rows.select_related("conversation")}
            how = Merging(
                conversation=next((row.conversation.name for row in said.values()), ""),
                said_at={ENTERED: now} | {seq: row.said_at for seq, row in said.items()},
                now=now,
                new_id=lambda: str(new_id()),
                near=near,
                forgotten=lambda one, at: forgotten.covers(one.kind, one.slot, one.value, one.text, at),
            )
            yield Bench(person, by, now, said, how, selectors.known(person, model))


@dataclass(slots=True)
class Bench:
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
        self.event(row, what, **({"against": add.against} if isinstance(add, Dispute) else {}))
        for ended in add.ends:
            self.event(UUID(ended), What.RETRACTED if retracts else What.SUPERSEDED, by_fact=add.id)
        return what

    def _reinforce(self, decision: Reinforce) -> str:
        row = UUID(decision.fact_id)
        self._end(decision.ends, decision.valid_from, Status.SUPERSEDED)
        Memory.objects.filter(pk__in=map(UUID, decision.ends)).update(superseded_by=row)
        Memory.objects.filter(caller_id=self.person.id, pk=row).update(
            confidence=decision.confidence,
            importance=decision.importance,
            valid_from=decision.valid_from,
        )
        # What is pinned does not expire, however old what is said again may grow.
        Memory.objects.filter(pk=row, pinned_at__isnull=True).update(expires_at=decision.expires_at)
        self._source(decision.candidate, row)
        self.event(row, What.REINFORCED)
        for ended in decision.ends:
            self.event(UUID(ended), What.SUPERSEDED, by_fact=decision.fact_id)
        return What.REINFORCED

    def _end(self, ends: Iterable[str], at: datetime, status: Status) -> None:
        Memory.objects.filter(caller_id=self.person.id, pk__in=map(UUID, ends)).update(valid_to=at, status=status)

    def _source(self, one: Candidate, row: UUID) -> None:
        if one.seq == ENTERED:
            Source.objects.create(caller_id=self.person.id, memory_id=row, by=self.by)
            return
        Source.objects.get_or_create(
            memory_id=row,
            utterance=self.said[one.seq],
            start=one.start,
            end=one.end,
            defaults={"caller_id": self.person.id, "by": "caller"},
        )

    def event(self, row: UUID, what: str, **data: str) -> None:
        """Add a line to a fact's history."""
        MemoryEvent.objects.create(
            caller_id=self.person.id,
            memory_id=row,
            what=what,
            by=self.by,
            at=self.now,
            data=({"conversation": self.how.conversation} if self.how.conversation else {}) | data,
        )

"""What becomes of what was found: a pure decision over the facts of one caller.

Known facts and candidates go in, typed decisions come out; carrying them out in order is ``memory.services``'. The rules:

- The same value in the same slot (or the same words, without a slot) reinforces. Another value in a single-valued slot
  supersedes, or is disputed where the older one is firmer or an operator's.
- The time it was *said* decides, not the time it was archived: a call that comes late goes into the history.
- Facts without a slot that are near each other are put to the model as pairs. Nearness alone never merges.
- A source is used once: the same conversation again changes nothing. What was forgotten does not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from memory.core import slots
from memory.core.decisions import (
    Add,
    Ask,
    Decision,
    Dispute,
    Ignore,
    Reinforce,
    Retract,
    Supersede,
    Verdict,
    Why,
    apply,
    fingerprint,
)
from memory.core.values import Candidate, Kind, Known, Status

#: Whose word stands against a caller's, as the part before the colon of ``operator:NAME``: people at the console, and
#: programs with a token to write.
AUTHORITIES = frozenset({"operator", "token"})
#: A candidate this much less sure than the fact it contradicts is disputed.
DISPUTE_MARGIN = 0.25
#: Cosine from which two free facts are put to the model. Below it they are two facts.
NEAR_COSINE = 0.75
#: At most so many pairs for one candidate.
PAIRS = 3
_MOST_SURE = 0.99


@dataclass(frozen=True, slots=True)
class Merging:
    """What a merge is made with. ``said_at`` by sequence number of the conversation; ``now`` bounds it.

    ``new_id`` gives the id of a new fact. ``near`` says which of these facts are near a candidate without a slot, as id and
    cosine.
    ``forgotten`` says whether a candidate, said then, was forgotten since.
    """

    conversation: str
    said_at: Mapping[int, datetime]
    now: datetime
    new_id: Callable[[], str]
    near: Callable[[Candidate, Sequence[Known]], Iterable[tuple[str, float]]] = lambda _one, _facts: ()
    forgotten: Callable[[Candidate, datetime], bool] = lambda _one, _at: False


def merge(known: Sequence[Known], candidates: Iterable[Candidate], how: Merging) -> list[Decision]:
    """Decide over the candidates of one conversation.

    ``known`` are all facts of the caller, whatever their status: the history answers what comes late. Decisions are in
    the order of what was said and are meant to be carried out in it. Raises ``KeyError`` where ``said_at`` lacks a sequence number.
    """
    facts = list(known)
    ordered = sorted(candidates, key=lambda one: (how.said_at[one.seq], one.seq, not one.slot, one.start))
    told = [one for one in ordered if one.slot]
    decisions: list[Decision] = []
    for candidate in ordered:
        decision = _decide(facts, candidate, told, how)
        facts = apply(facts, [decision], how.conversation)
        decisions.append(decision)
    return decisions


def settle(known: Sequence[Known], ask: Ask, verdicts: Mapping[str, Verdict], how: Merging) -> Decision:
    """Decide over a candidate that was put to the model. A pair without a verdict counts as unrelated: two facts."""
    by_id = {fact.id: fact for fact in known}
    ranks = list(Verdict)
    judged = [
        (ranks.index(verdicts.get(fact_id, Verdict.UNRELATED)), fact_id) for fact_id, _ in ask.pairs if fact_id in by_id
    ]
    rank, fact_id = min(judged, default=(ranks.index(Verdict.UNRELATED), ""))
    at = _said(ask.candidate, how)
    verdict = ranks[rank]
    if verdict is Verdict.UNRELATED:
        return _new(ask.candidate, at, how)
    fact = by_id[fact_id]
    if verdict is Verdict.SAME:
        return _reinforce(fact, ask.candidate, at)
    if at < _start(fact):
        # Said before the fact it is compared with: that one stands, this is what was before it.
        return _history(ask.candidate, at, fact, how)
    if verdict is Verdict.CONTRADICTS and _firmer(fact, ask.candidate):
        return _dispute(ask.candidate, at, fact, how)
    return _supersede(ask.candidate, at, fact, how)


def _decide(facts: Sequence[Known], one: Candidate, told: Sequence[Candidate], how: Merging) -> Decision:
    why = _refused(one, told, how)
    if why:
        return Ignore(one, why)
    at = _said(one, how)
    slot = slots.find(one.slot)
    same = [fact for fact in facts if _key(fact) == _key(one)]
    source = (how.conversation, one.seq)
    if any(source in fact.sources for fact in facts if _says(fact, one)):
        return Ignore(one, Why.ALREADY)
    rivals = [fact for fact in facts if fact.slot == one.slot] if slot and (not slot.many or one.retracts) else same
    line = _Line.of(rivals, one)
    if one.retracts:
        return _retract(line, one, at, how)
    disputed = next((fact for fact in same if fact.status is Status.DISPUTED), None)
    decision = _place(line, one, at, how)
    if isinstance(decision, Dispute) and disputed is not None:
        return _reinforce(disputed, one, at)
    if type(decision) is Add and not one.slot and one.kind is not Kind.SUMMARY:
        return _compared(facts, one, decision, how)
    return decision


def _compared(facts: Sequence[Known], one: Candidate, new: Add, how: Merging) -> Decision:
    """A new free fact beside those that are near it."""
    by_id = {fact.id: fact for fact in facts}
    near = [(fact_id, cosine) for fact_id, cosine in how.near(one, facts) if cosine >= NEAR_COSINE and fact_id in by_id]
    if any((how.conversation, one.seq) in by_id[fact_id].sources for fact_id, _ in near):
        # Near, and out of the same sentence: the extractor only worded it differently this time.
        return Ignore(one, Why.ALREADY)
    pairs = [pair for pair in near if by_id[pair[0]].status is Status.ACTIVE]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    return Ask(one, tuple(pairs[:PAIRS])) if pairs and new.status is Status.ACTIVE else new


def _refused(one: Candidate, told: Sequence[Candidate], how: Merging) -> Why | None:
    if one.slot and slots.find(one.slot) is None:
        return Why.UNKNOWN_SLOT
    if one.slot and not one.value and not one.retracts:
        return Why.NO_VALUE
    if (
        not one.slot
        and one.kind is not Kind.SUMMARY
        and any(other.seq == one.seq and one.quote in other.quote for other in told)
    ):
        return Why.TOLD_IN_SLOT
    if how.forgotten(one, _said(one, how)):
        return Why.FORGOTTEN
    return None


@dataclass(frozen=True, slots=True)
class _Line:
    """The line of time that a candidate falls into: the facts that exclude each other, and when one of its value ended."""

    facts: tuple[Known, ...]
    ends_at: tuple[datetime, ...]

    @classmethod
    def of(cls, rivals: Sequence[Known], one: Candidate) -> _Line:
        held = sorted(
            (fact for fact in rivals if fact.status is not Status.DISPUTED and not _retraction(fact)), key=_start
        )
        ended = sorted(_start(fact) for fact in rivals if _retraction(fact) and fact.value in ("", one.value))
        return cls(tuple(held), tuple(ended))

    def at(self, when: datetime) -> Known | None:
        """The fact that was valid then."""
        return next((f for f in self.facts if _start(f) <= when and (f.valid_to is None or when < f.valid_to)), None)

    def after(self, when: datetime) -> Known | None:
        """The first fact that begins later."""
        return next((f for f in self.facts if _start(f) > when), None)

    def retracted_after(self, when: datetime) -> datetime | None:
        """When this value was first taken back later."""
        return next((moment for moment in self.ends_at if moment > when), None)


def _place(line: _Line, one: Candidate, at: datetime, how: Merging) -> Decision:
    """Where a statement falls in its line of time."""
    current, following, end = line.at(at), line.after(at), line.retracted_after(at)
    if current is not None and _says(current, one):
        return _reinforce(current, one, at)
    if current is not None and (current.said_at or _start(current)) > at:
        # Said differently before and after: it never held.
        return _history(one, at, current, how, valid_to=at)
    if current is not None and current.status is Status.ACTIVE and _firmer(current, one):
        return _dispute(one, at, current, how)
    ends = (current.id,) if current is not None else ()
    if following is not None and (end is None or _start(following) <= end):
        if _says(following, one):
            return replace(_reinforce(following, one, at), ends=ends)
        return replace(_history(one, at, following, how), ends=ends)
    if end is not None:
        return replace(_new(one, at, how), status=Status.RETRACTED, valid_to=end, ends=ends)
    return _supersede(one, at, current, how) if current is not None else _new(one, at, how)


def _retract(line: _Line, one: Candidate, at: datetime, how: Merging) -> Decision:
    meant = [
        fact
        for fact in line.facts
        if one.value in ("", fact.value) and _start(fact) <= at and (fact.valid_to is None or at < fact.valid_to)
    ]
    if any((fact.said_at or _start(fact)) > at for fact in meant):
        return Ignore(one, Why.SAID_AGAIN_LATER)
    ends = tuple(fact.id for fact in meant)
    return Retract(one, how.new_id(), at, one.firm, at, valid_to=at, status=Status.RETRACTED, ends=ends)


def _new(one: Candidate, at: datetime, how: Merging) -> Add:
    slot = slots.find(one.slot)
    began = one.valid_from if one.valid_from and one.valid_from < at and (slot is None or slot.many) else at
    return Add(one, how.new_id(), at, one.firm, began, expires_at=expiry(one, at))


def _supersede(one: Candidate, at: datetime, fact: Known, how: Merging) -> Supersede:
    return Supersede(one, how.new_id(), at, one.firm, at, expires_at=expiry(one, at), ends=(fact.id,))


def _dispute(one: Candidate, at: datetime, fact: Known, how: Merging) -> Dispute:
    return Dispute(
        one, how.new_id(), at, one.firm, at, status=Status.DISPUTED, expires_at=expiry(one, at), against=fact.id
    )


def _history(one: Candidate, at: datetime, following: Known, how: Merging, valid_to: datetime | None = None) -> Add:
    end = valid_to or _start(following)
    return Add(one, how.new_id(), at, one.firm, at, valid_to=end, status=Status.SUPERSEDED, superseded_by=following.id)


def _reinforce(fact: Known, one: Candidate, at: datetime) -> Reinforce:
    last = max(fact.said_at or at, at)
    return Reinforce(
        one,
        fact.id,
        confidence=round(min(max(_MOST_SURE, fact.confidence), 1 - (1 - fact.confidence) * (1 - one.firm / 2)), 4),
        importance=max(fact.importance, one.importance),
        said_at=last,
        valid_from=min(_start(fact), at),
        expires_at=max(filter(None, (fact.expires_at, expiry(one, at))), default=None),
    )


def _firmer(fact: Known, one: Candidate) -> bool:
    """Whether a known fact outweighs what contradicts it. An authority is outweighed by an authority alone."""
    if is_authority(one.extractor):
        return False
    return is_authority(fact.extractor) or fact.confidence - one.firm > DISPUTE_MARGIN


def is_authority(extractor: str) -> bool:
    """Whether this one's word outweighs what was distilled."""
    return extractor.partition(":")[0] in AUTHORITIES


def expiry(one: Candidate, at: datetime) -> datetime | None:
    """When a fact that is said now stops to be told without being asked for; ``None`` for never."""
    slot = slots.find(one.slot)
    if one.valid_to is not None or slot is None or not slot.expires_days:
        return one.valid_to
    return at + timedelta(days=slot.expires_days)


def _key(fact: Known | Candidate) -> str:
    return fingerprint(fact.slot, fact.value, fact.text)


def _says(fact: Known, one: Candidate) -> bool:
    """Whether a known fact is what a candidate says, or says it and more."""
    if _key(fact) == _key(one):
        return True
    slot = slots.find(one.slot)
    return slot is not None and slot.covers is not None and fact.slot == one.slot and slot.covers(fact.value, one.value)


def _retraction(fact: Known) -> bool:
    """Whether a known fact is itself the saying that something is true no more."""
    return fact.status is Status.RETRACTED and fact.valid_from == fact.valid_to


def _start(fact: Known) -> datetime:
    start = fact.valid_from or fact.said_at
    if start is None:
        raise ValueError(f"fact {fact.id} has neither a beginning nor a time it was said")
    return start


def _said(one: Candidate, how: Merging) -> datetime:
    return min(how.said_at[one.seq], how.now)

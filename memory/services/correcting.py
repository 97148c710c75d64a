"""What somebody enters: an operator in the admin, a program with a token, or the caller in words of their own.

An operator's or a token's word is firmer than what was distilled: it supersedes and is never disputed, until the next
authority says otherwise. Every change is told to calls in progress, which look again at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.db import transaction

from memory import keys, people, selectors
from memory.core import merge as deciding
from memory.core import slots
from memory.core.decisions import Ask, Decision, Ignore, Reinforce, Supersede, Why, fingerprint
from memory.core.values import Candidate, Kind, Known, Status
from memory.models import Memory, MemoryEvent, Source
from memory.services import cards, chain, tombstones
from memory.services.bench import ENTERED, Applied, Bench, bench
from memory.services.checking import Bad, checked_text
from memory.services.lines import MOST_FACT_CHARS

if TYPE_CHECKING:
    from datetime import datetime

    from memory.people import Person
    from memory.selectors import Fact

_log = structlog.get_logger(__name__)

#: How sure what was entered is, 0 to 1: by an authority, and by anybody else.
_FIRM, _LESS_FIRM = 0.97, 0.9
_STANDING = (Status.ACTIVE, Status.DISPUTED)


class NoSuchFact(LookupError):
    """This caller has no such fact, or it does not stand any more."""


class Stale(ValueError):
    """The fact was changed since it was looked at: nothing was done. ``fact`` is how it stands now."""

    def __init__(self, fact: Fact) -> None:
        super().__init__("this fact was changed since you looked at it")
        self.fact = fact


class Unwanted(ValueError):
    """This caller is not to be remembered: nothing is entered."""


def store(person: Person, kind: str, text: str, *, slot: str = "", value: str = "", by: str, now: datetime) -> Fact:
    """Enter a fact. In a slot the value decides (``text`` is read where none is given), and kind and wording are the slot's.

    What is known already is made firmer. Raises ``memory.services.checking.Bad`` for what makes no sense, and
    ``memory.services.writing.Erased`` where the caller is gone, ``Unwanted`` where nothing of this caller is to be kept.
    """
    if tombstones.never(person.key_hash):
        raise Unwanted("this caller is not to be remembered")
    with bench(person, None, by=by, now=now) as work:
        candidate = _candidate(kind, text, slot, value, by)
        done = _entered(work, candidate)
    tell(person, now)
    return _fact(person, done.fact_id)


def enter(work: Bench, kind: str, text: str, slot: str, value: str, *, once: bool) -> bool:
    """The same on a bench that is open already, said at ``work.how.said_at[ENTERED]``. Whether anything was done:
    ``once`` is for what ``work.by`` has entered before. Raises ``Bad``.
    """
    candidate = _candidate(kind, text, slot, value, work.by)
    same = [UUID(one.id) for one in work.facts if _key(one) == _key(candidate)]
    if once and Source.objects.filter(memory_id__in=same, by=work.by).exists():
        return False
    _entered(work, candidate)
    return True


def _entered(work: Bench, candidate: Candidate) -> Applied:
    done = _carry_out(work, _decided(work, candidate))
    _settle_dispute(work, candidate, done.fact_id)
    return done


def supersede(
    person: Person,
    memory_id: UUID | str,
    text: str,
    value: str = "",
    *,
    by: str,
    now: datetime,
    was_wrong: bool = False,
    seen: str | None = None,
) -> Fact:
    """Put another fact in the place of one that stands, from now on. ``was_wrong``: it never was true, and the other one
    is since then. ``seen`` is the ``Fact.version`` that was looked at. A pinned fact's place is pinned. Raises
    ``NoSuchFact``, ``Stale``, and what ``store`` raises.
    """
    with bench(person, None, by=by, now=now) as work:
        unchanged(person, memory_id, seen)
        old = standing(work, memory_id)
        candidate = _candidate(old.kind, text, old.slot, value, by)
        if _key(candidate) == _key(old):
            raise Bad("that is what is known already")
        if was_wrong:
            Memory.objects.filter(pk=UUID(old.id)).update(retired_at=now)
            work.event(UUID(old.id), MemoryEvent.What.CORRECTED)
        decision = _replacing(work, old, candidate, was_wrong=was_wrong)
        done = _carry_out(work, decision)
        if was_wrong:
            Memory.objects.filter(pk=UUID(old.id)).update(superseded_by=UUID(done.fact_id))
        elif isinstance(decision, Reinforce):
            _end(work, old, done.fact_id)
        _settle_dispute(work, candidate, done.fact_id)
        if old.pinned:
            Memory.objects.filter(pk=UUID(done.fact_id)).update(pinned_at=now, expires_at=None)
    tell(person, now)
    return _fact(person, done.fact_id)


def retract(person: Person, memory_id: UUID | str, *, by: str, now: datetime, seen: str | None = None) -> Fact:
    """A fact is true no more. It stays in the history; ``erasure.forget_fact`` is what removes it. Raises ``NoSuchFact``,
    ``Stale``."""
    with bench(person, None, by=by, now=now) as work:
        unchanged(person, memory_id, seen)
        old = standing(work, memory_id)
        Memory.objects.filter(pk=UUID(old.id)).update(
            status=Status.RETRACTED.value, valid_to=max(now, old.valid_from or now)
        )
        work.event(UUID(old.id), MemoryEvent.What.RETRACTED)
    tell(person, now)
    return _fact(person, old.id)


def _candidate(kind: str, text: str, slot: str, value: str, by: str) -> Candidate:
    """What was entered as the merge takes it. Raises ``Bad``."""
    firm = _FIRM if deciding.is_authority(by) else _LESS_FIRM
    said = checked_text(value or text, "the value" if value else "the text", MOST_FACT_CHARS)
    if not slot:
        if value:
            raise Bad("a value needs a slot")
        known = {one.value for one in Kind} - {Kind.UTTERANCE.value}
        if kind not in known:
            raise Bad(f"the kind must be one of {', '.join(sorted(known))}")
        return Candidate(Kind(kind), said, ENTERED, "", firm=firm, extractor=by)
    found = slots.find(slot)
    if found is None:
        raise Bad(f"there is no slot {slot[:80]!r}")
    normal, reads = slots.reads(slot, said)
    if not normal:
        raise Bad(f"this is no value that {slot} can take")
    return Candidate(
        found.kind, reads, ENTERED, "", slot=slot, value=normal, importance=found.importance, firm=firm, extractor=by
    )


def _decided(work: Bench, candidate: Candidate) -> Decision:
    """What becomes of it. Nothing is near what was entered: somebody meant it as it stands."""
    (decision,) = deciding.merge(work.facts, [candidate], work.how)
    if isinstance(decision, Ask):
        return deciding.settle(work.facts, decision, {}, work.how)
    if isinstance(decision, Ignore):
        raise Bad(
            "it was forgotten since" if decision.why is Why.FORGOTTEN else f"it is {decision.why.replace('_', ' ')}"
        )
    return decision


def _replacing(work: Bench, old: Known, candidate: Candidate, *, was_wrong: bool) -> Decision:
    """What takes the place of ``old``: a fact that is known already, or a new one, which ends it."""
    since = old.valid_from if was_wrong and old.valid_from else work.now
    same = next((one for one in work.facts if _key(one) == _key(candidate) and one.status is Status.ACTIVE), None)
    if same is not None:
        return Reinforce(
            candidate,
            same.id,
            confidence=max(same.confidence, _FIRM),
            importance=max(same.importance, candidate.importance),
            said_at=work.now,
            valid_from=same.valid_from or since,
            expires_at=same.expires_at,
        )
    ends = () if was_wrong else (old.id,)
    return Supersede(
        candidate, work.how.new_id(), work.now, _FIRM, since, expires_at=deciding.expiry(candidate, work.now), ends=ends
    )


def _carry_out(work: Bench, decision: Decision) -> Applied:
    """Write it; a fact that was only made firmer has its word from now on."""
    done = work.carry_out(decision)
    if isinstance(decision, Reinforce) and deciding.is_authority(work.by):
        Memory.objects.filter(pk=UUID(done.fact_id)).update(extractor=work.by[:120])
    return done


def _end(work: Bench, old: Known, by_fact: str) -> None:
    """``old`` held until now; what is known since longer holds in its place."""
    Memory.objects.filter(pk=UUID(old.id)).update(
        status=Status.SUPERSEDED.value, valid_to=work.now, superseded_by=UUID(by_fact)
    )
    work.event(UUID(old.id), MemoryEvent.What.SUPERSEDED, by_fact=by_fact)


def _settle_dispute(work: Bench, candidate: Candidate, stands: str) -> None:
    """An authority has spoken: what was disputed in this slot is not any more."""
    slot = slots.find(candidate.slot)
    if slot is None or slot.many or not deciding.is_authority(candidate.extractor):
        return
    for fact in work.facts:
        if fact.slot == candidate.slot and fact.status is Status.DISPUTED and fact.id != stands:
            Memory.objects.filter(pk=UUID(fact.id)).update(status=Status.RETRACTED.value, valid_to=work.now)
            work.event(UUID(fact.id), MemoryEvent.What.RETRACTED, by_fact=stands)


def unchanged(person: Person, memory_id: UUID | str, seen: str | None) -> None:
    """Raise ``Stale`` where the fact is not as it was ``seen``, a ``Fact.version``; ``None``: nobody looked. On the bench."""
    wanted = people.as_id(memory_id)
    if seen is None or wanted is None:
        return
    for fact in selectors.facts(person, ids=[wanted], forgotten=True):
        if fact.version != seen:
            raise Stale(fact)


def standing(work: Bench, memory_id: UUID | str) -> Known:
    """A fact on the bench that stands. Raises ``NoSuchFact``."""
    wanted = str(memory_id)
    found = next((one for one in work.facts if one.id == wanted and one.status in _STANDING), None)
    if found is None:
        raise NoSuchFact("this caller has no such fact that still stands")
    return found


def _key(one: Candidate | Known) -> str:
    return fingerprint(one.slot, one.value, one.text)


def _fact(person: Person, fact_id: str) -> Fact:
    return selectors.facts(person, ids=[UUID(fact_id)])[0]


def tell(person: Person, now: datetime) -> None:
    """A card of the new facts, and word to calls in progress, which look again; the vectors come in a moment."""
    cards.build(person, now=now)
    transaction.on_commit(lambda: keys.announce(person.key_hash, person.id, keys.What.CHANGED))
    chain.send_facts(person.id)

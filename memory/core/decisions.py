"""What the merge decides, as frozen values, and what carrying them out comes to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from memory.core.text import same
from memory.core.values import Candidate, Known, Origin, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Verdict(StrEnum):
    """How a candidate stands to a known fact, as the model judges it. In the order in which one outweighs another."""

    SAME = "same"
    REFINES = "refines"
    SUPERSEDES = "supersedes"
    CONTRADICTS = "contradicts"
    UNRELATED = "unrelated"


class Why(StrEnum):
    """Why a candidate was ignored."""

    ALREADY = "already"
    FORGOTTEN = "forgotten"
    UNKNOWN_SLOT = "unknown_slot"
    NO_VALUE = "no_value"
    TOLD_IN_SLOT = "told_in_slot"
    SAID_AGAIN_LATER = "said_again_later"


@dataclass(frozen=True, slots=True)
class Add:
    """A new fact. ``ends`` are facts whose validity ends at ``valid_from``, superseded by this one.

    ``status`` is not active where it came late or is disputed; ``superseded_by`` is then the fact that follows it.
    """

    candidate: Candidate
    id: str
    said_at: datetime
    confidence: float
    valid_from: datetime
    valid_to: datetime | None = None
    status: Status = Status.ACTIVE
    expires_at: datetime | None = None
    superseded_by: str = ""
    ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Supersede(Add):
    """A new fact that takes the place of ``ends``."""


@dataclass(frozen=True, slots=True)
class Dispute(Add):
    """A new fact, disputed: ``against`` stays as it is."""

    against: str = ""


@dataclass(frozen=True, slots=True)
class Retract(Add):
    """It is true no more. ``ends`` are the facts that end, retracted; they may be none.

    The retraction is kept as a retracted fact of its own, with an empty validity, so that an older call that comes later
    finds it, and so that its sentence can be shown.
    """


@dataclass(frozen=True, slots=True)
class Reinforce:
    """A known fact was said again. Its confidence, its beginning, its last saying and its expiry become these."""

    candidate: Candidate
    fact_id: str
    confidence: float
    importance: float
    said_at: datetime
    valid_from: datetime
    expires_at: datetime | None = None
    ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """The model must judge the candidate against ``pairs``: fact and cosine, the nearest first. See ``settle``."""

    candidate: Candidate
    pairs: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing becomes of it."""

    candidate: Candidate
    why: Why


Decision = Add | Reinforce | Ask | Ignore


def fingerprint(slot: str, value: str, text: str) -> str:
    """What makes a fact the same fact, as 64 hex digits: slot and value, or the words where there is none."""
    content = value if slot else same(text)
    return hashlib.sha256(f"{slot}\x1f{content}".encode(errors="backslashreplace")).hexdigest()


def apply(known: Sequence[Known], decisions: Iterable[Decision], conversation: str) -> list[Known]:
    """The facts after the decisions: what carrying them out must come to."""
    facts = {fact.id: fact for fact in known}
    for decision in decisions:
        if isinstance(decision, Add):
            ended = Status.RETRACTED if isinstance(decision, Retract) else Status.SUPERSEDED
            _end(facts, decision.ends, decision.valid_from, ended)
            facts[decision.id] = _known(decision, conversation)
        elif isinstance(decision, Reinforce):
            _end(facts, decision.ends, decision.valid_from, Status.SUPERSEDED)
            fact = facts[decision.fact_id]
            facts[fact.id] = replace(
                fact,
                confidence=decision.confidence,
                importance=decision.importance,
                said_at=decision.said_at,
                valid_from=decision.valid_from,
                expires_at=decision.expires_at,
                sources=fact.sources | {(conversation, decision.candidate.seq)},
            )
    return list(facts.values())


def _end(facts: dict[str, Known], ends: tuple[str, ...], at: datetime, status: Status) -> None:
    for fact_id in ends:
        fact = facts[fact_id]
        facts[fact_id] = replace(fact, valid_to=at, status=status)


def _known(add: Add, conversation: str) -> Known:
    one = add.candidate
    return Known(
        add.id,
        one.kind,
        one.text,
        slot=one.slot,
        value=one.value,
        importance=one.importance,
        confidence=add.confidence,
        status=add.status,
        valid_from=add.valid_from,
        valid_to=add.valid_to,
        said_at=add.said_at,
        origin=Origin(conversation, one.seq, one.start, one.end, quote=one.quote),
        sources=frozenset({(conversation, one.seq)}),
        extractor=one.extractor,
        expires_at=add.expires_at,
    )

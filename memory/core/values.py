"""What the memory speaks of, as frozen values. Pure: no framework, no clock, no randomness; time is an argument.

Text in these values is plain. Only ``memory.services`` and ``memory.stores`` seal and open it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What sort of thing is remembered. ``UTTERANCE`` is something said, word for word; the others are distilled."""

    UTTERANCE = "utterance"
    IDENTITY = "identity"
    PREFERENCE = "preference"
    FACT = "fact"
    EVENT = "event"
    COMMITMENT = "commitment"
    RELATION = "relation"
    SUMMARY = "summary"


class Status(StrEnum):
    """Where a remembered fact is in its life."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    DISPUTED = "disputed"
    RETRACTED = "retracted"


class Level(StrEnum):
    """Where something was found: ``L1`` the call's own working context (said in this call, profile card), ``L2`` the
    index by meaning and words, ``L3`` the archive."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a remembered thing comes from. ``conversation`` is the CallSid, or the name an import gave it.

    ``start`` and ``end`` are the characters of the utterance that are quoted, ``audio_ms`` the place in the
    conversation's recording where the utterance begins, ``-1`` where there is none.
    """

    conversation: str = ""
    seq: int = -1
    start: int = 0
    end: int = 0
    audio_ms: int = -1
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that can be found: an utterance or a distilled fact, as the index of a caller holds it.

    ``before`` is what was said just before it (empty for facts); ``vector`` is float32 of the local embedding, or empty
    where it was not embedded yet. ``said_at`` is when it was said, or first known.
    """

    id: str
    kind: Kind
    text: str
    said_at: datetime
    role: str = "user"
    before: str = ""
    slot: str = ""
    status: Status = Status.ACTIVE
    importance: float = 0.5
    origin: Origin = Origin()
    vector: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Hit:
    """A row with its score and what became of it. ``why_not`` is empty where it reached the prompt; else ``floor``,
    ``budget``, ``duplicate``, ``superseded`` or ``late``."""

    row: Row
    score: float
    level: Level = Level.L2
    in_prompt: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a conversation, as it is written into memory. ``role`` is ``user`` (the caller) or ``assistant``.

    ``heard_text`` is what the other side really heard where that is less than ``text``. ``label`` is an import's own name
    for the line.
    """

    seq: int
    role: str
    text: str
    said_at: datetime
    audio_ms: int = -1
    audio_end_ms: int = -1
    confidence: float = 1.0
    heard_text: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may become a fact: what an extractor found in one utterance of the caller.

    ``slot`` is a dotted name of ``memory.core.slots``, empty for free facts. ``value`` is the normalised value of the
    slot. ``quote`` must occur in the utterance ``seq``; a candidate whose quote does not is refused at the write.
    ``firm`` is how sure the caller was, 0 to 1. ``start`` and ``end`` are the characters of the quote in the utterance,
    -1 where they were not looked up yet.
    """

    kind: Kind
    text: str
    seq: int
    quote: str
    slot: str = ""
    value: str = ""
    importance: float = 0.5
    firm: float = 0.9
    extractor: str = ""
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    retracts: bool = False
    start: int = -1
    end: int = -1


@dataclass(frozen=True, slots=True)
class Known:
    """A fact as it stands, as the merge sees it.

    ``said_at`` is when it was last said, ``valid_from`` when it began to be true. ``sources`` are the places it was
    distilled from, as conversation and sequence number; ``extractor`` is who stated it first: ``rules-1``, ``model:NAME``,
    ``operator:NAME``, ``token:NAME``. ``expires_at`` is when it stops to be told without being asked for; ``pinned``: an
    operator wants it told in every call.
    """

    id: str
    kind: Kind
    text: str
    slot: str = ""
    value: str = ""
    importance: float = 0.5
    confidence: float = 0.9
    status: Status = Status.ACTIVE
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    uses: int = 0
    said_at: datetime | None = None
    origin: Origin = Origin()
    vector: bytes = field(default=b"", repr=False)
    sources: frozenset[tuple[str, int]] = frozenset()
    extractor: str = ""
    expires_at: datetime | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a caller before a word was said; at most 600 tokens of ``text``. ``name`` may be empty."""

    name: str = ""
    text: str = ""
    facts: int = 0

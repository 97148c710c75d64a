"""One entry of the memory as the screen shows it: its state, levels, author, sources, chain, and where it was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from calls.models import Call, Turn
from memory import overview, search, selectors, surroundings
from memory.admin.shown import MEANS, clock
from memory.core.text import question
from memory.core.values import Status
from memory.db import scoped
from memory.embedding.port import EmbeddingError
from memory.models import Conversation, Memory
from memory.people import Person
from memory.selectors import Fact
from memory.services.forgetting import KEPT
from voiceagent.console.callers import told
from voiceagent.console.callers.told import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from uuid import UUID

    from memory.selectors import FactSource

#: Tab → which facts.
TABS: Mapping[str, Q] = {
    "current": overview.STATES["current"] | overview.STATES["disputed"],
    "superseded": Q(
        *(overview.STATES[name] for name in ("superseded", "retracted", "corrected", "expired")), _connector=Q.OR
    ),
    "forgotten": overview.STATES["forgotten"],
    "all": Q(),
}
PAGE = 50
_USES = 20
#: A call's lines have twice the number of their turn (``calls.services.remembering``).
LINES_OF_TURN = 2


@dataclass(frozen=True, slots=True)
class Heard:
    """Where an entry comes from: a place in a conversation, or who entered it. ``clip`` is where it can be heard."""

    by: str
    quote: str
    said_at: datetime | None
    label: str = ""
    url: str = ""
    clip: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact for a template. ``why`` says what a search found in it; ``text`` is in parts, some of them marked."""

    fact: Fact
    state: str
    means: str
    text: tuple[Part, ...]
    levels: tuple[str, ...]
    author: str
    sources: tuple[Heard, ...]
    why: str = ""
    erased_at: datetime | None = None

    @property
    def stands(self) -> bool:
        """Whether it can be corrected, pinned, let expire or merged."""
        return self.fact.retired_at is None and self.fact.status in (Status.ACTIVE, Status.DISPUTED)

    @property
    def right(self) -> str:
        """What a correction begins with: the value of a slot, else the text."""
        return self.fact.value if self.fact.slot and self.fact.value else self.fact.text

    @property
    def plain(self) -> str:
        """The text alone."""
        return "".join(part.text for part in self.text)


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes entries of one caller for one user."""

    person: Person
    user: Any
    on_card: frozenset[str]
    now: datetime = field(default_factory=timezone.now)

    def read(self, ids: Sequence[UUID]) -> list[Entry]:
        """These entries, in this order; those that are not this caller's are left out."""
        found = {fact.id: fact for fact in selectors.facts(self.person, ids=ids, forgotten=True)}
        ordered = [found[str(one)] for one in ids if str(one) in found]
        places = self._places(source.conversation for fact in ordered for source in fact.sources)
        return [self._entry(fact, places) for fact in ordered]

    def found(self, text: str, by: str, tab: str) -> tuple[list[Entry], str]:
        """The entries that fit a search, best first, each with why; and what went wrong, if it did."""
        meant = None
        if by == "meaning":
            asked = question(text)
            if not asked:
                return [], ""
            try:
                local = surroundings.embedder()
                meant = search.Meant(local.embed_query(asked), local.name)
            except EmbeddingError as error:
                return [], f"{error}."
        scores = search.of_caller(self.person, text, TABS[tab], meant, limit=PAGE)
        entries = self.read([one for one, _ in scores])
        of = {str(one): score for one, score in scores}
        return [self._why(entry, text, by, of[entry.fact.id]) for entry in entries], ""

    def _why(self, entry: Entry, asked: str, by: str, score: float) -> Entry:
        shared = told.matching(entry.plain, asked)
        named = ", ".join(f"“{word}”" for word in shared)
        if by == "meaning":
            why = f"{score:.2f} near in meaning" + (f"; shares {named}" if named else "; no word in common")
        else:
            why = f"{score:.2f} by words: {named or 'inflected, or in another form'}"
        return replace(entry, text=tuple(told.marked(entry.plain, asked)), why=why)

    def _entry(self, fact: Fact, places: _Places) -> Entry:
        state = overview.state_of(fact, self.now)
        text = told.words(fact.text, told.reads_all(self.user), fact.slot)
        return Entry(
            fact=fact,
            state=state,
            means=MEANS[state],
            text=(Part(text),),
            levels=self._levels(fact),
            author=author(fact.extractor),
            sources=tuple(self._heard(source, fact, places) for source in fact.sources),
            erased_at=fact.forgotten_at + KEPT if fact.forgotten_at else None,
        )

    def _levels(self, fact: Fact) -> tuple[str, ...]:
        return (
            *(("L1",) if fact.id in self.on_card else ()),
            *(("L2",) if fact.retired_at is None and fact.status == Status.ACTIVE else ()),
            "L3",
        )

    def _heard(self, source: FactSource, fact: Fact, places: _Places) -> Heard:
        quote = told.words(source.quote, told.reads_all(self.user), fact.slot)
        if not source.conversation:
            return Heard(author(source.by), "", None)
        label, url = places.of(source.conversation, source.seq)
        clip = ""
        if source.conversation in places.recorded and source.audio_ms >= 0:
            place = {"call": source.conversation, "at": str(source.audio_ms)}
            clip = reverse("console:caller_clip", args=[self.person.id], query=place)
        return Heard(author(source.by), quote, source.said_at, label, url, clip, clock(source.audio_ms))

    def _places(self, names: Iterable[str]) -> _Places:
        wanted = {name for name in names if name}
        calls = Call.objects.filter(call_sid__in=wanted, caller_key=self.person.key_hash)
        with scoped(self.person.id):
            began = dict(
                Conversation.objects.filter(caller_id=self.person.id, name__in=wanted).values_list("name", "began_at")
            )
        rows = dict(calls.values_list("call_sid", "recording__pk")) if wanted else {}
        return _Places(began, frozenset(rows), frozenset(sid for sid, sound in rows.items() if sound))


@dataclass(frozen=True, slots=True)
class _Places:
    """Which conversations there are (when they began), which are calls, and which of those were recorded."""

    began: Mapping[str, datetime]
    calls: frozenset[str]
    recorded: frozenset[str]

    def of(self, name: str, seq: int) -> tuple[str, str]:
        """What a line of a conversation is called, and its address."""
        began = self.began.get(name)
        day = f"{began:%-d %b %Y}" if began else "unknown day"
        if name not in self.calls:
            return f"conversation of {day}, line {seq + 1}", ""
        turn = seq // LINES_OF_TURN
        return f"call of {day}, turn {turn}", call_url(name, turn)


def call_url(call_sid: str, turn: int | None = None) -> str:
    """A call's page; a turn opens there."""
    return reverse("console:calls") + f"{call_sid}/" + (f"?turn={turn}" if turn is not None else "")


def author(by: str) -> str:
    """Who an entry is of: an extraction with its version, or a person."""
    who, _, name = by.partition(":")
    if who in ("operator", "token", "import"):
        return f"{who} {name}"
    return {"caller": "the caller"}.get(by, f"extraction {by}" if by else "unknown")


# --- one entry, closely -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """One version in a chain. ``changed`` compares it with the one before it; empty for the first."""

    entry: Entry
    changed: tuple[Part, ...]
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Use:
    """A turn in which an entry was recalled."""

    url: str
    at: datetime
    turn: int
    score: float
    in_prompt: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Closely:
    """The chosen entry. ``raw`` is empty for whoever may not see it."""

    entry: Entry
    chain: tuple[Link, ...]
    uses: tuple[Use, ...]
    model: str
    raw: Mapping[str, Any]


def closely(reader: Reader, fact_id: UUID, *, raw: bool) -> Closely | None:
    """Everything about one entry; ``None`` where this caller has no such one."""
    versions = reader.read(overview.chain_ids(reader.person, fact_id))
    chosen = next((one for one in versions if one.fact.id == str(fact_id)), None)
    if chosen is None:
        return None
    oldest_first = versions[::-1]
    changed = {new.fact.id: tuple(told.compared(old.plain, new.plain)) for old, new in pairwise(oldest_first)}
    chain = tuple(Link(one, changed.get(one.fact.id, ()), one is chosen) for one in versions)
    with scoped(reader.person.id):
        row = Memory.objects.filter(caller_id=reader.person.id, pk=fact_id).values("vector_model", "openai_model").get()
    model = ", ".join(str(name) for name in row.values() if name)
    return Closely(chosen, chain, uses(reader.person, fact_id), model, _raw(chosen.fact) if raw else {})


def uses(person: Person, fact_id: UUID) -> tuple[Use, ...]:
    """The last turns in which an entry was recalled, whether or not it reached the prompt."""
    turns = Turn.objects.filter(
        call__caller_key=person.key_hash, recalled__contains={"items": [{"id": str(fact_id)}]}
    ).select_related("call")
    found = []
    for turn in turns.order_by("-call__started_at", "-number")[:_USES]:
        item = next(one for one in turn.recalled["items"] if one["id"] == str(fact_id))
        found.append(
            Use(
                call_url(turn.call.call_sid, turn.number),
                turn.call.started_at,
                turn.number,
                item.get("score_milli", 0) / 1000,
                bool(item.get("in_prompt")),
                str(item.get("why_not", "")).replace("_", " "),
            )
        )
    return tuple(found)


def _raw(fact: Fact) -> dict[str, Any]:
    names = ("id", "kind", "slot", "value", "status", "importance", "confidence", "recorded_at", "retired_at",
             "expires_at", "superseded_by", "extractor", "version")  # fmt: skip
    return {name: getattr(fact, name) for name in names}


def taught(person: Person, names: Collection[str], reader: Reader) -> dict[str, list[Entry]]:
    """What each of these conversations taught: the entries that were heard in it first."""
    with scoped(person.id):
        rows = Memory.objects.filter(caller_id=person.id, sources__utterance__conversation__name__in=names)
        ids = list(rows.exclude(kind="summary").order_by("pk").distinct().values_list("pk", flat=True))
    found: dict[str, list[Entry]] = {}
    for entry in reader.read(ids):
        first = next((source.conversation for source in entry.fact.sources if source.conversation), "")
        if first in names:
            found.setdefault(first, []).append(entry)
    return found

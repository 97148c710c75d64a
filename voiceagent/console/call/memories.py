"""What of the caller's memory a turn used, and what came of the call: with the words that each thing comes from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.urls import reverse
from django.utils.timesince import timesince

from calls.models import Call
from calls.timeline_format import clock
from calls.timeline_memory import WHY_NOT
from memory import people, selectors
from memory.core import slots
from memory.core.values import Kind, Status
from memory.db import scoped
from memory.models import Memory, Source
from voiceagent.console.call.cards import spans
from voiceagent.console.callers.entries import LINES_OF_TURN, author
from voiceagent.console.callers.told import SENSITIVE
from voiceagent.console.redaction import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memory.people import Person

#: How much later than its words began a memory's place may lie.
_SAME_TURN_MS = 500
#: Level → what is found there.
LEVELS = {
    "L1": "said in this call, or on the caller's card",
    "L2": "found in the index, by meaning and words",
    "L3": "from the archive",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said: a call, the moment, and its address here; ``when`` is the day of the call. ``clip``: where it
    can be heard, empty where there is no recording."""

    call_sid: str
    at: str
    address: str
    when: Any = None
    turn: int | None = None
    clip: str = ""


@dataclass(frozen=True, slots=True)
class Used:
    """Something that was found for a turn. ``why_not`` is empty for what the model was shown."""

    rank: int
    text: tuple[Span, ...]
    level: str
    kind: str
    score: str
    said_at: str
    age: str
    quote: tuple[Span, ...]
    why_not: str
    uses: int | None
    tokens: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Written:
    """A fact that came of the call; ``before`` is what it took the place of."""

    text: tuple[Span, ...]
    before: tuple[Span, ...]
    kind: str
    slot: str
    confidence: float
    status: str
    quote: tuple[Span, ...]
    place: Place | None
    turn: int | None
    author: str


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls that things were said in: when they began, which have sound, and whose they are."""

    began: Mapping[str, datetime]
    heard: Collection[str]
    person: UUID | None

    @classmethod
    def of(cls, names: Collection[str], call: Call) -> _Calls:
        person = person_of(call)
        found = Call.objects.filter(call_sid__in=[name for name in names if name])
        rows = list(found.values_list("call_sid", "started_at", "recording__pk"))
        return cls(
            {sid: at for sid, at, _ in rows}, {sid for sid, _, sound in rows if sound}, person.id if person else None
        )


def person_of(call: Call) -> Person | None:
    """Who called, where the memory knows them."""
    return people.by_hash(call.caller_key) if call.caller_key else None


def by_level(found: Iterable[Used]) -> list[tuple[str, str, list[Used]]]:
    """Level, what is found there, and what was; levels with nothing are left out."""
    among = list(found)
    return [(level, what, of) for level, what in LEVELS.items() if (of := [one for one in among if one.level == level])]


def used(call: Call, recalled: Mapping[str, Any], *, plain: bool) -> list[Used]:
    """Of ``Turn.recalled`` of a turn of this call, in the order of rank: what reached the prompt and what did not."""
    items = recalled.get("items")
    if not isinstance(items, list):
        return []
    known = [item for item in items if isinstance(item, dict)]
    places = _Calls.of({str(item.get("conversation", "")) for item in known}, call)
    rows = {
        pk: (uses, slot)
        for pk, uses, slot in Memory.objects.filter(pk__in=_ids(known)).values_list("pk", "uses", "slot")
    }
    return [_used(rank, item, places, rows, call.started_at, plain=plain) for rank, item in enumerate(known, 1)]


def _said(text: str, slot: str, *, plain: bool) -> tuple[Span, ...]:
    """A text for a reader; what a sensitive slot holds is hidden whole from who may not see everything."""
    known = slots.find(slot) if slot and not plain else None
    return (Span(SENSITIVE),) if known is not None and known.sensitive and text else spans(text, plain=plain)


def _ids(items: Sequence[Mapping[str, Any]]) -> list[UUID]:
    return [found for item in items if (found := people.as_id(str(item.get("id", "")))) is not None]


def _used(
    rank: int,
    item: Mapping[str, Any],
    places: _Calls,
    rows: Mapping[UUID, tuple[int, str]],
    now: datetime,
    *,
    plain: bool,
) -> Used:
    score = item.get("score_milli")
    text = str(item.get("text", ""))
    identity = people.as_id(str(item.get("id", "")))
    uses, slot = rows.get(identity, (None, "")) if identity else (None, "")
    said_at, quote = str(item.get("said_at", "")), str(item.get("quote", ""))
    return Used(
        rank=rank,
        text=_said(text, slot, plain=plain),
        level=str(item.get("level", "")),
        kind=str(item.get("kind", "")),
        score=f"{score / 1000:.2f}" if isinstance(score, int) else "no data",
        said_at=said_at[:10],
        age=_age(said_at, now),
        quote=_said(quote, slot, plain=plain) if quote != text else (),
        why_not=""
        if item.get("in_prompt") is True
        else WHY_NOT.get(str(item.get("why_not")), str(item.get("why_not"))),
        uses=uses,
        # Four characters to a token: what the providers say of English text.
        tokens=-(-len(text) // 4),
        place=_place(str(item.get("conversation", "")), item.get("seq"), item.get("audio_ms"), places),
    )


def _age(said_at: str, now: datetime) -> str:
    """How old it was when the call began; empty for what was said in it, or at no time that can be read."""
    try:
        at = datetime.fromisoformat(said_at)
    except ValueError:
        return ""
    return timesince(at, now, depth=1).replace("\xa0", " ") if at.tzinfo and at < now else ""


def _place(name: str, seq: Any, audio_ms: Any, calls: _Calls) -> Place | None:
    if name not in calls.began:
        return None
    address, when = reverse("console:call", args=[name]), calls.began[name]
    turn = seq // LINES_OF_TURN if isinstance(seq, int) and seq >= 0 else None
    if not isinstance(audio_ms, int) or audio_ms < 0:
        return Place(name, "", f"{address}?turn={turn}" if turn is not None else address, when, turn)
    clip = ""
    if name in calls.heard and calls.person is not None:
        clip = reverse("console:caller_clip", args=[calls.person], query={"call": name, "at": str(audio_ms)})
    return Place(name, clock(audio_ms), f"{address}?t={audio_ms / 1000:.1f}", when, turn, clip)


def summary(call: Call, *, plain: bool) -> tuple[tuple[Span, ...], str]:
    """What the call was about, as the memory wrote it after its end, and who wrote that; nothing where there is none."""
    person = person_of(call)
    if person is None:
        return (), ""
    with scoped(person.id):
        of_call = Source.objects.filter(
            caller_id=person.id,
            utterance__conversation__name=call.call_sid,
            memory__kind=Kind.SUMMARY.value,
            memory__status=Status.ACTIVE.value,
            memory__retired_at=None,
        )
        ids = list(of_call.values_list("memory", flat=True)[:1])
    fact = next(iter(selectors.facts(person, ids=ids)), None) if ids else None
    return (spans(fact.text, plain=plain), author(fact.extractor)) if fact else ((), "")


def card_told(call: Call, *, plain: bool) -> tuple[Span, ...]:
    """The caller's card as the call got it, which stands in every prompt; nothing where nobody was known, or not yet archived."""
    told = call.events.filter(type="CardLoaded").order_by("seq").values_list("data", flat=True).first()
    return spans(str(told.get("text") or ""), plain=plain) if isinstance(told, dict) else ()


def written_by_turn(call: Call, began_ms: Mapping[int, int]) -> dict[int, int]:
    """How many facts came of each turn. ``began_ms``: turn → where its caller began."""
    counts: dict[int, int] = {}
    person = person_of(call)
    if person is None:
        return counts
    with scoped(person.id):
        found = Source.objects.filter(caller_id=person.id, utterance__conversation__name=call.call_sid)
        for audio_ms in list(found.values_list("utterance__audio_ms", flat=True)):
            turn = turn_at(audio_ms, began_ms)
            if turn is not None:
                counts[turn] = counts.get(turn, 0) + 1
    return counts


def turn_at(audio_ms: int, began_ms: Mapping[int, int]) -> int | None:
    """The turn in which the caller spoke then."""
    begun = [(at, number) for number, at in began_ms.items() if 0 <= at <= audio_ms + _SAME_TURN_MS]
    return max(begun)[1] if begun and audio_ms >= 0 else None


def written(call: Call, began_ms: Mapping[int, int], *, plain: bool) -> list[Written]:
    """The facts that came of this call, each with what it replaced."""
    person = person_of(call)
    if person is None:
        return []
    with scoped(person.id):
        sources = Source.objects.filter(caller_id=person.id, utterance__conversation__name=call.call_sid)
        ids = set(sources.values_list("memory", flat=True))
        replaced = {
            row.superseded_by_id: row.pk for row in Memory.objects.filter(caller_id=person.id, superseded_by__in=ids)
        }
    facts = {fact.id: fact for fact in selectors.facts(person, ids=[*ids, *replaced.values()])}
    places = _Calls.of({call.call_sid}, call)
    made = []
    for identity in sorted(ids, key=str):
        fact = facts.get(str(identity))
        if fact is None:
            continue
        said = next((source for source in fact.sources if source.conversation == call.call_sid), None)
        older = facts.get(str(replaced.get(identity, "")))
        made.append(
            Written(
                text=_said(fact.text, fact.slot, plain=plain),
                before=_said(older.text, older.slot, plain=plain) if older else (),
                kind=fact.kind,
                slot=fact.slot,
                confidence=fact.confidence,
                status=fact.status,
                quote=_said(said.quote, fact.slot, plain=plain) if said else (),
                place=_place(call.call_sid, said.seq, said.audio_ms, places) if said else None,
                turn=turn_at(said.audio_ms, began_ms) if said else None,
                author=author(fact.extractor),
            )
        )
    return made

"""What of the caller's memory a turn used, and what came of the call: with the words that each thing comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from calls.models import Call
from calls.timeline_format import clock
from calls.timeline_memory import WHY_NOT
from memory import people, selectors
from memory.db import scoped
from memory.models import Memory, Source
from voiceagent.console.call.cards import spans
from voiceagent.console.redaction import Span

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID


#: How much later than its words began a memory's place may lie.
_SAME_TURN_MS = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said: a call, the moment, and its address here; ``when`` is the day of the call."""

    call_sid: str
    at: str
    address: str
    when: Any = None


@dataclass(frozen=True, slots=True)
class Used:
    """Something that was found for a turn. ``why_not`` is empty for what the model was shown."""

    rank: int
    text: tuple[Span, ...]
    level: str
    kind: str
    score: str
    said_at: str
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


def used(recalled: Mapping[str, Any], *, plain: bool) -> list[Used]:
    """Of ``Turn.recalled``, in the order of rank: what reached the prompt and what did not."""
    items = recalled.get("items")
    if not isinstance(items, list):
        return []
    known = [item for item in items if isinstance(item, dict)]
    places = _places({str(item.get("conversation", "")) for item in known})
    uses = dict(Memory.objects.filter(pk__in=_ids(known)).values_list("pk", "uses"))
    return [_used(rank, item, places, uses, plain=plain) for rank, item in enumerate(known, 1)]


def _ids(items: Sequence[Mapping[str, Any]]) -> list[UUID]:
    return [found for item in items if (found := people.as_id(str(item.get("id", "")))) is not None]


def _used(
    rank: int, item: Mapping[str, Any], places: Mapping[str, Any], uses: Mapping[UUID, int], *, plain: bool
) -> Used:
    score = item.get("score_milli")
    text = str(item.get("text", ""))
    identity = people.as_id(str(item.get("id", "")))
    return Used(
        rank=rank,
        text=spans(text, plain=plain),
        level=str(item.get("level", "")),
        kind=str(item.get("kind", "")),
        score=f"{score / 1000:.2f}" if isinstance(score, int) else "no data",
        said_at=str(item.get("said_at", ""))[:10],
        quote=spans(str(item.get("quote", "")), plain=plain),
        why_not=""
        if item.get("in_prompt") is True
        else WHY_NOT.get(str(item.get("why_not")), str(item.get("why_not"))),
        uses=uses.get(identity) if identity else None,
        # Four characters to a token: what the providers say of English text.
        tokens=-(-len(text) // 4),
        place=_place(str(item.get("conversation", "")), item.get("audio_ms"), places),
    )


def _places(names: Collection[str]) -> dict[str, Any]:
    """When the calls among these conversations began."""
    return dict(
        Call.objects.filter(call_sid__in=[name for name in names if name]).values_list("call_sid", "started_at")
    )


def _place(name: str, audio_ms: Any, calls: Mapping[str, Any]) -> Place | None:
    if name not in calls:
        return None
    address = reverse("console:call", args=[name])
    if not isinstance(audio_ms, int) or audio_ms < 0:
        return Place(name, "", address, calls[name])
    return Place(name, clock(audio_ms), f"{address}?t={audio_ms / 1000:.1f}", calls[name])


def written_by_turn(call: Call, began_ms: Mapping[int, int]) -> dict[int, int]:
    """How many facts came of each turn. ``began_ms``: turn → where its caller began."""
    counts: dict[int, int] = {}
    person = people.by_hash(call.caller_key) if call.caller_key else None
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
    person = people.by_hash(call.caller_key) if call.caller_key else None
    if person is None:
        return []
    with scoped(person.id):
        sources = Source.objects.filter(caller_id=person.id, utterance__conversation__name=call.call_sid)
        ids = set(sources.values_list("memory", flat=True))
        replaced = {
            row.superseded_by_id: row.pk for row in Memory.objects.filter(caller_id=person.id, superseded_by__in=ids)
        }
    facts = {fact.id: fact for fact in selectors.facts(person, ids=[*ids, *replaced.values()])}
    places = _places({call.call_sid})
    made = []
    for identity in sorted(ids, key=str):
        fact = facts.get(str(identity))
        if fact is None:
            continue
        said = next((source for source in fact.sources if source.conversation == call.call_sid), None)
        older = facts.get(str(replaced.get(identity, "")))
        made.append(
            Written(
                text=spans(fact.text, plain=plain),
                before=spans(older.text, plain=plain) if older else (),
                kind=fact.kind,
                slot=fact.slot,
                confidence=fact.confidence,
                status=fact.status,
                quote=spans(said.quote, plain=plain) if said else (),
                place=_place(call.call_sid, said.audio_ms, places) if said else None,
                turn=turn_at(said.audio_ms, began_ms) if said else None,
            )
        )
    return made

"""One fact as a page shows it: its state in words, where each of its sources can be read and heard, its history."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from memory import callpages, overview
from memory.admin import shown
from memory.core import slots
from memory.core.values import Status
from memory.db import scoped
from memory.models import Conversation
from memory.selectors import Fact, FactEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from memory.callpages import CallPage
    from memory.people import Person
    from memory.selectors import FactSource


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said: the conversation's page, the call's, and the second in its recording."""

    name: str = ""
    url: str = ""
    timeline: str = ""
    listen: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A quotation with its place, or who entered the fact."""

    by: str
    quote: str
    said_at: str
    place: Place


@dataclass(frozen=True, slots=True)
class FactView:
    """A fact for a template."""

    fact: Fact
    state: str
    means: str
    since: str
    until: str
    expires: str
    sources: tuple[SourceView, ...]
    history: tuple[tuple[FactEvent, str], ...]
    stands: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The facts of one slot; ``reads`` is how the slot reads, with an ellipsis for its value."""

    slot: str
    reads: str
    facts: tuple[FactView, ...]


class Places:
    """Where the conversations of one caller can be read and heard by one user. Two queries, whatever their number."""

    def __init__(self, person: Person, names: Iterable[str], user: Any) -> None:
        wanted = {name for name in names if name}
        self._caller = person.id
        with scoped(person.id):
            rows = Conversation.objects.filter(caller_id=person.id, name__in=wanted) if wanted else ()
            self._ids: dict[str, UUID] = {row.name: row.pk for row in rows}
        self._calls: dict[str, CallPage] = callpages.find(wanted, user)

    def of(self, name: str, seq: int, audio_ms: int) -> Place:
        """The place of a line; an empty one for what was said nowhere."""
        if name not in self._ids:
            return Place(name)
        url = reverse("admin:memory_caller_conversation", args=[self._caller, self._ids[name]])
        return place(name, f"{url}?line={seq}#line-{seq}", self._calls.get(name), audio_ms)


def place(name: str, url: str, call: CallPage | None, audio_ms: int) -> Place:
    """A place from its parts."""
    listen = f"{call.audio}#t={audio_ms / 1000:.2f}" if call and call.audio and audio_ms >= 0 else ""
    return Place(name, url, call.timeline if call else "", listen, shown.clock(audio_ms))


def views(person: Person, facts: Sequence[Fact], user: Any, now: datetime) -> list[FactView]:
    """These facts, in their order."""
    names = (source.conversation for fact in facts for source in fact.sources)
    places = Places(person, names, user)
    return [_view(fact, places, now) for fact in facts]


def groups(found: Sequence[FactView]) -> list[Group]:
    """Facts that stand in the order of their slots, by slot."""
    by_slot = groupby(found, key=lambda view: view.fact.slot)
    return [Group(slot, _reads(slot), tuple(facts)) for slot, facts in by_slot]


def _view(fact: Fact, places: Places, now: datetime) -> FactView:
    state = overview.state_of(fact, now)
    return FactView(
        fact=fact,
        state=state,
        means=shown.MEANS[state],
        since=shown.moment(fact.valid_from),
        until=shown.moment(fact.valid_to, "") if fact.valid_to else "",
        expires=shown.moment(fact.expires_at, "") if fact.expires_at else "",
        sources=tuple(_source(one, places) for one in fact.sources),
        history=tuple((event, shown.moment(event.at)) for event in fact.history),
        stands=fact.retired_at is None and fact.status in (Status.ACTIVE, Status.DISPUTED),
    )


def _source(source: FactSource, places: Places) -> SourceView:
    return SourceView(
        by=source.by,
        quote=source.quote,
        said_at=shown.moment(source.said_at, ""),
        place=places.of(source.conversation, source.seq, source.audio_ms),
    )


def _reads(name: str) -> str:
    slot = slots.find(name)
    if slot is None:
        return ""
    stars = [
        part.replace("-", " ") for want, part in zip(slot.name.split("."), name.split("."), strict=True) if want == "*"
    ]
    return slot.reads.format(value="…", **dict(zip(("one", "two"), stars, strict=False)))

"""Reads for the pages: bounded queries, whole values."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.postgres.search import SearchQuery
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, TextField, Window
from django.db.models.functions import Cast, Lag

from calls.models import Call, CallEvent, Turn

EVENTS_PER_PAGE = 200
_SHOWN_TURNS = 500
#: Types that come by the hundred and seldom tell an operator anything.
DETAIL = ("AudioSent", "WordsTimed", "MarkReturned", "ModelText", "SetTimer", "CancelTimer")
NOTABLE = (
    "RunTool", "ToolSettled", "DtmfPressed", "PlayTones", "Transfer", "PlayPhrase", "EarFailed", "ModelFailed",
    "VoiceFailed", "ErrorRaised", "HangUpAsked", "CarrierGone", "EndCall",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which entries of a call's log to show; empty means all. ``after`` is the last sequence number seen."""

    kind: str = ""
    type: str = ""
    turn: int | None = None
    text: str = ""
    after: int = 0
    detail: bool = False

    @property
    def is_set(self) -> bool:
        """Whether anything but the page is chosen."""
        return bool(self.kind or self.type or self.text or self.turn is not None)

    @property
    def hides_detail(self) -> bool:
        """Whether pieces of audio, marks and timers are left out: unless they are asked for by any means."""
        return not (self.detail or self.type or self.text or self.kind == CallEvent.Kind.BROKEN)


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of entries; ``next_after`` is where the next one begins, ``None`` at the end."""

    events: list[CallEvent]
    next_after: int | None


def call_by_sid(call_sid: str) -> Call | None:
    """A call with its agent's version and recording."""
    return Call.objects.select_related("agent_version", "recording").filter(call_sid=call_sid).first()


def turns_of(call: Call) -> list[Turn]:
    """The first 500 turns, without the search column."""
    return list(call.turns.order_by("number").defer("words")[:_SHOWN_TURNS])


def events_of(call: Call, chosen: EventFilter) -> EventPage:
    """One page of a call's log, by sequence number."""
    found = CallEvent.objects.filter(call=call, seq__gt=chosen.after).order_by("seq")
    if chosen.kind:
        found = found.filter(kind=chosen.kind)
    if chosen.type:
        found = found.filter(type=chosen.type)
    if chosen.hides_detail:
        found = found.exclude(type__in=DETAIL)
    if chosen.turn is not None:
        found = found.filter(turn=chosen.turn)
    if chosen.text:
        found = found.annotate(as_text=Cast("data", TextField())).filter(as_text__icontains=chosen.text)
    rows = list(found[: EVENTS_PER_PAGE + 1])
    more = len(rows) > EVENTS_PER_PAGE
    rows = rows[:EVENTS_PER_PAGE]
    return EventPage(rows, rows[-1].seq if more else None)


def event_types(call: Call) -> list[tuple[str, int]]:
    """The types in a call's log and how often each occurs."""
    counted = CallEvent.objects.filter(call=call).values_list("type").annotate(count=Count("id")).order_by("type")
    return [(str(name), int(count)) for name, count in counted]


def mode_changes(call: Call) -> list[tuple[int, str]]:
    """Every change of who has the floor, as (ms on the call's clock, mode)."""
    told = CallEvent.objects.filter(call=call, kind=CallEvent.Kind.EVENT).exclude(mode="")
    changed = told.annotate(before=Window(Lag("mode"), order_by="seq")).exclude(mode=F("before"))
    return list(changed.order_by("seq").values_list("at_ms", "mode"))


def stops(call: Call) -> list[int]:
    """When the agent was stopped by the caller's voice, in ms on the call's clock."""
    cleared = CallEvent.objects.filter(call=call, kind=CallEvent.Kind.COMMAND, type="Clear")
    return list(cleared.order_by("seq").values_list("at_ms", flat=True)[:_SHOWN_TURNS])


def notable_events(call: Call) -> list[CallEvent]:
    """Tools, keys, failures and drops: what belongs beside the words of a conversation. The first 500."""
    return list(CallEvent.objects.filter(call=call, type__in=NOTABLE).order_by("seq")[:_SHOWN_TURNS])


def calls_with(found: QuerySet[Call], words: str) -> QuerySet[Call]:
    """Calls by id, by number, or by words that were said and heard in one of their turns."""
    words = words.strip()
    said = Turn.objects.filter(call=OuterRef("pk"), words=SearchQuery(words, config="simple", search_type="websearch"))
    return found.filter(
        Q(call_sid__iexact=words) | Q(from_number__contains=words) | Q(to_number__contains=words) | Exists(said)
    )

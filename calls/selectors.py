"""Reads for the pages: bounded queries, whole values."""

from __future__ import annotations

import re
from datetime import timedelta

from django.contrib.postgres.search import SearchQuery
from django.db.models import Q, QuerySet
from django.utils import timezone

from calls.models import Agent, Booking, Call, CallEvent, Recording, Turn
from calls.timeline_turns import SLOW_MS

MOST_TURNS = 500
_MOST_BESIDE = 10_000
#: Types that come by the hundred and seldom tell an operator anything.
DETAIL = ("AudioSent", "WordsTimed", "MarkReturned", "ModelText", "SetTimer", "CancelTimer", "StaleDropped")
_NOTABLE = (
    "CardLoaded", "RunTool", "ToolSettled", "DtmfPressed", "PlayTones", "Transfer", "PlayPhrase", "EarFailed", "ModelFailed", "ModelAttemptFailed",
    "VoiceFailed", "ErrorRaised", "HangUpAsked", "CarrierGone", "EndCall",
    "OperatorListening", "OperatorWhispered", "OperatorSaid", "OperatorTookOver", "OperatorConnected", "OperatorHandedBack", "Intervened",
)  # fmt: skip
#: What tells when the caller spoke and what an answer waited for.
_COURSE = ("TurnOpened", "SpeechStarted", "Say")

_CALL_ID = re.compile(r"CA[0-9a-z]*", re.IGNORECASE)
_KEY = re.compile(r"[0-9a-f]{8,64}")
_NUMBER = re.compile(r"\+?[\d\s().-]*\d[\d\s().-]*\d[\d\s().-]*\d[\d\s().-]*")


def call_by_sid(call_sid: str) -> Call | None:
    """A call with its agent's version and recording."""
    return Call.objects.select_related("agent_version", "recording").filter(call_sid=call_sid).first()


def turns_of(call: Call) -> list[Turn]:
    """The first 500 turns, without the search column."""
    return list(call.turns.order_by("number").defer("words")[:MOST_TURNS])


def beside_turns(call: Call) -> list[CallEvent]:
    """What belongs beside the words of a conversation, in order: tools, keys and failures; when the caller spoke and
    when words went to the voice. Only what the page reads of them; the first 10,000."""
    found = CallEvent.objects.filter(call=call, type__in=(*_NOTABLE, *_COURSE)).order_by("seq")
    return list(found.only("kind", "type", "at_ms", "turn", "data")[:_MOST_BESIDE])


# --- the lists ----------------------------------------------------------------------------------------------------


def calls_with(found: QuerySet[Call], words: str) -> QuerySet[Call]:
    """Calls by the beginning of their id, by digits of a number however it is written, by the beginning of a caller's
    key, or by words that were said and heard in one of their turns."""
    words = words.strip()
    said = Turn.objects.filter(words=SearchQuery(words, config="simple", search_type="websearch"))
    fits = Q(pk__in=said.values("call"))
    if _CALL_ID.fullmatch(words):
        fits |= Q(call_sid__startswith="CA" + words[2:].lower())
    if _KEY.fullmatch(words.lower()):
        fits |= Q(caller_key__startswith=words.lower())
    if _NUMBER.fullmatch(words):
        digits = "".join(filter(str.isdigit, words))
        fits |= Q(from_number__contains=digits) | Q(to_number__contains=digits)
    return found.filter(fits)


#: What makes a call worth a look, as a condition on its row.
ATTENTION: dict[str, tuple[str, Q]] = {
    "errors": ("errors", Q(error_count__gt=0)),
    "violated": ("a violated invariant", ~Q(violations=[])),
    "slow": ("a slow answer", Q(latency_max_ms__gt=SLOW_MS)),
    "barge_ins": ("barge-ins", Q(barge_in_count__gt=0)),
    "broken": ("an incomplete record", Q(broken_count__gt=0)),
    "unanswered": ("no turn of the caller", Q(turn_count=0)),
}


def parts_of(calls: QuerySet[Call]) -> dict[str, int]:
    """What belongs to these calls, counted by name."""
    parts = (Turn, CallEvent, Recording)
    return {str(part._meta.verbose_name_plural): part._default_manager.filter(call__in=calls).count() for part in parts}


def answering_numbers() -> list[tuple[str, str]]:
    """The numbers that active agents answer, with the agent's name."""
    found = Agent.objects.filter(is_active=True, numbers__isnull=False).order_by("name", "numbers__number")
    return list(found.values_list("numbers__number", "name"))


def bookings_when(found: QuerySet[Booking], when: str) -> QuerySet[Booking]:
    """Reservations of ``today``, of the ``week`` from today on, ``upcoming`` or ``past``; anything else is all."""
    today = timezone.localdate()
    spans = {
        "today": Q(date=today),
        "week": Q(date__range=(today, today + timedelta(days=6))),
        "upcoming": Q(date__gte=today),
        "past": Q(date__lt=today),
    }
    return found.filter(spans[when]) if when in spans else found

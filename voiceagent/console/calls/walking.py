"""From a call to the one before and after it, in the list that its reader came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from calls.models import Call
from memory.embedding.port import EmbeddingError
from voiceagent.console.calls import listing, meaning, params
from voiceagent.console.calls.conditions import calls_of
from voiceagent.console.calls.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import QueryDict

    from voiceagent.console.calls.params import Params

Neighbours = tuple[Call | None, Call | None]


def list_of(given: QueryDict) -> Params | None:
    """The view of the list that an address of a call carries along (``Params.carried``); ``None`` where it came from none."""
    return params.read(given) if "q" in given else None


def neighbours(call: Call, view: Params | None, may: Collection[str]) -> Neighbours:
    """The calls just before and just after this one in the list; without one, among all calls, newest first."""
    if view is None:
        return listing.neighbours(Call.objects.all(), listing.NEWEST, call)
    query, now = parse(view.q, may), timezone.localtime()
    if view.by == "meaning" and query.words and "see_unredacted" in may:
        try:
            return _around(call, meaning.calls_among(meaning.nearest(query, now)))
        except EmbeddingError:
            return None, None
    return listing.neighbours(calls_of(query, now), view.sort, call)


def _around(call: Call, found: list[Call]) -> Neighbours:
    place = next((place for place, one in enumerate(found) if one.pk == call.pk), None)
    if place is None:
        return None, None
    return (found[place - 1] if place else None), (found[place + 1] if place + 1 < len(found) else None)

"""The timeline of one call, for staff: what was said, what was heard, how long it took, and every event."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from calls import selectors, surroundings, timeline_format, timeline_page, timeline_ribbon
from calls.models import Call, CallEvent, Recording
from calls.ranges import file_response
from calls.selectors import EventFilter
from calls.services import recordings
from calls.timeline_turns import OBJECTIVE_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LISTEN = "calls.listen_recording"


def _for_staff(permission: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Staff with this permission; others are sent to the login, or refused."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        guarded: Callable[..., HttpResponseBase] = never_cache(require_safe(staff_member_required(checked)))
        return guarded

    return decorate


@_for_staff("calls.view_call")
def timeline(request: HttpRequest, call_sid: str) -> HttpResponse:
    """The page."""
    call = _call(call_sid)
    chosen = _filter(request)
    turns = selectors.turns_of(call)
    page = selectors.events_of(call, chosen)
    types = selectors.event_types(call)
    duration_ms = call.duration_ms or 0
    recording = getattr(call, "recording", None)
    changes = selectors.mode_changes(call)
    context = {
        "call": call,
        "end_reason": timeline_page.end_reason(call),
        "seconds": f"{duration_ms / 1000:.3f}",
        "started": timeline_format.moment(call.started_at),
        "length": timeline_format.length(call.duration_ms),
        "median": timeline_format.milliseconds(call.latency_median_ms),
        "longest": timeline_format.milliseconds(call.latency_max_ms),
        "objective": timeline_format.milliseconds(OBJECTIVE_MS),
        "exchanges": timeline_page.exchanges(turns, selectors.beside_turns(call)),
        "most_turns": selectors.MOST_TURNS if len(turns) == selectors.MOST_TURNS else 0,
        "ribbon": timeline_ribbon.ribbon(changes, duration_ms),
        "ribbon_has_operator": any(mode == "OPERATOR" for _, mode in changes),
        "stops": timeline_ribbon.stops(selectors.stops(call), duration_ms),
        "events": [timeline_page.event_line(event) for event in page.events],
        "event_types": types,
        "details": sum(count for name, count in types if name in selectors.DETAIL),
        "detail_query": _query(request, after=None, detail="1"),
        "no_detail_query": _query(request, after=None, detail=None),
        "kinds": CallEvent.Kind.choices,
        "chosen": chosen,
        "first_page_query": _query(request, after=None),
        "next_page_query": _query(request, after=str(page.next_after)) if page.next_after else "",
        "recording": recording,
        "file_is_gone": recording is not None and _sound(recording) is None,
        "may_listen": request.user.has_perm(LISTEN),
        "audio_url": reverse("timeline:audio", args=[call.call_sid]),
    }
    return render(request, "calls/timeline.html", context)


@_for_staff(LISTEN)
def audio(request: HttpRequest, call_sid: str) -> HttpResponseBase:
    """The recording, whole or in part."""
    recording = getattr(_call(call_sid), "recording", None)
    path = _sound(recording)
    if path is None:
        raise Http404("no recording, or its file is gone")
    response = file_response(path, "audio/wav", request.headers.get("Range", ""))
    response["Content-Disposition"] = f'inline; filename="{path.name}"'
    return response


def _sound(recording: Recording | None) -> Path | None:
    """The recording's file, if there is one."""
    return recordings.stored_path(surroundings.recordings_dir(), recording.file) if recording else None


def _call(call_sid: str) -> Call:
    call = selectors.call_by_sid(call_sid)
    if call is None:
        raise Http404("no such call")
    return call


def _filter(request: HttpRequest) -> EventFilter:
    """The filter in the address; what makes no sense is ignored."""
    turn = _whole(request.GET.get("turn", ""))
    return EventFilter(
        kind=request.GET.get("kind", "")[:8].replace("\x00", ""),
        type=request.GET.get("type", "")[:40].replace("\x00", ""),
        turn=turn,
        text=request.GET.get("text", "")[:100].replace("\x00", "").strip(),
        after=_whole(request.GET.get("after", "")) or 0,
        detail="detail" in request.GET,
    )


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _query(request: HttpRequest, **changes: str | None) -> str:
    """The address's query with these values; ``None`` leaves one out."""
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return query.urlencode()

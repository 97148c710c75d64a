"""Time travel: the core's exact state at any moment of an archived call, why it is so, and whether the record replays."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from django.http import Http404, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from calls.core.record import payload
from calls.models import Call
from calls.replay.show import report
from calls.replay.versions import UnknownVersion
from calls.replay.why import why
from calls.services.transfer import TransferError
from voiceagent.console import audit, threads
from voiceagent.console.access import may, needs
from voiceagent.console.call import tracks
from voiceagent.console.call import travel_words as words
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from calls.replay.track import Moment, Track
    from voiceagent.console.call.travel_words import Shown

_MOST_CHARS = 600
_MOST_MS = 7 * 24 * 3600 * 1000


@require_safe
@needs("console.view_console")
async def travel(request: HttpRequest, call_sid: str) -> HttpResponse:
    """The panel as a page, or only what changes with the moment (``?fragment=1``). ``?step=`` or ``?t=`` (seconds)."""
    return await threads.run(_travel, request, call_sid)


@require_safe
@needs("console.view_console")
async def steps(_request: HttpRequest, call_sid: str, entries: int) -> JsonResponse:
    """How far a first look has come in this process: ``run`` steps, ``null`` where none is on its way. Waits for nothing."""
    return JsonResponse({"run": tracks.steps_run(call_sid, entries)})


@require_safe
@needs("console.run_replay")
async def raw(request: HttpRequest, call_sid: str) -> HttpResponse:
    """The whole state as the core has it, as JSON."""
    return await threads.run(_raw, request, call_sid)


@require_POST
@needs("console.run_replay")
async def verdict(request: HttpRequest, call_sid: str) -> HttpResponse:
    """Run the record again from its beginning: the same, or the first difference."""
    return await threads.run(_verdict, request, call_sid)


def _travel(request: HttpRequest, call_sid: str) -> HttpResponse:
    call = _call(call_sid)
    context: dict[str, Any] = {"call": call, "ends_ms": call.duration_ms or 0}
    context |= _seen(request, call)
    page = "console/call/travel_moment.html" if "fragment" in request.GET else "console/call/travel_page.html"
    return render(request, page, context)


def _seen(request: HttpRequest, call: Call) -> dict[str, Any]:
    """What there is to see, or ``problem``: why there is nothing."""
    if call.archived_at is None:
        return {
            "problem": "This call has not been archived yet. Its moments can be visited a few seconds after it has ended."
        }
    if not call.entry_count:
        return {"problem": "Nothing was recorded of this call: no stream came of it."}
    try:
        track = tracks.track_of(call)
    except UnknownVersion as error:
        return {"problem": f"The rules that this call was held by are not in this release: {error}."}
    if not len(track):
        return {"problem": "The record of this call cannot be read from its first entry on.", "broken": track.broken}
    moment = _moment(request, call, track)
    shown = _shown(request)
    found = why(moment)
    steps = {moment.step, *(link.step for link in found.chain)} - {0}
    events = tracks.events_at(call, track, sorted(steps))
    title, means = words.CAUSES[found.cause]
    return {
        "track": track,
        "moment": moment,
        "ends_ms": max(track.ends_ms, call.duration_ms or 0),
        "cause": found.cause,
        "title": title,
        "means": means,
        "chain": [words.sentence(link, events.get(link.step), shown) for link in found.chain],
        "waits": [words.awaited(one, moment) for one in found.waits],
        "dropped": words.dropped(found),
        "event": words.event_words(events.get(moment.step), shown) if moment.step else "",
        "groups": words.groups(moment, shown),
        "before": moment.step - 1 if moment.step else None,
        "after": moment.step + 1 if moment.step < len(track) else None,
        "broken": track.broken,
    }


def _raw(request: HttpRequest, call_sid: str) -> HttpResponse:
    call = _call(call_sid)
    try:
        moment = _moment(request, call, tracks.track_of(call))
    except UnknownVersion as error:
        return render(request, "console/call/travel_raw.html", {"problem": str(error)})
    state = payload(moment.state)
    if not may(request.user, "console.see_prompts") and state.get("agent"):
        state["agent"]["instructions"] = "(only for those who may see prompts)"
    text = json.dumps(state, indent=2, ensure_ascii=False)
    return render(request, "console/call/travel_raw.html", {"call": call, "moment": moment, "text": text})


def _verdict(request: HttpRequest, call_sid: str) -> HttpResponse:
    call = _call(call_sid)
    audit.record(request, "call.replayed", call_sid=call.call_sid)
    try:
        outcome = tracks.verdict_of(call)
    except (UnknownVersion, TransferError) as error:
        return render(request, "console/call/travel_verdict.html", {"problem": str(error)})
    context = {"outcome": outcome, "difference": outcome.difference, "lines": list(report(call.call_sid, outcome))}
    return render(request, "console/call/travel_verdict.html", context)


# --- what a request asks for


def _call(call_sid: str) -> Call:
    call = Call.objects.filter(call_sid=call_sid).first()
    if call is None:
        raise Http404("there is no such call")
    return call


def _moment(request: HttpRequest, call: Call, track: Track) -> Moment:
    """The moment that is asked for; the end where none is, or nonsense; the nearest where it is beyond the call."""
    step = _number(request.GET.get("step", ""))
    if step is not None:
        return tracks.visit(call, track, min(max(0, int(step)), len(track)))
    seconds = _number(request.GET.get("t", ""))
    if seconds is None:
        return tracks.visit(call, track, len(track))
    at_ms = round(min(max(0.0, seconds * 1000), _MOST_MS))
    return tracks.visit(call, track, track.step_at(at_ms), at_ms)


def _number(text: str) -> float | None:
    try:
        value = float(text[:32])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(request: HttpRequest) -> Shown:
    """What this reader may see of what was said, and no more of it than one looks at. All of it stands in the raw state."""
    see_all = may(request.user, "console.see_unredacted")

    def shown(text: str) -> str:
        short = text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}…"
        return short if see_all else redacted_text(short)

    return shown

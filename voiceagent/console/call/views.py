"""The call page, its panels, its sound, its exports, and what operators say about a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import select_template
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.views.decorators.http import require_POST, require_safe

from calls import selectors, surroundings, timeline_format, timeline_page
from calls.models import Call, Recording, Waveform
from calls.ranges import file_response
from calls.services import recordings
from calls.tasks import send_waveform
from calls.timeline_memory import RECALLS
from memory.models import ErasureRequest, Tombstone
from memory.services import tombstones
from voiceagent.conf import TRACE_ID
from voiceagent.console import audit
from voiceagent.console.access import forbidden, granted, may, microphone, needs
from voiceagent.console.call import drawing, exports, memories, page, tabs
from voiceagent.console.call.cards import wordings
from voiceagent.console.call.story import MARKS
from voiceagent.console.calls import walking
from voiceagent.console.models import AuditEntry, CallFlag, CallNote
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.http import HttpRequest

_VISIT = TimestampSigner(salt="console.call.visit")
#: How long a page may play what it was opened to play, before it has to be opened again.
_VISIT_S = 12 * 3600
MOST_ENTRIES = 20
_NOTE_CHARS = 4000


@microphone
@needs("console.view_console")
@require_safe
def call(request: HttpRequest, call_sid: str) -> HttpResponse:
    """The page."""
    found = selectors.call_by_sid(call_sid)
    if found is None:
        return _missing(request, call_sid)
    plain = may(request.user, "console.see_unredacted")
    of = page.told(found)
    began = {number: steps.began_ms for number, steps in of.story.turns.items()}
    of.written = memories.written_by_turn(found, began)
    shown = of.cards(plain=plain)
    live = found.archived_at is None
    recording = getattr(found, "recording", None)
    summary, summary_by = memories.summary(found, plain=plain)
    chosen = _whole(request.GET.get("turn", ""))
    numbers = [card.number for card in shown]
    if chosen not in numbers:
        chosen = next((card.number for card in shown if card.is_answer), numbers[0] if numbers else None)
    worded = _whole(request.GET.get("wording", ""))
    tab = request.GET.get("tab", "timing")
    tab = tab if tab in tabs.TABS else "timing"
    came_from = walking.list_of(request.GET)
    before, after = walking.neighbours(found, came_from, granted(request.user))
    context = {
        "call": found,
        "live": live,
        "seems_live": found.status != Call.Status.ENDED,
        "outcome": timeline_page.end_reason(found),
        "started": timeline_format.moment(found.started_at),
        "length": timeline_format.length(found.duration_ms),
        "language": (of.story.agent.get("language") or "") if of.story.agent else "",
        "figures": page.figures(of),
        "summary": summary,
        "summary_by": summary_by,
        "trace_url": _trace_url(found.trace_id),
        "cards": shown,
        "chosen": chosen,
        "worded": worded,
        "wording": _wording(of, worded, plain=plain) if worded is not None else None,
        "has_unsteady": any(steps.unsteady for steps in of.story.turns.values()),
        "tabs": [(name, title, not needed or may(request.user, needed)) for name, (title, needed) in tabs.TABS.items()],
        "tab": tab,
        "panel": _panel(request, of, chosen, tab, plain=plain),
        "recording": recording,
        "no_recording": _why_silent(found, recording),
        "may_hear": may(request.user, "console.hear_recording"),
        "may_flag": may(request.user, "console.flag_call"),
        "may_export": may(request.user, "console.export_call"),
        "flag": CallFlag.objects.filter(call=found).select_related("author").first(),
        "notes": CallNote.objects.filter(call=found).select_related("author"),
        "audited": AuditEntry.objects.filter(call_sid=found.call_sid)[:MOST_ENTRIES],
        "actions": audit.ACTIONS,
        "before": before,
        "after": after,
        "carried": came_from.carried if came_from else "",
        "drawn": _drawn(request, of, shown, recording, plain=plain, live=live),
        "exports": EXPORTS,
        "marks": MARKS,
        "travel": _optional("console/call/travel.html"),
        "operate": _optional("components/call_actions.html"),
    }
    return render(request, "console/call/call.html", context)


def _optional(name: str) -> str:
    """A part that another piece of the console brings; empty where it is not there."""
    try:
        select_template([name])
    except TemplateDoesNotExist:
        return ""
    return name


def _trace_url(trace_id: str) -> str:
    """Where the trace can be looked at; empty where no such place is configured, or there is no trace."""
    template: str = settings.TRACE_URL_TEMPLATE
    return template.replace(TRACE_ID, trace_id) if template and trace_id.isalnum() else ""


def _missing(request: HttpRequest, call_sid: str) -> HttpResponse:
    """No such call: erased, with who and when as far as that may be known, or never there."""
    subject = tombstones.conversation_subject(call_sid)
    stone = Tombstone.objects.filter(scope=Tombstone.Scope.CONVERSATION, subject=subject).first()
    erasure = ErasureRequest.objects.filter(caller_hash=stone.caller_hash, asked_at__gte=stone.at) if stone else None
    context = {
        "call_sid": call_sid,
        "stone": stone,
        "erased_at": timeline_format.moment(stone.at) if stone else "",
        "erasure": erasure.order_by("asked_at").first() if erasure is not None else None,
    }
    return render(request, "console/call/missing.html", context, status=404)


def _why_silent(found: Call, recording: Recording | None) -> str:
    """Why nothing can be played; empty where something can."""
    if recording is not None:
        return "" if _sound(recording) else "gone"
    if found.status != Call.Status.ENDED:
        return "live"
    return "none" if found.archived_at else "writing"


def _drawn(
    request: HttpRequest, of: page.Told, shown: list[Any], recording: Recording | None, *, plain: bool, live: bool
) -> dict[str, Any]:
    """What the page's scripts are given."""
    sid = of.call.call_sid
    drawn = drawing.drawn(of.story, shown, of.duration_ms, plain=plain)
    zero = of.call.answered_at or of.call.started_at
    drawn |= {
        "zero": round(zero.timestamp() * 1000),
        "sid": sid,
        "live": live,
        "page": reverse("console:call", args=[sid]),
    }
    if live:
        drawn["socket"] = f"{reverse('console:call', args=[sid])}live"
    if recording is None or not may(request.user, "console.hear_recording") or _sound(recording) is None:
        return drawn
    visit = _VISIT.sign(f"{request.user.pk}:{sid}:{get_random_string(12)}")
    drawn |= {"audio": reverse("console:call-audio", args=[sid]) + f"?visit={visit}", "offset": recording.starts_at_ms}
    if Waveform.objects.filter(recording=recording).exists():
        drawn["peaks"] = reverse("console:call-peaks", args=[sid])
    else:
        send_waveform(sid)
    return drawn


# --- panels -----------------------------------------------------------------------------------------------------------


@needs("console.view_console")
@require_safe
def panel(request: HttpRequest, call_sid: str, number: int, tab: str) -> HttpResponse:
    """One panel of a turn, as a fragment of the page."""
    of = page.told(_call(call_sid))
    context = _panel(request, of, number, tab, plain=may(request.user, "console.see_unredacted"))
    return render(request, "console/call/panel.html", {"panel": context, "call": of.call})


@needs("console.view_console")
@require_safe
def wording(request: HttpRequest, call_sid: str, number: int) -> HttpResponse:
    """What the recogniser understood on the way to what the caller said in a turn, as a fragment of its card."""
    of = page.told(_call(call_sid))
    plain = may(request.user, "console.see_unredacted")
    return render(request, "console/call/wording.html", {"wording": _wording(of, number, plain=plain)})


def _wording(of: page.Told, number: int, *, plain: bool) -> Any:
    steps = of.story.turns.get(number)
    text = next((turn.user_text for turn in of.turns if turn.number == number), "")
    return wordings(steps, text, plain=plain) if steps is not None and text else []


def _panel(request: HttpRequest, of: page.Told, number: int | None, tab: str, *, plain: bool) -> dict[str, Any]:
    needed = tabs.TABS.get(tab, ("", ""))[1]
    if tab not in tabs.TABS:
        raise Http404("no such panel")
    base = {"tab": tab, "number": number, "template": f"console/call/{tab}.html"}
    if needed and not may(request.user, needed):
        return {**base, "template": "console/call/forbidden.html", "permission": needed}
    return base | PANELS[tab](request, of, number, plain)


def _timing(_request: HttpRequest, of: page.Told, number: int | None, _plain: bool) -> dict[str, Any]:
    return {"timing": tabs.timing(of, number) if number is not None else None, "width": tabs.WIDTH}


def _memory(request: HttpRequest, of: page.Told, number: int | None, plain: bool) -> dict[str, Any]:
    turn = next((turn for turn in of.turns if turn.number == number), None)
    recalled = turn.recalled if turn is not None and isinstance(turn.recalled, dict) else {}
    began = {number: steps.began_ms for number, steps in of.story.turns.items()}
    used = memories.used(of.call, recalled, plain=plain)
    return {
        "used": memories.by_level(one for one in used if not one.why_not),
        "told_card": memories.card_told(of.call, plain=plain),
        "how": RECALLS.get(str(recalled.get("outcome")), ""),
        "may_hear": may(request.user, "console.hear_recording"),
        "person": memories.person_of(of.call),
        "unused": [one for one in used if one.why_not],
        "asked": (turn.user_text if plain else redacted_text(turn.user_text)) if turn is not None else "",
        "recalled": recalled,
        "written": memories.written(of.call, began, plain=plain),
    }


def _model(_request: HttpRequest, of: page.Told, number: int | None, _plain: bool) -> dict[str, Any]:
    if number is None:
        return {"asked": []}
    events = list(tabs.events_of_turn(of.call, number, of.story.turns.get(number)))
    first = next((event.seq for event in events if event.type == "AskModel"), 0)
    before = tabs.prompt_before(list(tabs.asked_before(of.call, first))) if first else {}
    return {"asked": tabs.model(events, before), "agent": of.story.agent}


def _events(request: HttpRequest, of: page.Told, number: int | None, _plain: bool) -> dict[str, Any]:
    whole = "whole" in request.GET
    chosen = tabs.Filter(
        kind=request.GET.get("kind", "")[:8].replace("\x00", ""),
        text=request.GET.get("text", "")[:100].replace("\x00", "").strip(),
        turn=None if whole else number,
        from_ms=_whole(request.GET.get("from", "")),
        until_ms=_whole(request.GET.get("until", "")),
        after=_whole(request.GET.get("after", "")) or 0,
        detail="detail" in request.GET,
    )
    rows, following = tabs.events(of.call, chosen, of.story.turns.get(number) if number is not None else None)
    return {"events": rows, "following": following, "chosen": chosen, "whole": whole, "of": of.call}


def _audio(_request: HttpRequest, of: page.Told, _number: int | None, _plain: bool) -> dict[str, Any]:
    recording = getattr(of.call, "recording", None)
    shown = Waveform.objects.filter(recording=recording).only("figures").first() if recording else None
    return {"sounds": tabs.sound(of.call, shown.figures if shown else {}), "recording": recording}


PANELS: dict[str, Callable[[HttpRequest, page.Told, int | None, bool], dict[str, Any]]] = {
    "timing": _timing,
    "memory": _memory,
    "model": _model,
    "events": _events,
    "audio": _audio,
}


# --- sound ------------------------------------------------------------------------------------------------------------


@needs("console.hear_recording")
@require_safe
def peaks(_request: HttpRequest, call_sid: str) -> HttpResponse:
    """The caller's peaks, then the assistant's, a byte each for 20 ms; as many of each."""
    shown = Waveform.objects.filter(recording__call__call_sid=call_sid).first()
    if shown is None:
        raise Http404("no waveform yet")
    return HttpResponse(bytes(shown.caller) + bytes(shown.agent), content_type="application/octet-stream")


@needs("console.hear_recording")
@require_safe
def audio(request: HttpRequest, call_sid: str) -> HttpResponseBase:
    """The recording, whole or in part. That it was played is written once for each opened page, before the first byte goes."""
    recording = getattr(_call(call_sid), "recording", None)
    path = _sound(recording)
    if path is None:
        raise Http404("no recording, or its file is gone")
    _record_playing(request, call_sid)
    response = file_response(path, "audio/wav", request.headers.get("Range", ""))
    response["Content-Disposition"] = f'inline; filename="{path.name}"'
    return response


def _record_playing(request: HttpRequest, call_sid: str) -> None:
    """A page's visit is one playing; a request that no page of this reader's made is one by itself."""
    visit = request.GET.get("visit", "")
    try:
        told = _VISIT.unsign(visit, max_age=_VISIT_S)
    except BadSignature:
        told = ""
    if told.startswith(f"{request.user.pk}:{call_sid}:"):
        entry = f"visit {told.rsplit(':', 1)[1]}"
        if AuditEntry.objects.filter(call_sid=call_sid, action="recording.played", entry=entry).exists():
            return
    else:
        entry = ""
    audit.record(request, "recording.played", call_sid=call_sid, entry=entry)


def _sound(recording: Recording | None) -> Path | None:
    """The recording's file, if there is one."""
    return recordings.stored_path(surroundings.recordings_dir(), recording.file) if recording else None


# --- exports ----------------------------------------------------------------------------------------------------------

#: Name in the address → what it is, and what it needs besides ``console.export_call``.
EXPORTS: dict[str, tuple[str, str]] = {
    "call.json": ("Everything, as one JSON file", ""),
    "events.jsonl": ("Events, as line-JSON", "console.see_raw"),
    "transcript.txt": ("Transcript, as text", ""),
    "transcript.vtt": ("Transcript, as VTT", ""),
    "transcript.csv": ("Transcript, as CSV", ""),
    "stereo.wav": ("Recording, both sides", "console.hear_recording"),
    "caller.wav": ("Recording, the caller", "console.hear_recording"),
    "assistant.wav": ("Recording, the assistant", "console.hear_recording"),
}


@needs("console.export_call")
@require_safe
def export(request: HttpRequest, call_sid: str, what: str) -> HttpResponseBase:
    """One of ``EXPORTS``. Written to the audit trail before the first byte goes."""
    if what not in EXPORTS:
        raise Http404("no such export")
    found, needed = _call(call_sid), EXPORTS[what][1]
    if needed and not may(request.user, needed):
        return forbidden(request, needed)
    path = _sound(getattr(found, "recording", None)) if what.endswith(".wav") else None
    if what.endswith(".wav") and path is None:
        raise Http404("no recording, or its file is gone")
    if found.archived_at is None:
        raise Http404("the call has not been archived yet")
    audit.record(request, "call.exported", call_sid=call_sid, entry=what)
    response = _exported(request, found, what, path)
    response["Content-Disposition"] = f'attachment; filename="{call_sid}.{what}"'
    return response


def _exported(request: HttpRequest, found: Call, what: str, path: Path | None) -> HttpResponseBase:
    if path is not None:
        if what == "stereo.wav":
            return file_response(path, "audio/wav", "")
        return HttpResponse(b"".join(exports.one_side(path, what == "assistant.wav")), content_type="audio/wav")
    if what == "events.jsonl":
        return StreamingHttpResponse(exports.as_line_json(_rows(found)), content_type="application/jsonl")
    plain = may(request.user, "console.see_unredacted")
    of = page.told(found)
    cards = of.cards(plain=plain)
    if what == "call.json":
        return JsonResponse(
            _everything(request, of, plain=plain), json_dumps_params={"ensure_ascii": False, "indent": 1}
        )
    write, kind = {
        "transcript.txt": (exports.as_text, "text/plain"),
        "transcript.vtt": (exports.as_vtt, "text/vtt"),
        "transcript.csv": (exports.as_csv, "text/csv"),
    }[what]
    return HttpResponse(write(cards), content_type=f"{kind}; charset=utf-8")


def _rows(found: Call) -> Iterator[dict[str, Any]]:
    names = ("seq", "step", "kind", "type", "at_ms", "at", "mode", "turn", "data", "error")
    yield from found.events.order_by("seq").values(*names).iterator()


def _everything(request: HttpRequest, of: page.Told, *, plain: bool) -> dict[str, Any]:
    """The call, its turns, timings, marks, notes and flag; raw events and prompts for whoever may see them."""
    found = of.call
    numbers = may(request.user, "console.reveal_number")
    whole: dict[str, Any] = {
        "call": {
            "call_sid": found.call_sid,
            "from": exports.number(found.from_number, plain=numbers),
            "to": found.to_number,
            "started_at": found.started_at,
            "duration_ms": found.duration_ms,
            "end_reason": found.end_reason,
            "agent": str(found.agent_version or ""),
            "trace_id": found.trace_id,
            "is_test": found.is_test,
            "violations": found.violations,
        },
        **drawing.drawn(of.story, [], of.duration_ms, plain=plain),
        "turns": [exports.turn(card) for card in of.cards(plain=plain)],
        "notes": [{"by": str(note.author or ""), "at": note.at, "at_ms": note.at_ms, "text": note.text} for note in CallNote.objects.filter(call=found)],
        "flag": next((flag.reason for flag in CallFlag.objects.filter(call=found)), None),
    }  # fmt: skip
    if may(request.user, "console.see_raw"):
        whole["events"] = list(_rows(found))
    return whole


# --- what operators say -----------------------------------------------------------------------------------------------


@needs("console.flag_call")
@require_POST
def flag(request: HttpRequest, call_sid: str) -> HttpResponse:
    """Raise the call's flag with a reason, or lower it."""
    found = _call(call_sid)
    if "lower" in request.POST:
        for raised in CallFlag.objects.filter(call=found):
            audit.record(request, "call.unflagged", call_sid=call_sid, before=raised.at.isoformat())
            raised.delete()
    elif not CallFlag.objects.filter(call=found).exists():
        reason = _said(request, "reason", 200)
        audit.record(request, "call.flagged", call_sid=call_sid)
        CallFlag.objects.get_or_create(call=found, defaults={"author_id": request.user.pk, "reason": reason})
    return redirect(_back(request, call_sid))


@needs("console.flag_call")
@require_POST
def note(request: HttpRequest, call_sid: str) -> HttpResponse:
    """Write a note on the call, or on a moment of it."""
    found = _call(call_sid)
    text = _said(request, "text", _NOTE_CHARS)
    if text:
        audit.record(request, "call.noted", call_sid=call_sid)
        CallNote.objects.create(
            call=found, author_id=request.user.pk, text=text, at_ms=_whole(request.POST.get("at_ms", ""))
        )
    return redirect(_back(request, call_sid))


def _said(request: HttpRequest, name: str, most: int) -> str:
    return request.POST.get(name, "").replace("\x00", "").strip()[:most]


def _back(request: HttpRequest, call_sid: str) -> str:
    query = request.POST.get("query", "")
    address = reverse("console:call", args=[call_sid])
    return f"{address}?{query}" if query and "\n" not in query and "\r" not in query else address


def _call(call_sid: str) -> Call:
    found = selectors.call_by_sid(call_sid)
    if found is None:
        raise Http404("no such call")
    return found


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

"""The data-subject file: all that is kept of a caller, as one JSON document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.forms.models import model_to_dict
from django.http import StreamingHttpResponse
from django.utils import timezone

from calls.models import Booking, Call
from memory.models import ErasureRequest
from memory.services import exporting
from voiceagent.console import audit
from voiceagent.console.callers.caller import of_caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.http import HttpRequest, HttpResponseBase

    from memory.people import Person

_CALL = ("call_sid", "from_number", "to_number", "direction", "status", "end_reason", "duration_ms", "turn_count")
_TURN = ("number", "kind", "outcome", "user_text", "generated_text", "heard_text", "recalled")
_TIMES = ("started_at", "answered_at", "ended_at")


@of_caller("console.export_caller", "export caller", post=True)
def export(request: HttpRequest, person: Person) -> HttpResponseBase:
    """The file, written as it is read."""
    audit.record(request, "caller.exported", entry=str(person.id), reason=request.POST.get("reason", ""))
    response = StreamingHttpResponse(document(person), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="caller-{str(person.id)[-12:]}.json"'
    return response


def document(person: Person) -> Iterator[str]:
    """``memory`` holds the lines that ``memory_import`` takes, forgotten entries included as long as they can be restored;
    ``calls`` each call with its turns; ``bookings``; ``erasures`` the receipts of what was erased."""
    yield f'{{"made_at": {json.dumps(timezone.now().isoformat())},\n"memory": '
    yield from _listed(exporting.export(person))
    yield ',\n"calls": '
    calls = Call.objects.filter(caller_key=person.key_hash).order_by("started_at").select_related("recording")
    yield from _listed(_call(call) for call in calls.iterator(chunk_size=50))
    yield ',\n"bookings": '
    bookings = Booking.objects.filter(call_sid__in=calls.values("call_sid")).order_by("pk")
    yield from _listed(model_to_dict(one) for one in bookings)
    yield ',\n"erasures": '
    receipts = ErasureRequest.objects.filter(caller_hash=person.key_hash).order_by("asked_at")
    yield from _listed({"scope": one.scope, "state": one.state, "asked_at": one.asked_at} for one in receipts)
    yield "}\n"


def _call(call: Call) -> dict[str, Any]:
    recording = getattr(call, "recording", None)
    return {
        **{name: getattr(call, name) for name in (*_CALL, *_TIMES)},
        "recording_ms": recording.duration_ms if recording else None,
        "turns": [{name: getattr(turn, name) for name in _TURN} for turn in call.turns.order_by("number")],
    }


def _listed(values: Iterable[Any]) -> Iterator[str]:
    yield "["
    for place, value in enumerate(values):
        yield (",\n" if place else "\n") + json.dumps(value, default=str, ensure_ascii=True)
    yield "]"

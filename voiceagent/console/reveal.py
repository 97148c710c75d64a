"""A number that was masked, for whoever may see it: by a form, so that no address and no prefetch reveals one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404, JsonResponse
from django.views.decorators.http import require_POST

from calls.models import Call
from memory import people
from memory.crypto import SealBroken
from voiceagent.console import audit
from voiceagent.console.access import needs

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@needs("console.reveal_number")
@require_POST
def number(request: HttpRequest) -> HttpResponse:
    """``{"number": …}`` of the call ``call`` or the caller ``caller``; that it was asked for is written down first."""
    if call_sid := request.POST.get("call", ""):
        found = Call.objects.filter(call_sid=call_sid).values_list("from_number", flat=True).first()
        if not found:
            raise Http404
        audit.record(request, "number.revealed", call_sid=call_sid)
        return JsonResponse({"number": found})
    person = people.by_id(request.POST.get("caller", ""))
    if person is None:
        raise Http404
    audit.record(request, "number.revealed", entry=f"caller {person.id}")
    try:
        return JsonResponse({"number": people.number_of(person)})
    except SealBroken:
        return JsonResponse({"error": "It cannot be read: MEMORY_KEY does not open it."}, status=409)

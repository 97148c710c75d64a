"""What operators do to a call, one address for each: ``POST /console/operate/<call_sid>/<action>``.

Fields, as a form or as JSON: ``text`` (note, sentence, summary), ``when`` (``now``, ``next_pause``), ``reason``, and ``key``, the
request's own, for a request that is sent twice to have one effect. The answer says whether it was ``accepted``, and ``why`` not. The
audit entry is written before the call is asked.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from django.views.decorators.http import require_POST

from calls import control, desk
from voiceagent.console import audit, given, threads
from voiceagent.console.access import needs
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

#: Action of ``calls.control`` -> the permission, and what the trail calls it.
ACTIONS: dict[str, tuple[str, str]] = {
    "whisper": ("console.whisper", "call.whispered"),
    "say": ("console.say", "call.said"),
    "take_over": ("console.take_over", "call.taken_over"),
    "hand_back": ("console.take_over", "call.handed_back"),
    "end": ("console.end_call", "call.ended"),
}
_FIELDS = ("text", "when", "reason")


def view(action: str) -> Callable[..., Any]:
    """The view of an action."""
    permission, audited = ACTIONS[action]

    @needs(permission)
    @require_POST
    async def act(request: HttpRequest, call_sid: str) -> JsonResponse:
        fields = _fields(request)
        by, key = request.user.get_username(), fields.pop("key", "") or uuid.uuid4().hex
        try:
            desk.EVENTS[action](by, key, fields)
        except desk.BadRequest as error:
            return _answer(key, accepted=False, why=str(error), status=400)
        if not await threads.run(_is_known, by, audited, key):
            said = {name: fields[name] for name in ("text", "when") if fields.get(name)}
            await audit.arecord(
                request, audited, call_sid=call_sid, entry=key, reason=fields.get("reason", ""), after=said or None
            )
        outcome = await control.ask(call_sid, action, by, key, **fields)
        return _answer(key, accepted=outcome.accepted, why=outcome.why, status=200 if outcome.accepted else 409)

    act.__doc__ = f"{action.replace('_', ' ').capitalize()}."
    return act


def _fields(request: HttpRequest) -> dict[str, str]:
    return {name: value for name, value in given.texts(request).items() if name in (*_FIELDS, "key")}


def _is_known(by: str, action: str, key: str) -> bool:
    """Whether this very request stands in the trail already."""
    return AuditEntry.objects.filter(username=by, action=action, entry=key).exists()


def _answer(key: str, *, accepted: bool, why: str, status: int) -> JsonResponse:
    return JsonResponse({"accepted": accepted, "why": why, "key": key}, status=status)

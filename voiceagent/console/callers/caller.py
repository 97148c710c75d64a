"""Whose pages these are: the caller of an address, opened, with the look or change on the memory's record of accesses."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from memory import people
from memory.admin.audit import operator, recorded
from memory.crypto import SealBroken
from memory.models import Caller, ErasureRequest
from voiceagent.console.access import needs
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from memory.people import Person

__all__ = ["of_caller", "operator", "to_caller"]


def of_caller[R: HttpResponseBase](
    permission: str, action: str, *, post: bool = False
) -> Callable[[Callable[..., R]], Callable[..., R | HttpResponse]]:
    """A view of one caller for whoever has ``permission``: it gets the ``Person``, and goes on record as ``action`` under
    *Accesses*. ``post``: it changes or tells something, and is asked by POST alone. A caller who is not there gets a page that says what is known of that."""

    def decorate(view: Callable[..., R]) -> Callable[..., R | HttpResponse]:
        @wraps(view)
        def checked(request: HttpRequest, caller_id: UUID, **place: Any) -> R | HttpResponse:
            row = Caller.objects.filter(pk=caller_id).first()
            with recorded(request, action, *([row.key_hash] if row else [])) as use:
                try:
                    person = people.opened(row) if row else None
                except SealBroken as error:
                    use.outcome = "sealed"
                    return render(request, "console/callers/gone.html", {"sealed": str(error)}, status=409)
                if person is None:
                    use.outcome = "absent"
                    return gone(request, caller_id)
                return view(request, person, **place)

        return needs(permission)(require_POST(checked) if post else checked)

    return decorate


def gone(request: HttpRequest, caller_id: UUID) -> HttpResponse:
    """Nobody has this id: the tombstone of who was erased, or that there never was one."""
    entry = AuditEntry.objects.filter(action="caller.erased", entry=str(caller_id)).first()
    erasure_id = (entry.after or {}).get("erasure") if entry else None
    erasure = ErasureRequest.objects.filter(pk=erasure_id).first() if erasure_id else None
    return render(request, "console/callers/gone.html", {"entry": entry, "erasure": erasure}, status=404)


def to_caller(person: Person, fact_id: object = None, **query: str) -> HttpResponseRedirect:
    """To a caller's page, with an entry chosen."""
    chosen = {**({"entry": str(fact_id)} if fact_id else {}), **query}
    return HttpResponseRedirect(reverse("console:caller", args=[person.id], query=chosen or None))

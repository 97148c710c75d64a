"""Addresses of calls for the memory's pages: the timeline, and the recording for whoever may listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse

from calls.models import Call
from memory.callpages import CallPage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VIEW, LISTEN = "console.view_console", "console.hear_recording"


def find(call_sids: Collection[str], user: Any) -> Mapping[str, CallPage]:
    """The calls with these ids whose timeline ``user`` may see."""
    if not user.has_perm(VIEW):
        return {}
    may_listen = user.has_perm(LISTEN)
    found = Call.objects.filter(call_sid__in=call_sids).values_list("call_sid", "recording__pk")
    return {
        sid: CallPage(
            reverse("console:call", args=[sid]),
            reverse("console:call-audio", args=[sid]) if recording and may_listen else "",
        )
        for sid, recording in found
    }

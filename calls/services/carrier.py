"""What the carrier's webhooks tell us about a call, written so that retries, duplicates and overtaking do no harm.

All functions here are synchronous and short; call them in a thread of their own, never on the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from calls import surroundings
from calls.logkeys import checked_sid
from calls.models import AgentVersion, Call
from calls.models.call import NUMBER_LENGTH, TRACE_ID_LENGTH
from calls.services import erasure
from calls.services.entries import clean
from memory.callers import caller_key

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the carrier says, in the order in which it can happen; the rank stands in where it sends no number.
_RANKS = {"queued": 0, "initiated": 0, "ringing": 1, "in-progress": 2}
_TERMINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_TERMINAL_RANK = 3
_MAX_SEQUENCE = 1_000_000
_MAX_SECONDS = 7 * 24 * 3600

#: End reasons of calls whose stream never began, by the carrier's word for it.
NEVER_CONNECTED = {
    "completed": "not_connected",
    "busy": "carrier_busy",
    "failed": "carrier_failed",
    "no-answer": "carrier_no_answer",
    "canceled": "caller_gave_up",
}


class Recorded(StrEnum):
    """What became of a status callback."""

    RECORDED = "recorded"
    STALE = "stale"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Opened:
    """A call's row. ``is_new`` is false for a webhook that the carrier sent again."""

    call_id: int
    is_new: bool


def open_call(
    *,
    call_sid: str,
    from_number: str,
    to_number: str,
    direction: str = "inbound",
    account_sid: str = "",
    agent_version_id: int | None = None,
    trace_id: str = "",
    is_test: bool = False,
) -> Opened:
    """The row of a ringing call. The same again changes nothing; a row that a status callback made first is completed.

    Raises ``ValueError`` for an id that is none.
    """
    fields = {**_facts(from_number, to_number, direction, account_sid), "trace_id": trace_id}
    new = {**fields, "agent_version_id": agent_version_id, "is_test": is_test}
    with transaction.atomic():
        call, is_new = Call.objects.get_or_create(call_sid=checked_sid(call_sid), defaults=new)
        if not is_new:
            Call.objects.filter(pk=call.pk, agent_version=None).update(agent_version_id=agent_version_id)
            for name, value in fields.items():
                Call.objects.filter(pk=call.pk, **{name: ""}).update(**{name: value})
    return Opened(call.pk, is_new)


def refuse_call(*, call_sid: str, reason: str) -> None:
    """Close a call that was answered with a refusal (``no_agent``, ``overload``): no stream will follow."""
    now = timezone.now()
    Call.objects.filter(call_sid=call_sid, status=Call.Status.RINGING).update(
        status=Call.Status.ENDED, end_reason=reason[:40], ended_at=now, archived_at=now
    )


def mark_answered(*, call_sid: str) -> None:
    """The stream is up. A call that is past that stays as it is."""
    Call.objects.filter(call_sid=call_sid, status=Call.Status.RINGING).update(
        status=Call.Status.IN_PROGRESS, answered_at=timezone.now()
    )


def open_answered(*, call_sid: str, **facts: Any) -> None:
    """The row of a call whose stream is up; ``facts`` as for ``open_call``. The webhook's writing may still be on its way, and a
    row left ringing would be closed as one that never began when the carrier says that the call is over."""
    open_call(call_sid=call_sid, **facts)
    mark_answered(call_sid=call_sid)


def record_carrier_status(fields: Mapping[str, str]) -> Recorded:
    """Take over a status callback's fields, unless a later one was here already or the call was erased. Never raises for
    what they hold."""
    status = fields.get("CallStatus", "").strip().lower()
    try:
        sid = checked_sid(fields.get("CallSid", ""))
    except ValueError:
        return Recorded.INVALID
    if status not in _RANKS and status not in _TERMINAL:
        return Recorded.INVALID
    rank = _RANKS.get(status, _TERMINAL_RANK)
    sequence = _whole(fields.get("SequenceNumber"), _MAX_SEQUENCE)
    if erasure.is_erased(sid, fields.get("From", "")):
        return Recorded.STALE
    with transaction.atomic():
        Call.objects.get_or_create(
            call_sid=sid,
            defaults=_facts(
                fields.get("From", ""), fields.get("To", ""), fields.get("Direction", ""), fields.get("AccountSid", "")
            ),
        )
        claimed = (
            Call.objects.filter(call_sid=sid, carrier_sequence__lt=rank if sequence is None else sequence)
            .exclude(Q(carrier_status__in=_TERMINAL))
            .update(
                carrier_sequence=rank if sequence is None else sequence,
                carrier_status=status,
                carrier_status_at=_moment(fields.get("Timestamp", "")),
                **_ending(fields, status),
            )
        )
        if claimed and status in _TERMINAL:
            _close_unconnected(sid, status)
    return Recorded.RECORDED if claimed else Recorded.STALE


def _facts(from_number: str, to_number: str, direction: str, account_sid: str) -> dict[str, str]:
    known = clean(from_number)[:NUMBER_LENGTH]
    return {
        "from_number": known,
        "to_number": clean(to_number)[:NUMBER_LENGTH],
        "direction": clean(direction)[:32],
        "account_sid": clean(account_sid)[:64],
        "caller_key": caller_key(known, surroundings.caller_secret()),
    }


def _ending(fields: Mapping[str, str], status: str) -> dict[str, Any]:
    if status not in _TERMINAL:
        return {}
    return {
        "carrier_duration_s": _whole(fields.get("CallDuration"), _MAX_SECONDS),
        "sip_response_code": _whole(fields.get("SipResponseCode"), 999),
    }


def _close_unconnected(call_sid: str, status: str) -> None:
    """A call that is over before its stream began has no log to archive: this is its end."""
    now = timezone.now()
    Call.objects.filter(call_sid=call_sid, status=Call.Status.RINGING).update(
        status=Call.Status.ENDED, end_reason=NEVER_CONNECTED[status], ended_at=now, archived_at=now
    )


def _whole(text: str | None, high: int) -> int | None:
    text = (text or "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        return None
    return int(text) if int(text) <= high else None


def _moment(text: str) -> datetime:
    """The carrier's time of the event, if it is one and near ours; else now."""
    now = timezone.now()
    try:
        said = parsedate_to_datetime(text)
        said = said if said.tzinfo else said.replace(tzinfo=UTC)
        return said if abs((said - now).total_seconds()) < _MAX_SECONDS else now
    except (ValueError, TypeError, IndexError, OverflowError):
        return now


def version_or_none(text: str) -> int | None:
    """The id of an agent's version as it stands in a call's meta, if there is such a version."""
    number = _whole(text, 2**31 - 1)
    return number if number and AgentVersion.objects.filter(pk=number).exists() else None


def call_facts(meta: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a call's row that its meta can fill, for a call whose webhook could not reach the database."""
    facts: dict[str, Any] = _facts(
        meta.get("from_number", ""),
        meta.get("to_number", ""),
        meta.get("direction", "inbound"),
        meta.get("account_sid", ""),
    )
    facts["trace_id"] = clean(meta.get("trace_id", ""))[:TRACE_ID_LENGTH]
    return {
        **facts,
        "is_test": "is_test" in meta,
        "agent_version_id": version_or_none(meta.get("agent_version_id", "")),
    }

"""Who did what: one append-only line for each act of an operator, written before the thing is done.

Times, users and addresses come from the request or the socket, never from what a page says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from voiceagent.console import threads
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Action → what it says in the trail.
ACTIONS: dict[str, str] = {
    "number.revealed": "revealed a number",
    "text.unredacted": "read a transcript without redaction",
    "recording.played": "played a recording",
    "call.exported": "exported a call",
    "calls.exported": "exported a list of calls",
    "call.flagged": "flagged a call",
    "call.unflagged": "lowered a call's flag",
    "call.noted": "wrote a note on a call",
    "call.listened": "listened to a call",
    "call.whispered": "whispered to the assistant",
    "call.said": "made the assistant say a sentence",
    "call.taken_over": "took a call over",
    "call.handed_back": "handed a call back",
    "call.ended": "ended a call",
    "call.tested": "made a test call",
    "call.replayed": "replayed a call",
    "memory.corrected": "corrected a memory",
    "memory.added": "added a memory",
    "memory.pinned": "pinned a memory",
    "memory.expired": "let a memory expire",
    "memory.forgotten": "forgot a memory",
    "memory.restored": "restored a forgotten memory",
    "memory.merged": "merged memories",
    "memory.probed": "probed a caller's memory",
    "caller.erased": "erased a caller",
    "caller.exported": "exported a caller's data",
    "caller.kept_out": "changed whether a caller is remembered",
    "breaker.operated": "operated a breaker",
    "process.drained": "drained a process",
    "tasks.retried": "retried dead tasks",
    "agent.changed": "changed an agent",
    "audit.exported": "exported the audit trail",
    "factor.enrolled": "set up a second factor",
    "factor.removed": "removed a second factor",
}


def record(
    who: HttpRequest | Mapping[str, Any],
    action: str,
    *,
    call_sid: str = "",
    entry: str = "",
    reason: str = "",
    before: Any = None,
    after: Any = None,
) -> AuditEntry:
    """Append an entry for ``who``, a request or a socket's scope. Raises ``KeyError`` for an action that is not in the table."""
    ACTIONS[action]
    user, address = _who(who)
    return AuditEntry.objects.create(
        user_id=user.pk,
        username=user.get_username(),
        address=address,
        action=action,
        call_sid=call_sid[:64],
        entry=entry[:100],
        reason=reason[:500],
        before=before,
        after=after,
    )


async def arecord(who: HttpRequest | Mapping[str, Any], action: str, **of: Any) -> AuditEntry:
    """The same, off the event loop."""
    if isinstance(who, HttpRequest):
        await who.auser()
    return await threads.run(record, who, action, **of)


def _who(who: HttpRequest | Mapping[str, Any]) -> tuple[Any, str | None]:
    if isinstance(who, HttpRequest):
        return who.user, who.META.get("REMOTE_ADDR") or None
    client = who.get("client")
    return who["user"], client[0] if client else None

"""What was said in an archived call, handed to the memory: once, and again until it was taken.

``Call.remember_due_at`` is set in the transaction that archives, and taken back here when the memory has what was said.
A failure moves it on; nothing of it can disturb the archive.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Count, Min
from django.utils import timezone

from calls.models import Call
from calls.timeline_turns import course
from memory import manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from calls.models import Turn
    from memory.manager import Said

_log = structlog.get_logger(__name__)

#: A call that the sweeper finds was not taken up by its task.
GRACE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_AT_ONCE = 100


class Remembered(StrEnum):
    """What became of an attempt. ``REFUSED``: what was said was erased since, and stays so."""

    REMEMBERED = "remembered"
    NOTHING = "nothing"
    REFUSED = "refused"


def remember(call_sid: str) -> Remembered:
    """Hand a call's words to the memory, if they are due.

    Raises what the database raises, and ``memory.crypto.SealBroken`` for a caller whose key does not open; then it stays due.
    """
    call = Call.objects.filter(call_sid=call_sid, remember_due_at__isnull=False).select_related("agent_version").first()
    if call is None:
        return Remembered.NOTHING
    began_at = call.answered_at or call.started_at
    result = Remembered.NOTHING
    lines = list(said_in(call, began_at))
    if lines:
        try:
            manager.current().write_call(
                call.from_number,
                call.call_sid,
                lines,
                began_at=began_at,
                ended_at=call.ended_at,
                locale=_language(call),
            )
            result = Remembered.REMEMBERED
        except manager.Erased:
            result = Remembered.REFUSED
    # Not what another archiving made due meanwhile.
    Call.objects.filter(pk=call.pk, remember_due_at=call.remember_due_at).update(remember_due_at=None)
    _log.info("call.remembered", call_sid=call_sid, result=result.value, lines=len(lines))
    return result


def remember_due() -> Counter[str]:
    """Hand over what should have been by now, the oldest first. How many calls came to what.

    A call that cannot be handed over waits as long again as it has waited, at most an hour.
    """
    done: Counter[str] = Counter()
    now = timezone.now()
    due = Call.objects.filter(remember_due_at__lt=now - GRACE).order_by("remember_due_at")
    for call_sid, archived_at in list(due.values_list("call_sid", "archived_at")[:_AT_ONCE]):
        try:
            done[remember(call_sid).value] += 1
        except (OperationalError, InterfaceError):
            raise  # the database is away: that is no fault of this call
        except Exception as error:  # noqa: BLE001 - one call must not keep the sweeper from the others
            pause = min(max(now - (archived_at or now), GRACE), _LONGEST_PAUSE)
            Call.objects.filter(call_sid=call_sid, remember_due_at__isnull=False).update(remember_due_at=now + pause)
            # The kind alone: the text of an error may hold what was said.
            _log.error("call.not_remembered", call_sid=call_sid, error=type(error).__name__, retry_in_s=pause.seconds)
            done["not_remembered"] += 1
    return done


def waiting() -> tuple[int, datetime | None]:
    """How many archived calls the memory was not told of, and when the oldest of them was archived."""
    found = Call.objects.filter(remember_due_at__isnull=False).aggregate(Count("pk"), Min("archived_at"))
    return found["pk__count"], found["archived_at__min"]


def said_in(call: Call, began_at: datetime) -> Iterator[Said]:
    """The lines of a call: the caller's words and what they heard of the agent's, each with its place in the recording.

    A turn has two places, whether or not both sides spoke in it, so that a record that was completed later keeps them.
    """
    times = course(call.events.filter(type__in=("TurnOpened", "SpeechStarted")).order_by("seq"))
    ended_ms = -1
    for turn in call.turns.order_by("number"):
        began_ms = times.began_ms(turn, ended_ms)
        ended_ms = max(ended_ms, turn.speech_ended_ms or -1)
        if turn.user_text.strip():
            spoke_ms = turn.committed_ms if began_ms is None else began_ms
            yield _line(2 * turn.number, "user", turn.user_text, began_at, spoke_ms, turn.speech_ended_ms)
        if turn.heard_text.strip():
            yield _line(2 * turn.number + 1, "assistant", turn.heard_text, began_at, _sounded_ms(turn), turn.closed_ms)


def _line(seq: int, role: str, text: str, began_at: datetime, at_ms: int | None, end_ms: int | None) -> Said:
    return manager.Said(
        seq=seq,
        role=role,
        text=text,
        said_at=began_at + timedelta(milliseconds=at_ms or 0),
        audio_ms=-1 if at_ms is None else at_ms,
        audio_end_ms=-1 if end_ms is None else end_ms,
    )


def _sounded_ms(turn: Turn) -> int | None:
    return next((at for at in (turn.first_audio_ms, turn.committed_ms, turn.closed_ms) if at is not None), None)


def _language(call: Call) -> str:
    profile = call.agent_version.profile if call.agent_version else None
    language = profile.get("language") if isinstance(profile, dict) else None
    return language if isinstance(language, str) and 0 < len(language) <= 16 else "en"

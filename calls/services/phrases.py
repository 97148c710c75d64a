"""Agents' own phrases, from the order to the recording that a call plays.

An order is a row that waits (``calls.models.phrase``). Whoever takes it moves its due time first, so that two workers never
ask for the same, and one that dies leaves it to be taken again. What came of it stands in the row; the version of an agent
that has the recording is made afterwards, by whichever worker comes to it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import structlog
from django.db import transaction
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from calls import phrasebook
from calls.codecs import mulaw
from calls.models import Agent, PhraseRecording
from calls.models.phrase import rendered
from calls.phrase_fields import KEYS, MOST_S, own_phrases
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from calls.core.policy import AgentProfile

_log = structlog.get_logger(__name__)

LEAST_S = 0.3
_QUIETEST_DB = -50.0
#: At one go of a worker, which has ten minutes for it, and a few seconds when it is to stop.
_MOST_AT_ONCE = 10
_TRIES = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
#: A recording that is being made is not made by others for so long.
_LEASE = timedelta(minutes=5)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
MOST_ATTEMPTS = 8

State = PhraseRecording.State


class Renderer(Protocol):
    """The voice vendor: ``calls.providers.cartesia.rendering.PhraseVoice``."""

    def render(self, text: str, voice: str, language: str) -> bytes:
        """The sentence as raw µ-law 8 kHz. Raises ``VendorError``."""


def render_due(voice: Renderer, now: datetime, sleep: Callable[[float], None] = time.sleep) -> Counter[str]:
    """Render what is due, then give agents the versions that have the new recordings. How many of each outcome."""
    done: Counter[str] = Counter()
    due = PhraseRecording.objects.filter(state=State.WAITING, due_at__lte=now).order_by("due_at")
    for row in due.defer("audio")[:_MOST_AT_ONCE]:
        taken = PhraseRecording.objects.filter(pk=row.pk, state=State.WAITING, due_at=row.due_at)
        if taken.update(due_at=now + _LEASE):
            outcome = _render(row, voice, now, sleep)
            done[outcome] += 1
            if outcome == "postponed":
                break  # the vendor is in trouble: the others would take as long and come to the same
    done["versions"] = _new_versions()
    return +done


def _render(row: PhraseRecording, voice: Renderer, now: datetime, sleep: Callable[[float], None]) -> str:
    retrying = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        retry=retry_if_exception(lambda error: isinstance(error, VendorError) and error.retryable),
        sleep=sleep,
        reraise=True,
    )
    try:
        audio: bytes = retrying(voice.render, row.text, row.voice, row.language)
    except VendorError as error:
        return _failed(row, now, str(error), again=error.retryable or error.kind == "open", counts=error.kind != "open")
    if problem := _problem(audio):
        return _failed(row, now, problem, again=False)
    PhraseRecording.objects.filter(pk=row.pk).update(
        state=State.RENDERED, audio=audio, reason="", rendered_at=now, due_at=None, attempts=row.attempts + 1
    )
    _log.info("phrase.rendered", phrase=row.pk[:12], seconds=round(len(audio) / phrasebook.RATE_HZ, 1))
    return "rendered"


def _failed(row: PhraseRecording, now: datetime, reason: str, *, again: bool, counts: bool = True) -> str:
    attempts = row.attempts + counts
    again = again and attempts < MOST_ATTEMPTS
    pause = min(_FIRST_PAUSE * 2**attempts, _LONGEST_PAUSE)
    PhraseRecording.objects.filter(pk=row.pk).update(
        state=State.WAITING if again else State.FAILED,
        reason=reason[:200],
        attempts=attempts,
        due_at=now + pause if again else None,
    )
    _log.warning("phrase.not_rendered", phrase=row.pk[:12], reason=reason, again=again)
    return "postponed" if again else "failed"


def _problem(audio: bytes) -> str:
    """Why this is no recording of a sentence; empty where it may be one."""
    seconds = len(audio) / phrasebook.RATE_HZ
    if seconds < LEAST_S:
        return f"the voice said nothing ({seconds:.1f} s)"
    if seconds > MOST_S:
        return f"it takes {seconds:.1f} s to say, at most {MOST_S} s are played: shorten it"
    return "what came is silent" if mulaw.level_dbfs(audio) < _QUIETEST_DB else ""


def _new_versions() -> int:
    """A version for every agent whose newest one does not name just the recordings that there are. How many."""
    made = 0
    for key in Agent.objects.exclude(phrases={}).values_list("pk", flat=True):
        with transaction.atomic():
            agent = Agent.objects.select_for_update().get(pk=key)  # as it is now: somebody may be saving it
            newest = agent.versions.order_by("-number").first()
            named = newest.profile.get("phrases") if newest else None
            if named != [list(pair) for pair in agent.recorded_phrases()]:
                agent.capture_version()
                made += 1
    return made


def load(digests: Collection[str]) -> None:
    """Have these recordings at hand in this process; one that there is not is left out."""
    found = rendered(digests).values_list("pk", "audio")
    phrasebook.keep({pk: bytes(audio) for pk, audio in found if audio is not None})


# --- for people ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """How far one phrase of an agent is. ``state`` is empty where the shipped one serves."""

    state: str = ""
    reason: str = ""
    due_at: datetime | None = None
    rendered_at: datetime | None = None
    digest: str = ""


def shown(agent: Agent) -> dict[str, Shown]:
    """The state of every phrase of an agent, by key. Raises ``ValueError`` where its phrases make no sense."""
    digests = {
        key: phrasebook.recording_digest(agent.voice, agent.language, text)
        for key, text in own_phrases(agent.phrases).items()
    }
    rows = {
        row.pk: Shown(row.state, row.reason, row.due_at, row.rendered_at, row.pk)
        for row in PhraseRecording.objects.filter(pk__in=digests.values()).defer("audio")
    }
    return {key: rows.get(digests.get(key, ""), Shown(State.WAITING if key in digests else "")) for key in KEYS}


def heard(agent: AgentProfile, key: str) -> bytes:
    """What callers of this agent hear for a phrase, as raw µ-law. Raises ``calls.phrasebook.PhraseMissing``."""
    load(phrasebook.missing(agent))
    held, _kept = phrasebook.hold(agent)
    return phrasebook.phrase_audio(held, key)

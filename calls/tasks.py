"""Celery's entry to the services: ids in, nothing out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import structlog
from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from calls import metrics, surroundings
from calls.services import archive as archiving
from calls.services import meanings, phrases, remembering, waveforms
from calls.services.sweep import sweep as sweep_once

if TYPE_CHECKING:
    from calls.providers.cartesia.rendering import PhraseVoice

_log = structlog.get_logger(__name__)

_SWEEP_LOCK = "calls:sweeping"
_SWEEP_LOCK_S = 120


@shared_task(name="calls.tasks.archive", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def archive(call_sid: str) -> str:
    """Archive a call that ended. A failure is logged; the call stays in ``calls:live`` and the sweeper tries again."""
    with surroundings.redis_client() as client:
        result = archiving.archive_call(call_sid, client)
    metrics.ARCHIVES.labels(result.value).inc()
    if result in (archiving.Archived.ARCHIVED, archiving.Archived.ALREADY):
        _send(remember, call_sid)
        _send(embed, call_sid)
    return result.value


@shared_task(name="calls.tasks.remember", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def remember(call_sid: str) -> str:
    """Hand what was said in an archived call to the memory. A failure is logged, and the sweeper tries again."""
    return remembering.remember(call_sid).value


@shared_task(name="calls.tasks.embed", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def embed(call_sid: str) -> int:
    """Embed what was said in an archived call, for the search by meaning. A failure is logged, and the sweeper tries again."""
    return meanings.embed_call(call_sid)


def _send(task: Any, call_sid: str) -> None:
    """Queue what follows an archiving. The call is archived whether this works or not: what is due stands in its row."""
    try:
        task.apply_async((call_sid,), retry=False)
    except BrokerError as error:
        _log.warning("task.not_queued", task=task.name, call_sid=call_sid, error=type(error).__name__)


@shared_task(name="calls.tasks.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """Archive and close what nobody finished. Does nothing while another sweep runs."""
    with surroundings.redis_client() as client:
        lock = client.lock(_SWEEP_LOCK, timeout=_SWEEP_LOCK_S, blocking=False)
        if not lock.acquire():
            return {}
        try:
            found = dict(sweep_once(client))
        finally:
            if lock.owned():
                lock.release()
    for result, count in found.items():
        metrics.SWEPT.labels(result).inc(count)
    return found


@shared_task(name="calls.tasks.render_phrases", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def render_phrases() -> dict[str, int]:
    """Have the voice say what is due of agents' own phrases. What stays undone stands in the rows, and is due again."""
    return dict(phrases.render_due(_VoiceVendor(), timezone.now()))


class _VoiceVendor:
    """The voice vendor's client, made when the first sentence needs it: loading it takes half a second."""

    def render(self, text: str, voice: str, language: str) -> bytes:
        return _phrase_voice().render(text, voice, language)


@cache
def _phrase_voice() -> PhraseVoice:
    from calls.providers.cartesia.rendering import PhraseVoice  # here, not when every task is loaded

    return PhraseVoice(surroundings.cartesia(), surroundings.voice_breaker())


def send_render_phrases() -> None:
    """Queue ``render_phrases``. While the broker is away the scheduler does it a little later."""
    try:
        render_phrases.apply_async(retry=False)
    except BrokerError as error:
        _log.warning("phrases.not_queued", error=type(error).__name__)


@shared_task(name="calls.tasks.waveform", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def waveform(call_sid: str) -> bool:
    """Make the waveform of a recording that has none. Whether there was one to make."""
    recording = waveforms.missing_of(call_sid)
    return recording is not None and waveforms.make(recording)


def send_waveform(call_sid: str) -> None:
    """Queue ``waveform``. While the broker is away the page has none, and asks again when it is opened again."""
    try:
        waveform.apply_async((call_sid,), retry=False)
    except BrokerError as error:
        _log.warning("waveform.not_queued", call_sid=call_sid, error=type(error).__name__)


def send_archive(call_sid: str) -> None:
    """Queue ``archive``; what ``calls.eventlog.LogWriter`` is given. Raises at once while the broker is away."""
    archive.apply_async((call_sid,), retry=False)

"""Celery's entry to the services: ids in, nothing out."""

from __future__ import annotations

from celery import shared_task

from calls import surroundings
from calls.services import archive as archiving
from calls.services.sweep import sweep as sweep_once

_SWEEP_LOCK = "calls:sweeping"
_SWEEP_LOCK_S = 120


@shared_task(name="calls.tasks.archive", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def archive(call_sid: str) -> str:
    """Archive a call that ended. A failure is logged; the call stays in ``calls:live`` and the sweeper tries again."""
    with surroundings.redis_client() as client:
        return archiving.archive_call(call_sid, client).value


@shared_task(name="calls.tasks.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """Archive and close what nobody finished. Does nothing while another sweep runs."""
    with surroundings.redis_client() as client:
        lock = client.lock(_SWEEP_LOCK, timeout=_SWEEP_LOCK_S, blocking=False)
        if not lock.acquire():
            return {}
        try:
            return dict(sweep_once(client))
        finally:
            if lock.owned():
                lock.release()


def send_archive(call_sid: str) -> None:
    """Queue ``archive``; what ``calls.eventlog.LogWriter`` is given. Raises at once while the broker is away."""
    archive.apply_async((call_sid,), retry=False)

"""Celery's entry to the list's exports."""

from __future__ import annotations

from celery import shared_task
from django.contrib.auth import get_user_model

from voiceagent.console.access import granted
from voiceagent.console.calls import exports
from voiceagent.console.calls.listing import NEWEST, SORTS
from voiceagent.console.calls.parsing import parse
from voiceagent.console.models import ListExport


@shared_task(name="console.calls.export", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def export(job_id: str) -> None:
    """Write the file of an export. What its owner may no longer see is not in it; nothing where the export is gone."""
    job = ListExport.objects.filter(pk=job_id, ready_at=None).first()
    owner = job and get_user_model().objects.filter(pk=job.owner_id, is_active=True).first()
    if job is None or owner is None:
        return
    may = granted(owner)
    query = parse(job.query, may)
    if "export_bulk" in may and not query.problems:
        exports.write_file(job, exports.Wanted(query, job.show, SORTS.get(job.sort, NEWEST), job.format, may))


@shared_task(name="console.calls.drop_exports", ignore_result=True)
def drop_exports() -> int:
    """Remove exports that nobody fetched for a day."""
    return exports.drop_old()

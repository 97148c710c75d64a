"""The Celery application: JSON only, acknowledged late, time-limited; the schedule is code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import (
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
)

from calls import logcontext

if TYPE_CHECKING:
    from calls.breakersync import Sharing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")

SWEEP_SECONDS = 15
MEMORY_SWEEP_SECONDS = 60
ERASURE_SECONDS = 60
HOUSEKEEPING_SECONDS = 6 * 3600
PHRASE_SECONDS = 30
HARD_LIMIT_SECONDS = 600
_CALL_HEADER = "voiceagent_call"
SOFT_LIMIT_SECONDS = 540

app = Celery("voiceagent")
app.config_from_object("django.conf:settings", namespace="CELERY")  # CELERY_BROKER_URL, and what a site adds
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    result_serializer="json",
    task_ignore_result=True,
    # A task counts as done when it is done: one whose worker died runs again, so every task must bear that.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_time_limit=HARD_LIMIT_SECONDS,
    task_soft_time_limit=SOFT_LIMIT_SECONDS,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # Redis hands an unacknowledged task out again after this time: well above the hard limit.
    # One that is silent must not hold the threads from which calls are handed over; a worker asks it every second anyway.
    broker_transport_options={"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 3},
    enable_utc=True,
    timezone="UTC",
    beat_schedule={
        "sweep-orphaned-calls": {
            "task": "calls.tasks.sweep",
            "schedule": SWEEP_SECONDS,
            # A sweep that could not run in time is worth nothing: the next one does the same.
            "options": {"expires": SWEEP_SECONDS},
        },
        "render-phrases": {
            "task": "calls.tasks.render_phrases",
            "schedule": PHRASE_SECONDS,
            "options": {"expires": PHRASE_SECONDS},
        },
        "sweep-memory": {
            "task": "memory.tasks.sweep",
            "schedule": MEMORY_SWEEP_SECONDS,
            "options": {"expires": MEMORY_SWEEP_SECONDS},
        },
        "finish-erasures": {
            "task": "memory.tasks.finish_erasures",
            "schedule": ERASURE_SECONDS,
            "options": {"expires": ERASURE_SECONDS},
        },
        "keep-memories": {
            "task": "memory.tasks.keep_house",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
        "drop-exports": {
            "task": "console.calls.drop_exports",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
    },
)
app.autodiscover_tasks()


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    """Keep Celery from bringing its own: Django's settings have configured logging."""
    from django.conf import settings  # after the settings module is known

    from voiceagent.logs import configure

    configure(settings.LOGGING)


@celeryd_init.connect
def _before_the_fork(**_: Any) -> None:
    """A worker forks, and a pool has threads: workers use plain connections."""
    from django.conf import settings  # after the settings module is known

    from voiceagent import guards  # noqa: F401 - what each child would have to load otherwise

    if settings.TELEMETRY is not None:
        from voiceagent import otlp  # noqa: F401 - as above

    for database in settings.DATABASES.values():
        database["OPTIONS"].pop("pool", None)


_sharing: list[Sharing] = []


@worker_process_init.connect
def _share_breakers(**_: Any) -> None:
    """In each child of a worker, after the fork: threads do not survive one."""
    from django.conf import settings  # after the settings module is known

    from voiceagent import guards  # loaded before the fork: a child that is slow to start is killed

    _sharing.append(guards.start(settings.REDIS_URL))


@worker_process_shutdown.connect
def _stop_sharing(**_: Any) -> None:
    while _sharing:
        _sharing.pop().stop()


@worker_process_init.connect
def _start_traces(**_: Any) -> None:
    """In each child, after the fork: what the SDK has threads for does not survive one."""
    from django.conf import settings  # after the settings module is known

    from voiceagent import telemetry

    telemetry.start(settings.TELEMETRY, "worker")


@worker_process_shutdown.connect
def _stop_traces(**_: Any) -> None:
    from voiceagent import telemetry

    telemetry.stop()


@before_task_publish.connect
def _name_call(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """A task about a call says so, and so do the tasks that it sends."""
    place = logcontext.place.get()
    if headers is not None and place is not None:
        headers[_CALL_HEADER] = [place.call_sid, place.trace_id]


@task_prerun.connect
def _enter_call(task: Any = None, **_: Any) -> None:
    """A task's lines name the call that it is about."""
    match getattr(task.request, _CALL_HEADER, None):
        case [str(call_sid), str(trace_id)]:
            logcontext.enter(call_sid, trace_id)


@task_postrun.connect
def _leave_call(**_: Any) -> None:
    logcontext.place.set(None)

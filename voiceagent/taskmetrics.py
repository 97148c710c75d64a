"""What the worker and the scheduler count, and where each of them is scraped.

A worker forks, and its tasks run in the children. So ``python -m voiceagent.background worker`` turns on the
multiprocess mode of ``prometheus_client``: every process writes its figures to files of its own in a fresh folder, and
the parent adds them up when it is scraped. Gauges of single processes mean nothing there; what a worker measures are
counters and histograms, and the figures of the parent's process beside them.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import structlog
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.signals import (
    after_task_publish,
    beat_init,
    task_failure,
    task_postrun,
    task_prerun,
    worker_process_shutdown,
    worker_ready,
)
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from voiceagent import conf
from voiceagent.background import FOLDER_VARIABLE
from voiceagent.env import Env

if TYPE_CHECKING:
    from celery import Task

_log = structlog.get_logger(__name__)

_RUNTIME_MS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000)

SENT = Counter("celery_tasks_sent", "Tasks that this process put into the queue", ["task"])
DONE = Counter("celery_tasks", "Tasks by name and outcome", ["task", "outcome"])
RUNTIME_MS = Histogram(
    "celery_task_runtime_ms", "Time that a task ran, whatever came of it", ["task"], buckets=_RUNTIME_MS
)

#: Celery's states to outcomes.
_OUTCOMES = {
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "RETRY": "retried",
    "REJECTED": "rejected",
    "IGNORED": "ignored",
}
#: What only the parent sees, since the child is gone.
_ENDS = {WorkerLostError: "lost", TimeLimitExceeded: "timed_out"}

_begun: dict[str, float] = {}


@after_task_publish.connect
def _sent(sender: str | None = None, **_: Any) -> None:
    SENT.labels(sender or "unknown").inc()


@task_prerun.connect
def _begins(task_id: str = "", **_: Any) -> None:
    _begun[task_id] = time.perf_counter()


@task_postrun.connect
def _ended(sender: Task[..., Any] | None = None, task_id: str = "", state: str | None = None, **_: Any) -> None:
    name = str(getattr(sender, "name", "unknown"))
    DONE.labels(name, _OUTCOMES.get(state or "", "other")).inc()
    if (begun := _begun.pop(task_id, None)) is not None:
        RUNTIME_MS.labels(name).observe((time.perf_counter() - begun) * 1000)


@task_failure.connect
def _child_is_gone(sender: Task[..., Any] | None = None, exception: BaseException | None = None, **_: Any) -> None:
    """In the parent: a task whose child was killed, or ran for too long. All others have a ``task_postrun``."""
    for kind, outcome in _ENDS.items():
        if isinstance(exception, kind):
            DONE.labels(str(getattr(sender, "name", "unknown")), outcome).inc()


@worker_process_shutdown.connect
def _child_ends(pid: int | None = None, **_: Any) -> None:
    if FOLDER_VARIABLE in os.environ:
        mark_process_dead(pid or os.getpid())  # type: ignore[no-untyped-call]


@worker_ready.connect
def _serve_worker(**_: Any) -> None:
    """Once it takes tasks. A worker that was started without the folder has nothing to show."""
    if FOLDER_VARIABLE not in os.environ:
        return
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    _serve(_site().worker_metrics_port, registry)


@beat_init.connect
def _serve_scheduler(**_: Any) -> None:
    _serve(_site().scheduler_metrics_port, REGISTRY)


def _site() -> conf.SiteConf:
    return conf.site_conf(Env(os.environ))


def _serve(port: int, registry: CollectorRegistry) -> None:
    """Serve in a thread. A port that is taken costs the figures, never the work: the scraper tells that nobody answers."""
    if not port:
        return
    try:
        start_http_server(port, _site().metrics_host, registry)
    except OSError as error:
        _log.error("metrics.not_served", port=port, error=error.strerror)

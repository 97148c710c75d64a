"""What waits in Redis and PostgreSQL, for ``/metrics``: queues, calls to be archived, conversations to be remembered.

These figures belong to the whole product, not to a process: every web process gives the same ones. They are read when
somebody scrapes, within half a second and beside the calls; what could not be read is left out, and ``dependency_up`` says
whose fault that is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis
import structlog
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector
from redis.backoff import NoBackoff
from redis.retry import Retry

from calls.logkeys import DEAD_AFTER_MS, HEARTBEAT_MS, LIVE_KEY
from calls.services import remembering
from memory.services import chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from datetime import datetime

    from prometheus_client.metrics_core import Metric

_log = structlog.get_logger(__name__)

#: A scraper that gives up sees a dead process where a dependency hangs.
_DEADLINE_S = 0.5
#: Celery's names in the broker: the default queue, and what a worker has taken and not yet done.
_QUEUE, _TAKEN = "celery", "unacked"

#: Every figure: name, meaning, label (none: empty).
FIGURES = (
    ("dependency_up", "Whether the dependency answered in time when this was scraped", "dependency"),
    ("celery_queue_length", "Tasks that no worker has taken", "queue"),
    ("celery_tasks_taken", "Tasks that a worker has taken and not yet done", "queue"),
    ("archive_waiting_calls", "Calls without a heartbeat for 30 s whose record is not in the database", ""),
    ("archive_lag_ms", "Time since the last heartbeat of the call that waits longest for its archive", ""),
    ("memory_waiting", "Calls and conversations that wait for a step into the memory", "step"),
    ("memory_lag_ms", "Age of the oldest of them", ""),
)


@dataclass(eq=False, slots=True)
class _Reading(Collector):
    """The figures of the last reading, by name and label."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def collect(self) -> Iterator[Metric]:
        """Those that could be read."""
        for name, meaning, label in FIGURES:
            if values := self.figures.get(name):
                family = GaugeMetricFamily(name, meaning, labels=[label] if label else [])
                for value_of, value in values.items():
                    family.add_metric([value_of] if label else [], value)
                yield family

    def describe(self) -> Iterator[Metric]:
        """All of them, read or not."""
        return iter([GaugeMetricFamily(name, meaning) for name, meaning, _ in FIGURES])


_reading = _Reading()
REGISTRY.register(_reading)
#: A thread for each dependency, and none for calls: one that hangs holds its own, and its next readings wait behind.
_threads = {name: ThreadPoolExecutor(1, f"backlog-{name}") for name in ("redis", "database")}


def read() -> dict[str, dict[str, float]]:
    """Read all figures anew, for the next scrape of the registry; gives them by name and label. In a thread: whether a dependency answers in time must
    not be judged by an event loop that has none."""
    parts = {"redis": _in_redis, "database": _in_database}
    asked = {name: _threads[name].submit(part) for name, part in parts.items()}
    wait(asked.values(), _DEADLINE_S)
    figures: dict[str, dict[str, float]] = {"dependency_up": {}}
    for name, answer in asked.items():
        found = _answer(answer)
        figures["dependency_up"][name] = float(found is not None)
        figures |= found or {}
    _reading.figures = figures
    return figures


def _answer(asked: Future[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]] | None:
    try:
        return asked.result(0)
    except Exception as error:  # noqa: BLE001 - away, late or broken: the rest of the figures must be seen all the same
        asked.cancel()
        _log.warning("backlog.not_read", error=type(error).__name__)
        return None


def _in_redis() -> dict[str, dict[str, float]]:
    now_ms = time.time_ns() // 1_000_000
    with redis.Redis.from_url(
        settings.REDIS_URL, retry=Retry(NoBackoff(), 0), socket_timeout=_DEADLINE_S, socket_connect_timeout=_DEADLINE_S
    ) as client:
        pipe = client.pipeline(transaction=False)
        pipe.llen(_QUEUE)
        pipe.hlen(_TAKEN)
        pipe.zcount(LIVE_KEY, "-inf", now_ms - DEAD_AFTER_MS)
        pipe.zrange(LIVE_KEY, 0, 0, withscores=True)
        length, taken, waiting, oldest = pipe.execute()
    quiet_ms = max((now_ms - int(score) for _, score in oldest), default=0)
    return {
        "celery_queue_length": {_QUEUE: length},
        "celery_tasks_taken": {_QUEUE: taken},
        "archive_waiting_calls": {"": waiting},
        "archive_lag_ms": {"": quiet_ms if quiet_ms > 2 * HEARTBEAT_MS else 0},  # else it is a living call's
    }


def _in_database() -> dict[str, dict[str, float]]:
    close_old_connections()
    try:
        calls, archived_at = remembering.waiting()
        steps, written_at = chain.waiting()
    finally:
        close_old_connections()
    return {
        "memory_waiting": {"remember": calls, **steps},
        "memory_lag_ms": {"": max(_age_ms(archived_at), _age_ms(written_at))},
    }


def _age_ms(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (timezone.now() - moment).total_seconds() * 1000)

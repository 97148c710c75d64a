"""A Celery worker in a thread of the test's process, on the real broker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery.contrib.testing.worker import start_worker
from celery.signals import worker_process_shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery


@contextmanager
def working(app: Celery, shutdown_s: float = 20.0) -> Iterator[None]:
    """What a child of a worker does, to its end: the pool without children tells of the beginning alone, and its breakers
    would go on telling the tests that follow what they saw."""
    try:
        with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=shutdown_s):
            yield
    finally:
        worker_process_shutdown.send(sender=None)

"""What stands beside the metrics of calls: requests without a thread, and what waits in Redis and PostgreSQL."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from asgiref.sync import SyncToAsync
from django.core.cache import cache
from django.utils import timezone
from prometheus_client import REGISTRY

from calls.logkeys import LIVE_KEY
from calls.models import Call
from memory import manager
from memory.core.values import Said
from memory.models import Conversation
from tests.app.memory.people import MARIA, MONDAY
from voiceagent import backlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import AsyncClient

SECOND_MS = 1000


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def figures(name: str) -> dict[str, float]:
    """The samples of a figure by their label; none where it could not be read."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for metric in REGISTRY.collect()
        if metric.name == name
        for sample in metric.samples
    }


@pytest.mark.parametrize("why", ["no_database", "no_agent", "drain", "overload", "rate"])
def test_a_refusal_has_its_series_before_the_first_one(why: str) -> None:
    assert REGISTRY.get_sample_value("calls_refused_total", {"why": why}) is not None


async def test_a_request_is_counted_without_a_thread(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of a middleware that Django knows as synchronous costs a webhook a thread."""
    threaded: list[str] = []
    call: Callable[..., Any] = SyncToAsync.__call__

    async def spied(self: Any, *args: Any, **kwargs: Any) -> Any:
        threaded.append(f"{self.func.__module__}.{getattr(self.func, '__qualname__', '')}")
        return await call(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", spied)
    view = {"view": "voiceagent.health.healthz", "method": "GET"}
    names = (
        ("django_http_requests_before_middlewares_total", {}),
        ("django_http_requests_latency_including_middlewares_seconds_count", {}),
        ("django_http_requests_latency_seconds_by_view_method_count", view),
        ("django_http_requests_total_by_view_transport_method_total", {**view, "transport": "http"}),
        ("django_http_responses_total_by_status_view_method_total", {**view, "status": "200"}),
    )
    before = [counted(name, **labels) for name, labels in names]
    assert (await async_client.get("/healthz")).status_code == 200
    assert [counted(name, **labels) for name, labels in names] == [value + 1 for value in before]
    assert threaded, "the spy sees nothing"
    assert [name for name in threaded if "rometheus" in name or "httpmetrics" in name or "inplace" in name] == []


def test_the_cache_is_counted() -> None:
    before = counted("django_cache_get_total", backend="locmem")
    cache.get("nothing")
    assert counted("django_cache_get_total", backend="locmem") == before + 1


@pytest.mark.django_db(transaction=True)
async def test_what_waits_is_read_when_somebody_scrapes(async_client: AsyncClient, redis_url: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("celery", "one", "two")
        client.hset("unacked", "tag", "three")
        client.zadd(LIVE_KEY, {"CA1": now_ms - 100 * SECOND_MS, "CA2": now_ms - 40 * SECOND_MS, "CA3": now_ms})
    answer = await async_client.get("/metrics")
    assert b'celery_queue_length{queue="celery"} 2.0' in answer.content
    assert figures("celery_tasks_taken") == {"celery": 1}
    assert figures("archive_waiting_calls") == {"": 2}
    assert figures("archive_lag_ms")[""] == pytest.approx(100 * SECOND_MS, abs=5 * SECOND_MS)
    assert figures("dependency_up") == {"redis": 1, "database": 1}
    assert figures("memory_waiting") == {"remember": 0, "embed": 0, "distil": 0, "card": 0}
    assert figures("memory_lag_ms") == {"": 0}


@pytest.mark.django_db(transaction=True)
def test_a_living_call_is_no_lag(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(LIVE_KEY, {"CA1": time.time_ns() // 1_000_000 - 5 * SECOND_MS})
    backlog.read()
    assert figures("archive_lag_ms") == {"": 0}
    assert figures("archive_waiting_calls") == {"": 0}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis_url")
def test_the_memorys_backlog_is_by_step_and_as_old_as_its_oldest() -> None:
    told = (Said(2, "user", "I am allergic to peanuts.", MONDAY, audio_ms=300),)
    for name in ("CA1", "CA2"):
        manager.current().write_call(MARIA, name, told, began_at=MONDAY, ended_at=MONDAY)
    hour_ago = timezone.now() - timedelta(hours=1)
    Conversation.objects.filter(name="CA1").update(written_at=hour_ago, embedded_at=hour_ago)
    Call.objects.create(call_sid="CA3", started_at=hour_ago, archived_at=timezone.now(), remember_due_at=timezone.now())
    backlog.read()
    assert figures("memory_waiting") == {"remember": 1, "embed": 1, "distil": 2, "card": 2}
    assert figures("memory_lag_ms")[""] == pytest.approx(3600 * SECOND_MS, abs=60 * SECOND_MS)


@pytest.mark.django_db(transaction=True)
def test_one_that_hangs_costs_half_a_second_each_time(settings: Any, redis_url: str) -> None:
    """Also when it has hung before: who hung then still holds the thread."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        for _ in range(3):
            begun = time.monotonic()
            backlog.read()
            assert time.monotonic() - begun < 2
            assert figures("dependency_up") == {"redis": 0, "database": 1}
    settings.REDIS_URL = redis_url
    deadline = time.monotonic() + 10
    while figures("dependency_up") != {"redis": 1, "database": 1}:
        assert time.monotonic() < deadline
        backlog.read()


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_read_is_left_out_and_named(redis_url: str, settings: Any) -> None:
    backlog.read()
    assert figures("celery_queue_length")
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    backlog.read()
    assert figures("dependency_up") == {"redis": 0, "database": 1}
    assert figures("celery_queue_length") == {}
    assert figures("archive_lag_ms") == {}
    assert figures("memory_lag_ms") == {"": 0}

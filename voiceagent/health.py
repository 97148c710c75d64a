"""Alive, ready, and the numbers: ``/healthz``, ``/readyz``, ``/metrics``.

Alive means that the event loop turns. Ready means that this process takes one more call: it has started, there is room,
and nobody has told it to stop.

Dependencies that are away and open circuit breakers are told and change nothing: they are so in every process, and a
process without them still goes on with its calls and answers new ones, which is more than a balancer without any process
could do. Dependencies are asked over connections of their own, so that a probe neither waits for a pool nor takes
anything from a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import redis
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from memory.loopredis import loop_client
from voiceagent import backlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from prometheus_client import CollectorRegistry

DEPENDENCY_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Live:
    """What this process carries at the moment. ``breakers`` is the phase of each circuit breaker, by its name; ``no_room`` why
    one more call would get the busy answer (``calls.registry.Registry.no_room``), empty where it would not."""

    calls: int = 0
    capacity: int = 0
    draining: bool = False
    breakers: Mapping[str, str] = field(default_factory=dict)
    no_room: str = ""


_provider: Callable[[], Live] = Live


def set_live_provider(provider: Callable[[], Live]) -> None:
    """Say where the counts of live calls come from; ``voiceagent.wiring`` does so once."""
    global _provider
    _provider = provider


@require_safe
async def healthz(_request: HttpRequest) -> HttpResponse:
    """200 as long as the event loop turns."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
async def readyz(_request: HttpRequest) -> JsonResponse:
    """200 if this process takes one more call, else 503; the same JSON either way. ``degraded`` names the dependencies away."""
    found = await dependencies()
    live = _provider()
    has_room = live.calls < live.capacity  # before the start there is no capacity
    ready = has_room and not live.no_room and not live.draining
    body = {
        "ready": ready,
        "draining": live.draining,
        "calls": live.calls,
        "capacity": live.capacity,
        "no_room": live.no_room,
        "degraded": [name for name, result in found.items() if not result["ok"]],
        "dependencies": found,
        "breakers": dict(live.breakers),
    }
    answer = JsonResponse(body, status=200 if ready else 503)
    # Django's own mark. Not ready is an answer, not an error: with it a probe would fill the log every few seconds.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer


async def dependencies() -> dict[str, dict[str, Any]]:
    """Each dependency of ours: whether it answered (``ok``), in how many ``ms``, and the class of the ``error``."""
    names = tuple(_PROBES)
    return dict(zip(names, await asyncio.gather(*(_probe(_PROBES[name]) for name in names)), strict=True))


@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """The default registry in the format that the scraper asks for; written in a thread, since it is long."""
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(await asyncio.to_thread(_written, encoder), content_type=content_type)


def _written(encoder: Callable[[CollectorRegistry], bytes]) -> bytes:
    backlog.read()
    return encoder(REGISTRY)


async def _probe(ask: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """Ask one dependency, in time. An error is told by its class: its text may hold an address with a password."""
    begun = time.perf_counter()
    error = ""
    try:
        async with asyncio.timeout(DEPENDENCY_TIMEOUT_S):
            await ask()
    except (OSError, TimeoutError, psycopg.Error, redis.RedisError) as problem:
        error = type(problem).__name__
    took_ms = round((time.perf_counter() - begun) * 1000, 1)
    return {"ok": not error, "ms": took_ms} | ({"error": error} if error else {})


async def _ask_database() -> None:
    database = settings.DATABASES["default"]
    connection = await psycopg.AsyncConnection.connect(
        host=database.get("HOST") or None,
        port=database.get("PORT") or None,
        user=database.get("USER") or None,
        password=database.get("PASSWORD") or None,
        dbname=database.get("NAME") or None,
        autocommit=True,
        **{name: value for name, value in database["OPTIONS"].items() if name != "pool"},
    )
    async with connection:
        await connection.execute("SELECT 1")


async def _ask_redis() -> None:
    async with loop_client(settings.REDIS_URL, retry=Retry(NoBackoff(), 0)) as client:
        await client.ping()


_PROBES: dict[str, Callable[[], Awaitable[None]]] = {"database": _ask_database, "redis": _ask_redis}

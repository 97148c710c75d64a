"""Tickets over a Redis that comes and goes, in the event loop that serves in production."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from calls.tickets import PATIENCE_S, Ticket, Tickets
from memory.loopredis import loop_client
from tests.faults.proxy import Proxy
from tests.unit.core.world import agent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TICKET = Ticket("CA1", "AC1", "+15550001", "+15550002", 1, agent())


def with_tickets(url: str, story: Callable[[Tickets, Tickets, Proxy], Coroutine[None, None, None]]) -> None:
    """Run a story of two processes' tickets, the first behind a proxy."""

    async def told() -> None:
        port = urlsplit(url).port
        assert port is not None
        async with Proxy(port) as proxy:
            ours = loop_client(url.replace(f":{port}", f":{proxy.port}"), socket_timeout=1, retry=Retry(NoBackoff(), 0))
            theirs = loop_client(url)
            try:
                await story(Tickets(ours, 60), Tickets(theirs, 60), proxy)
            finally:
                proxy.heal()
                await ours.aclose()
                await theirs.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(told())


def test_a_ticket_outlives_a_redis_that_goes_between_webhook_and_stream(redis_url: str) -> None:
    async def story(ours: Tickets, _theirs: Tickets, proxy: Proxy) -> None:
        for fault in (proxy.refuse, proxy.hang):
            token = await ours.issue(TICKET)
            fault()
            began = time.monotonic()
            assert await ours.take(token) == TICKET
            assert time.monotonic() - began < PATIENCE_S + 0.5
            assert await ours.take(token) is None
            proxy.heal()

    with_tickets(redis_url, story)


def test_a_ticket_is_issued_without_redis_and_soon_with_one_that_is_silent(redis_url: str) -> None:
    async def story(ours: Tickets, _theirs: Tickets, proxy: Proxy) -> None:
        for fault in (proxy.refuse, proxy.hang):
            fault()
            began = time.monotonic()
            token = await ours.issue(TICKET)
            assert time.monotonic() - began < PATIENCE_S + 0.5
            proxy.heal()
            assert await ours.take(token) == TICKET
            assert await ours.take(token) is None, "Redis may have been told after all"

    with_tickets(redis_url, story)


def test_a_ticket_that_another_process_took_is_spent_here_too(redis_url: str) -> None:
    async def story(ours: Tickets, theirs: Tickets, _proxy: Proxy) -> None:
        token = await ours.issue(TICKET)
        assert await theirs.take(token) == TICKET
        assert await ours.take(token) is None

    with_tickets(redis_url, story)

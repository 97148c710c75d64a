"""Alive, ready, and the numbers."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from voiceagent import health
from voiceagent.health import Live, set_live_provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

    from django.test import AsyncClient

    from tests.conftest import TestServers


@pytest.fixture
def room() -> Iterator[None]:
    before = health._provider
    set_live_provider(lambda: Live(calls=1, capacity=2, breakers={"openai.reply": "closed"}))
    yield
    set_live_provider(before)


async def test_alive_needs_nothing(async_client: AsyncClient) -> None:
    answer = await async_client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
@pytest.mark.usefixtures("room")
async def test_ready_says_what_it_stands_on(async_client: AsyncClient, test_servers: TestServers) -> None:
    answer = await async_client.get("/readyz")
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["ready"], body["calls"], body["capacity"], body["breakers"]) == (
        True,
        1,
        2,
        {"openai.reply": "closed"},
    )
    assert body["degraded"] == []
    for name in ("database", "redis"):
        assert body["dependencies"][name]["ok"]
        assert body["dependencies"][name]["ms"] > 0


@pytest.mark.django_db
@pytest.mark.usefixtures("room")
async def test_a_vendor_that_is_away_takes_no_process_out(async_client: AsyncClient) -> None:
    phases = {"openai.reply": "open", "cartesia.stt": "forced"}
    set_live_provider(lambda: Live(capacity=2, breakers=phases))
    answer = await async_client.get("/readyz")
    assert (answer.status_code, answer.json()["breakers"]) == (200, phases)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "live",
    [
        Live(calls=2, capacity=2),
        Live(calls=0, capacity=2, draining=True),
        Live(calls=1, capacity=2, no_room="loop_lag"),
        Live(),  # not started
    ],
)
@pytest.mark.usefixtures("room")
async def test_full_or_draining_is_not_ready_which_is_no_error(
    live: Live, async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    set_live_provider(lambda: live)
    answer = await async_client.get("/readyz")
    assert answer.status_code == 503
    assert [record for record in caplog.records if record.name == "django.request"] == []
    assert answer.json()["dependencies"]["database"]["ok"]


@pytest.mark.django_db
@pytest.mark.usefixtures("room")
async def test_a_dependency_away_is_named_without_its_address(async_client: AsyncClient, settings: Any) -> None:
    settings.REDIS_URL = "redis://:hidden@127.0.0.1:9/0"
    answer = await async_client.get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["ready"], body["degraded"]) == (200, True, ["redis"])
    assert body["dependencies"]["database"]["ok"]
    assert body["dependencies"]["redis"]["error"] == "ConnectionError"
    assert b"hidden" not in answer.content


@pytest.mark.django_db
@pytest.mark.usefixtures("room")
async def test_a_dependency_that_hangs_costs_the_deadline_only(
    async_client: AsyncClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "DEPENDENCY_TIMEOUT_S", 0.2)
    released = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    settings.REDIS_URL = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    async with server, asyncio.timeout(5):
        body = (await async_client.get("/readyz")).json()
        released.set()
    assert body["dependencies"]["redis"]["error"] == "TimeoutError"
    assert 200 <= body["dependencies"]["redis"]["ms"] < 2000


@pytest.mark.parametrize("name", sorted(health._PROBES))
async def test_who_leaves_while_a_dependency_is_asked_leaves_no_connection(
    name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever of its waits. The collector tells of what nobody has closed."""
    waits, over = 0, False
    while not over:
        waits += 1
        asking = asyncio.create_task(leave(waits, health._PROBES[name]))
        await asyncio.wait([asking])
        over = not asking.cancelled()
    assert waits > 1
    await asyncio.sleep(0.05)  # what is closed is gone a moment later
    told: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: told.append(unraisable.exc_value))
    gc.collect()
    assert told == []


async def leave(wait: int, ask: Callable[[], Awaitable[None]]) -> None:
    """Ask, and be cancelled in its wait of this number."""
    await _left_at(wait, ask())


@types.coroutine
def _left_at(wait: int, asking: Awaitable[None]) -> Generator[Any, Any, None]:
    task, waiting = asyncio.current_task(), asking.__await__()
    assert task is not None
    go_on = partial(waiting.send, None)
    while True:
        try:
            awaited = go_on()
        except StopIteration:
            return
        wait -= 1
        if wait == 0:
            task.cancel()
        try:
            go_on = partial(waiting.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - it is for what waits
            go_on = partial(waiting.throw, error)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_metrics_come_in_the_format_asked_for(accept: str, async_client: AsyncClient) -> None:
    answer = await async_client.get("/metrics", headers={"accept": accept})
    assert b"django_http_requests_before_middlewares_total" in answer.content
    assert answer.content.endswith(b"# EOF\n") == bool(accept)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_they_only_answer_to_reading(path: str, async_client: AsyncClient) -> None:
    assert (await async_client.post(path)).status_code == 405

"""The board's socket without a page: what it says, what it refuses, and a Redis that goes away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from channels import consumer
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.test import Client

from tests.app.console.conftest import somebody
from tests.browser.crowd import SIDS, Crowd
from voiceagent import asgi
from voiceagent.console.live import COME_BACK
from voiceagent.layer import ChannelLayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _named(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]


class Page(WebsocketCommunicator):
    """A page's end of the socket."""

    async def heard(self, kind: str) -> dict[str, Any]:
        """The next message of this kind."""
        while True:
            message: dict[str, Any] = orjson.loads(await self.receive_from(10))
            if message["type"] == kind:
                return message

    async def says(self, **content: Any) -> None:
        await self.send_to(orjson.dumps(content).decode())


async def opened(role: str) -> Page:
    client = Client()
    await sync_to_async(client.force_login)(await sync_to_async(somebody)(role))
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    headers = [(b"origin", b"http://testserver"), (b"cookie", cookie)]
    page = Page(asgi.application, "/console/live/", headers=headers)
    assert (await page.connect(10))[0]
    return page


@pytest.fixture
async def crowd(redis_url: str) -> AsyncIterator[Crowd]:
    made = Crowd(2)
    await made.feed.round()
    yield made
    await made.close()
    await sync_to_async(connections.close_all)()


async def test_it_shows_the_calls_masked_and_redacted_and_refuses_what_it_does_not_know(crowd: Crowd) -> None:
    crowd.say(0, "My number is 0 7 9 4 1 2 3 4 5 6.")
    crowd.feed._looked_ms = 0
    await crowd.feed.round()
    page, reviewer = await opened("viewer"), await opened("reviewer")
    shown = {row["id"]: row for row in (await page.heard("snapshot"))["rows"]}
    assert sorted(shown) == [SIDS.format(0), SIDS.format(1)]
    assert shown[SIDS.format(0)]["number"] == "+44 •••• ••0000"
    assert "4 1 2" not in shown[SIDS.format(0)]["words"]
    read = {row["id"]: row["words"] for row in (await reviewer.heard("snapshot"))["rows"]}
    assert "4 1 2 3" in read[SIDS.format(0)]
    for forged in ({"type": "open", "call_sid": "CAnobody"}, {"type": "open", "call_sid": ["x"]}, {"type": "say"}):
        await page.says(**forged)
        assert (await page.heard("refused"))["why"]
    await page.says(type="open", call_sid=SIDS.format(0))
    drawer = await page.heard("drawer")
    assert (drawer["call_sid"], drawer["whole"], drawer["items"]) == (SIDS.format(0), True, [])
    for one in (page, reviewer):
        await one.disconnect()


async def test_a_redis_that_is_away_ends_the_socket_so_that_the_page_comes_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = ChannelLayer(hosts=["redis://127.0.0.1:9/0"])
    monkeypatch.setattr(consumer, "get_channel_layer", lambda alias: away)
    page = await opened("viewer")
    assert (await page.receive_output(10))["code"] == COME_BACK
    await page.wait(10)
    assert [
        task for task in asyncio.all_tasks() if task.get_name().startswith("board:") and not task.cancelling()
    ] == []
    await away.close_pools()
    await sync_to_async(connections.close_all)()

"""Sockets of pages: snapshots, numbers, gaps, and who may at every message."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.urls import path

from tests.app.console.conftest import somebody
from voiceagent import asgi
from voiceagent.console import access, live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]


class Board(live.LiveConsumer):
    """A page with a snapshot, changes of a group, and something that an operator may do."""

    messages: ClassVar = {"whisper": "console.whisper"}

    async def joined(self) -> list[str]:
        return ["test.board"]

    async def snapshot(self) -> dict[str, Any]:
        return {"rows": [1, 2]}

    async def board_batch(self, message: Any) -> None:
        await self.change({"row": message["row"]}, source="web-1", serial=message["serial"])

    async def on_whisper(self, content: dict[str, Any]) -> None:
        await self.tell("whispered", text=content["text"])


@pytest.fixture(autouse=True)
def _routed(settings: Any) -> Any:
    settings.ALLOWED_HOSTS = ["testserver"]
    asgi.PAGES_SOCKETS.insert(0, path("console/test/live", asgi.signed_in(Board.as_asgi())))
    yield
    asgi.PAGES_SOCKETS.pop(0)


@asynccontextmanager
async def opened(user: User | None) -> AsyncIterator[WebsocketCommunicator]:
    headers = [(b"origin", b"http://testserver")]
    if user is not None:
        client = Client()
        await sync_to_async(client.force_login)(user)
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    socket = WebsocketCommunicator(asgi.application, "/console/test/live", headers=headers)
    assert (await socket.connect())[0]
    try:
        yield socket
    finally:
        await socket.disconnect()
        await sync_to_async(connections.close_all)()


def told(message: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(message[name] for name in names)


async def test_a_page_gets_a_snapshot_then_numbered_changes() -> None:
    async with opened(await sync_to_async(somebody)("viewer")) as socket:
        first = await socket.receive_json_from()
        assert told(first, "type", "number", "rows") == ("snapshot", 1, [1, 2])
        layer = get_channel_layer()
        for serial in (5, 6):
            await layer.group_send("test.board", {"type": "board.batch", "row": serial, "serial": serial})
            assert told(await socket.receive_json_from(), "type", "number", "row") == ("change", serial - 3, serial)
        await socket.send_json_to({"type": "snapshot"})
        assert told(await socket.receive_json_from(), "type", "number") == ("snapshot", 4)


async def test_a_page_to_which_there_is_nothing_to_say_hears_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "beat_s", 0.05)
    async with opened(await sync_to_async(somebody)("viewer")) as socket:
        assert (await socket.receive_json_from())["type"] == "snapshot"
        assert [await socket.receive_json_from() for _ in range(2)] == [{"type": "beat"}] * 2


async def test_who_signed_out_is_told_so_without_anything_else_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "beat_s", 0.05)
    monkeypatch.setattr(live, "RECHECK_S", -1.0)
    async with opened(await sync_to_async(somebody)("viewer")) as socket:
        assert (await socket.receive_json_from())["type"] == "snapshot"
        await Session.objects.all().adelete()
        while (message := await socket.receive_json_from())["type"] == "beat":
            pass
        assert told(message, "type", "why") == ("refused", access.SIGNED_OUT)
        assert (await socket.receive_output())["code"] == live.FORBIDDEN


async def test_what_got_lost_on_the_way_here_is_made_up_for_by_a_snapshot() -> None:
    async with opened(await sync_to_async(somebody)("viewer")) as socket:
        await socket.receive_json_from()
        layer = get_channel_layer()
        for serial in (1, 3, 4):
            await layer.group_send("test.board", {"type": "board.batch", "row": serial, "serial": serial})
        kinds = [(await socket.receive_json_from())["type"] for _ in range(3)]
        assert kinds == ["change", "snapshot", "change"]


async def test_every_message_asks_who_may() -> None:
    user = await sync_to_async(somebody)("operator")
    async with opened(user) as socket:
        await socket.receive_json_from()
        await socket.send_json_to({"type": "whisper", "text": "slowly"})
        assert told(await socket.receive_json_from(), "type", "text") == ("whispered", "slowly")
        await sync_to_async(somebody)("viewer", user.username)
        await socket.send_json_to({"type": "whisper", "text": "slowly"})
        assert told(await socket.receive_json_from(), "type", "permission") == ("refused", "console.whisper")
        await sync_to_async(user.groups.clear)()
        await socket.send_json_to({"type": "snapshot"})
        assert told(await socket.receive_json_from(), "type", "permission") == ("refused", "console.view_console")


@pytest.mark.parametrize("how", ["inactive", "signed out", "deleted"])
async def test_who_is_gone_does_nothing_more(how: str) -> None:
    user = await sync_to_async(somebody)("operator")
    async with opened(user) as socket:
        await socket.receive_json_from()
        if how == "inactive":
            await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        elif how == "signed out":
            await Session.objects.all().adelete()
        else:
            await User.objects.filter(pk=user.pk).adelete()
        await socket.send_json_to({"type": "whisper", "text": "slowly"})
        assert (await socket.receive_json_from())["type"] == "refused"


async def test_what_is_sent_is_rechecked_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    user = await sync_to_async(somebody)("viewer")
    async with opened(user) as socket:
        await socket.receive_json_from()
        monkeypatch.setattr(live, "RECHECK_S", -1.0)
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
        await get_channel_layer().group_send("test.board", {"type": "board.batch", "row": 1, "serial": 1})
        assert (await socket.receive_json_from())["type"] == "refused"
        assert (await socket.receive_output())["code"] == live.FORBIDDEN


@pytest.mark.parametrize(("role", "code"), [(None, live.SIGNED_OUT), ("nobody", live.FORBIDDEN)])
async def test_who_may_not_is_told_and_closed(role: str | None, code: int) -> None:
    user = await User.objects.acreate(username="nobody") if role else None
    async with opened(user) as socket:
        assert (await socket.receive_json_from())["type"] == "refused"
        assert (await socket.receive_output()) == {"type": "websocket.close", "code": code}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "7",
        '{"type": 7}',
        '{"type": "dispatch"}',
        '{"type": "__init__"}',
        '{"type":"' + "x" * 20_000 + '"}',
    ],
)
async def test_nonsense_is_refused_and_harms_nothing(text: str) -> None:
    async with opened(await sync_to_async(somebody)("admin")) as socket:
        await socket.receive_json_from()
        await socket.send_input({"type": "websocket.receive", "text": text})
        assert (await socket.receive_json_from())["type"] == "refused"
        await socket.send_json_to({"type": "snapshot"})
        assert (await socket.receive_json_from())["type"] == "snapshot"

"""Sockets of the console's pages on a line: somebody's session, and a client that comes from our own page."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import Client
from websockets.asyncio.client import connect

from tests.app.console.conftest import somebody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from tests.line.conftest import Line


def signed_in(role: str, username: str = "") -> str:
    """The cookie of a session of somebody with this role. Synchronous."""
    client = Client()
    client.force_login(somebody(role, username))
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


@asynccontextmanager
async def page_socket(
    line: Line, path: str, role: str | None = "operator", *, username: str = "", origin: str | None = None
) -> AsyncIterator[ClientConnection]:
    """A socket as a page of this user opens it; ``origin`` in place of our own."""
    cookie = {} if role is None else {"Cookie": await sync_to_async(signed_in)(role, username)}
    url = line.url.replace("http", "ws") + path
    async with connect(url, origin=origin or line.url, additional_headers=cookie) as socket:  # type: ignore[arg-type]
        yield socket


async def message(socket: ClientConnection) -> Any:
    """The next message: an object, or bytes."""
    data = await socket.recv()
    return data if isinstance(data, bytes) else orjson.loads(data)

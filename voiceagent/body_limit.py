"""No request's body is larger than this server has a use for.

Django's ASGI handler writes a body to memory or disk in full before any view, signature or login is looked at, so what
is too large must be refused before Django is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Message = Mapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

#: By the beginning of the path, in bytes; the first that fits. A carrier's form has a few hundred bytes.
LIMITS = (("/twilio/", 64 * 1024), ("/", 4 * 1024 * 1024))
#: A connection that is closed over unread bytes is reset, and the answer with it: so much is read and thrown away first.
LINGER_BYTES: Final = 16 * 1024 * 1024
LINGER_S: Final = 2.0


class BodyLimit:
    """ASGI middleware for HTTP: 413 for a body over its path's limit, whether it says its length or not."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request whose body is within its limit; of any other no more than the limit is kept."""
        limit = next(size for prefix, size in LIMITS if scope["path"].startswith(prefix) or prefix == "/")
        if _declared(scope) > limit:
            await _refuse(receive, send)
            return
        body = _Bounded(receive, limit)
        await self._app(scope, body.receive, send)
        if body.exceeded:
            await _refuse(receive, send, more=body.more)


class _Bounded:
    """A body that breaks off, as if the client had left, where it becomes too large: Django then gives up silently."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.exceeded = False
        self.more = True

    async def receive(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        self.more = message.get("more_body", False)
        if self._left >= 0:
            return message
        self.exceeded = True
        return {"type": "http.disconnect"}


def _declared(scope: dict[str, Any]) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(receive: Receive, send: Send, *, more: bool = True) -> None:
    text = b"the body is too large\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            await _throw_away(receive, more=more)
    await send({"type": "http.response.body", "body": b""})


async def _throw_away(receive: Receive, *, more: bool) -> None:
    left = LINGER_BYTES
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)

"""Sockets that keep a page true: a snapshot, then numbered changes; a page that misses a number asks for a snapshot.

To the page: ``{"type": "snapshot", "number": N, "at": …, …}``, ``{"type": "change", "number": N + 1, "at": …, …}``,
``{"type": "refused", "why": …}``, and now and then ``{"type": "beat"}``: a page that hears nothing for a while knows that its
connection is dead, which its operating system may not notice for minutes. From the page: ``{"type": "snapshot"}`` and what a
screen adds to ``messages``. Who sends it is asked for at the handshake and again for every message; what is sent to somebody is
rechecked from time to time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import structlog
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.utils import timezone
from redis.exceptions import RedisError

from voiceagent.console import access

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = structlog.get_logger(__name__)

#: Close codes of ours, in the range that is free for applications. The page does not come back after these.
SIGNED_OUT, FORBIDDEN, NOT_FOUND = 4401, 4403, 4404
#: The page does come back after this.
COME_BACK = 1013
#: How long somebody who lost a permission may still be sent changes.
RECHECK_S = 10.0
#: A page's message is a command with a few fields.
MOST_BYTES = 16_384


class LiveConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """One page's socket. A screen gives ``permission``, ``messages``, ``snapshot`` and ``joined``.

    ``messages`` is message type → permission; a message ``{"type": "x-y"}`` is handled by ``on_x_y(content)``. No message
    passes through the thread that Channels and Django share.
    """

    permission: ClassVar[str] = "console.view_console"
    messages: ClassVar[Mapping[str, str]] = {}
    #: How long a page may hear nothing. The pages' own limits (live.js, mic.js) are more than twice as long.
    beat_s: ClassVar[float] = 5.0

    def __init__(self) -> None:
        self.number = 0
        self._groups: list[str] = []
        self._serials: dict[str, int] = {}
        self._checked_at = 0.0
        self._accepted = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one page. A channel layer that is lost ends the socket; the page comes back by itself."""
        beating = asyncio.create_task(self._beat())
        try:
            await super().__call__(scope, receive, send)
        except (RedisError, OSError) as error:
            _log.info("console.layer_lost", error=type(error).__name__)
            if self._accepted:
                with suppress(Exception):  # it may be closed already
                    await send({"type": "websocket.close", "code": COME_BACK})
        finally:
            beating.cancel()
            await self.left()

    @property
    def user(self) -> Any:
        """Who signed in."""
        return self.scope["user"]

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels', without a step on the shared thread for each message."""
        await getattr(self, get_handler_name(message))(message)

    # What a screen says.

    async def admitted(self) -> str:
        """Anything else that must hold for this page: why it is refused, or nothing."""
        return ""

    async def joined(self) -> list[str]:
        """Groups of the channel layer that bring this page's changes."""
        return []

    async def snapshot(self) -> dict[str, Any]:
        """Everything that the page shows. Raises nothing for what is away: it says so in its fields."""
        return {}

    async def left(self) -> None:
        """The socket is closed, or lost; may be told twice."""

    # What a screen uses.

    async def why_not(self, permission: str) -> str:
        """Why the user may not do it now; empty where they may."""
        return await access.why_not_here(self.scope, permission)

    async def may(self, permission: str) -> bool:
        """Whether the user may do it now."""
        return not await self.why_not(permission)

    async def tell(self, kind: str, **fields: Any) -> None:
        """A message without a number."""
        await self.send(
            {"type": "websocket.send", "text": orjson.dumps({"type": kind, **fields}, default=str).decode()}
        )

    async def refuse(self, why: str, **fields: Any) -> None:
        """Say why something was not done."""
        await self.tell("refused", why=why, **fields)

    async def change(self, fields: Mapping[str, Any], *, source: str = "", serial: int | None = None) -> None:
        """A numbered change. ``serial`` is its number at its ``source``: where one is missing, a snapshot is sent instead."""
        if serial is not None:
            last = self._serials.get(source)
            self._serials[source] = serial
            if last is not None and serial != last + 1:
                await self.refresh()
                return
        if await self._still_may():
            self.number += 1
            await self.tell("change", number=self.number, at=timezone.now().isoformat(), **fields)

    async def refresh(self) -> None:
        """A new snapshot."""
        if await self._still_may():
            found = await self.snapshot()
            self.number += 1
            await self.tell("snapshot", number=self.number, at=timezone.now().isoformat(), **found)

    # The socket.

    async def websocket_connect(self, _message: Any) -> None:
        """Accept whoever may; others are told and closed, since a refused handshake tells a page nothing."""
        await self.send({"type": "websocket.accept"})
        self._accepted = True
        if not self.user.is_authenticated:
            await self._close(SIGNED_OUT, access.SIGNED_OUT)
        if why := await self.why_not(self.permission):
            await self._close(FORBIDDEN, why)
        self._checked_at = monotonic()
        if why := await self.admitted():
            await self._close(NOT_FOUND, why)
        for group in await self.joined():
            await self.channel_layer.group_add(group, self.channel_name)
            self._groups.append(group)
        await self.refresh()

    async def websocket_receive(self, message: Mapping[str, Any]) -> None:
        """One message of the page."""
        content = _read(message.get("text"))
        kind = content.get("type") if content else None
        permission = {"snapshot": self.permission, **self.messages}.get(kind) if isinstance(kind, str) else None
        if content is None or permission is None:
            await self.refuse("This message is not understood.")
        elif why := await self.why_not(permission):
            await self.refuse(why, about=kind, permission=permission)
        elif kind == "snapshot":
            await self.refresh()
        else:
            await getattr(self, f"on_{str(kind).replace('-', '_')}")(content)

    async def websocket_disconnect(self, _message: Any) -> None:
        """Leave the groups; a layer that is away forgets them by itself."""
        await self._leave()
        raise StopConsumer

    async def _close(self, code: int, why: str) -> None:
        await self.refuse(why)
        await self.send({"type": "websocket.close", "code": code})
        await self._leave()
        raise StopConsumer

    async def _leave(self) -> None:
        for group in self._groups:
            try:
                async with asyncio.timeout(1):
                    await self.channel_layer.group_discard(group, self.channel_name)
            except Exception as error:  # noqa: BLE001 - Redis may be away; groups expire
                _log.info("console.leave_failed", error=type(error).__name__)
        self._groups = []
        await self.left()

    async def _still_may(self) -> bool:
        if monotonic() - self._checked_at < RECHECK_S:
            return True
        if why := await self.why_not(self.permission):
            await self._close(FORBIDDEN, why)
            return False
        self._checked_at = monotonic()
        return True

    async def _beat(self) -> None:
        with suppress(Exception):  # the socket is closed, by this or before it: its end comes as its last message
            while True:
                await asyncio.sleep(self.beat_s)
                if self.number and await self._still_may():
                    await self.tell("beat")


def _read(text: Any) -> dict[str, Any] | None:
    """A page's message; ``None`` for what is none."""
    if not isinstance(text, str) or len(text) > MOST_BYTES:
        return None
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None

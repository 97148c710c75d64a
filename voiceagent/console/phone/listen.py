"""``WS /console/listen/<call_sid>``: both sides of a live call, as its caller says and hears them.

Sound goes to the page as it was published (``calls.media.tap.Batch``); what the page does not take in time is dropped here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from typing import Any, ClassVar

import structlog
from redis.exceptions import RedisError

from calls import control
from calls.listening import LEASE_S, channel
from calls.runtime import current
from voiceagent.console import audit
from voiceagent.console.live import LiveConsumer

_log = structlog.get_logger(__name__)

#: What may wait for a page that is slow: half a second. The oldest is dropped.
MOST_WAITING = 5
#: The page's right to listen, and its place at the call, are renewed this often.
RENEW_S = LEASE_S / 3
#: Sound comes ten times a second. Without any for so long its process is gone.
SILENT_S = 4.0
AWAY = "Live sound comes through Redis, which is away. The call goes on; try again in a moment."


class Listen(LiveConsumer):
    """One page that listens to one call."""

    permission: ClassVar[str] = "console.listen_live"

    def __init__(self) -> None:
        super().__init__()
        self._key = uuid.uuid4().hex
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._sound: Any = None

    @property
    def call_sid(self) -> str:
        """Which call."""
        return str(self.scope["url_route"]["kwargs"]["call_sid"])

    async def admitted(self) -> str:
        """The entry in the trail comes first, then the call is asked; sound that nobody can bring is not asked for."""
        await audit.arecord(self.scope, "call.listened", call_sid=self.call_sid)
        try:
            self._sound = (await current()).redis.pubsub()
            async with asyncio.timeout(1):
                await self._sound.subscribe(channel(self.call_sid))
                await self._sound.get_message(timeout=1)  # that it is so
        except (RedisError, OSError) as error:
            _log.warning("listen.no_redis", error=type(error).__name__)
            return AWAY
        return await self._renew()

    async def websocket_connect(self, message: Any) -> None:
        """Let in, then pass on what comes."""
        await super().websocket_connect(message)
        self._tasks = [
            asyncio.create_task(work, name=f"listen:{self._key}")
            for work in (self._hear(), self._pass_on(), self._stay())
        ]

    async def snapshot(self) -> dict[str, Any]:
        """Which call it is; everything else is sound."""
        return {"call_sid": self.call_sid}

    async def left(self) -> None:
        """The page is gone."""
        for task in self._tasks:
            task.cancel()
        if self._sound is not None:
            sound, self._sound = self._sound, None
            await control.ask(self.call_sid, "unlisten", self.user.get_username(), key=self._key)
            try:
                await sound.aclose()
            except (RedisError, OSError) as error:
                _log.info("listen.close_failed", error=type(error).__name__)

    async def _renew(self) -> str:
        outcome = await control.ask(self.call_sid, "listen", self.user.get_username(), key=self._key)
        return "" if outcome.accepted else outcome.why

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if why := await self.why_not(self.permission):
                await self._over(why)
                return
            await self._renew()  # a call that is over says so by itself

    async def _hear(self) -> None:
        try:
            while published := await self._sound.get_message(ignore_subscribe_messages=True, timeout=SILENT_S):
                if not published["data"]:
                    await self._over("The call is over.")
                    return
                self._waiting.append(published["data"])
                self._news.set()
            await self._over("No sound comes from this call any more.")
        except (RedisError, OSError) as error:
            _log.warning("listen.lost", error=type(error).__name__)
            await self._over(AWAY)

    async def _pass_on(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self.send({"type": "websocket.send", "bytes": self._waiting.popleft()})

    async def _over(self, why: str) -> None:
        await self.tell("over", why=why)
        await self.send({"type": "websocket.close", "code": 1000})

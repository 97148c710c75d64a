"""The live call page's socket: reads the call's own log in Redis, four times a second, and asks nothing of the call."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from django.urls import re_path
from redis.exceptions import RedisError

from calls.models import Call
from voiceagent.console import threads
from voiceagent.console.call import source
from voiceagent.console.call.following import Following
from voiceagent.console.live import LiveConsumer
from voiceagent.console.logtail import LogTail, client

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

EVERY_S = 0.25
AWAY_S = 1.0
#: How often it is asked whether a call that is over has been archived.
ARCHIVED_EVERY_S = 1.0
#: Entries that are read and folded at once: some milliseconds of work.
PIECE = 500


class LiveCall(LiveConsumer):
    """One page's socket."""

    def __init__(self) -> None:
        super().__init__()
        self._redis: Redis | None = None
        self._following = Following(plain=False)
        self._log: LogTail | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def call_sid(self) -> str:
        """The call that is looked at."""
        sid: str = self.scope["url_route"]["kwargs"]["call_sid"]
        return sid

    async def admitted(self) -> str:
        """Its log must be there, or the archive: a page that comes back late is told of that."""
        if await threads.run(self._is_archived):
            return ""
        try:
            self._redis = client()
            self._log = LogTail(self._redis, self.call_sid)
            there = await self._log.exists()
        except (RedisError, OSError):
            return ""
        except ValueError:
            there = False
        return "" if there else "This call is not in progress any more."

    async def snapshot(self) -> dict[str, Any]:
        """All of it so far; of an archived call nothing but that it is one."""
        if self._reading is None and await threads.run(self._is_archived):
            return {"archived": True}
        if self._reading is None:
            plain = await self.may("console.see_unredacted")
            self._following = Following(plain=plain)
            with suppress(RedisError, OSError):
                while await self._read():
                    pass
            self._reading = asyncio.create_task(self._follow(), name=f"live-call:{self.call_sid}")
        return await threads.run(self._following.whole)

    async def left(self) -> None:
        """Nobody looks any more."""
        if self._reading is not None:
            self._reading.cancel()
        if self._redis is not None:
            with suppress(RedisError, OSError):
                await self._redis.aclose()

    async def _follow(self) -> None:
        """Until the call is over and archived. Redis being away costs the page its news, nothing else."""
        wait_s = EVERY_S
        while not self._following.story.is_over:
            await asyncio.sleep(wait_s)
            try:
                while await self._read():
                    pass
                wait_s = EVERY_S
            except (RedisError, OSError) as error:
                wait_s = AWAY_S
                _log.info("console.call_away", error=type(error).__name__)
                continue
            news = await threads.run(self._following.news)
            if news:
                await self.change(news)
        while True:
            if await threads.run(self._is_archived):
                return await self.change({"archived": True})
            await asyncio.sleep(ARCHIVED_EVERY_S)

    def _is_archived(self) -> bool:
        return Call.objects.filter(call_sid=self.call_sid, archived_at__isnull=False).exists()

    async def _read(self) -> bool:
        """A piece of what is new; whether there may be more."""
        if self._log is None:
            return False
        raw = await self._log.read(PIECE)
        if raw:
            await threads.run(self._take, raw)
        return len(raw) == PIECE

    def _take(self, raw: Any) -> None:
        self._following.take(source.streamed(raw))


sockets: list[Any] = [re_path(r"^calls/(?P<call_sid>[A-Za-z0-9]{2,64})/live$", LiveCall.as_asgi())]

"""A call's own log in Redis, read along by pages: over clients of their own, so that no call waits for them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from calls.logkeys import checked_sid, events_key
from memory.loopredis import loop_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

_TIMEOUT_S: Final = 2.0


def client() -> Redis:
    """A client of this loop, for one page."""
    return loop_client(
        settings.REDIS_URL,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


@asynccontextmanager
async def closing(redis: Redis) -> AsyncIterator[Redis]:
    """The same for a moment."""
    try:
        yield redis
    finally:
        await redis.aclose()


class LogTail:
    """Where a reader of one call's log has got to. Raises ``ValueError`` for what is no call's id."""

    def __init__(self, redis: Redis, call_sid: str) -> None:
        self._redis = redis
        self._key = events_key(checked_sid(call_sid))
        self.last = ""

    async def exists(self) -> bool:
        """Whether there is a log. Raises ``RedisError`` or ``OSError``, as all here."""
        return bool(await self._redis.exists(self._key))

    async def skip_to_last(self, entries: int) -> bool:
        """Begin with so many before the newest. Whether older ones were left out."""
        behind: Any = await self._redis.xrevrange(self._key, count=entries)
        first = int(behind[-1][0].split(b"-")[0]) if behind else 1
        self.last = f"{first - 1}-0"
        return first > 1

    async def read(self, most: int) -> list[Any]:
        """The next entries, at most so many: id and fields, as the client has them."""
        found: Any = await self._redis.xrange(self._key, min=f"({self.last}" if self.last else "-", count=most)
        if found:
            self.last = found[-1][0].decode()
        return list(found)

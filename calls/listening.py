"""Who listens to a call that runs in this process, and the sound on its way to them.

Listeners sit in other processes: both sides are published in Redis, ``EVERY_S`` at a time. One publisher for each call that
somebody listens to, one message for all of them. What Redis does not take at once is dropped, and the call never waits.
A listener says every few seconds that it is still there: with the last one gone, nothing is published any more.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from calls.media.tap import Tap

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from calls.media.recorder import Recorder

_log = structlog.get_logger(__name__)

EVERY_S = 0.1
#: A listener that was not heard of for so long is gone.
LEASE_S = 6.0
#: What Redis has not taken by then is late already.
_PATIENCE_S = 0.3


def channel(call_sid: str) -> str:
    """Where the sound of a call is published: ``calls.media.tap.Batch`` in bytes; no bytes at all say that it is over."""
    return f"listen:{call_sid}"


class Listening:
    """The listeners of one call. Event loop only."""

    def __init__(self, call_sid: str, recorder: Recorder, redis: Redis) -> None:
        self._call_sid = call_sid
        self._recorder = recorder
        self._redis = redis
        self._until: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> frozenset[str]:
        """Who listens, by the name they gave."""
        return frozenset(self._until)

    def listen(self, listener: str) -> bool:
        """This one listens, from now on and for ``LEASE_S``. Whether it is new."""
        is_new = listener not in self._until
        self._until[listener] = time.monotonic() + LEASE_S
        if self._task is None:
            self._task = asyncio.create_task(self._publish(), name=f"listen:{self._call_sid}")
        return is_new

    def unlisten(self, listener: str) -> None:
        """This one does not any more."""
        self._until.pop(listener, None)

    async def aclose(self) -> None:
        """The call is over: tell who listens."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._send(b"")

    async def _publish(self) -> None:
        tap = Tap(self._recorder)
        while self._until:
            await asyncio.sleep(EVERY_S)
            await self._send(tap.take(time.time() * 1000).encoded())
            now = time.monotonic()
            self._until = {name: until for name, until in self._until.items() if until > now}
        self._task = None

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._redis.publish(channel(self._call_sid), data)
        except (RedisError, OSError) as error:
            _log.info("listen.batch_dropped", call_sid=self._call_sid, error=type(error).__name__)

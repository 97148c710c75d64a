"""Who listens to a call that runs in this process, and the sound on its way to them.

Listeners sit in other processes: both sides are published in Redis, ``EVERY_S`` at a time. One publisher for each call that
somebody listens to, one message for all of them. What Redis does not take at once is dropped, and the call never waits.
A listener says every few seconds that it is still there: with the last one gone, nothing is published any more.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from calls.media.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable

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


@dataclass(slots=True)
class _Listener:
    by: str
    until_s: float


class Listening:
    """The listeners of one call. ``told(by, on)``: an operator begins or ceases to listen. Event loop only."""

    def __init__(self, call_sid: str, recorder: Recorder, redis: Redis, told: Callable[[str, bool], object]) -> None:
        self._call_sid = call_sid
        self._recorder = recorder
        self._redis = redis
        self._told = told
        self._listeners: dict[str, _Listener] = {}
        self._task: asyncio.Task[None] | None = None

    def listen(self, key: str, by: str) -> None:
        """The page of this key listens for an operator, from now on and for ``LEASE_S``."""
        known = self._listeners.get(key)
        if known is None:
            known = self._listeners[key] = _Listener(by, 0)
            self._told(by, True)
        known.until_s = time.monotonic() + LEASE_S
        if self._task is None:
            self._task = asyncio.create_task(self._publish(), name=f"listen:{self._call_sid}")

    def unlisten(self, key: str) -> None:
        """It does not any more."""
        gone = self._listeners.pop(key, None)
        if gone is not None:
            self._told(gone.by, False)

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
        while self._listeners:
            await asyncio.sleep(EVERY_S)
            await self._send(tap.take(time.time() * 1000).encoded())
            now_s = time.monotonic()
            for key in [key for key, listener in self._listeners.items() if listener.until_s <= now_s]:
                self.unlisten(key)
        self._task = None

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._redis.publish(channel(self._call_sid), data)
        except (RedisError, OSError) as error:
            _log.info("listen.batch_dropped", call_sid=self._call_sid, error=type(error).__name__)

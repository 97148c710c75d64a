"""An operator's microphone on its way into a call that they have taken over, in whichever process the call is.

The operator's socket publishes frames in Redis; the call's process hears them only while somebody holds the call, and passes
them to the operator's line, which knows who that is. Nothing of the call waits for any of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from calls.codecs.mulaw import BYTES_PER_MS, silence
from calls.core.commands import LendGate, TakeGateBack

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from calls.bus import Bus
    from calls.media.operator import OperatorLine

_log = structlog.get_logger(__name__)

#: Of one message: a tenth of a second. What is longer is no microphone's.
MOST_BYTES = 800
#: Where the caller's side has run dry, this much silence goes before the next frame, so that frames may be that uneven.
CUSHION_MS = 60
_AGAIN_S = 0.5
_LOOK_EVERY_S = 1.0


def channel(call_sid: str) -> str:
    """Where the frames for a call are published: the operator's name, a NUL, raw µ-law."""
    return f"mic:{call_sid}"


def message(by: str, audio: bytes) -> bytes:
    """A frame as it is published."""
    return by.encode() + b"\0" + audio


class Microphone:
    """Of one call. Listens while the gate is lent. ``close`` when the call is over."""

    def __init__(self, call_sid: str, redis: Redis, line: OperatorLine, bus: Bus) -> None:
        self._call_sid = call_sid
        self._redis = redis
        self._line = line
        self._dry_at_s = 0.0
        self._task: asyncio.Task[None] | None = None
        bus.subscribe(LendGate, lambda *_: self._open())
        bus.subscribe(TakeGateBack, lambda *_: self.close())

    def _open(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._hear(), name=f"microphone:{self._call_sid}")

    def close(self) -> None:
        """Nobody holds the call any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _hear(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as frames:
                    await frames.subscribe(channel(self._call_sid))
                    while True:
                        published = await frames.get_message(ignore_subscribe_messages=True, timeout=_LOOK_EVERY_S)
                        if published is not None:
                            self.frame(published["data"])
            except (RedisError, OSError) as error:
                _log.warning("microphone.away", call_sid=self._call_sid, error=type(error).__name__)
            await asyncio.sleep(_AGAIN_S)

    def frame(self, data: bytes) -> None:
        """A published frame. One that is late is heard late, one that is too late or of somebody else not at all."""
        name, _, audio = data.partition(b"\0")
        if not audio or len(audio) > MOST_BYTES:
            return
        now_s = asyncio.get_running_loop().time()
        cushion = silence(CUSHION_MS) if now_s >= self._dry_at_s else b""
        if self._line.audio(name.decode(errors="replace"), cushion + audio):
            lasts_s = len(cushion + audio) / BYTES_PER_MS / 1000
            self._dry_at_s = max(self._dry_at_s, now_s) + lasts_s

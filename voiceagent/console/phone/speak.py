"""``WS /console/speak/<call_sid>``: the microphone of an operator who has taken a call over.

Binary messages are frames of raw µ-law; every one is checked for its size, and who sends it for the permission, again and again.
Whether it is heard the call decides: only of whoever holds it. A socket that closes tells the call so, and one that brings nothing
any more does not say for its operator that they are there: a network that dies may keep it open for minutes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from redis.exceptions import RedisError

from calls import control
from calls.microphone import MOST_BYTES, channel, message
from calls.runtime import current
from voiceagent.console.live import LiveConsumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

RECHECK_S = 2.0
#: Redis takes a frame at once or not at all: what waits longer is late already.
_PATIENCE_S = 0.2
NOT_HELD = "You do not have this call: take it over first."


class Speak(LiveConsumer):
    """One microphone into one call."""

    permission: ClassVar[str] = "console.take_over"
    beat_s: ClassVar[float] = RECHECK_S

    def __init__(self) -> None:
        super().__init__()
        self._spoke = False
        self._redis: Redis | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def call_sid(self) -> str:
        """Which call."""
        return str(self.scope["url_route"]["kwargs"]["call_sid"])

    async def admitted(self) -> str:
        """Only whoever has taken the call over."""
        why = await self._refusal()
        self._redis = (await current()).redis if not why else None
        return why

    async def websocket_connect(self, message: Any) -> None:
        """Let in, and look again from time to time."""
        await super().websocket_connect(message)
        self._task = asyncio.create_task(self._stay(), name=f"speak:{self.call_sid}")

    async def websocket_receive(self, message: Mapping[str, Any]) -> None:
        """A frame; texts are the page's other messages."""
        frame = message.get("bytes")
        if frame is None:
            await super().websocket_receive(message)
        elif 0 < len(frame) <= MOST_BYTES:
            self._spoke = True
            await self._publish(frame)
        else:
            await self.refuse(f"A frame has 1 to {MOST_BYTES} bytes.")

    async def snapshot(self) -> dict[str, Any]:
        """Which call it is."""
        return {"call_sid": self.call_sid}

    async def left(self) -> None:
        """The line to the operator is gone: what follows is the call's to decide."""
        if self._task is not None:
            self._task.cancel()
        if self._redis is not None:
            self._redis = None
            await control.ask(self.call_sid, "gone", self.user.get_username())

    async def _publish(self, frame: bytes) -> None:
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._redis.publish(channel(self.call_sid), message(self.user.get_username(), frame))
        except (RedisError, OSError) as error:
            _log.info("speak.frame_dropped", error=type(error).__name__)

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            why = await self.why_not(self.permission)
            if self._spoke:  # a muted microphone sends silence
                self._spoke = False
                why = why or await self._refusal()
            if why:
                await self.tell("over", why=why)
                await self.send({"type": "websocket.close", "code": 1000})
                return

    async def _refusal(self) -> str:
        outcome = await control.ask(self.call_sid, "present", self.user.get_username())
        return "" if outcome.accepted else outcome.why or NOT_HELD

"""``WS /console/phone/watch/<call_sid>``: states and words of a test call as they are recorded, by its own log in Redis.

Whichever process the call is in, and nothing extra in that one.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import structlog
from redis.exceptions import RedisError

from calls.models import Call
from voiceagent.console import threads
from voiceagent.console.live import LiveConsumer
from voiceagent.console.logtail import LogTail, client, closing
from voiceagent.console.phone.course import Course

_log = structlog.get_logger(__name__)

#: How often the log is looked at: it is written every 40 ms.
EVERY_S = 0.06
_PAGE = 500
#: Who watches a call whose log never begins, or does not end, watches nothing.
_LONGEST_S = 4 * 3600


class TestWatch(LiveConsumer):
    """One page's view of one test call."""

    __test__ = False
    permission: ClassVar[str] = "console.test_call"

    def __init__(self) -> None:
        super().__init__()
        self._course = Course()
        self._task: asyncio.Task[None] | None = None

    @property
    def call_sid(self) -> str:
        """Which call."""
        return str(self.scope["url_route"]["kwargs"]["call_sid"])

    async def admitted(self) -> str:
        """Test calls alone: the words of callers are another permission's."""
        is_real = await threads.run(lambda: Call.objects.filter(call_sid=self.call_sid, is_test=False).exists())
        return "This is no test call." if is_real else ""

    async def websocket_connect(self, message: Any) -> None:
        """Follow the log from its beginning."""
        await super().websocket_connect(message)
        self._task = asyncio.create_task(self._follow(), name=f"watch:{self.call_sid}")

    async def snapshot(self) -> dict[str, Any]:
        """All so far."""
        return self._course.snapshot()

    async def left(self) -> None:
        """The page is gone."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        async with closing(client()) as redis, asyncio.timeout(_LONGEST_S):
            log = LogTail(redis, self.call_sid)
            while not self._course.end:
                try:
                    entries = await log.read(_PAGE)
                except (RedisError, OSError) as error:
                    _log.info("watch.no_redis", error=type(error).__name__)
                    entries = []
                await self._show(entries)
                await asyncio.sleep(EVERY_S)

    async def _show(self, entries: Any) -> None:
        merged: dict[str, Any] = {}
        for _entry_id, fields in entries:
            entry = {name.decode(): value.decode() for name, value in fields.items()}
            for change in self._course.take(entry):
                for name, value in change.items():
                    merged.setdefault(name, []).append(value)
        if merged:
            await self.change({"changes": merged})

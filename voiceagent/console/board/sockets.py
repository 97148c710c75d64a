"""The board's socket: rows of all processes as one numbered stream, and the open call's transcript as it grows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from channels.exceptions import StopConsumer
from django.conf import settings
from django.urls import re_path
from redis.exceptions import RedisError

from calls.livefeed import GROUP
from voiceagent.console.board import reading
from voiceagent.console.board.board import Board
from voiceagent.console.board.drawer import Drawer
from voiceagent.console.board.rows import plain
from voiceagent.console.live import COME_BACK, LiveConsumer
from voiceagent.console.logtail import client
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

_TICK_S = 1.0
_WATCHED_EVERY = 3
_READER_EVERY = 30
#: Who has this reads what was said as it was said.
UNREDACTED = "console.see_unredacted"


class BoardConsumer(LiveConsumer):
    """One page of the board."""

    messages: ClassVar[Mapping[str, str]] = {"open": "console.view_console", "close": "console.view_console"}

    def __init__(self) -> None:
        super().__init__()
        self._board = Board(linger_ms=settings.BOARD_LINGER_S * 1000)
        self._redis: Redis | None = None
        self._lock = asyncio.Lock()  # a number must be on its way before the next one is
        self._tasks: list[asyncio.Task[None]] = []
        self._drawer: Drawer | None = None
        self._drawing: asyncio.Task[None] | None = None

    async def admitted(self) -> str:
        """Whoever may look in; what was said is hidden from those who may not read it as it is."""
        await self._know_reader()
        return ""

    async def _know_reader(self) -> None:
        self._board.read_by(plain if await self.may(UNREDACTED) else redacted_text)

    async def joined(self) -> list[str]:
        """The group of all processes' batches."""
        self._redis = client()
        self._board.probes = reading.probes.last  # as the page has it that was just sent
        self._tasks.append(asyncio.create_task(self._tick(), name="board:tick"))
        return [GROUP]

    async def left(self) -> None:
        """Nobody looks on any longer."""
        for task in [*self._tasks, *([self._drawing] if self._drawing else [])]:
            task.cancel()
        if self._redis is not None:
            await self._redis.aclose()

    async def snapshot(self) -> dict[str, Any]:
        """All rows and the strip, read from the processes' hashes. Without Redis there is nothing to show: the page is told
        to come back."""
        shots = await reading.try_look(self._redis) if self._redis is not None else None
        if shots is None:
            await self._go_away()
            return {"rows": [], "strip": {}, "away": True}
        self._board.see(shots, reading.now_ms())
        return self._board.whole()

    async def refresh(self) -> None:
        """As the base's, one at a time."""
        async with self._lock:
            await super().refresh()

    async def board_batch(self, message: Mapping[str, Any]) -> None:
        """A process tells of its calls."""
        known = self._board.hear(message["process"], message["number"], message["batch"], reading.now_ms())
        if not known:
            await self.refresh()
            return
        await self._tell_changes()

    async def _tell_changes(self, *, figures: bool = False) -> None:
        async with self._lock:
            if changes := self._board.changes(figures=figures):
                await self.change(changes)

    async def _tick(self) -> None:
        """What time alone changes, and what only asking finds out."""
        count = 0
        while True:
            await asyncio.sleep(_TICK_S)
            count += 1
            try:
                await self._once(count)
            except StopConsumer:
                return  # who looked on may no longer
            except (RedisError, OSError) as error:
                _log.info("board.page_away", error=type(error).__name__)
                await self._go_away()
                return
            except Exception as error:  # noqa: BLE001 - one figure that cannot be had must not stop the others
                _log.error("board.tick_failed", error=type(error).__name__, exc_info=error)

    async def _once(self, count: int) -> None:
        now_ms = reading.now_ms()
        assert self._redis is not None  # noqa: S101 - there is one since ``joined``
        if count % _READER_EVERY == 0:
            await self._know_reader()
        if self._board.unheard(now_ms) or count % _WATCHED_EVERY == 0:
            found = await reading.look(self._redis)
            if self._board.unheard(now_ms):
                self._board.see(found, now_ms)
        self._board.age(now_ms)
        self._board.probes = await reading.probes.now()
        if unknown := self._board.unknown:
            self._board.nth_calls |= await reading.nth_calls(unknown)
        await self._tell_changes(figures=True)

    async def _go_away(self) -> None:
        await self.send({"type": "websocket.close", "code": COME_BACK})

    # --- the open call ----------------------------------------------------------------------------------------------

    async def on_open(self, content: Mapping[str, Any]) -> None:
        """Follow this call's transcript."""
        await self.on_close({})
        call_sid = content.get("call_sid")
        if not isinstance(call_sid, str) or self._board.facts_of(call_sid) is None:
            await self.refuse("This call is not on the board.", about="open")
            return
        assert self._redis is not None  # noqa: S101 - as above
        self._drawer = Drawer(self._redis, call_sid, self._board.redact)
        self._drawing = asyncio.create_task(self._follow(self._drawer), name=f"board:{call_sid}")

    async def on_close(self, _content: Mapping[str, Any]) -> None:
        """Follow none."""
        if self._drawing is not None:
            self._drawing.cancel()
        self._drawer = self._drawing = None

    async def _follow(self, drawer: Drawer) -> None:
        while True:
            try:
                found = await drawer.look()
            except (RedisError, OSError):
                found = None  # the tick notices too
            try:
                if found is not None and await self._still_may():
                    await self.tell("drawer", call_sid=drawer.call_sid, **found)
            except StopConsumer:
                return
            await asyncio.sleep(settings.BOARD_DRAWER_MS / 1000)


sockets: list[Any] = [re_path(r"^live/$", BoardConsumer.as_asgi())]

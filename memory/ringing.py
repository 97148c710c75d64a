"""The memories of the calls in this process: begun when a call rings, told when somebody changes one from outside."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from memory import people, surroundings
from memory.core import rules
from memory.keys import CHANGES, What
from memory.live import CallMemory, Resources

if TYPE_CHECKING:
    from memory.manager import MCPMemoryManager

_log = structlog.get_logger(__name__)

#: How long what a ringing call loaded is kept for a stream that may never come.
RINGING_S = 90.0
_NICENESS = 5
_RECONNECT_S = 1.0


def _yield_to_the_loop() -> None:
    """Where cores are few, the memory's work comes after the frames of all calls: it has a fallback, they have none."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class CallMemories:
    """One for each process that takes calls. Event loop only. Loads what the first call would otherwise wait for."""

    def __init__(self, manager: MCPMemoryManager, database: Executor) -> None:
        rules.load_all()
        self._embedding = ThreadPoolExecutor(1, "embedding", initializer=_yield_to_the_loop)
        self._indexing = ThreadPoolExecutor(1, "indexing", initializer=_yield_to_the_loop)
        self._resources = Resources(manager.embedder, manager.l1, database, self._embedding, self._indexing)
        self._ringing: dict[str, tuple[CallMemory, asyncio.TimerHandle]] = {}
        self._open: dict[str, CallMemory] = {}
        self._listening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to listen for changes from outside."""
        self._listening = asyncio.create_task(self._listen(), name="memory-changes")

    def ring(self, call_sid: str, number: str, locale: str = "en") -> None:
        """A call rings: begin to load, so that the greeting finds the card."""
        if call_sid in self._ringing or call_sid in self._open:
            return
        memory = CallMemory(self._resources, call_sid, number, locale)
        timer = asyncio.get_running_loop().call_later(RINGING_S, self._never_came, call_sid)
        self._ringing[call_sid] = (memory, timer)

    def open(self, call_sid: str, number: str, locale: str = "en", *, reads_only: bool = False) -> CallMemory:
        """The memory of a call whose stream is up; what began to load when it rang is taken over."""
        memory, timer = self._ringing.pop(call_sid, (None, None))
        if timer is not None:
            timer.cancel()
        if memory is None or memory.key_hash != people.hash_of(number):
            memory = CallMemory(self._resources, call_sid, number, locale)
        memory.reads_only = reads_only
        self._open[call_sid] = memory
        memory.on_close = lambda: self._open.pop(call_sid, None)
        return memory

    async def aclose(self) -> None:
        """Close every memory that is still there."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        for call_sid in list(self._ringing):
            self._ringing[call_sid][1].cancel()
            self._never_came(call_sid)
        for memory in list(self._open.values()):
            await memory.aclose()
        await asyncio.gather(*self._closing, return_exceptions=True)
        for executor in (self._embedding, self._indexing):
            executor.shutdown(wait=False, cancel_futures=True)

    def _never_came(self, call_sid: str) -> None:
        memory, _ = self._ringing.pop(call_sid)
        task = asyncio.get_running_loop().create_task(memory.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- changes from outside -----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Pass changes on; after a time without Redis every memory is read anew, since a message may be lost."""
        was_away = False
        while True:
            try:
                async with surroundings.new_async_redis() as client, client.pubsub() as channel:
                    await channel.subscribe(CHANGES)
                    if was_away:
                        _log.info("memory.changes_back")
                        self._tell_all()
                    was_away = False
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._changed(message["data"])
            except (RedisError, OSError) as error:
                if not was_away:
                    _log.warning("memory.changes_away", error=type(error).__name__)
                was_away = True
            await asyncio.sleep(_RECONNECT_S)

    def _changed(self, data: bytes) -> None:
        with suppress(ValueError, KeyError, TypeError):
            change = json.loads(data)
            caller_id, what = people.as_id(str(change["caller"])), What(change["what"])
            if caller_id is None:
                return
            self._resources.l1.forget_here(caller_id)
            for memory in self._memories():
                if memory.is_of(caller_id):
                    memory.changed(what)

    def _tell_all(self) -> None:
        for memory in self._memories():
            memory.changed(What.CHANGED)

    def _memories(self) -> list[CallMemory]:
        return [*self._open.values(), *(memory for memory, _ in self._ringing.values())]

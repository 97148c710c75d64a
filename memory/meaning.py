"""What a question means, as a vector, in time: embedding begins while the caller still speaks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from memory.embedding.port import Embedder

_log = structlog.get_logger(__name__)

#: An interim text that is the beginning of what was said, and this much of it, means about the same.
_ENOUGH = 0.7
_KEPT = 8


class Meaning:
    """The vectors of one call's questions. One embedding at a time, always of the newest text. Event loop only."""

    def __init__(self, embedder: Embedder, executor: Executor) -> None:
        self._embedder = embedder
        self._executor = executor
        self._found: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._wanted = ""
        self._working: asyncio.Task[None] | None = None

    def expect(self, asked: str) -> None:
        """``asked`` may be the question soon: begin to embed it, unless that is done or an embedding is under way;
        then it is the next one, if no newer text comes."""
        if not asked or asked in self._found:
            return
        self._wanted = asked
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="embedding")

    async def of(self, asked: str, within_s: float) -> NDArray[np.float32] | None:
        """The vector of ``asked``; after ``within_s`` that of the longest beginning of it, if that is most of it, else
        ``None``."""
        self.expect(asked)
        deadline = asyncio.get_running_loop().time() + within_s
        while asked and asked not in self._found and self._working is not None and not self._working.done():
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._working), left_s)
        if asked in self._found:
            return self._found[asked]
        beginnings = [text for text in self._found if asked.startswith(text) and len(text) >= _ENOUGH * len(asked)]
        return self._found[max(beginnings, key=len)] if beginnings else None

    def close(self) -> None:
        """Let go of what is under way."""
        self._wanted = ""
        if self._working is not None:
            self._working.cancel()

    async def _work(self) -> None:
        while self._wanted and self._wanted not in self._found:
            asked = self._wanted
            try:
                vector = await asyncio.get_running_loop().run_in_executor(
                    self._executor, self._embedder.embed_query, asked
                )
            except Exception as error:  # noqa: BLE001 - without its meaning a question still has its words
                _log.warning("memory.embedding_failed", error=type(error).__name__)
                return
            self._found[asked] = vector
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)

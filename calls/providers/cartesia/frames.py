"""The caller's audio on its way to the recogniser: bounded, joined as asked, with commands in their place."""

from __future__ import annotations

import asyncio
from collections import deque

#: Audio that may wait for a slow socket. More would be a burst that the vendor does not take.
MAX_WAITING_MS = 1000


class FrameQueue:
    """Frames in order for one reader. When full the oldest audio goes; a command never does.

    ``join_bytes``: frames are put together until they have this size; 0 passes each on as it came.
    """

    def __init__(self, max_frames: int = MAX_WAITING_MS // 20, join_bytes: int = 0) -> None:
        self._max_frames = max_frames
        self._join_bytes = join_bytes
        self._waiting: deque[bytes | str] = deque()
        self._joined = bytearray()
        self._filled = asyncio.Event()
        self.dropped_frames = 0

    def put(self, frame: bytes) -> None:
        """Take a frame; never blocks."""
        if self._join_bytes:
            self._joined += frame
            if len(self._joined) < self._join_bytes:
                return
            frame = bytes(self._joined)
            self._joined.clear()
        self._append(frame)

    def command(self, text: str) -> None:
        """Take a command that must follow all audio put before it."""
        if self._joined:
            self._append(bytes(self._joined))
            self._joined.clear()
        self._waiting.append(text)
        self._filled.set()

    def _append(self, frame: bytes) -> None:
        if len(self._waiting) >= self._max_frames:
            self._drop_oldest_audio()
        self._waiting.append(frame)
        self._filled.set()

    def _drop_oldest_audio(self) -> None:
        for index, item in enumerate(self._waiting):
            if isinstance(item, bytes):
                del self._waiting[index]
                self.dropped_frames += 1
                return

    def clear(self) -> None:
        """Forget everything that waits."""
        self._waiting.clear()
        self._joined.clear()
        self._filled.clear()

    async def get(self) -> bytes | str:
        """The next frame or command."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()

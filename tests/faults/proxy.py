"""A TCP proxy on the loopback interface that can be told to misbehave: in front of a vendor's stand-in, Redis or PostgreSQL.

Faults are of the connection, so they can strike at any moment, whatever is being said on it. ``only`` in a fault is a piece of
the first bytes that a client sends (``/stt/``), so that one vendor's sockets fail while another's on the same address go on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 1 << 16
#: A text frame of a WebSocket that is no JSON; between the chunks of an HTTP answer it breaks the framing.
RUBBISH = b'\x81\x0a{"rubbish\x13'
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Pair:
    """One client's connection and ours to the server behind."""

    first: bytes
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Close both in order: what was written still arrives."""
        for writer in (self.client, self.server):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        """Tear both down at once: the other sides see a reset, not an end."""
        for writer in (self.client, self.server):
            if writer is None:
                continue
            sock: socket.socket | None = writer.get_extra_info("socket")
            if sock is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()


class Proxy:
    """Forwards to a port of this machine. An async context manager; ``port`` is where it listens."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: str | None = None
        self._silent: str | None = None
        self._slow: tuple[str, float] | None = None
        self._answer: tuple[str, bytes, int] | None = None
        self._flapping: asyncio.Task[None] | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        assert self._listener is not None
        self._listener.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- faults -------------------------------------------------------------------------------------------------------

    def cut(self, only: str = "") -> None:
        """Reset what is open."""
        for pair in self._of(only):
            pair.reset()

    def refuse(self, only: str = "") -> None:
        """Reset what is open, and every new connection before an answer."""
        self._refused = only
        self.cut(only)

    def hang(self, only: str = "") -> None:
        """Say nothing more in either direction, on what is open and on what will be."""
        self._silent = only
        for pair in self._of(only):
            pair.held.clear()

    def time_out(self, only: str = "") -> None:
        """Reset what is open; new connections get no answer."""
        self.cut(only)
        self._silent = only

    def slow(self, delay_ms: float, only: str = "") -> None:
        """Everything from the server comes so much later, on what is open and on what will be."""
        self._slow = only, delay_ms / 1000

    def rubbish(self, only: str = "") -> None:
        """Put rubbish into what is open."""
        for pair in self._of(only):
            pair.client.write(RUBBISH)

    def answer(self, answer: bytes, only: str = "", times: int = 1) -> None:
        """Reset what is open, and answer the next new connections with this instead of the server's words."""
        self._answer = only, answer, times
        self.cut(only)

    def flap(self, up_ms: float, down_ms: float) -> None:
        """Away, there, away, there, until ``heal``."""

        async def flapping() -> None:
            while True:
                self.refuse()
                await asyncio.sleep(down_ms / 1000)
                self._refused = None
                await asyncio.sleep(up_ms / 1000)

        self._flapping = asyncio.create_task(flapping())
        self._tasks.add(self._flapping)

    def heal(self) -> None:
        """From now on as if nothing had been: what was held back flows on."""
        if self._flapping is not None:
            self._flapping.cancel()
            self._flapping = None
        self._refused = self._silent = self._slow = self._answer = None
        for pair in self._pairs:
            pair.held.set()

    # --- connections --------------------------------------------------------------------------------------------------

    def _of(self, only: str) -> list[_Pair]:
        return [pair for pair in self._pairs if only.encode() in pair.first]

    @staticmethod
    def _hits(only: str | None, first: bytes) -> bool:
        return only is not None and only.encode() in first

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = _Pair(b"", client)
        pair.held.set()
        self._pairs.add(pair)
        try:
            await self._serve(pair, reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            pair.end()
            self._pairs.discard(pair)
            self._tasks.discard(task)

    async def _serve(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        if self._refused == "":
            pair.reset()
            return
        pair.first = await reader.read(_CHUNK)
        if not pair.first:
            return
        if self._hits(self._refused, pair.first):
            pair.reset()
            return
        if self._answer is not None and self._hits(self._answer[0], pair.first):
            only, answer, times = self._answer
            self._answer = (only, answer, times - 1) if times > 1 else None
            pair.client.write(answer)
            await pair.client.drain()
            return
        if self._hits(self._silent, pair.first):
            pair.held.clear()
        await pair.held.wait()
        back, pair.server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        pair.server.write(pair.first)
        up = asyncio.create_task(self._forward(pair, reader, pair.server))
        down = asyncio.create_task(self._forward(pair, back, pair.client, from_server=True))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _forward(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_server: bool = False
    ) -> None:
        """Bytes in order; those from a slow server each as much later as it is slow."""
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await pair.held.wait()
                writer.write(data)

        delivering: asyncio.Task[None] | None = None
        try:
            while data := await reader.read(_CHUNK):
                slow = self._slow if from_server else None
                if (slow is not None and self._hits(slow[0], pair.first)) or delivering is not None:
                    delivering = delivering or asyncio.create_task(deliver())
                    late.put_nowait((loop.time() + (slow[1] if slow else 0.0), data))
                    continue
                await pair.held.wait()
                writer.write(data)
                await writer.drain()
        finally:
            if delivering is not None:
                delivering.cancel()

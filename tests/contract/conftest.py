"""The adapters over real sockets: the vendors' SDKs on this side, the stand-ins on the other."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from calls.core.policy import AgentProfile, TurnPolicy
from voiceagent.sandbox.control import Handle, SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from calls.core.events import Event


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    """All vendors on a free port, in this test's loop."""
    async with SandboxServer() as server:
        yield server


@pytest.fixture
def vendor(sandbox: SandboxServer) -> Handle:
    """A credential of this test's own, to be instructed."""
    return sandbox.handle()


class Heard:
    """What an adapter gave, events and audio, in order, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.chunks: list[tuple[int, int, bytes]] = []
        self.ended: list[tuple[int, int]] = []
        self._news = asyncio.Event()

    def post(self, event: Event) -> None:
        """As a mailbox."""
        self.events.append(event)
        self._news.set()

    def audio(self, turn: int, epoch: int, payload: bytes) -> None:
        """As the gate."""
        self.chunks.append((turn, epoch, payload))
        self._news.set()

    def finished(self, turn: int, epoch: int) -> None:
        """As the gate."""
        self.ended.append((turn, epoch))
        self._news.set()

    def of[E: Event](self, cls: type[E]) -> list[E]:
        """Events of one class."""
        return [event for event in self.events if isinstance(event, cls)]

    def bytes_of(self, turn: int, epoch: int) -> int:
        """How much audio of an epoch came."""
        return sum(len(payload) for t, e, payload in self.chunks if (t, e) == (turn, epoch))

    async def until(self, condition: Callable[[], object], timeout_s: float = 8.0) -> None:
        """Wait until what was heard fulfils this."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never happened; events {self.events}, ended {self.ended}") from None

    async def wait_for[E: Event](self, cls: type[E], count: int = 1) -> list[E]:
        """At least this many events of a class."""
        await self.until(lambda: len(self.of(cls)) >= count)
        return self.of(cls)


@pytest.fixture
def heard() -> Heard:
    """An empty record."""
    return Heard()


@pytest.fixture
def agent() -> AgentProfile:
    """An English agent without functions."""
    return AgentProfile(
        name="Luigi", version=1, instructions="You answer.", greeting="Hello.", voice="voice-1", policy=TurnPolicy()
    )


class Exact:
    """A socket server that says exactly what the test says, and shows what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self._asked: asyncio.Queue[Any] = asyncio.Queue()
        self._socket: ServerConnection | None = None

    async def handle(self, socket: ServerConnection) -> None:
        """One connection; the latest is the one answered on."""
        self._socket = socket
        async for message in socket:
            self._asked.put_nowait(message)

    async def next(self) -> Any:
        """The next message as JSON where it is that."""
        message = await asyncio.wait_for(self._asked.get(), 2)
        try:
            return json.loads(message)
        except ValueError:
            return message

    async def answer(self, *messages: Any) -> None:
        """Send these, as JSON unless they are text."""
        assert self._socket is not None
        for message in messages:
            await self._socket.send(message if isinstance(message, str) else json.dumps(message))


@pytest.fixture
async def exact() -> AsyncIterator[Exact]:
    """On a free port."""
    made = Exact()
    async with serve(made.handle, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield made

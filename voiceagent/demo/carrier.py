"""The carrier of a call on virtual time: it plays what it is sent, and ends the call when it is asked to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from calls.codecs.twilio import parse_mark_name
from calls.core import events as e
from calls.core.speech import BYTES_PER_MS

if TYPE_CHECKING:
    from calls.ports import Post


class PlayingCarrier:
    """Plays what is sent in real time, gives marks back when they are reached or cleared, keeps what was on the wire."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._plays_until = 0.0
        self._marks: dict[str, asyncio.TimerHandle] = {}
        self.wire: list[tuple[int, str, Any]] = []
        self.closed = False

    @property
    def is_playing(self) -> bool:
        """Whether something of what was sent is still to be heard."""
        return self._loop.time() < self._plays_until

    def _sent(self, what: str, value: Any) -> None:
        self.wire.append((round(self._loop.time() * 1000), what, value))

    def media(self, payload: bytes) -> None:
        """Queue µ-law behind what is still playing."""
        self._sent("media", payload[0])
        self._plays_until = max(self._plays_until, self._loop.time()) + len(payload) / BYTES_PER_MS / 1000

    def mark(self, name: str) -> None:
        """Give this name back when what was sent has been heard."""
        self._sent("mark", name)
        self._marks[name] = self._loop.call_at(self._plays_until, self._return, name)

    def clear(self) -> None:
        """Play no more of it; outstanding marks come back at once."""
        self._sent("clear", None)
        self._plays_until = self._loop.time()
        for name, handle in self._marks.items():
            handle.cancel()
            self._loop.call_soon(self._echo, name)
        self._marks.clear()

    def close(self, code: int = 1000) -> None:
        """The stream is over."""
        if not self.closed:
            self.closed = True
            self._sent("close", code)
            self._loop.call_later(0.02, self._post, e.CarrierGone(how="closed"))

    def _return(self, name: str) -> None:
        del self._marks[name]
        self._echo(name)

    def _echo(self, name: str) -> None:
        mark = parse_mark_name(name)
        if mark is None:
            raise ValueError(f"{name!r} is no mark of ours")
        self._post(e.MarkReturned(turn=mark.turn, epoch=mark.epoch, piece=mark.piece))


class CarrierControl:
    """Ends the call 50 ms after it was asked to, or fails."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.requests: list[str] = []
        self.fails: Exception | None = None
        self.hangs = False

    async def hang_up(self, call_sid: str) -> None:
        """End the call."""
        await self._do(f"hang_up {call_sid}")

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Go on elsewhere: this stream ends."""
        await self._do(f"redirect {call_sid} {twiml}")

    async def _do(self, request: str) -> None:
        self.requests.append(request)
        await asyncio.sleep(10**6 if self.hangs else 0.05)
        if self.fails is not None:
            raise self.fails
        self._post(e.CarrierGone(how="stop"))

    async def aclose(self) -> None:
        """Nothing is open."""

"""The carrier's media stream: authenticate, decode, hand over.

``__call__`` and ``dispatch`` are overridden. Channels would send every message through the one thread that all sync
code shares, 90-215 µs each and far more when somebody's query holds it; and it would listen on the channel layer for
every stream, so that a Redis that goes away would end the call. Nothing here touches that thread, the ORM or the layer.

A stream is bound to a call by two things: the signed upgrade, and the single-use ticket in its ``start``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from calls import admission, metrics
from calls.codecs.twilio import (
    BadMessage,
    Connected,
    Dtmf,
    Inbound,
    Mark,
    Media,
    Outbound,
    Start,
    Stop,
    Unknown,
    decode,
)
from calls.runtime import Runtime, current
from memory.hosts import is_own_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.session import Session
    from calls.tickets import Ticket

_log = structlog.get_logger(__name__)

#: Close codes of ours, in the range that is free for applications; the reasons stand in the log and the metrics.
CLOSE_CODES = {
    "no_start": 4408,
    "wrong_first_message": 4400,
    "wrong_format": 4415,
    "bad_ticket": 4401,
    "wrong_call": 4403,
    "already_streaming": 4409,
    "not_allowed": 4407,
    "over": 4410,
    "no_slot": 4429,
    "draining": 4430,
    "too_many_bad_messages": 4422,
}
#: A carrier whose messages are this often unusable is not one.
MOST_BAD_MESSAGES = 100


class StreamOut:
    """The outgoing half of the stream, ``calls.ports.CarrierOut``: one writer task, so that no sender ever waits."""

    def __init__(self, send: Callable[[dict[str, Any]], Any], stream_sid: str) -> None:
        self._send = send
        self._wire = Outbound(stream_sid)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._closed = False
        self._writer = asyncio.create_task(self._write(), name=f"stream-out:{stream_sid}")

    def media(self, payload: bytes) -> None:
        """Queue µ-law at the carrier."""
        self._put({"type": "websocket.send", "text": self._wire.media(payload)})

    def mark(self, name: str) -> None:
        """Queue a playback mark."""
        self._put({"type": "websocket.send", "text": self._wire.mark(name)})

    def clear(self) -> None:
        """Empty the carrier's queue. What of ours has not left yet is flushed too: it must not follow the clear.

        Not so a close that waits there: it ends everything by itself, and nobody would send it again.
        """
        if self._closed:
            return
        while not self._queue.empty():
            self._queue.get_nowait()
        self._put({"type": "websocket.send", "text": self._wire.clear()})

    def close(self, code: int = 1000) -> None:
        """Close after what is queued."""
        self._put({"type": "websocket.close", "code": code})
        self._closed = True

    def gone(self) -> None:
        """The socket is no more."""
        self._closed = True
        self._writer.cancel()

    def _put(self, message: dict[str, Any]) -> None:
        if not self._closed:
            self._queue.put_nowait(message)

    async def _write(self) -> None:
        try:
            while True:
                message = await self._queue.get()
                await self._send(message)
                if message["type"] == "websocket.close":
                    return
        except Exception as error:  # noqa: BLE001 - each server reports a lost socket in its own way
            self._closed = True
            _log.info("stream.write_failed", error=type(error).__name__)


class MediaStreamConsumer(AsyncConsumer):
    """One media stream. Lives as long as its socket; the call it carries is a ``Session`` of the runtime."""

    runtime: Runtime
    session: Session | None = None
    _carrier: StreamOut | None = None
    _deadline: asyncio.TimerHandle | None = None
    _stream_sid = ""
    _bad = 0
    _closing = False
    _connected = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket until it is gone."""
        self.scope, self.base_send = scope, send
        try:
            with suppress(StopConsumer):
                while True:
                    await self.dispatch(await receive())
        finally:
            self.disconnect()  # also where the server gives the socket up without a word: the call must learn it

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Frames go straight to ``receive``; connect and disconnect need no thread either."""
        kind = message["type"]
        if kind == "websocket.receive":
            if not self._closing:
                await self.receive(message)
        elif kind == "websocket.connect":
            await self.connect()
        elif kind == "websocket.disconnect":
            self.disconnect()
            raise StopConsumer

    # --- the socket ---------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Accept an upgrade that is ``admitted``, and only that (HTTP 403 otherwise). The stream then has to start in time."""
        self.runtime = await current()
        if why := await self.admitted():
            await self._unwanted(why)
            return
        await self.send({"type": "websocket.accept"})
        deadline_s = self.runtime.conf.limits.start_deadline_ms / 1000
        self._deadline = asyncio.get_running_loop().call_later(deadline_s, self._start_overdue)

    async def admitted(self) -> str:
        """Why this upgrade is not the carrier's; empty where it is signed."""
        headers = dict(self.scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and not is_own_page(origin.decode("latin-1")):
            return "origin"  # a browser on somebody's page; the carrier names none
        signature, settings = (
            headers.get(name, b"").decode("latin-1") or None
            for name in (b"x-twilio-signature", b"x-twilio-webhooks-signature-settings")
        )
        verdict = self.runtime.signatures.check_upgrade(signature, settings)
        return "" if verdict.ok else f"signature_{verdict.value}"

    async def ticket_of(self, start: Start) -> Ticket | None:
        """The ticket that the stream shows, which is spent thereby; ``None`` for none that counts."""
        return await self.runtime.tickets.take(start.parameters.get("token", ""))

    async def receive(self, message: dict[str, Any]) -> None:
        """One frame of the socket."""
        text = message.get("text")
        if text is None:
            await self._bad_message("binary")
            return
        try:
            inbound = decode(text, self.runtime.conf.limits.max_message_bytes)
        except BadMessage as error:
            await self._bad_message(error.cause)
            return
        if type(inbound) is Media and self.session is not None:
            if inbound.stream_sid == self._stream_sid and inbound.track == "inbound":
                self.session.media(inbound)
            else:
                await self._bad_message("wrong_stream")
            return
        await self._other(inbound)

    def disconnect(self) -> None:
        """The socket is gone; the call learns it unless it had its ``stop``."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._carrier is not None:
            self._carrier.gone()
        if self.session is not None:
            self.session.gone("closed")

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _other(self, inbound: Inbound) -> None:
        if isinstance(inbound, Unknown):
            metrics.MESSAGES_BAD.labels("unknown_event").inc()
        elif self.session is None:
            await self._before_start(inbound)
        elif isinstance(inbound, Connected | Start):
            await self._bad_message("out_of_place")
        elif inbound.stream_sid != self._stream_sid:
            await self._bad_message("wrong_stream")
        elif isinstance(inbound, Mark):
            self.session.mark(inbound)
        elif isinstance(inbound, Dtmf):
            self.session.dtmf(inbound)
        elif isinstance(inbound, Stop):
            self.session.gone("stop")

    async def _before_start(self, inbound: Inbound) -> None:
        if isinstance(inbound, Connected) and not self._connected:
            self._connected = True
        elif isinstance(inbound, Start):
            await self._start(inbound)
        else:
            await self.close("wrong_first_message")

    async def _start(self, start: Start) -> None:
        if not start.is_phone_audio:
            await self.close("wrong_format")
            return
        ticket = await self.ticket_of(start)
        reason = self._not_ours(ticket, start)
        if ticket is None or reason:
            await self.close(reason)
            return
        await self.runtime.await_phrases(ticket.agent)
        if self._closing:
            return
        carrier = StreamOut(self.send, start.stream_sid)
        session = self.runtime.begin(ticket, carrier)
        if session is None:
            carrier.gone()
            await self.close(self.runtime.registry.refusal(ticket.call_sid))
            return
        self._carrier, self.session, self._stream_sid = carrier, session, start.stream_sid
        if self._deadline is not None:
            self._deadline.cancel()

    def _not_ours(self, ticket: Ticket | None, start: Start) -> str:
        if ticket is None:
            return "bad_ticket"
        ours = (ticket.call_sid, ticket.account_sid) == (start.call_sid, start.account_sid)
        return "" if ours else "wrong_call"

    async def _bad_message(self, cause: str) -> None:
        """Count it; too many end the stream."""
        metrics.MESSAGES_BAD.labels(cause).inc()
        self._bad += 1
        if self._bad <= MOST_BAD_MESSAGES:
            return
        if self.session is not None:
            self.session.gone("protocol")
        await self.close("too_many_bad_messages")

    # --- refusing -----------------------------------------------------------------------------------------------------

    async def _unwanted(self, why: str) -> None:
        """Refuse the upgrade (HTTP 403). Who sends many of these gets no line in the log for each."""
        address = (self.scope.get("client") or ("",))[0]
        if not await admission.unsigned_wait_s(self.runtime.conf.limits, address):
            self._refused(why)
        await self.send({"type": "websocket.close"})

    def _start_overdue(self) -> None:
        if self.session is None and not self._closing:
            self._late = asyncio.ensure_future(self.close("no_start"))

    async def close(self, why: str) -> None:
        """Close for this reason, a key of ``CLOSE_CODES``."""
        if self._closing:
            return
        self._closing = True
        self._refused(why)
        code = CLOSE_CODES[why]
        if self._carrier is not None:
            self._carrier.close(code)
        else:
            await self.send({"type": "websocket.close", "code": code})

    def _refused(self, why: str) -> None:
        metrics.STREAMS_REFUSED.labels(why).inc()
        _log.warning("stream.refused", why=why)

"""The voice's socket: many contexts on one connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMsgType, web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.cartesia import wire
from voiceagent.sandbox.cartesia.context import Context, Delivery
from voiceagent.sandbox.cartesia.generation import Generation, new_generation, text_of
from voiceagent.sandbox.cartesia.stt import ENGINES
from voiceagent.sandbox.cartesia.wire import Refusal

if TYPE_CHECKING:
    from voiceagent.sandbox.engines.base import Engines
    from voiceagent.sandbox.state import Entry, Namespace

_KEPT_CLOSED = 500


class VoiceSocket:
    """One connection: reads requests, keeps its contexts, answers errors."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, namespace: Namespace, entry: Entry) -> None:
        self._request, self._socket, self._namespace, self._entry = request, socket, namespace, entry
        self._engines: Engines = request.app[ENGINES]  # type: ignore[assignment]
        self._request_id = wire.new_request_id()
        self._contexts: dict[str, Context] = {}
        self._closed: dict[str, None] = {}
        self._lock = asyncio.Lock()

    async def serve(self) -> str:
        """Until the client leaves or is idle for too long; returns why it ended."""
        try:
            while True:
                try:
                    message = await self._socket.receive(timeout=self._namespace.settings.tts.idle_close_s)
                except TimeoutError:
                    if self._contexts:
                        continue
                    await self._socket.close(code=1000, message=b"connection idle timeout")
                    return "idle"
                if message.type is WSMsgType.TEXT:
                    await self._on_text(message.data)
                elif message.type is WSMsgType.BINARY:
                    await self._refuse(Refusal(400, "binary messages are not accepted"), None, "")
                else:
                    return "disconnected"
        finally:
            for context in list(self._contexts.values()):
                context.stop("disconnected")

    async def _on_text(self, text: str) -> None:
        context_id: str | None = None
        try:
            try:
                message = orjson.loads(text)
            except orjson.JSONDecodeError:
                raise Refusal(400, "the message is not valid JSON") from None
            if not isinstance(message, dict):
                raise Refusal(400, "the message must be an object")
            context_id = message.get("context_id")
            if not isinstance(context_id, str) or not context_id:
                context_id = None
                raise Refusal(400, "context_id is required")
            if message.get("cancel"):
                self._cancel(context_id)
            else:
                self._generate(context_id, message)
        except Refusal as refusal:
            await self._refuse(refusal, context_id, text)

    def _cancel(self, context_id: str) -> None:
        self._entry["cancels"].append(context_id)
        if (context := self._contexts.get(context_id)) is not None:
            context.cancel()

    def _generate(self, context_id: str, message: dict[str, Any]) -> None:
        context = self._contexts.get(context_id)
        if context is not None:
            context.add(message)
            return
        if context_id in self._closed:
            raise Refusal(400, "Context has closed")
        generation = new_generation(message)
        if not any(character.isalnum() for character in text_of(message)):
            raise Refusal(400, "transcript is empty or contains only punctuation")
        if self._namespace.open_contexts >= self._namespace.settings.tts.max_contexts:
            raise Refusal(429, "too many concurrent text-to-speech contexts")
        context = self._open(context_id, generation, text_of(message))
        context.add(message)

    def _open(self, context_id: str, generation: Generation, text: str) -> Context:
        entry = self._namespace.journal.open(
            "cartesia.tts.context", context_id=context_id, texts=[], bytes=0, chunks=0, cancelled_at_ms=None
        )
        fault = self._namespace.strike("cartesia.tts.context", mishaps.STREAMING, text)
        delivery = Delivery(self._send, self._damage, fault)
        context = Context(context_id, generation, self._engines, self._namespace, delivery, entry, self._retire)
        self._contexts[context_id] = context
        return context

    def _retire(self, context_id: str) -> None:
        self._contexts.pop(context_id, None)
        self._closed[context_id] = None
        if len(self._closed) > _KEPT_CLOSED:
            self._closed.pop(next(iter(self._closed)))

    async def _send(self, message: dict[str, Any]) -> None:
        # Contexts interleave, but a message is never torn.
        async with self._lock:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_str(wire.dumps(message))

    async def _damage(self, kind: str) -> None:
        """Do to the whole connection what a fault of a context asks for."""
        if kind == "cut":
            mishaps.cut(self._request)
        elif kind == "close":
            await self._socket.close(code=1011, message=b"server error")
        elif kind == "garbage":
            await self._socket.send_str('{"type": "chunk", "data": "@@@')
            await self._socket.send_bytes(b"\x00\x01\x02")
            await self._socket.send_str('{"type":"mystery","context_id":null}')

    async def _refuse(self, refusal: Refusal, context_id: str | None, request: str) -> None:
        self._entry["errors"].append(
            {
                "at_ms": self._namespace.journal.elapsed_ms(),
                "context_id": context_id,
                "status": refusal.status,
                "message": refusal.message,
                "request": request[:2000],
            }
        )
        extra = {"context_id": context_id} if context_id else {}
        await self._send(refusal.event(self._request_id, done=True, **extra))


async def tts_socket(request: web.Request) -> web.StreamResponse:
    """``GET /tts/websocket``."""
    try:
        namespace = wire.admit(request)
        await wire.opening_fault(request, namespace, "cartesia.tts.socket")
    except Refusal as refusal:
        return wire.refused(refusal)
    socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20, timeout=1)
    await socket.prepare(request)
    entry = namespace.journal.open("cartesia.tts.socket", cancels=[], errors=[])
    entry["outcome"] = await VoiceSocket(request, socket, namespace, entry).serve()
    entry["ended_ms"] = namespace.journal.elapsed_ms()
    return socket

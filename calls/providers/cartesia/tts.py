"""Cartesia's voice behind the ``Voice`` port: one socket per call, one context per epoch, µ-law straight through.

Messages are read raw: the SDK's context helper starts a second reader, drops what it does not know and never tells
of errors that name no context.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from binascii import a2b_base64
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from calls.core.events import VoiceFailed, WordsTimed
from calls.providers.aio import race
from calls.providers.cartesia.client import CartesiaClient, Written, language_code, parse
from calls.providers.cartesia.errors import VENDOR, from_event
from calls.providers.cartesia.link import Link, Persistence
from calls.providers.cartesia.speech import Context, Key, Outgoing, Speech, speakable, timed_words
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cartesia.lib._tts import AsyncTTSResourceConnection
    from cartesia.types.websocket_client_event import WebsocketClientEvent

    from calls.core.policy import AgentProfile
    from calls.ports import AudioSink, Post

_CLOSED_IN_ORDER: Final = 1000
OPERATION: Final = "cartesia.tts"
#: A caller is waiting: fewer and quicker attempts than the ear's. What an open breaker forbids the core says otherwise.
_PERSISTENCE: Final = Persistence(
    attempts=3, first_wait_s=0.15, longest_wait_s=1.0, useful_s=6.0, outlasts_breaker=False
)
#: Where those were in vain, and nobody waits for a word: how long until the next ones, twice as long each time.
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 16.0
_FORGET_AFTER: Final = 256
_TICK_S: Final = 0.05
#: A silent voice has failed so long before the core's own deadline for the first audio: the socket must be replaced too.
_STALL_MARGIN_MS: Final = 150
_STALL_SHARE: Final = 0.8


class CartesiaVoice:
    """Text of epochs in, audio to the sink. All methods but ``run`` and ``aclose`` are immediate."""

    def __init__(
        self,
        client: CartesiaClient,
        agent: AgentProfile,
        sink: AudioSink,
        post: Post,
        *,
        persistence: Persistence = _PERSISTENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        policy = agent.policy
        buffer_ms = policy.voice_buffer_ms if policy.chunking == "words" else 0
        self._client = client
        self._sink = sink
        self._post = post
        self._clock = clock
        stall_ms = max(policy.first_audio_ms - _STALL_MARGIN_MS, policy.first_audio_ms * _STALL_SHARE)
        self._stall_s = (stall_ms + buffer_ms) / 1000
        self._prefix = secrets.token_hex(4)
        self._fixed: dict[str, Any] = {
            "model_id": client.conf.tts_model,
            "voice": {"id": agent.voice},
            "language": language_code(agent.language),
            "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
            "add_timestamps": True,
            "max_buffer_delay_ms": buffer_ms,
        }
        self._link: Link[AsyncTTSResourceConnection] = Link(self, persistence)
        self._speeches: dict[Key, Speech] = {}
        self._contexts: dict[str, Context] = {}
        self._over: dict[Key, None] = {}
        self._outbox: deque[Outgoing] = deque()
        self._something_to_send = asyncio.Event()
        self._asked = asyncio.Event()
        self._up = False
        self._hung = asyncio.Event()
        self._last_error = VendorError("timeout", VENDOR)
        self._pause_s = _FIRST_PAUSE_S

    # --- the port -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and speak until ``aclose`` or cancellation."""
        await race(self._link.run(), self._watch())

    def say(self, turn: int, epoch: int, text: str) -> None:
        """More text of this epoch, verbatim."""
        key = (turn, epoch)
        if not text or key in self._over:
            return
        speech = self._speeches.get(key)
        if speech is None:
            speech = self._speeches[key] = Speech(turn, epoch)
            self._asked.set()
        if not speech.ended:
            self._give(speech, speech.held + text)

    def end(self, turn: int, epoch: int) -> None:
        """No more text; an epoch of which nothing is left to be spoken is finished at once."""
        key = (turn, epoch)
        if key in self._over:
            return
        speech = self._speeches.setdefault(key, Speech(turn, epoch))
        speech.ended = True
        self._end(speech)

    def cancel(self, turn: int, epoch: int) -> None:
        """Stop this epoch; whatever still comes of it is dropped here."""
        speech = self._speeches.get((turn, epoch))
        if speech is None:
            self._remember_over((turn, epoch))
        else:
            self._abandon(speech)

    async def aclose(self) -> None:
        """Close politely, within a second."""
        await self._link.aclose()

    # --- text out -----------------------------------------------------------------------------------------------

    def _give(self, speech: Speech, text: str) -> None:
        now = self._clock()
        context = speech.context
        if context is None or context.may_have_expired(now):
            if not speakable(text):
                speech.held = text
                return
            context = self._new_context(speech)
        speech.held = ""
        speech.active_at = now
        context.unspoken.append(text)
        self._send_later(Outgoing(context, text))

    def _new_context(self, speech: Speech) -> Context:
        speech.contexts_made += 1
        name = f"{self._prefix}.t{speech.turn}.e{speech.epoch}.c{speech.contexts_made}"
        context = Context(name, speech)
        speech.context = self._contexts[name] = context
        speech.opened.append(context)
        return context

    def _end(self, speech: Speech) -> None:
        if speech.context is None:
            self._finish(speech)
        else:
            self._close(speech.context)

    def _close(self, context: Context) -> None:
        """The last text says that it is the last, if it has not left yet; an empty one says it otherwise."""
        context.closing = True
        context.speech.active_at = self._clock()
        for waiting in reversed(self._outbox):
            if waiting.context is context:
                waiting.more = False
                return
        self._send_later(Outgoing(context, "", more=False))

    def _send_later(self, outgoing: Outgoing) -> None:
        self._outbox.append(outgoing)
        self._something_to_send.set()

    # --- the ends of an epoch -----------------------------------------------------------------------------------

    def _finish(self, speech: Speech) -> None:
        self._forget(speech)
        self._sink.finished(speech.turn, speech.epoch)
        if speech.audio_bytes:
            self._client.report(OPERATION, wait_ms=speech.waited_ms)

    def _abandon(self, speech: Speech) -> None:
        self._forget(speech)
        for context in speech.opened:
            if context.on_wire:
                self._outbox.appendleft(Outgoing(context, None))
                self._something_to_send.set()

    def _fail(self, speech: Speech, error: VendorError) -> None:
        """This epoch alone has failed, on a socket that lives."""
        self._client.report(OPERATION, error.kind)
        self._lose(speech, error)

    def _lose(self, speech: Speech, error: VendorError) -> None:
        self._abandon(speech)
        self._post(VoiceFailed(turn=speech.turn, epoch=speech.epoch, kind=error.kind, retryable=error.retryable))

    def _forget(self, speech: Speech) -> None:
        """The epoch is over: nothing of it is sent or let through any more."""
        key = (speech.turn, speech.epoch)
        self._speeches.pop(key, None)
        self._remember_over(key)
        for context in speech.opened:
            self._contexts.pop(context.context_id, None)
        self._outbox = deque(item for item in self._outbox if item.context.speech is not speech)

    def _remember_over(self, key: Key) -> None:
        self._over[key] = None
        if len(self._over) > _FORGET_AFTER:
            del self._over[next(iter(self._over))]

    # --- for the link -------------------------------------------------------------------------------------------

    async def open(self) -> AsyncTTSResourceConnection:
        """A new socket, if the breaker admits one, from a new manager: an old one hands back its dead connection."""
        with self._client.attempt(OPERATION, timed=False):
            return await self._client.open(
                self._client.sdk.tts.websocket_connect(websocket_connection_options=self._client.socket_options)
            )

    async def serve(self, socket: AsyncTTSResourceConnection) -> None:
        """Pump both ways until either ends, or until the vendor owes for too long."""
        self._hung.clear()
        self._up, self._pause_s = True, _FIRST_PAUSE_S
        try:
            await race(self._send(socket), self._receive(socket), self._until_hung())
        finally:
            self._up = False

    def lost(self, error: VendorError) -> None:
        """A connection that stood is no more. Closed in order while it owed nothing, it was only idle."""
        if error.status != _CLOSED_IN_ORDER or self._on_wire():
            self._client.report(OPERATION, error.kind)

    def went_down(self, error: VendorError, *, final: bool) -> None:
        """What the lost socket was speaking is lost; what has not left yet waits for the next one, if there is one."""
        self._last_error = error
        lost = list(self._speeches.values()) if final else self._on_wire()
        for speech in lost:
            self._lose(speech, error)
        self._outbox = deque(item for item in self._outbox if item.text is not None)

    async def revived(self) -> bool:
        """The next text is worth another attempt; without one there is time, but the next must find a socket."""
        self._something_to_send.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._something_to_send.wait()
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return True

    def _on_wire(self) -> list[Speech]:
        return [speech for speech in self._speeches.values() if any(context.on_wire for context in speech.opened)]

    async def _send(self, socket: AsyncTTSResourceConnection) -> None:
        while True:
            while not self._outbox:
                self._something_to_send.clear()
                await self._something_to_send.wait()
            outgoing = self._outbox.popleft()
            outgoing.context.on_wire = True
            outgoing.context.speech.sent(self._clock())
            message = Written(text=orjson.dumps(outgoing.message(self._fixed)).decode())
            await socket.send(cast("WebsocketClientEvent", message))

    async def _receive(self, socket: AsyncTTSResourceConnection) -> None:
        while True:
            self._on_message(parse(await socket.recv_bytes()))

    async def _until_hung(self) -> None:
        await self._hung.wait()
        raise VendorError("hung", VENDOR, detail="no audio for a text")

    async def _watch(self) -> None:
        """A voice that owes audio and gives none has failed, however well its socket looks, and so has one without a socket."""
        while True:
            if not self._speeches:
                self._asked.clear()
                await self._asked.wait()
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            for speech in list(self._speeches.values()):
                if not speech.waits_for_vendor or now - speech.active_at <= self._stall_s:
                    continue
                if self._up and now - speech.sent_at > self._stall_s / 2:
                    self._hung.set()  # with the socket fall all that it was speaking
                else:
                    self._lose(speech, self._last_error)

    # --- audio in -----------------------------------------------------------------------------------------------

    def _on_message(self, message: dict[str, Any]) -> None:
        name = message.get("context_id")
        context = self._contexts.get(name) if isinstance(name, str) else None
        kind = message.get("type")
        if context is None:
            if kind == "error" and name is None:
                raise from_event(message)
            return  # late audio of an epoch that is over
        if kind == "chunk":
            self._on_chunk(context, message.get("data"))
        elif kind == "timestamps":
            self._on_timestamps(context, message.get("word_timestamps"))
        elif kind == "done":
            self._on_context_over(context)
        elif kind == "error":
            self._on_error(context, from_event(message))

    def _on_chunk(self, context: Context, data: Any) -> None:
        speech = context.speech
        try:
            audio = a2b_base64(data, strict_mode=True)
        except (TypeError, ValueError):
            self._fail(speech, VendorError("garbage", VENDOR, detail="a chunk is not base64"))
            return
        speech.active_at = now = self._clock()
        context.heard(len(audio), now)
        self._sink.audio(speech.turn, speech.epoch, audio)

    def _on_timestamps(self, context: Context, stamps: Any) -> None:
        speech = context.speech
        try:
            words = timed_words(stamps, context.begin())
        except ValueError:
            self._fail(speech, VendorError("garbage", VENDOR, detail="timestamps"))
            return
        self._post(WordsTimed(turn=speech.turn, epoch=speech.epoch, words=words))

    def _on_error(self, context: Context, error: VendorError) -> None:
        """A context that spoke and then takes no more has expired under our hands; anything else is a failure."""
        if context.has_audio and error.kind == "bad_request":
            self._on_context_over(context)
        else:
            context.speech.opened.remove(context)  # the vendor has closed it: no cancel
            self._contexts.pop(context.context_id)
            self._fail(context.speech, error)

    def _on_context_over(self, context: Context) -> None:
        """Spoken to its end, or expired. Text that came too late for it goes on in a fresh one."""
        speech = context.speech
        del self._contexts[context.context_id]
        speech.opened.remove(context)
        if speech.context is not context:
            return
        late = "".join(context.unspoken) if context.has_audio and context.owes_audio else ""
        self._outbox = deque(item for item in self._outbox if item.context is not context)
        speech.context = None
        if late:
            self._give(speech, late)
        if speech.ended:
            self._end(speech)

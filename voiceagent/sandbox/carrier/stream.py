"""The media stream of one call: the carrier's end of the WebSocket."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import ClientError, WSMsgType

from voiceagent.sandbox.carrier import events
from voiceagent.sandbox.carrier.playback import PlayQueue
from voiceagent.sandbox.sound import FRAME_BYTES, FRAME_MS, MULAW_SILENCE, SILENT_FRAME, loudness

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

    from voiceagent.sandbox.carrier.faults import CarrierFaults
    from voiceagent.sandbox.carrier.timeline import Timeline

# Frames louder than this are voiced, on the scale of sound.loudness.
VOICED = 28.0
# The agent has stopped when nothing voiced was heard for so long.
AGENT_PAUSE_MS = 700
# A reader so far behind loses audio (31930).
_WRITE_LIMIT_BYTES = 48 * 1024
_SILENT_PAYLOAD = base64.b64encode(SILENT_FRAME)


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """A message of the server: ``size`` is its audio in bytes, ``name`` its mark."""

    at_ms: float
    event: str
    size: int = 0
    name: str = ""


class Utterance:
    """Something the caller says: its frames, and where the voiced part begins and ends."""

    def __init__(self, audio: bytes, label: str) -> None:
        pieces = [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]
        self.frames = deque(piece.ljust(FRAME_BYTES, MULAW_SILENCE) for piece in pieces)
        self.label = label
        voiced = [index for index, frame in enumerate(self.frames) if loudness(frame) > VOICED]
        self.first, self.last = (voiced[0], voiced[-1]) if voiced else (-1, -1)
        self.position = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _since(then_ms: float | None, now_ms: float) -> float | None:
    return None if then_ms is None else round(now_ms - then_ms, 1)


class MediaStream:
    """Sends the caller's audio and plays the server's, one frame per tick of the pacer."""

    def __init__(
        self,
        socket: ClientWebSocketResponse,
        stream_sid: str,
        timeline: Timeline,
        faults: CarrierFaults,
        keep_audio: bool = True,
    ) -> None:
        self._socket, self.stream_sid, self._timeline, self._faults = socket, stream_sid, timeline, faults
        self._keep_audio = keep_audio
        self._sequence = 0
        self._chunk = 0
        self._ticks = 0
        self._speech: deque[Utterance] = deque()
        self._held: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self.queue = PlayQueue()
        self.heard = bytearray()
        self.said = bytearray()
        self.messages: list[ServerMessage] = []
        self.dropped_frames = 0
        self._agent_speaks = False
        self._agent_loud_ms = 0.0
        self._caller_from_ms: float | None = None
        self._caller_until_ms: float | None = None
        self._key_ms: float | None = None

    # Towards the server ----------------------------------------------------------------------------------------------

    async def open(self, account_sid: str, call_sid: str, parameters: dict[str, str]) -> None:
        """Send ``connected`` and ``start``."""
        await self.send({"event": "connected", "protocol": "Call", "version": "1.0.0"}, numbered=False)
        if self._faults.no_start:
            return
        start = {
            "accountSid": account_sid,
            "streamSid": self.stream_sid,
            "callSid": call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        }
        await self.send({"event": "start", "start": start})

    async def send(self, message: dict[str, Any], numbered: bool = True) -> None:
        """A message of the carrier, with its sequence number and stream."""
        if numbered:
            self._sequence += 1
            message = {**message, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid}
        await self.send_raw(orjson.dumps(message))

    async def send_raw(self, data: bytes | str, binary: bool = False) -> None:
        """Anything at all, for hostile tests. A stream that has closed swallows it."""
        kind = WSMsgType.BINARY if binary else WSMsgType.TEXT
        with contextlib.suppress(ConnectionError, ClientError):
            await self._socket.send_frame(data.encode() if isinstance(data, str) else data, kind)

    def say(self, audio: bytes, label: str) -> asyncio.Future[None]:
        """Queue speech of the caller; the future is done when its last frame has been sent, or the stream is over."""
        utterance = Utterance(audio, label)
        self._speech.append(utterance)
        if self._ended:
            self.fall_silent()
        return utterance.done

    async def press(self, digit: str) -> None:
        """A key: what the agent does next is an answer to it, not to what was said before."""
        self._key_ms = self._timeline.now_ms()
        self._caller_from_ms = self._caller_until_ms = None
        self._timeline.add(events.DtmfSent, digit, at_ms=self._key_ms)
        await self.send({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}})

    def fall_silent(self) -> None:
        """Drop what the caller still wanted to say."""
        while self._speech:
            self._finish(self._speech.popleft())

    async def stop(self, account_sid: str, call_sid: str) -> None:
        """End the stream from the carrier's side."""
        if self._ended:
            return
        self._ended = True
        self.fall_silent()
        if self._faults.abrupt_close:
            self._abort()
            return
        if not self._faults.no_stop:
            await self.send({"event": "stop", "stop": {"accountSid": account_sid, "callSid": call_sid}})
        with contextlib.suppress(ConnectionError, ClientError, TimeoutError):
            async with asyncio.timeout(2):
                await self._socket.close()

    def _abort(self) -> None:
        transport = self._transport()
        if transport is not None:
            transport.abort()

    def _transport(self) -> asyncio.WriteTransport | None:
        # aiohttp offers no public way to a client socket's transport.
        return self._socket._writer.transport

    # One frame -------------------------------------------------------------------------------------------------------

    async def tick(self) -> bool:
        """See :class:`voiceagent.sandbox.carrier.pacer.Ticking`."""
        if self._ended or self._socket.closed:
            self._ended = True
            self.fall_silent()
            return False
        at_ms = self._ticks * FRAME_MS
        await self._play()
        await self._speak(at_ms)
        self._ticks += 1
        return True

    async def _play(self) -> None:
        for name in self.queue.due_marks():
            self._return_mark(name, "played")
        frame, inside = self.queue.drain()
        if self._keep_audio:
            self.heard += frame or SILENT_FRAME
        now_ms = self._timeline.now_ms()
        if frame and loudness(frame) > VOICED:
            self._agent_loud_ms = now_ms
            if not self._agent_speaks:
                self._agent_speaks = True
                waits = _since(self._caller_until_ms, now_ms), _since(self._key_ms, now_ms)
                if any(wait is not None for wait in waits):
                    # Answered: what the agent says after a pause is no second answer.
                    self._caller_from_ms = self._caller_until_ms = self._key_ms = None
                self._timeline.add(events.AgentStarted, *waits, at_ms=now_ms)
        elif self._agent_speaks and now_ms - self._agent_loud_ms > AGENT_PAUSE_MS:
            self._agent_speaks = False
            self._timeline.add(events.AgentStopped, at_ms=self._agent_loud_ms + FRAME_MS)
        for name in inside:
            self._return_mark(name, "played")

    async def _speak(self, at_ms: float) -> None:
        frame = self._next_frame()
        if self._keep_audio:
            self.said += frame or SILENT_FRAME
        faults = self._faults
        if faults.stall_after_ms is not None and at_ms >= faults.stall_after_ms:
            return
        self._chunk += 1
        if faults.drop_every and self._chunk % faults.drop_every == 0:
            return
        transport = self._transport()
        if transport is not None and transport.get_write_buffer_size() > _WRITE_LIMIT_BYTES:
            if not self.dropped_frames:
                self._timeline.add(events.ProtocolFault, 31930, "the server reads too slowly: audio is dropped")
            self.dropped_frames += 1
            return
        self._sequence += 1
        payload = base64.b64encode(frame) if frame else _SILENT_PAYLOAD
        message = (
            b'{"event":"media","sequenceNumber":"%d","streamSid":"%s",'
            b'"media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s"}}'
        ) % (self._sequence, self.stream_sid.encode(), self._chunk, at_ms, payload)
        if faults.burst_at_ms is not None and faults.burst_at_ms <= at_ms < faults.burst_at_ms + faults.burst_ms:
            self._held.append(message)
            return
        for held in self._held:
            await self.send_raw(held)
        self._held.clear()
        await self.send_raw(message)

    def _next_frame(self) -> bytes | None:
        if not self._speech:
            return None
        utterance = self._speech[0]
        if not utterance.frames:
            self._finish(self._speech.popleft())
            return self._next_frame()
        frame = utterance.frames.popleft()
        now_ms = self._timeline.now_ms()
        if utterance.position == utterance.first:
            self._caller_from_ms = now_ms
            self._caller_until_ms = self._key_ms = None
            self._timeline.add(events.CallerStarted, utterance.label, at_ms=now_ms)
        if utterance.position == utterance.last:
            self._caller_until_ms = now_ms
            self._timeline.add(events.CallerStopped, utterance.label, at_ms=now_ms)
        utterance.position += 1
        if not utterance.frames:
            self._finish(self._speech.popleft())
        return frame

    @staticmethod
    def _finish(utterance: Utterance) -> None:
        if not utterance.done.done():
            utterance.done.set_result(None)

    # From the server -------------------------------------------------------------------------------------------------

    async def listen(self) -> tuple[str, int | None]:
        """Read until the stream is over; who ended it and the close code."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                fault = await self._on_text(message.data)
            elif message.type is WSMsgType.BINARY:
                fault = "a binary message"
            else:
                by = "caller" if self._ended else "server"
                self._ended = True
                return by, self._socket.close_code
            if fault is not None:
                self._timeline.add(events.ProtocolFault, 31924, fault)
                self._ended = True
                with contextlib.suppress(ConnectionError, ClientError):
                    await self._socket.close(code=1002)
                return "error", 1002

    async def _on_text(self, text: str) -> str | None:
        """Take a message; what is wrong with it, if anything."""
        now_ms = self._timeline.now_ms()
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            return "a message that is not JSON"
        if not isinstance(message, dict):
            return "a message that is not an object"
        kind = message.get("event")
        if kind not in ("media", "mark", "clear"):
            return f"an unknown event: {kind!r}"
        if message.get("streamSid") != self.stream_sid:
            return f"{kind} with the streamSid {message.get('streamSid')!r}"
        if kind == "media":
            return self._on_media(message, now_ms)
        if kind == "mark":
            return self._on_mark(message, now_ms)
        self._on_clear(now_ms)
        return None

    def _on_media(self, message: dict[str, Any], now_ms: float) -> str | None:
        media = message.get("media")
        payload = media.get("payload") if isinstance(media, dict) else None
        if not isinstance(payload, str):
            return "media without a payload"
        try:
            audio = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            return "a payload that is not base64"
        if audio.startswith(b"RIFF"):
            self._timeline.add(events.ProtocolFault, 0, "audio with a WAV header: it is played as noise")
        self.messages.append(ServerMessage(now_ms, "media", len(audio)))
        self.queue.put(audio)
        return None

    def _on_mark(self, message: dict[str, Any], now_ms: float) -> str | None:
        mark = message.get("mark")
        name = mark.get("name") if isinstance(mark, dict) else None
        if not isinstance(name, str):
            return "a mark without a name"
        self.messages.append(ServerMessage(now_ms, "mark", name=name))
        self._timeline.add(events.MarkTaken, name, at_ms=now_ms)
        if self.queue.mark(name):
            self._return_mark(name, "played")
        return None

    def _on_clear(self, now_ms: float) -> None:
        self.messages.append(ServerMessage(now_ms, "clear"))
        dropped, marks = self.queue.clear()
        since = _since(self._caller_from_ms, now_ms), _since(self._key_ms, now_ms)
        if self._agent_speaks:
            self._agent_speaks = False
            self._timeline.add(events.AgentStopped, at_ms=min(now_ms, self._agent_loud_ms + FRAME_MS))
        self._timeline.add(events.Cleared, dropped / FRAME_BYTES * FRAME_MS, *since, at_ms=now_ms)
        for name in marks:
            self._return_mark(name, "clear")

    def _return_mark(self, name: str, by: str) -> None:
        async def give_back() -> None:
            if self._faults.late_marks_ms:
                await asyncio.sleep(self._faults.late_marks_ms / 1000)
            if not self._ended:
                self._timeline.add(events.MarkReturned, name, by)
                await self.send({"event": "mark", "mark": {"name": name}})

        task = asyncio.create_task(give_back())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""The link between this server's REST API and the carriers that hold simulated calls.

A carrier connects to ``/_sandbox/carrier`` (loopback only) and registers its calls; REST updates of a call are
pushed to the carrier that owns it. Messages are JSON objects with a ``type``:

carrier to server: ``call`` (call_sid, account_sid, from, to, direction), ``status`` (call_sid, status),
``audio`` (call_sid, caller, agent: base64 mu-law of both sides, aligned), ``ready`` (takes outbound calls);
server to carrier: ``update`` (call_sid and one of status, twiml, url + method), ``dial`` (an outbound call),
``record`` (call_sid: send ``audio`` at the end).
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import numpy as np
import orjson
from aiohttp import WSMsgType, web

from voiceagent.sandbox import sound
from voiceagent.sandbox.api import local_only
from voiceagent.sandbox.twilio.resources import CallResource, RecordingResource

Message = dict[str, Any]


class Exchange:
    """All calls and recordings of the account holders, and the carriers that hold the calls."""

    def __init__(self) -> None:
        self.calls: dict[str, CallResource] = {}
        self.recordings: dict[str, RecordingResource] = {}
        self._owners: dict[str, web.WebSocketResponse] = {}
        self._takers: list[web.WebSocketResponse] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def push(self, call_sid: str, message: Message) -> bool:
        """Tell the carrier of a call; false if no carrier holds it."""
        owner = self._owners.get(call_sid)
        if owner is None or owner.closed:
            return False
        await owner.send_bytes(orjson.dumps({**message, "call_sid": call_sid}))
        return True

    async def dial(self, call: CallResource) -> bool:
        """Ask a carrier to ring somebody; false if none takes outbound calls."""
        for taker in reversed(self._takers):
            if not taker.closed:
                self._owners[call.sid] = taker
                facts = {"call_sid": call.sid, "account_sid": call.account_sid, "from": call.sender, "to": call.to}
                await taker.send_bytes(orjson.dumps({"type": "dial", **facts, "options": call.options}))
                return True
        return False

    async def on_message(self, socket: web.WebSocketResponse, message: Message) -> None:
        """What a carrier reports."""
        kind, sid = message.get("type"), str(message.get("call_sid", ""))
        if kind == "ready":
            self._takers.append(socket)
        elif kind == "call":
            self._owners[sid] = socket
            if sid not in self.calls:
                self.calls[sid] = CallResource(
                    sid,
                    message["account_sid"],
                    message["from"],
                    message["to"],
                    message.get("direction", "inbound"),
                    "ringing",
                )
            await socket.send_bytes(orjson.dumps({"type": "registered", "call_sid": sid}))
        elif kind == "status" and sid in self.calls:
            self.calls[sid].become(message["status"])
            if self.calls[sid].ended:
                self._owners.pop(sid, None)
        elif kind == "audio" and sid in self.calls:
            self._finish_recordings(sid, base64.b64decode(message["caller"]), base64.b64decode(message["agent"]))

    def gone(self, socket: web.WebSocketResponse) -> None:
        """A carrier has left: its calls have failed."""
        if socket in self._takers:
            self._takers.remove(socket)
        for sid in [sid for sid, owner in self._owners.items() if owner is socket]:
            self.calls[sid].become("completed")
            del self._owners[sid]

    def _finish_recordings(self, call_sid: str, caller: bytes, agent: bytes) -> None:
        for recording in self.recordings.values():
            if recording.call.sid == call_sid and recording.status in ("in-progress", "paused", "stopped"):
                recording.wav = _wav(caller, agent, dual=recording.channels == "dual")
                recording.duration_s = round(max(len(caller), len(agent)) / sound.PHONE_RATE)
                recording.status = "completed"
                self._spawn(notify(recording))

    def _spawn(self, job: Any) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _wav(caller: bytes, agent: bytes, dual: bool) -> bytes:
    import io
    import wave

    length = max(len(caller), len(agent))
    left, right = (sound.mulaw_decode(side.ljust(length, sound.MULAW_SILENCE)) for side in (caller, agent))
    if not dual:
        return sound.wav_bytes(np.clip(left.astype(np.int32) + right, -32768, 32767).astype(np.int16), sound.PHONE_RATE)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(sound.PHONE_RATE)
        file.writeframes(np.column_stack((left, right)).astype("<i2").tobytes())
    return buffer.getvalue()


async def notify(recording: RecordingResource) -> None:
    """Post the recording status callback, signed with the token that asked for the recording."""
    from voiceagent.sandbox.carrier.signing import post_signed

    url = recording.options.get("RecordingStatusCallback")
    wanted = str(recording.options.get("RecordingStatusCallbackEvent") or "completed").split()
    if not url or recording.status not in wanted:
        return
    async with aiohttp.ClientSession() as session:
        await post_signed(session, url, recording.callback_fields(), recording.call.auth_token)


EXCHANGE = web.AppKey("exchange", Exchange)


async def _carrier_socket(request: web.Request) -> web.StreamResponse:
    exchange = request.app[EXCHANGE]
    socket = web.WebSocketResponse(compress=False, max_msg_size=64 << 20)
    await socket.prepare(request)
    try:
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await exchange.on_message(socket, orjson.loads(message.data))
    finally:
        exchange.gone(socket)
    return socket


def add_routes(app: web.Application) -> None:
    """The carriers' address."""
    app[EXCHANGE] = Exchange()
    app.router.add_get("/_sandbox/carrier", local_only(_carrier_socket))

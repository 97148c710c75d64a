"""A small server that answers calls over Twilio's protocol, to test the carrier against."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Self

from aiohttp import WSMsgType, web
from twilio.request_validator import RequestValidator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ACCOUNT = "AC" + "1" * 32
TOKEN = "callee-token"


class Callee:
    """Checks every signature with the vendor's library; ``on_stream`` decides what the call hears."""

    def __init__(self, twiml: str | None = None, public_url: str | None = None) -> None:
        self.twiml = twiml
        self._public_url = public_url
        self.voice_status = 200
        self.voice_type = "text/xml"
        self.action_twiml = "<Response><Hangup/></Response>"
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.messages: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.on_message: Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]] | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/twilio/stream", self._stream), web.post("/{path:.*}", self._form)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def local_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What it believes to be called, as a server behind a proxy does."""
        return self._public_url or self.local_url

    @property
    def stream_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/twilio/stream"

    def connect(self, action: str = "") -> str:
        attribute = f' action="{action}"' if action else ""
        stream = f'<Stream url="{self.stream_url}"><Parameter name="token" value="t1"/></Stream>'
        return f"<Response><Connect{attribute}>{stream}</Connect></Response>"

    def posts(self, path: str) -> list[dict[str, str]]:
        return [fields for where, fields in self.forms if where == path]

    async def _form(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        signature = request.headers.get("X-Twilio-Signature", "")
        if not RequestValidator(TOKEN).validate(self.url + request.path, fields, signature):
            self.refused.append(request.path)
            return web.Response(status=403)
        self.forms.append((request.path, fields))
        if request.path == "/twilio/voice":
            return web.Response(
                text=self.twiml or self.connect(), status=self.voice_status, content_type=self.voice_type
            )
        return web.Response(text=self.action_twiml, content_type="text/xml")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        expected = RequestValidator(TOKEN).compute_signature(self.stream_url, {})
        if request.headers.get("X-Twilio-Signature") != expected:
            self.refused.append(request.path)
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                continue
            message = json.loads(frame.data)
            self.messages.append(message)
            if self.on_message is not None:
                await self.on_message(socket, message)
        return socket

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    def received_audio(self) -> bytes:
        return b"".join(base64.b64decode(message["media"]["payload"]) for message in self.of("media"))


def media(stream_sid: str, audio: bytes) -> dict[str, Any]:
    return {"event": "media", "streamSid": stream_sid, "media": {"payload": base64.b64encode(audio).decode()}}


def mark(stream_sid: str, name: str) -> dict[str, Any]:
    return {"event": "mark", "streamSid": stream_sid, "mark": {"name": name}}

"""A voice bot that is right or, one way or another, wrong: the proof that the scenarios can fail, and that others can pass.

It hears by loudness, knows one recording (the goodbye), and answers everything with a tone. Its voice webhook is
``/WRONG/ROOM/voice``, where ``WRONG`` is a key of :data:`WRONGS` or ``right``. What it has places for is counted by ``ROOM``.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from tests.conformance.call import audio
from voiceagent.sandbox.sound import FRAME_BYTES, loudness, mulaw_tone

#: What is wrong, the scenarios that must notice, and what they must say.
WRONGS = {
    "deaf": {"A1": "no clear", "A2": "no clear", "D3": "no clear", "C1": "still to be heard"},  # never clears
    "stale": {"A1": "while the caller spoke", "D3": "while the caller spoke"},  # sends on what was on its way
    "echo": {"A2": "the call is over"},  # takes a mark that a clear returned for the end of the goodbye
    "twice": {"C1": "unasked"},  # answers a turn, and then again
    "mute": {"D1": "no AgentStarted"},  # stops at a cough for good
    "stuck": {"A1": "no AgentStarted", "D3": "no AgentStarted"},  # never answers a caller who interrupted
    "final": {"E1": "the call is over"},  # a goodbye once heard ends the call, whatever follows
    "hurried": {"G1": "prompted after"},  # counts its patience from when speech was sent
    "hasty": {"G3": "were cut off"},  # hangs up in the middle of the goodbye
    "endless": {"G3": "no HungUp"},  # never hangs up
    "greedy": {"J1": "[True, True]"},  # takes every call
    "twins": {"J2": "more than one agent"},  # gives a second stream an agent of its own
}

CAPACITY, IDLE_MS = 2, 1500
_LOUD, _FRAME_S = 40, 0.02
_END_MS, _COUGH_MS = 600, 300
_GREETING_MS, _REPLY_MS, _GOODBYE_MS, _PROMPT_MS = 500, 4000, 1800, 500
_GOODBYE = audio("6-goodbye")


class Agent:
    """One stream's agent. ``wrong`` is what is wrong with it."""

    def __init__(self, socket: web.WebSocketResponse, stream_sid: str, wrong: str) -> None:
        self._socket, self._sid, self._wrong = socket, stream_sid, wrong
        self._loop = asyncio.get_running_loop()
        self._marks: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._plays_until = 0.0
        self._unheard_ms = 0.0
        self._heard = b""
        self._loud_ms = self._quiet_ms = 0.0
        self._interrupted = self._said_bye = False
        self._idle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def _send(self, event: str, **body: Any) -> None:
        if not self._socket.closed:
            await self._socket.send_str(orjson.dumps({"event": event, "streamSid": self._sid, **body}).decode())

    def _later(self, seconds: float, *args: Any) -> asyncio.TimerHandle:
        def start() -> None:
            task = asyncio.create_task(self.speak(*args))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return self._loop.call_later(seconds, start)

    async def speak(self, ms: float, then: str = "idle") -> None:
        """Send so much speech at once, and a mark after it: ``then`` is what its return means."""
        tone = (mulaw_tone() * 2)[: int(ms * 8)]
        await self._send("media", media={"payload": base64.b64encode(tone).decode()})
        self._plays_until = max(self._plays_until, self._loop.time()) + ms / 1000
        name = str(next(self._numbers))
        self._marks[name] = then
        await self._send("mark", mark={"name": name})
        if self._wrong == "hasty" and then == "bye":
            await asyncio.sleep(_GOODBYE_MS / 2000)
            await self._socket.close()
        if self._wrong == "hurried":
            self._be_patient()

    async def on_mark(self, name: str) -> None:
        """A mark is back. One that a clear returned is known no more."""
        then = self._marks.pop(name, "")
        if then == "bye" and self._wrong != "endless":
            await self._socket.close()
        elif then == "again":
            self._later(0.8, _PROMPT_MS)
        elif then and self._wrong != "hurried":
            self._be_patient()

    def _be_patient(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._later(IDLE_MS / 1000, _PROMPT_MS)

    async def on_audio(self, frame: bytes) -> None:
        """20 ms of the caller."""
        self._heard += frame
        if loudness(frame) > _LOUD:
            self._loud_ms += len(frame) / 8
            self._quiet_ms = 0
            if self._loud_ms == 40:
                await self._on_speech()
        elif self._loud_ms:
            self._quiet_ms += len(frame) / 8
            if self._quiet_ms >= _END_MS:
                await self._on_turn()
        else:
            self._heard = b""

    async def _on_speech(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._unheard_ms = max(0.0, self._plays_until - self._loop.time()) * 1000
        if not self._unheard_ms or self._wrong == "deaf":
            return
        self._interrupted = True
        self._plays_until = 0
        if self._wrong != "echo":
            self._marks.clear()
        await self._send("clear")
        if self._wrong == "stale":
            self._later(0.15, 200)

    async def _on_turn(self) -> None:
        was_cough, interrupted = self._loud_ms <= _COUGH_MS, self._interrupted
        ended_with_goodbye = _GOODBYE[-1600:] in self._heard[-(1600 + _END_MS * 8 + FRAME_BYTES) :]
        self._said_bye |= _GOODBYE[-1600:] in self._heard
        self._heard, self._loud_ms, self._quiet_ms, self._interrupted = b"", 0, 0, False
        if was_cough:
            if interrupted and self._wrong != "mute":
                await self.speak(self._unheard_ms)
        elif ended_with_goodbye or (self._wrong == "final" and self._said_bye):
            await self.speak(_GOODBYE_MS, "bye")
            if self._wrong == "final":
                await self._socket.close()
        elif not (self._wrong == "stuck" and interrupted):
            await self.speak(_REPLY_MS, "again" if self._wrong == "twice" else "idle")


class WrongBot:
    """The server's two doors."""

    def __init__(self) -> None:
        self._ringing: set[tuple[str, Any]] = set()
        self._live: set[tuple[str, Any]] = set()

    async def voice(self, request: web.Request) -> web.Response:
        """The voice webhook."""
        wrong, room, form = request.match_info["wrong"], request.match_info["room"], await request.post()
        taken = {call for call in self._ringing | self._live if call[0] == room} - {(room, form["CallSid"])}
        verb = '<Reject reason="busy"/>'
        if len(taken) < CAPACITY or wrong == "greedy":
            self._ringing.add((room, form["CallSid"]))
            verb = f'<Connect><Stream url="ws://{request.host}/{wrong}/{room}/stream"/></Connect>'
        return web.Response(text=f"<Response>{verb}</Response>", content_type="text/xml")

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """The media stream."""
        wrong, agent, call = request.match_info["wrong"], None, ("", None)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            message = orjson.loads(frame.data) if frame.type is WSMsgType.TEXT else {}
            if message.get("event") == "start":
                call = request.match_info["room"], message["start"]["callSid"]
                self._ringing.discard(call)
                if call in self._live and wrong != "twins":
                    await socket.close()
                    return socket
                self._live.add(call)
                agent = Agent(socket, message["streamSid"], wrong)
                await agent.speak(_GREETING_MS)
            elif agent and message.get("event") == "media":
                await agent.on_audio(base64.b64decode(message["media"]["payload"]))
            elif agent and message.get("event") == "mark":
                await agent.on_mark(message["mark"]["name"])
            elif message.get("event") == "stop":
                break
        self._live.discard(call)
        await socket.close()
        return socket

    def app(self) -> web.Application:
        """As an application."""
        app = web.Application()
        app.router.add_post("/{wrong}/{room}/voice", self.voice)
        app.router.add_get("/{wrong}/{room}/stream", self.stream)
        return app

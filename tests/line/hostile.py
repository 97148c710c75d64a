"""What the hostile tests share: requests and sockets that no carrier would make, and readings of what became of them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import aiohttp
from aiohttp import WSMsgType
from prometheus_client import REGISTRY

from calls.core.state import Phase
from calls.models import Call
from tests.line.conftest import ACCOUNT, NUMBER, Line
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall
from voiceagent.sandbox.carrier.signing import HEADER, signature
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TOKEN = "t" * 32
SILENCE_PAYLOAD = "////" * 53 + "/w=="
MEDIA_FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


def sid(prefix: str = "CA") -> str:
    """A fresh id as the carrier makes them."""
    return prefix + secrets.token_hex(16)


def counted(name: str, **labels: str) -> float:
    """A counter's value by now."""
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0


class Counts:
    """How far counters have moved since this was made."""

    def __init__(self, name: str, label: str) -> None:
        self._name, self._label = name, label
        self._before = self._read()

    def _read(self) -> Counter[str]:
        read: Counter[str] = Counter()
        for metric in REGISTRY.collect():
            for sample in metric.samples if metric.name == self._name else ():
                if sample.name == f"{self._name}_total":
                    read[sample.labels[self._label]] += int(sample.value)
        return read

    def moved(self) -> dict[str, int]:
        """What was counted, without what was not."""
        now = self._read()
        return {key: value - self._before[key] for key, value in now.items() if value != self._before[key]}


async def eventually(what: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until it is true. Raises ``TimeoutError``."""
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110 - it becomes true in another part of the loop
            await asyncio.sleep(0.01)


@dataclass
class Twiml:
    """What the webhook answered."""

    status: int
    content_type: str
    text: str

    @property
    def verbs(self) -> list[str]:
        """Names of the verbs, in order."""
        return [verb.tag for verb in ElementTree.fromstring(self.text)]  # noqa: S314 - our own server's answer

    @property
    def token(self) -> str:
        """The ticket's token."""
        parameter = ElementTree.fromstring(self.text).find("Connect/Stream/Parameter")  # noqa: S314 - as above
        assert parameter is not None, self.text
        return parameter.attrib["value"]


class Wire:
    """Signed, half-signed and unsigned requests to a line."""

    def __init__(self, line: Line, session: aiohttp.ClientSession) -> None:
        self.line, self.session = line, session
        self._opened: list[aiohttp.ClientWebSocketResponse] = []

    def fields(self, call_sid: str, **changes: str) -> dict[str, str]:
        """A voice webhook's fields; a change to ``""`` keeps the field, empty."""
        fields = {"CallSid": call_sid, "AccountSid": ACCOUNT, "From": "+15550001111", "To": NUMBER}
        return {**fields, "CallStatus": "ringing", "Direction": "inbound", **changes}

    async def post(self, path: str, fields: dict[str, str], token: str | None = TOKEN) -> Twiml:
        """A form, signed with this token or not at all."""
        url = f"{self.line.url}{path}"
        headers = {} if token is None else {HEADER: signature(url, fields, token)}
        return await self.send("POST", path, headers, data=fields)

    async def send(self, method: str, path: str, headers: dict[str, str], data: Any = None) -> Twiml:
        """Anything."""
        async with self.session.request(method, f"{self.line.url}{path}", headers=headers, data=data) as answer:
            return Twiml(answer.status, answer.content_type, await answer.text())

    async def ring(self, call_sid: str, **changes: str) -> str:
        """A ringing call; gives its token."""
        answer = await self.post("/twilio/voice", self.fields(call_sid, **changes))
        assert answer.status == 200, answer.text
        return answer.token

    async def open(self, path: str = "/twilio/stream", signed: str | None = TOKEN, signed_url: str = "") -> Raw:
        """The stream's upgrade. Raises ``aiohttp.WSServerHandshakeError``."""
        url = self.line.url.replace("http", "ws", 1) + path
        headers = {} if signed is None else {HEADER: signature(signed_url or url, {}, signed)}
        socket = await self.session.ws_connect(
            url, headers=headers, compress=0, max_msg_size=1 << 24, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)
        )
        self._opened.append(socket)
        return Raw(socket)

    async def aclose(self) -> None:
        """Close what tests left open: the session closes the transports, and the sockets warn of it when they are collected."""
        await asyncio.gather(*(socket.close() for socket in self._opened))

    async def stream(self, call_sid: str = "", **changes: Any) -> Raw:
        """A call on a raw socket, begun as the carrier begins one."""
        call_sid = call_sid or sid()
        token = await self.ring(call_sid)
        raw = await self.open()
        await raw.begin(call_sid, token, **changes)
        await eventually(lambda: call_sid in self.line.runtime.registry.live)
        return raw


@dataclass
class Raw:
    """One socket of a carrier that may do anything. What the server sends is kept in ``heard``."""

    socket: aiohttp.ClientWebSocketResponse
    stream_sid: str = field(default_factory=lambda: sid("MZ"))
    call_sid: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    _chunk: int = 0

    async def say(self, message: Any) -> None:
        """A message as JSON. One to a socket that is gone is lost."""
        await self.text(json.dumps(message))

    async def text(self, text: str) -> None:
        """A text frame as it is."""
        await self.frame(text.encode("utf-8", "surrogatepass"), WSMsgType.TEXT)

    async def frame(self, data: bytes, kind: WSMsgType) -> None:
        """Any frame."""
        try:
            await self.socket._writer.send_frame(data, kind)  # type: ignore[union-attr]
        except (ConnectionError, aiohttp.ClientError):
            return

    async def begin(self, call_sid: str, token: str | None, **start: Any) -> None:
        """``connected`` and ``start``; changes replace fields of ``start``."""
        self.call_sid = call_sid
        await self.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        body = {
            "accountSid": ACCOUNT,
            "streamSid": self.stream_sid,
            "callSid": call_sid,
            "tracks": ["inbound"],
            "mediaFormat": MEDIA_FORMAT,
            "customParameters": {} if token is None else {"token": token},
            **start,
        }
        await self.say({"event": "start", "sequenceNumber": "1", "streamSid": self.stream_sid, "start": body})

    def media(self, **changes: Any) -> dict[str, Any]:
        """A media message of 20 ms of silence."""
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(self._chunk * 20),
            "payload": SILENCE_PAYLOAD,
        }
        return {
            "event": "media",
            "sequenceNumber": str(self._chunk + 1),
            "streamSid": changes.pop("streamSid", self.stream_sid),
            "media": {**media, **changes},
        }

    async def stop(self) -> None:
        """The carrier's ``stop``."""
        body = {"accountSid": ACCOUNT, "callSid": self.call_sid}
        await self.say({"event": "stop", "sequenceNumber": "9", "streamSid": self.stream_sid, "stop": body})

    async def read(self) -> int:
        """Read to the end; gives the close code."""
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                self.heard.append(json.loads(message.data))
        return self.socket.close_code or 0

    async def closed(self, timeout_s: float = 5.0) -> int:
        """The code with which the server closes. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            return await self.read()

    async def cut(self) -> None:
        """Reset the connection."""
        transport = self.socket.get_extra_info("socket")
        assert transport is not None
        assert self.socket._response.connection is not None
        inner = self.socket._response.connection.transport
        assert inner is not None
        inner.abort()
        await self.socket.close()


@asynccontextmanager
async def wire(line: Line) -> AsyncIterator[Wire]:
    """A hostile carrier for this line."""
    async with aiohttp.ClientSession() as session:
        made = Wire(line, session)
        yield made
        await made.aclose()


async def ended(line: Line, call_sid: str, timeout_s: float = 10.0) -> Call:
    """The row of a call that is over and archived."""
    await eventually(lambda: call_sid in line.archived, timeout_s)
    return await Call.objects.aget(call_sid=call_sid)


async def events_of(call: Call, *types: str) -> list[dict[str, Any]]:
    """The data of a call's log entries of these types, in order."""
    return [entry.data async for entry in call.events.filter(type__in=types).order_by("seq")]


def quick(line: Line) -> None:
    """Let the stand-in speak fast and decide soon that somebody has finished, so that turns are short."""
    line.ears.configure(tts={"ms_per_char": 20, "speed": 50}, stt={"eager_end_ms": 200, "end_ms": 400})


async def answered(line: Line, **options: Any) -> PhoneCall:
    """A well-behaved call that is up: a key pressed now counts. Its agent does not greet."""
    phone = line.call(**options)
    await phone.start()
    live = line.runtime.registry.live
    await eventually(lambda: phone.call_sid in live and live[phone.call_sid].actor.state.phase is not Phase.CONNECTING)
    return phone


async def listening(line: Line, call_sid: str) -> None:
    """The recogniser takes this call's audio. Words before that are transcribed apart, in which the stand-in by loudness
    hears the whole sentence: it would be there twice."""
    live = line.runtime.registry.live
    await eventually(lambda: call_sid in live and live[call_sid]._ear._up)  # type: ignore[attr-defined]


async def exchange(phone: PhoneCall, audio: bytes, timeout_s: float = 10.0) -> float:
    """Say something and hear the answer; gives the milliseconds between, as the caller counts them."""
    count = len(phone.timeline.events)
    await phone.speak(audio)
    began = await phone.wait_for(AgentStarted, after=count, timeout_s=timeout_s)
    await phone.wait_for_quiet()
    assert began.after_caller_ms is not None
    return began.after_caller_ms


async def keyed(phone: PhoneCall, timeout_s: float = 10.0) -> None:
    """Press a key and hear the answer: a turn without any speech."""
    count = len(phone.timeline.events)
    await phone.dtmf("#", gap_ms=0)
    await phone.wait_for(AgentStarted, after=count, timeout_s=timeout_s)
    await phone.wait_for_quiet()


def small_talk(line: Line) -> None:
    """Whatever is said is understood and answered."""
    line.ears.utterances("How are you?", "And you?", "Really?", "I see.", "Go on.")
    texts = ("how are you", "and you", "really", "i see", "go on", "keypad")
    line.answers(*((text, Reply(text="Fine, thank you.")) for text in texts))

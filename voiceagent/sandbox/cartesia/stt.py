"""Speech recognition sockets: turns found by the service, and manual finalize."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aiohttp import WSMsgType, web

from voiceagent.sandbox import mishaps, sound
from voiceagent.sandbox.cartesia import wire
from voiceagent.sandbox.cartesia.wire import Outbox, Refusal
from voiceagent.sandbox.engines.base import Engines, Event, Recogniser, StreamFormat, TurnConfig
from voiceagent.sandbox.script import Fault
from voiceagent.sandbox.state import Entry, Namespace

ENGINES = web.AppKey("engines", object)

_TURN_FIELDS = {
    "start_threshold": (0.5, 0.9),
    "eager_end_threshold": (0.3, 0.6),
    "end_threshold": (0.05, 0.5),
    "end_timeout_ms": (640, 11200),
}


def stream_format(request: web.Request) -> StreamFormat:
    """Encoding and rate of the query. Raises :class:`Refusal`."""
    encoding, rate = request.query.get("encoding"), request.query.get("sample_rate")
    if encoding not in sound.ENCODINGS:
        raise Refusal(400, f"encoding is required and must be one of {', '.join(sound.ENCODINGS)}")
    if rate is None or not rate.isascii() or not rate.isdigit() or not 8000 <= int(rate) <= 48000:
        raise Refusal(400, "sample_rate is required, an integer from 8000 to 48000")
    return StreamFormat(encoding, int(rate))


def check_model(request: web.Request, models: frozenset[str]) -> str:
    """The model of the query. Raises :class:`Refusal`."""
    model = request.query.get("model")
    if not model:
        raise Refusal(400, "model is required")
    if model not in models:
        raise Refusal(400, f"The model is not valid: {model}", "model_not_found", "Invalid model")
    return model


def check_keyterms(request: web.Request) -> None:
    """At most 100 terms and 1200 characters. Raises :class:`Refusal`."""
    terms = request.query.getall("keyterm", [])
    if len(terms) > 100 or sum(map(len, terms)) > 1200:
        raise Refusal(400, "at most 100 keyterms with 1200 characters together")


def check_order(turn: TurnConfig) -> TurnConfig:
    """Thresholds must fall strictly from start to end. Raises :class:`Refusal`."""
    if not turn.start_threshold > turn.eager_end_threshold > turn.end_threshold:
        raise Refusal(400, "thresholds must satisfy start > eager_end > end")
    return turn


def turn_config(request: web.Request) -> TurnConfig:
    """The thresholds of the query. Raises :class:`Refusal`."""
    base = TurnConfig()
    values = {
        name: wire.number(request, f"turn_{name}", low, high, getattr(base, name))
        for name, (low, high) in _TURN_FIELDS.items()
    }
    return check_order(replace(base, **values))


def changed(turn: TurnConfig, message: Any) -> TurnConfig:
    """The thresholds after a ``config`` message. Raises :class:`Refusal`."""
    wanted = message.get("turn", {})
    if not isinstance(wanted, dict):
        raise Refusal(400, "turn must be an object")
    for name, value in wanted.items():
        if name not in _TURN_FIELDS:
            raise Refusal(400, f"unknown turn setting: {name}")
        low, high = _TURN_FIELDS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Refusal(400, f"{name} must be between {low:g} and {high:g}")
    return check_order(replace(turn, **wanted))


@dataclass(slots=True)
class Connection:
    """One recognition socket."""

    request: web.Request
    socket: web.WebSocketResponse
    namespace: Namespace
    entry: Entry
    outbox: Outbox
    fault: Fault | None
    request_id: str
    sent: int = 0

    async def send(self, event: Event) -> None:
        """Send one event, or what a fault makes of it."""
        fault = self.fault
        if fault is not None:
            if mishaps.strikes_at(fault, "stall", self.sent):
                await mishaps.stall(fault)
            if mishaps.strikes_at(fault, "cut", self.sent):
                mishaps.cut(self.request)
                raise mishaps.CutError
            if mishaps.strikes_at(fault, "close", self.sent):
                await self.socket.close(code=1011, message=b"server error")
                raise mishaps.CutError
            if mishaps.strikes_at(fault, "garbage", self.sent):
                await self.socket.send_str('{"type": "turn.upd')
                await self.socket.send_bytes(b"\x00\xff\x13\x37")
                await self.socket.send_str('{"type":"turn.mystery","transcript":42}')
            if mishaps.strikes_at(fault, "error", self.sent):
                refusal = Refusal(fault.status, fault.message or "failed by instruction", fault.code)
                await self._write(refusal.event(self.request_id))
                await self.socket.close(code=1011)
                raise mishaps.CutError
        await self._with_turn_faults(event)

    async def _with_turn_faults(self, event: Event) -> None:
        kind, fault = event["type"], self.fault
        if fault is not None and fault.kind == "empty_end" and kind == "turn.end":
            event = {**event, "transcript": ""}
            self.fault = None
        elif fault is not None and fault.kind == "late_update" and kind == "turn.update":
            self.fault = None
            await asyncio.sleep(fault.delay_ms / 1000)
        elif fault is not None and fault.kind == "eager_resume" and kind in ("turn.eager_end", "turn.end"):
            self.fault = None
            await self._write({"type": "turn.eager_end", "transcript": event["transcript"]})
            await asyncio.sleep(fault.delay_ms / 1000)
            await self._write({"type": "turn.resume"})
        await self._write(event)

    async def _write(self, event: Event) -> None:
        self.sent += 1
        self.entry["events"].append({"at_ms": self.namespace.journal.elapsed_ms(), **event})
        await self.socket.send_str(wire.dumps({**event, "request_id": self.request_id}))

    async def pump(self) -> None:
        """Send what the ear emits until it says that it has finished."""
        with contextlib.suppress(mishaps.CutError, ConnectionError):
            while (event := await self.outbox.get()) is not None:
                await self.send(event)


async def _open(request: web.Request, endpoint: str) -> tuple[Namespace, Fault | None]:
    namespace = wire.admit(request)
    await wire.opening_fault(request, namespace, endpoint)
    if namespace.open_stt >= namespace.settings.stt.max_connections:
        raise Refusal(429, "too many concurrent speech-to-text connections")
    return namespace, namespace.strike(endpoint, mishaps.STREAMING)


async def turns_socket(request: web.Request) -> web.StreamResponse:
    """``GET /stt/turns/websocket``."""
    try:
        check_model(request, wire.STT_TURN_MODELS)
        form, turn = stream_format(request), turn_config(request)
        check_keyterms(request)
        namespace, fault = await _open(request, "cartesia.stt.turns")
    except Refusal as refusal:
        return wire.refused(refusal)
    connection = await _accept(request, namespace, fault, "cartesia.stt.turns")
    engines: Engines = request.app[ENGINES]  # type: ignore[assignment]
    ear = engines.turns(form, turn, namespace.settings.stt, connection.outbox.put)
    connection.outbox.put({"type": "connected"})
    await _serve(connection, ear, _TurnCommands(turn))
    return connection.socket


async def manual_socket(request: web.Request) -> web.StreamResponse:
    """``GET /stt/websocket``."""
    try:
        model = check_model(request, wire.STT_MANUAL_MODELS)
        form = stream_format(request)
        language = request.query.get("language", "en")
        if model == "ink-2" and language != "en":
            raise Refusal(400, "ink-2 supports only language en")
        check_keyterms(request)
        namespace, fault = await _open(request, "cartesia.stt.manual")
    except Refusal as refusal:
        return wire.refused(refusal)
    connection = await _accept(request, namespace, fault, "cartesia.stt.manual")
    engines: Engines = request.app[ENGINES]  # type: ignore[assignment]

    def emit(event: Event) -> None:
        connection.outbox.put({**event, "language": language} if event["type"] == "transcript" else event)

    await _serve(connection, engines.manual(form, namespace.settings.stt, emit), _ManualCommands())
    return connection.socket


async def _accept(request: web.Request, namespace: Namespace, fault: Fault | None, endpoint: str) -> Connection:
    socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20, timeout=1)
    await socket.prepare(request)
    entry = namespace.journal.open(
        endpoint, query=dict(request.query), bytes=0, messages=0, commands=[], events=[], last_audio_ms=None
    )
    outbox = Outbox(namespace.settings.stt.latency_ms)
    return Connection(request, socket, namespace, entry, outbox, fault, wire.new_request_id())


class _TurnCommands:
    """Text frames of the turns endpoint: JSON ``config`` and ``close``."""

    closing_event: ClassVar[Event | None] = None

    def __init__(self, turn: TurnConfig) -> None:
        self._turn = turn

    def run(self, text: str, ear: Recogniser) -> bool:
        """Carry out a command; true if it was the last one. Raises :class:`Refusal`."""
        try:
            message = json.loads(text)
        except ValueError:
            raise Refusal(400, "text frames must be JSON") from None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "config":
            self._turn = changed(self._turn, message)
            ear.configure(self._turn)
            return False
        if kind == "close":
            return True
        raise Refusal(400, f"unknown message type: {kind}")


class _ManualCommands:
    """Text frames of the manual endpoint: the bare words ``finalize``, ``close`` and the older ``done``."""

    closing_event: ClassVar[Event | None] = {"type": "done"}

    def run(self, text: str, ear: Recogniser) -> bool:
        """Carry out a command; true if it was the last one. Raises :class:`Refusal`."""
        if text == "finalize":
            ear.finalize()
            return False
        if text in ("close", "done"):
            return True
        raise Refusal(400, f"unknown command: {text[:40]}")


async def _serve(connection: Connection, ear: Recogniser, commands: _TurnCommands | _ManualCommands) -> None:
    namespace, entry = connection.namespace, connection.entry
    namespace.open_stt += 1
    pump = asyncio.create_task(connection.pump())
    try:
        entry["outcome"] = await _listen(connection, ear, commands)
        if entry["outcome"] in ("closed", "idle"):
            await ear.finish()
            if commands.closing_event is not None:
                connection.outbox.put(commands.closing_event)
        connection.outbox.put(None)
        if entry["outcome"] != "disconnected":
            await pump
            await connection.socket.close(code=1000)
    finally:
        ear.stop()
        pump.cancel()
        namespace.open_stt -= 1
        entry["ended_ms"] = namespace.journal.elapsed_ms()


async def _listen(connection: Connection, ear: Recogniser, commands: _TurnCommands | _ManualCommands) -> str:
    socket, entry, journal = connection.socket, connection.entry, connection.namespace.journal
    idle_s = connection.namespace.settings.stt.idle_close_s
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        try:
            message = await socket.receive(timeout=max(0.01, heard_at + idle_s - loop.time()))
        except TimeoutError:
            return "idle"
        if message.type is WSMsgType.BINARY:
            heard_at = loop.time()
            entry["bytes"] += len(message.data)
            entry["messages"] += 1
            entry["last_audio_ms"] = journal.elapsed_ms()
            ear.feed(message.data)
        elif message.type is WSMsgType.TEXT:
            entry["commands"].append(message.data)
            try:
                if commands.run(message.data, ear):
                    return "closed"
            except Refusal as refusal:
                connection.outbox.put(refusal.event(connection.request_id))
                return "refused"
        else:
            return "disconnected"


def batch_audio(data: bytes, encoding: str | None, rate: int | None) -> tuple[sound.Samples, int]:
    """Samples and rate of an uploaded recording: raw if an encoding is given, else a WAV file."""
    import io
    import wave

    try:
        if encoding:
            if encoding not in sound.ENCODINGS or not rate:
                raise Refusal(400, "encoding and sample_rate must be given together")
            return sound.decode(data, encoding), rate
        return sound.read_wav(io.BytesIO(data))
    except (wave.Error, EOFError, ValueError):
        raise Refusal(400, "the file could not be decoded") from None


async def _broken_answer(request: web.Request, fault: Fault) -> web.StreamResponse:
    """What a fault in the middle makes of a transcription: half of it, and then nothing, an end or rubbish."""
    if fault.kind == "error":
        return wire.refused(Refusal(fault.status, fault.message or "failed by instruction", fault.code))
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"type": "transcript", "text": "Half a')
    if fault.kind == "stall":
        await mishaps.stall(fault)
    if fault.kind != "garbage":
        mishaps.cut(request)
        raise mishaps.CutError
    await response.write_eof()
    return response


async def batch(request: web.Request) -> web.StreamResponse:
    """``POST /stt``."""
    try:
        namespace = wire.admit(request)
        await wire.opening_fault(request, namespace, "cartesia.stt.batch")
        form = await request.post()
        if form.get("model") not in wire.STT_BATCH_MODELS:
            raise Refusal(400, "The model is not valid", "model_not_found", "Invalid model")
        upload = form.get("file")
        if not isinstance(upload, web.FileField):
            raise Refusal(400, "file is required")
        data = upload.file.read()
        rate = request.query.get("sample_rate")
        samples, sample_rate = batch_audio(data, request.query.get("encoding"), int(rate) if rate else None)
    except Refusal as refusal:
        return wire.refused(refusal)
    entry = namespace.journal.open("cartesia.stt.batch", query=dict(request.query), bytes=len(data))
    fault = namespace.strike("cartesia.stt.batch", mishaps.STREAMING)
    if fault is not None:
        entry["outcome"] = fault.kind
        return await _broken_answer(request, fault)
    engines: Engines = request.app[ENGINES]  # type: ignore[assignment]
    heard = await engines.transcribe(samples, sample_rate, namespace.settings.stt)
    if namespace.settings.stt.latency_ms:
        await asyncio.sleep(namespace.settings.stt.latency_ms / 1000)
    entry["outcome"] = "answered"
    body: dict[str, Any] = {
        "type": "transcript",
        "text": heard.text,
        "language": form.get("language") or "en",
        "duration": round(len(samples) / sample_rate, 3),
        "is_final": True,
        "request_id": wire.new_request_id(),
    }
    if "word" in form.getall("timestamp_granularities[]", []):
        body["words"] = [{"word": w.text, "start": round(w.start_s, 3), "end": round(w.end_s, 3)} for w in heard.words]
    return web.json_response(body)

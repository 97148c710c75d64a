"""The voice over plain HTTP, and the reachability check."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import orjson
from aiohttp import web

from voiceagent.sandbox import mishaps, sound
from voiceagent.sandbox.cartesia import wire
from voiceagent.sandbox.cartesia.generation import Generation, new_generation, text_of
from voiceagent.sandbox.cartesia.stt import ENGINES
from voiceagent.sandbox.cartesia.wire import Refusal

if TYPE_CHECKING:
    from voiceagent.sandbox.engines.base import Engines
    from voiceagent.sandbox.script import Fault
    from voiceagent.sandbox.state import Namespace

_CHUNK_S = 0.25


async def root(request: web.Request) -> web.StreamResponse:
    """``GET /``."""
    return web.json_response({"ok": True, "version": "2026-08-14"})


async def tts_bytes(request: web.Request) -> web.StreamResponse:
    """``POST /tts/bytes``: raw audio or a WAV file, as it is produced."""
    try:
        namespace = wire.admit(request)
        await wire.opening_fault(request, namespace, "cartesia.tts.bytes")
        try:
            message = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            raise Refusal(400, "the body is not valid JSON") from None
        if not isinstance(message, dict):
            raise Refusal(400, "the body must be an object")
        if message.get("language") and message.get("locale"):
            raise Refusal(400, "set language or locale, not both")
        generation, text = new_generation(message, ("raw", "wav")), text_of(message)
        if not any(character.isalnum() for character in text):
            raise Refusal(400, "transcript is empty or contains only punctuation")
        if namespace.open_contexts >= namespace.settings.tts.max_contexts:
            raise Refusal(429, "too many concurrent text-to-speech contexts")
    except Refusal as refusal:
        return wire.refused(refusal)
    fault = namespace.strike("cartesia.tts.bytes", mishaps.STREAMING)
    namespace.open_contexts += 1
    try:
        return await _answer(request, namespace, generation, text, fault)
    finally:
        namespace.open_contexts -= 1


async def _answer(
    request: web.Request, namespace: Namespace, generation: Generation, text: str, fault: Fault | None
) -> web.StreamResponse:
    entry = namespace.journal.open("cartesia.tts.bytes", text=text, bytes=0)
    engines: Engines = request.app[ENGINES]  # type: ignore[assignment]
    settings = namespace.settings.tts
    await asyncio.sleep(settings.first_byte_ms / 1000)
    response = web.StreamResponse()
    response.content_type = "audio/wav" if generation.container == "wav" else "application/octet-stream"
    await response.prepare(request)
    pieces = [piece.samples async for piece in engines.speak(text, generation.rate, generation.pace, settings)]
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    if generation.container == "wav":
        raw = sound.wav_bytes(samples, generation.rate)
    else:
        raw = sound.encode(samples, generation.encoding)
    size = int(len(raw) * _CHUNK_S / max(_CHUNK_S, len(samples) / generation.rate)) or 1
    for sent, start in enumerate(range(0, len(raw), size)):
        if mishaps.strikes_at(fault, "stall", sent) and fault is not None:
            await mishaps.stall(fault)
        if mishaps.strikes_at(fault, "cut", sent):
            mishaps.cut(request)
            return response
        await response.write(raw[start : start + size])
        entry["bytes"] += len(raw[start : start + size])
        await asyncio.sleep(_CHUNK_S / settings.speed)
    await response.write_eof()
    entry["outcome"] = "answered"
    return response

"""The server: every vendor's addresses on one port, and the control API beside them.

Endpoint names for faults and the journal: ``cartesia.stt.turns``, ``cartesia.stt.manual``, ``cartesia.stt.batch``,
``cartesia.tts.socket``, ``cartesia.tts.context``, ``cartesia.tts.bytes``, ``openai.chat``, ``openai.responses``,
``openai.structured``, ``openai.embeddings``, ``openai.models``, ``twilio.calls``, ``twilio.recordings``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from voiceagent.sandbox import api, mishaps
from voiceagent.sandbox.cartesia import stt, tts, voice_http
from voiceagent.sandbox.openai import chat, plain, responses
from voiceagent.sandbox.state import STATE, State
from voiceagent.sandbox.twilio import link, rest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from voiceagent.sandbox.engines.base import Engines
    from voiceagent.sandbox.script import Settings

WARM = web.AppKey("warm", asyncio.Event)


@web.middleware
async def _cuts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A fault may have torn the connection down before there was an answer."""
    try:
        return await handler(request)
    except mishaps.CutError:
        return web.Response(status=499)


async def _healthz(request: web.Request) -> web.Response:
    warm = request.app[WARM].is_set()
    engines: Engines = request.app[stt.ENGINES]  # type: ignore[assignment]
    return web.json_response({"ok": warm, "engines": engines.name}, status=200 if warm else 503)


async def _warming(app: web.Application) -> AsyncIterator[None]:
    engines: Engines = app[stt.ENGINES]  # type: ignore[assignment]

    async def warm() -> None:
        await engines.warm()
        app[WARM].set()

    task = asyncio.create_task(warm())
    yield
    task.cancel()
    await engines.close()


def build_app(engines: Engines, defaults: Settings | None = None) -> web.Application:
    """The application; ``/healthz`` answers 200 when the engines are warm."""
    app = web.Application(middlewares=[_cuts], client_max_size=32 << 20)
    app[STATE] = State(defaults)
    app[stt.ENGINES] = engines
    app[WARM] = asyncio.Event()
    app.cleanup_ctx.append(_warming)
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/", voice_http.root),
            web.get("/stt/turns/websocket", stt.turns_socket),
            web.get("/stt/websocket", stt.manual_socket),
            web.post("/stt", stt.batch),
            web.get("/tts/websocket", tts.tts_socket),
            web.post("/tts/bytes", voice_http.tts_bytes),
            web.post("/v1/chat/completions", chat.completions),
            web.post("/v1/responses", responses.responses),
            web.post("/v1/embeddings", plain.embeddings),
            web.get("/v1/models", plain.models),
            web.get("/v1/models/{model}", plain.models),
        ]
    )
    rest.add_routes(app)
    link.add_routes(app)
    api.add_routes(app)
    return app

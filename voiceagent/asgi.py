"""The ASGI application that every server loads: HTTP by Django, the media stream by its consumer, the
memory's MCP server, and the lifespan."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import django
import structlog
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")

django.setup(set_prefix=False)

from calls import runtime  # noqa: E402 - models can only be imported once Django is set up
from calls.consumers import MediaStreamConsumer  # noqa: E402 - as above
from memory.hosts import is_own_page  # noqa: E402 - as above
from memory.mcp.asgi import Outer, memory_mount  # noqa: E402 - as above
from voiceagent import telemetry, wiring  # noqa: E402 - as above
from voiceagent.body_limit import BodyLimit  # noqa: E402 - as above
from voiceagent.console.access import signed_in  # noqa: E402 - as above
from voiceagent.console.sockets import sockets  # noqa: E402 - as above

if TYPE_CHECKING:
    from voiceagent.otlp import Telemetry

_log = structlog.get_logger(__name__)

wiring.install()


async def lifespan(_scope: Any, receive: Any, send: Any) -> None:
    """Build the runtime before the first call, and end the calls before the process does."""
    await receive()
    try:
        await runtime.current()
    except Exception as error:  # noqa: BLE001 - the server is told, with the cause
        _log.exception("start.failed")
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await runtime.close_current()
    await asyncio.to_thread(telemetry.stop)
    await send({"type": "lifespan.shutdown.complete"})


async def not_found(_scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket to nowhere is refused in the handshake."""
    await receive()
    await send({"type": "websocket.close"})


def own_pages(app: Any) -> Any:
    """Only pages of our own may open a socket: a browser says from which page it comes, and sends its cookies to all.

    Channels' own check answers an origin that is no address with a traceback.
    """

    async def checked(scope: Any, receive: Any, send: Any) -> None:
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
        await (app if is_own_page(origin) else not_found)(scope, receive, send)

    return checked


#: Sockets of our own pages.
PAGES_SOCKETS = [
    # An expression, since ``path`` would take what is wrapped for an end and match nothing below.
    re_path("^console/", signed_in(URLRouter([*sockets, re_path("", not_found)]))),  # type: ignore[arg-type]  # as below
    re_path("", not_found),  # type: ignore[arg-type]  # Channels routes applications, not views
]


def house(traced_by: Telemetry | None) -> Any:
    """The whole application. Traces take hold of Django's handler when that is made."""
    router = ProtocolTypeRouter(
        {
            "http": BodyLimit(get_asgi_application()),
            "websocket": URLRouter(
                [
                    # The carrier is no browser: its signature says who it is.
                    path("twilio/stream", MediaStreamConsumer.as_asgi()),
                    path("twilio/stream/", MediaStreamConsumer.as_asgi()),
                    re_path("", own_pages(URLRouter(PAGES_SOCKETS))),
                ]
            ),
            "lifespan": lifespan,
        }
    )
    outer = Outer(router, memory_mount(settings.MCP), settings.MCP)
    return outer if traced_by is None else traced_by.wrap(outer)


application = house(telemetry.start(settings.TELEMETRY, "web"))

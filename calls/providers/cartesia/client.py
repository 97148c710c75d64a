"""The door to Cartesia: one SDK client per process, and an ear and a voice per call."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx
import orjson
from cartesia import AsyncCartesia
from pydantic import BaseModel

from calls import metrics
from calls.breakers import UNGUARDED
from calls.providers.cartesia.errors import VENDOR, VENDOR_EXCEPTIONS, classify
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from contextlib import AbstractAsyncContextManager

    from cartesia.types.websocket_connection_options import WebSocketConnectionOptions

    from calls.breakers import Breakers
    from calls.conf import CartesiaConf

_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_CLOSE_TIMEOUT_S = 0.5


class Socket(Protocol):
    """What the adapters use of the SDK's connections."""

    async def recv_bytes(self) -> bytes:
        """The next message as it came."""

    async def close(self) -> None:
        """Close with a handshake."""


class CartesiaClient:
    """The SDK's client with the settings that a live call needs. Create it when the process starts, in its loop: it
    reads files for up to 150 ms.

    ``http`` base addresses give plain sockets. The SDK's own retries and reconnecting stay off: a caller hears them
    as silence.
    """

    def __init__(self, conf: CartesiaConf, breakers: Breakers | None = None) -> None:
        self.conf = conf
        self._breaker_of = breakers.of if breakers is not None else lambda _: UNGUARDED
        scheme, rest = conf.base_url.rstrip("/").split("://", 1)
        secure = scheme == "https"
        self.sdk = AsyncCartesia(
            api_key=conf.api_key,
            base_url=conf.base_url,
            # The voice's resource would force wss on a plain address.
            websocket_base_url=f"{'wss' if secure else 'ws'}://{rest}",
            max_retries=0,
            timeout=httpx.Timeout(10.0, connect=conf.connect_timeout_ms / 1000),
        )
        self.socket_options = _socket_options(secure)
        # The SDK imports its resources when they are first used: not in the first call.
        _ = self.sdk.stt.auto_finalize, self.sdk.stt.manual_finalize, self.sdk.tts
        # The SDK reads files to describe this platform when it makes its first headers: now, not in a call.
        _ = self.sdk.default_headers

    async def open[S: Socket](self, manager: AbstractAsyncContextManager[S]) -> S:
        """Enter one of the SDK's connection managers within the deadline. Raises ``VendorError``."""
        return await self.within(self.conf.connect_timeout_ms / 1000, manager.__aenter__())

    @contextmanager
    def attempt(self, operation: str, *, timed: bool = True) -> Iterator[None]:
        """One attempt at an operation, if its breaker admits it; a failure is counted. Raises ``VendorError``.

        ``timed``: how long it takes is what the operation is judged by.
        """
        with self._breaker_of(operation).admit(timed=timed):
            try:
                yield
            except VendorError as error:
                metrics.vendor_failed(operation, error.kind)
                raise

    def report(self, operation: str, kind: str = "ok", wait_ms: int | None = None) -> None:
        """How a connection fares that was made some time ago: breaker and metrics learn of it. ``wait_ms``: how long a caller
        waited for what it did."""
        if kind != "ok":
            metrics.vendor_failed(operation, kind)
        self._breaker_of(operation).saw(kind, wait_ms)

    @staticmethod
    async def within[T](limit_s: float, asked: Awaitable[T]) -> T:
        """What the SDK was asked for, within this time. Raises ``VendorError``."""
        try:
            async with asyncio.timeout(limit_s):
                return await asked
        except VENDOR_EXCEPTIONS as error:
            raise classify(error) from error

    async def aclose(self) -> None:
        """Close the HTTP side; sockets belong to their calls."""
        await self.sdk.close()


def _socket_options(secure: bool) -> WebSocketConnectionOptions:
    """Options of the socket library, more of them than the SDK's type names.

    Compression costs CPU on every frame and audio does not compress. The TLS context is made once: it reads the
    certificate store, which takes tens of milliseconds.
    """
    options: dict[str, Any] = {
        "compression": None,
        "max_size": _MAX_MESSAGE_BYTES,
        "max_queue": 64,
        "open_timeout": None,  # ours is around the whole
        "close_timeout": _CLOSE_TIMEOUT_S,
    }
    if secure:
        options["ssl"] = ssl.create_default_context()
    return cast("WebSocketConnectionOptions", options)


class Written(BaseModel):
    """A message that is JSON already.

    The SDK walks through a mapping's types before it sends one, which takes longer than everything else about it
    together; of a model it only asks for its JSON.
    """

    text: str

    def to_json(self, **_: Any) -> str:
        """What the SDK calls."""
        return self.text


def parse(raw: bytes) -> dict[str, Any]:
    """A message as an object. Raises ``VendorError`` (``garbage``).

    The SDK's own parsing builds models without validating them, at many times the cost.
    """
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise VendorError("garbage", VENDOR, detail="not JSON") from error
    if not isinstance(message, dict):
        raise VendorError("garbage", VENDOR, detail="not an object")
    return message


def language_code(language: str) -> str:
    """``en`` of ``en-GB``, as the vendor wants it."""
    return language.replace("_", "-").split("-", 1)[0].lower()

"""What all of Cartesia's endpoints share: credentials, versions, error bodies, sending with latency."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import orjson
from aiohttp import web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.state import STATE, Namespace

STT_TURN_MODELS = frozenset({"ink-2"})
STT_MANUAL_MODELS = frozenset({"ink-2", "ink-whisper", "ink-whisper-2025-06-04"})
STT_BATCH_MODELS = frozenset({"ink-whisper", "ink-whisper-2025-06-04"})
TTS_MODELS = re.compile(r"^sonic-(latest|3(\.\d+)?(-\d{4}-\d{2}-\d{2})?)$")
TTS_RETIRED = re.compile(r"^sonic(-english|-multilingual|-2\b.*|-turbo.*)?$")
_VERSION = re.compile(r"^\d{4}-\d{2}-\d{2}$")

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    410: "Model sunsetted",
    429: "Too many requests",
    500: "Server error",
    503: "Service unavailable",
}
_CODES = {403: "quota_exceeded", 429: "concurrency_limited", 410: "model_sunsetted"}


class Refusal(Exception):
    """A request that the service does not accept."""

    def __init__(self, status: int, message: str, code: str | None = None, title: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status)
        self.message = message
        self.title = title or _TITLES.get(status, "Error")
        self.retry_after_ms: int | None = None

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON of an HTTP answer."""
        return {
            "error_code": self.code,
            "title": self.title,
            "message": self.message,
            "request_id": request_id,
            "doc_url": "https://docs.cartesia.ai/use-the-api/api-errors",
        }

    def event(self, request_id: str, **extra: Any) -> dict[str, Any]:
        """The JSON of a socket message."""
        return {"type": "error", "status_code": self.status, **self.body(request_id), **extra}


def new_request_id() -> str:
    """A request id as the service makes them."""
    return str(uuid.uuid4())


def api_key(request: web.Request) -> str | None:
    """The credential of a request, from the places where the service looks for it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("X-API-Key") or request.query.get("access_token") or request.query.get("api_key") or None


def admit(request: web.Request) -> Namespace:
    """The namespace of an acceptable request. Raises :class:`Refusal`."""
    key = api_key(request)
    if key is None or key.startswith("invalid"):
        raise Refusal(401, "Invalid API key")
    version = request.query.get("cartesia_version") or request.headers.get("Cartesia-Version")
    if version is None or not _VERSION.match(version):
        raise Refusal(400, "Cartesia-Version header is required, as YYYY-MM-DD")
    return request.app[STATE].namespace(key)


async def opening_fault(request: web.Request, namespace: Namespace, endpoint: str) -> None:
    """Carry out a fault that strikes before the answer. Raises :class:`Refusal`."""
    fault = namespace.strike(endpoint, mishaps.OPENING)
    await mishaps.before_headers(request, fault)
    if fault is not None and fault.kind == "refuse":
        refusal = Refusal(fault.status, fault.message or "refused by instruction", fault.code)
        refusal.retry_after_ms = fault.retry_after_ms
        raise refusal


def refused(refusal: Refusal) -> web.Response:
    """The HTTP answer to an unacceptable request (also to a socket's upgrade)."""
    response = web.json_response(refusal.body(new_request_id()), status=refusal.status)
    if refusal.retry_after_ms is not None:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_after_ms / 1000)))
    return response


def number(request: web.Request, name: str, low: float, high: float, default: float) -> float:
    """A number of the query within its bounds. Raises :class:`Refusal`."""
    raw = request.query.get(name)
    if raw is None:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise Refusal(400, f"{name} must be a number") from None
    if not low <= value <= high:
        raise Refusal(400, f"{name} must be between {low:g} and {high:g}")
    return value


class Outbox:
    """Sends messages in order, each no earlier than ``latency_ms`` after it was put."""

    def __init__(self, latency_ms: float = 0) -> None:
        self._latency_s = latency_ms / 1000
        self._queue: asyncio.Queue[tuple[float, dict[str, Any] | None]] = asyncio.Queue()

    def put(self, message: dict[str, Any] | None) -> None:
        """Queue a message; ``None`` ends the stream."""
        self._queue.put_nowait((asyncio.get_running_loop().time() + self._latency_s, message))

    async def get(self) -> dict[str, Any] | None:
        """The next message, when it is due."""
        due, message = await self._queue.get()
        wait_s = due - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return message


def dumps(message: dict[str, Any]) -> str:
    """JSON text of a message."""
    return orjson.dumps(message).decode()

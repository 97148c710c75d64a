"""What OpenAI's endpoints share: credentials, error bodies, headers, the event stream."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.state import STATE, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.script import Fault
    from voiceagent.sandbox.state import Entry

_TYPES = {
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "requests",
    500: "server_error",
    503: "server_error",
}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded", 503: "server_is_overloaded"}
_MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "rate_limit_exceeded": "Rate limit reached for requests.",
}


class ApiError(Exception):
    """A request that the service refuses, as an ``error`` body."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status)
        self.param = param
        self.retry_after_ms: int | None = None

    @property
    def kind(self) -> str:
        """The ``type`` of the error."""
        return (
            "insufficient_quota"
            if self.code == "insufficient_quota"
            else _TYPES.get(self.status, "invalid_request_error")
        )

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """The HTTP answer."""
        response = web.json_response(self.body(), status=self.status, headers=answer_headers())
        if self.retry_after_ms is not None:
            response.headers["retry-after-ms"] = str(self.retry_after_ms)
            response.headers["retry-after"] = str(max(1, round(self.retry_after_ms / 1000)))
        return response


def identifier(prefix: str) -> str:
    """An id such as ``chatcmpl-…`` or ``resp_…``."""
    return prefix + secrets.token_hex(16)


def answer_headers() -> dict[str, str]:
    """Headers that every answer carries."""
    return {
        "x-request-id": identifier("req_"),
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


def admit(request: web.Request) -> Namespace:
    """The namespace of a request with a credential. Raises :class:`ApiError`."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ApiError(401, "You didn't provide an API key.")
    if key.startswith("invalid"):
        raise ApiError(401, f"Incorrect API key provided: {key[:7]}***.")
    return request.app[STATE].namespace(key.strip())


async def opening_fault(request: web.Request, namespace: Namespace, endpoint: str) -> None:
    """Carry out a fault that strikes before the answer. Raises :class:`ApiError`."""
    fault = namespace.strike(endpoint, mishaps.OPENING)
    await mishaps.before_headers(request, fault)
    if fault is not None and fault.kind == "refuse":
        code = fault.code or _CODES.get(fault.status)
        message = fault.message or _MESSAGES.get(code or "", "refused by instruction")
        error = ApiError(fault.status, message, code=code)
        error.retry_after_ms = fault.retry_after_ms
        raise error


async def json_body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises :class:`ApiError`."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise ApiError(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.")
    return body


async def opened[R](
    request: web.Request, name: Callable[[dict[str, Any]], str], read: Callable[[dict[str, Any], Namespace], R]
) -> tuple[Namespace, dict[str, Any], Entry, R]:
    """How a request for a model's answer begins: namespace, body, journal entry and what ``read`` makes of the body.

    ``name`` gives the endpoint for a body. Raises :class:`ApiError` for a request that is refused; its entry, if it came to one, says so.
    """
    namespace = admit(request)
    body = await json_body(request)
    retry = request.headers.get("x-stainless-retry-count")
    endpoint = name(body)
    entry = namespace.journal.open(endpoint, body=body, tokens_sent=0, retry=retry)
    try:
        await opening_fault(request, namespace, endpoint)
        return namespace, body, entry, read(body, namespace)
    except BaseException:
        entry["outcome"] = "refused"
        raise


class StreamFailedError(Exception):
    """The fault of a stream says that the service reports a failure now."""


class EventStream:
    """A server-sent event answer that knows when its reader has gone and carries out mid-stream faults.

    A *unit* is one delta (of text or of arguments); faults with ``after`` count units.
    """

    def __init__(self, request: web.Request, fault: Fault | None) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={**answer_headers(), "Cache-Control": "no-cache"})
        self._response.content_type = "text/event-stream"
        self._response.charset = "utf-8"
        self.fault = fault
        self.units = 0

    async def open(self) -> None:
        """Send the headers."""
        await self._response.prepare(self._request)

    async def send(self, data: dict[str, Any], event: str | None = None) -> None:
        """One event. Raises ``ConnectionError`` when the reader has gone."""
        if self._request.transport is None or self._request.transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        head = f"event: {event}\n".encode() if event else b""
        await self._response.write(head + b"data: " + orjson.dumps(data) + b"\n\n")

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        await self._response.write(data)

    async def close(self) -> web.StreamResponse:
        """End of the body."""
        await self._response.write_eof()
        return self._response

    async def before_unit(self) -> None:
        """Strike with the fault if its moment has come.

        Raises :class:`mishaps.CutError` when nothing may follow, :class:`StreamFailedError` when an error must.
        """
        fault = self.fault
        if fault is None or self.units != fault.after:
            return
        if fault.kind == "stall":
            await mishaps.stall(fault)
        elif fault.kind == "cut":
            mishaps.cut(self._request)
            raise mishaps.CutError
        elif fault.kind == "close":
            raise mishaps.CutError
        elif fault.kind in ("error", "failed"):
            raise StreamFailedError
        elif fault.kind == "garbage":
            await self.raw(b': a comment\n\ndata: {"choices": [{\n\n')

    @property
    def response(self) -> web.StreamResponse:
        """The answer under way."""
        return self._response

    async def wait(self, ms: float) -> None:
        """Let time pass, noticing a reader that leaves."""
        if ms > 0:
            await asyncio.sleep(ms / 1000)


def failure(fault: Fault | None) -> ApiError:
    """The error that a stream's fault reports."""
    code = fault.code if fault is not None else None
    message = fault.message if fault is not None else None
    return ApiError(
        500, message or "The server had an error while processing your request.", code=code or "server_error"
    )

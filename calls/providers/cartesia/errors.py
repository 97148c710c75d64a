"""Cartesia's failures in the vocabulary of ``calls.providers.errors``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import httpx
from cartesia import APIConnectionError, APIStatusError, APITimeoutError, WebSocketConnectionClosedError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from calls.providers.errors import VendorError, kind_of_status

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDOR: Final = "cartesia"

#: Words of the vendor that say more than the status.
_CODE_KINDS: Final[dict[str, str]] = {
    "quota_exceeded": "quota",
    "concurrency_limited": "rate_limited",
    "model_not_found": "not_found",
    "model_sunsetted": "gone",
}

#: What the SDK hides behind a failed connection where there was one.
_CUTS: Final = (httpx.ReadError, httpx.RemoteProtocolError)

#: Exceptions of the SDK and of the socket library under it; the first that matches counts.
_EXCEPTION_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (APITimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (WebSocketConnectionClosedError, "cut"),
    (ConnectionClosed, "cut"),
    (APIConnectionError, "refused"),
    (InvalidURI, "bad_request"),
    (InvalidHandshake, "refused"),
    (WebSocketException, "garbage"),
    (OSError, "refused"),
)

#: Everything ``classify`` knows; what is not in here is a bug of ours and must not be taken for a failure of theirs.
VENDOR_EXCEPTIONS: Final[tuple[type[Exception], ...]] = (
    APIStatusError,
    InvalidStatus,
    *(cls for cls, _ in _EXCEPTION_KINDS),
)


def classify(error: BaseException) -> VendorError:
    """The failure behind one of ``VENDOR_EXCEPTIONS``; a ``VendorError`` is returned as it is."""
    if isinstance(error, VendorError):
        return error
    if isinstance(error, InvalidStatus):
        return from_status(error.response.status_code, _body(error.response.body), error.response.headers)
    if isinstance(error, APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        return from_status(error.status_code, body, error.response.headers)
    if isinstance(error, APIConnectionError) and isinstance(error.__cause__, _CUTS):
        return VendorError("cut", VENDOR, detail=type(error.__cause__).__name__)
    code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd is not None else None
    kind = next((kind for cls, kind in _EXCEPTION_KINDS if isinstance(error, cls)), "unknown")
    return VendorError(kind, VENDOR, status=code, detail=f"{type(error).__name__}: {error}"[:200])


def from_status(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> VendorError:
    """The failure in an HTTP answer or an ``error`` message of a socket; ``status`` 0 where none was given."""
    code = body.get("error_code")
    kind = _CODE_KINDS.get(code) if isinstance(code, str) else None
    detail = " ".join(str(body[name]) for name in ("title", "message") if body.get(name))
    wish_s = _retry_after_s(headers.get("Retry-After", "")) if headers is not None else None
    kind = kind or kind_of_status(status)
    return VendorError(kind, VENDOR, status=status or None, detail=detail[:200], retry_after_s=wish_s)


def _retry_after_s(wish: str) -> float | None:
    """Seconds, if that is how it is told; a date means longer than anybody waits on the telephone."""
    return float(wish) if wish.isascii() and wish.isdecimal() else None


def from_event(event: dict[str, Any]) -> VendorError:
    """The failure in an ``error`` message."""
    status = event.get("status_code")
    return from_status(status if isinstance(status, int) else 0, event)


def _body(body: bytes | None) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}

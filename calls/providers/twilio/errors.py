"""Twilio's failures in the vocabulary of ``calls.providers.errors``."""

from __future__ import annotations

import json
from typing import Final

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException

from calls.providers.errors import VendorError, kind_of_status

VENDOR: Final = "twilio"

#: The carrier's own codes that say more than the status.
_CODE_KINDS: Final[dict[int, str]] = {
    20003: "auth",
    20404: "gone",
    20429: "rate_limited",
    21220: "gone",  # call not in progress
}

#: Exceptions of the HTTP library under the SDK; the first that matches counts.
_EXCEPTION_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorError, "refused"),
    (aiohttp.InvalidURL, "bad_request"),
    (aiohttp.ClientResponseError, "garbage"),
    (aiohttp.ClientError, "cut"),
    (OSError, "cut"),
    (json.JSONDecodeError, "garbage"),
    (UnicodeDecodeError, "garbage"),
    (TwilioException, "unknown"),
)

#: Everything ``classify`` knows.
VENDOR_EXCEPTIONS: Final[tuple[type[Exception], ...]] = tuple(cls for cls, _ in _EXCEPTION_KINDS)


def classify(error: Exception) -> VendorError:
    """The failure behind one of ``VENDOR_EXCEPTIONS``."""
    if isinstance(error, TwilioRestException | TwilioServiceException):
        kind = _CODE_KINDS.get(error.code or 0) or ("gone" if error.status == 404 else kind_of_status(error.status))
        return VendorError(kind, VENDOR, status=error.status, detail=f"code {error.code}")
    kind = next(kind for cls, kind in _EXCEPTION_KINDS if isinstance(error, cls))
    return VendorError(kind, VENDOR, detail=type(error).__name__)

"""OpenAI's failures in the vocabulary of ``calls.providers.errors``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from openai import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    OpenAIError,
)

from calls.providers.errors import VendorError, kind_of_status

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDOR: Final = "openai"

#: Words of the vendor (``code`` or ``type``) that say more than the status, in answers and within streams.
_CODE_KINDS: Final[dict[str, str]] = {
    "insufficient_quota": "quota",
    "credit_balance_exhausted": "quota",
    "rate_limit_exceeded": "rate_limited",
    "slow_down": "rate_limited",
    "server_is_overloaded": "overloaded",
    "server_error": "server",
    "invalid_api_key": "auth",
    "model_not_found": "not_found",
    "invalid_prompt": "bad_request",
    "context_length_exceeded": "bad_request",
    "unsupported_value": "bad_request",
}

#: The SDK's exceptions without a status; the first that matches counts.
_EXCEPTION_KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (APITimeoutError, "timeout"),
    (APIConnectionError, "refused"),
    (APIResponseValidationError, "garbage"),
    (APIError, "server"),  # told within a stream, without a word that is known
    (OpenAIError, "unknown"),
    (json.JSONDecodeError, "garbage"),
    (UnicodeDecodeError, "garbage"),
)

#: Everything ``classify`` knows.
VENDOR_EXCEPTIONS: Final[tuple[type[Exception], ...]] = (OpenAIError, json.JSONDecodeError, UnicodeDecodeError)


def classify(error: Exception, *, streaming: bool) -> VendorError:
    """The failure behind one of ``VENDOR_EXCEPTIONS``.

    ``streaming``: the answer had begun, so a lost connection was cut and a silent one hangs.
    """
    detail = f"{type(error).__name__}: {error}"[:200]
    if isinstance(error, APIStatusError):
        kind = kind_of_code(error.code, error.type) or kind_of_status(error.status_code)
        return VendorError(
            kind, VENDOR, status=error.status_code, detail=detail, retry_after_s=_retry_after(error.response.headers)
        )
    kind = next(kind for cls, kind in _EXCEPTION_KINDS if isinstance(error, cls))
    if isinstance(error, APIError):
        kind = kind_of_code(error.code, error.type) or kind
    if streaming:
        kind = {"timeout": "hung", "refused": "cut"}.get(kind, kind)
    return VendorError(kind, VENDOR, detail=detail)


def kind_of_code(*codes: Any) -> str | None:
    """The kind of the first of the vendor's words that is known."""
    return next((_CODE_KINDS[code] for code in codes if isinstance(code, str) and code in _CODE_KINDS), None)


def from_code(code: Any, message: Any) -> VendorError:
    """A failure told within a stream; without a word that is known it is the server's."""
    return VendorError(kind_of_code(code) or "server", VENDOR, detail=f"{code}: {message}"[:200])


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue  # absent, or a date
    return None

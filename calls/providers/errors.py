"""What can go wrong at a vendor, in one vocabulary.

::

    Exception
    └── ProviderError
        └── VendorError(kind, vendor, status, detail, retryable, retry_after_s)

``kind`` is a short stable word (``KINDS``): metrics, events and breakers use it. Each vendor's package has one
table from its SDK's exceptions to these kinds.
"""

from __future__ import annotations

from typing import Final

#: kind -> whether another attempt may help soon.
KINDS: Final[dict[str, bool]] = {
    "refused": True,  # nobody listens, or the handshake was turned down without a status
    "timeout": True,  # no answer within the deadline
    "hung": True,  # an answer began and then nothing more came
    "cut": True,  # the connection ended before the answer did
    "garbage": True,  # an answer that is not the protocol
    "server": True,  # 5xx
    "overloaded": True,  # 503, or the vendor's word for it
    "rate_limited": True,  # too many at once; later is better
    "conflict": True,  # 409
    "quota": False,  # the money is gone
    "auth": False,  # the key is wrong
    "forbidden": False,  # the key may not do this
    "bad_request": False,  # our request is wrong
    "not_found": False,  # model, voice or call that does not exist
    "gone": False,  # it existed and is over
    "unknown": False,  # a status without a meaning here
    "open": False,  # the breaker is open: the vendor was not asked (calls.breakers)
}

_STATUS_KINDS: Final[dict[int, str]] = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "forbidden",
    404: "not_found",
    405: "bad_request",
    408: "timeout",
    409: "conflict",
    410: "gone",
    413: "bad_request",
    415: "bad_request",
    422: "bad_request",
    429: "rate_limited",
    503: "overloaded",
}


class ProviderError(Exception):
    """Base of everything a provider raises on purpose."""


class VendorError(ProviderError):
    """A vendor did not do what was asked.

    ``vendor``: ``cartesia``, ``openai``, ``twilio``. ``status``: HTTP status or close code, if there was one.
    ``retry_after_s``: the vendor's own wish. ``detail`` is for the log, never for a caller. Raises ``ValueError`` on
    a kind that is not in ``KINDS``.
    """

    def __init__(
        self,
        kind: str,
        vendor: str,
        *,
        status: int | None = None,
        detail: str = "",
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind of failure")
        super().__init__(f"{vendor}: {kind}{f' ({status})' if status else ''}{f': {detail}' if detail else ''}")
        self.kind = kind
        self.vendor = vendor
        self.status = status
        self.detail = detail
        self.retryable = KINDS[kind] if retryable is None else retryable
        self.retry_after_s = retry_after_s


def kind_of_status(status: int) -> str:
    """The kind of an HTTP status that is an error."""
    return _STATUS_KINDS.get(status, "server" if status >= 500 else "unknown")

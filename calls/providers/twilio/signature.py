"""Whether a request really comes from the carrier: ``X-Twilio-Signature``.

The digest is the official ``RequestValidator``'s. What is around it is ours, because its ``validate`` raises on
missing headers and raw bodies, compares without constant time, and knows no ``wss``.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator, get_signature_algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALGORITHMS: Final = frozenset({HMAC_SHA1, HMAC_SHA256})
_STANDARD_PORTS: Final = {"https": 443, "http": 80, "wss": 443, "ws": 80}
_MAX_SIGNATURE_CHARS: Final = 128


class Verdict(StrEnum):
    """``VALID``, or why not."""

    VALID = "valid"
    MISSING = "missing"
    MISMATCH = "mismatch"
    WRONG_BODY = "wrong_body"

    @property
    def ok(self) -> bool:
        """Whether the request may be believed."""
        return self is Verdict.VALID


class SignatureChecker:
    """Checks requests against one account's token and the public address they were sent to.

    The address comes from configuration: what the server sees behind a proxy is another scheme, host and port.
    """

    def __init__(self, auth_token: str, public_base_url: str, stream_url: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._base = public_base_url.rstrip("/")
        self._stream_url = stream_url

    def check_form(
        self, path_and_query: str, params: Mapping[str, Any], signature: str | None, settings: str | None = None
    ) -> Verdict:
        """A form POST, or a GET with no ``params``: its fields are in the query already.

        ``path_and_query`` exactly as received, encoding and order untouched. ``params``: every field received; a
        Django ``QueryDict`` gives repeated names with all their values. ``settings``: the header
        ``X-Twilio-Webhooks-Signature-Settings``, if there was one.
        """
        return self._check(_urls(self._base + path_and_query), params, signature, settings)

    def check_json(
        self, path_and_query: str, body: bytes, signature: str | None, settings: str | None = None
    ) -> Verdict:
        """A POST that is not a form: the address is signed, and carries the body's hash as ``bodySHA256``."""
        verdict = self._check(_urls(self._base + path_and_query), {}, signature, settings)
        if not verdict.ok:
            return verdict
        expected = parse_qs(urlsplit(path_and_query).query).get("bodySHA256", [""])[0]
        actual = hashlib.sha256(body).hexdigest()
        return Verdict.VALID if _equal(actual, expected) else Verdict.WRONG_BODY

    def check_upgrade(self, signature: str | None, settings: str | None = None) -> Verdict:
        """The stream's WebSocket upgrade, signed over the ``<Stream url>`` with or without a slash at its end."""
        bare = self._stream_url.rstrip("/")
        return self._check([*_urls(bare), *_urls(bare + "/")], {}, signature, settings)

    def _check(
        self, urls: list[str], params: Mapping[str, Any], signature: str | None, settings: str | None
    ) -> Verdict:
        if not signature:
            return Verdict.MISSING
        algorithm = get_signature_algorithm(settings).upper()
        if algorithm not in _ALGORITHMS or len(signature) > _MAX_SIGNATURE_CHARS:
            return Verdict.MISMATCH
        # All are computed, whichever fits, so that the time taken does not tell.
        fits = [_equal(self._digest(url, params, algorithm), signature) for url in urls]
        return Verdict.VALID if any(fits) else Verdict.MISMATCH

    def _digest(self, url: str, params: Mapping[str, Any], algorithm: str) -> str:
        try:
            return cast("str", self._validator.compute_signature(url, params, algorithm))
        except UnicodeEncodeError:  # lone surrogates: nothing the carrier could have signed
            return ""


def _equal(one: str, other: str) -> bool:
    """Constant time, for text that may not be ASCII."""
    return bool(one) and hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def _urls(url: str) -> list[str]:
    """The address with and without its port: the carrier drops it for https, keeps it for http, and has done both."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    try:
        port = parts.port
    except ValueError:
        return [url]
    if port is None:
        return [url, _with_netloc(url, parts.netloc, f"{host}:{_STANDARD_PORTS.get(parts.scheme, 80)}")]
    return [url, _with_netloc(url, parts.netloc, host.removesuffix(f":{port}"))]


def _with_netloc(url: str, old: str, new: str) -> str:
    """Put in place as text: taking an address apart and together again would change its encoding."""
    return url.replace(f"//{old}", f"//{new}", 1)

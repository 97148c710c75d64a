"""Requests signed as the carrier signs them, by the vendor's own library."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from twilio.request_validator import RequestValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiohttp

HEADER = "X-Twilio-Signature"
# The carrier waits this long for an answer, the connection included.
WEBHOOK_TIMEOUT_S = 15.0


def signed_url(url: str) -> str:
    """The address as it enters the signature: without fragment, for https and wss also without user and port."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "wss"):
        host = parts.hostname or ""
        return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))


def signature(url: str, fields: Mapping[str, str], auth_token: str) -> str:
    """The signature of a form post to an address, or with no fields of a GET or a socket's upgrade."""
    return str(RequestValidator(auth_token).compute_signature(signed_url(url), dict(fields)))


async def post_signed(
    session: aiohttp.ClientSession,
    url: str,
    fields: Mapping[str, str],
    auth_token: str,
    reach: Callable[[str], str] = str,
) -> tuple[int, str, str]:
    """Post a signed form; returns status, content type and body. Raises ``TimeoutError`` and aiohttp's errors.

    ``reach`` says where an address is really found; the signature covers the address as it is.
    """
    headers = {HEADER: signature(url, fields, auth_token), "User-Agent": "TwilioProxy/1.1"}
    async with asyncio.timeout(WEBHOOK_TIMEOUT_S):
        async with session.post(reach(url), data=dict(fields), headers=headers, allow_redirects=False) as response:
            return response.status, response.content_type, await response.text()

"""What is told to the inside only: numbers and dependencies are of use to whoever plans an attack."""

from __future__ import annotations

import hmac
import ipaddress
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from django.http import HttpRequest, HttpResponseBase

    View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]

#: This machine, private networks (RFC 1918, 4193), those of carriers and clouds (RFC 6598), one link (RFC 3927).
_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
        "::1/128", "fc00::/7", "fe80::/10",
    )
)  # fmt: skip


def inside(view: View, *, token_alone: bool = False) -> View:
    """Admit whoever shows ``METRICS_TOKEN`` (``Authorization: Bearer …``), and clients of this machine and of private networks.

    With ``token_alone`` these only while no token is set: where a proxy hides the clients, all look near.
    """

    @wraps(view)
    async def checked(request: HttpRequest) -> HttpResponseBase:
        token = settings.METRICS_TOKEN
        if _shows(request, token) or (_is_near(request) and not (token and token_alone)):
            return await view(request)
        text = "only from inside the network, or with METRICS_TOKEN as bearer token\n"
        return HttpResponse(text, status=403, content_type="text/plain")

    return checked


def _shows(request: HttpRequest, token: str) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return bool(token) and kind.lower() == "bearer" and right


def _is_near(request: HttpRequest) -> bool:
    """Whether the client is near; a socket of this machine has no address."""
    address = request.META.get("REMOTE_ADDR", "")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return not address
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    return any(found in network for network in _NETWORKS)

"""By which names this server goes (``ALLOWED_HOSTS``), and which pages are its own."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

from memory import surroundings


def is_ours(host: str) -> bool:
    """Whether a ``Host`` header names this server."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, surroundings.allowed_hosts())


def is_own_page(origin: str) -> bool:
    """Whether an ``Origin`` header names one of this server's pages; what is no address is none."""
    try:
        return is_ours(urlsplit(origin).netloc)
    except ValueError:
        return False

"""What every answer says to the browser, and what is told to nobody outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.test import AsyncRequestFactory, Client
from django.urls import path, resolve

from voiceagent.urls import urlpatterns as _ours

if TYPE_CHECKING:
    from django.http import HttpRequest

NEAR, FAR = (
    ("127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:192.168.1.1"),
    ("203.0.113.7", "2a00::1", "172.32.0.1", "x"),
)


def _fails(request: HttpRequest) -> Any:
    raise {"400": BadRequest, "403": PermissionDenied, "500": RuntimeError}[request.GET["status"]]("secret detail")


urlpatterns = [*_ours, path("fails", _fails)]

#: Pages of every kind: of the admin, of ours, static ones, refusals and errors.
PAGES = (
    ("/", 302), ("/admin/", 200), ("/admin/login/", 302), ("/admin/calls/call/", 200), ("/admin/calls/agent/add/", 200),
    ("/admin/memory/caller/", 200), ("/static/icon.svg", 200), ("/healthz", 200), ("/nowhere", 404), ("/calls/CA1/", 302),
    ("/twilio/nothing", 404), ("/fails?status=400", 400), ("/fails?status=403", 403), ("/fails?status=500", 500),
)  # fmt: skip
INLINE = re.compile(
    r"<(?:script|style)(?![^>]*(?:src|nonce)=)[^>]*>(?!\s*</)| on[a-z]+=\"|javascript:| style=\"", re.IGNORECASE
)


@pytest.mark.django_db
@pytest.mark.urls(__name__)
@pytest.mark.parametrize(("place", "status"), PAGES)
def test_every_page_is_told_what_it_may(place: str, status: int, admin_client: Client) -> None:
    admin_client.raise_request_exception = False
    answer = admin_client.get(place)
    assert answer.status_code == status
    headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "Content-Security-Policy-Report-Only" not in headers
    for rule in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ):
        assert rule in policy
    assert "microphone=()" in headers["Permissions-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
    if not place.startswith("/static/"):
        assert headers["X-Frame-Options"] == "DENY"
    if "html" in headers.get("Content-Type", ""):
        text = answer.content.decode()
        assert not INLINE.search(text), INLINE.search(text)
        assert "secret detail" not in text
        assert "Traceback" not in text


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_with_a_page_that_says_so() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert "The form is out of date" in answer.content.decode()
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused(client: Client) -> None:
    assert client.get("/admin/login/", headers={"host": "evil.example.com"}).status_code == 400


@pytest.mark.parametrize("place", ["/metrics", "/readyz"])
async def test_numbers_and_dependencies_are_told_inside_only(place: str, settings: Any) -> None:
    for address in NEAR:
        assert (await _status(place, address)) in (200, 503), address
    for address in FAR:
        assert (await _status(place, address)) == 403, address
        assert (await _status(place, address, "")) == 403, address
    settings.METRICS_TOKEN = "s3cret-of-the-scraper"
    for address in FAR:
        assert (await _status(place, address, "s3cret-of-the-scraper")) in (200, 503)
        assert (await _status(place, address, "s3cret-of-the-scrapes")) == 403
        assert (await _status(place, address, "\xe9")) == 403
    # A balancer knows no token. A scraper does: where a proxy hides the clients, all look near.
    assert (await _status(place, "127.0.0.1")) in ((403,) if place == "/metrics" else (200, 503))


async def _status(place: str, address: str, token: str | None = None) -> int:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    request = AsyncRequestFactory().get(place, headers=headers)
    request.META["REMOTE_ADDR"] = address
    return int((await resolve(place).func(request)).status_code)


async def test_alive_is_told_to_everybody() -> None:
    assert await _status("/healthz", "203.0.113.7") == 200


@pytest.mark.django_db
def test_pages_with_records_are_kept_nowhere(admin_client: Client) -> None:
    for place in ("/admin/", "/admin/calls/call/", "/admin/memory/caller/"):
        assert "no-store" in admin_client.get(place).headers["Cache-Control"], place

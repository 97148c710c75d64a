"""The second factor: a password alone opens nothing, wrong codes wait longer and longer, a code counts once."""

from __future__ import annotations

import re
from base64 import b32decode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from memory import limits
from tests.app.test_house import check_production
from voiceagent import secondfactor
from voiceagent.asgi import application
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = {"username": "olga", "password": "right"}


@pytest.fixture(autouse=True)
def _with_two_factors(settings: Any, redis_url: str) -> Iterator[None]:
    settings.TWO_FACTORS = True
    settings.REDIS_URL = redis_url
    limits._at.cache_clear()
    yield
    limits._at.cache_clear()


@pytest.fixture
def olga(db: None) -> User:
    return User.objects.create_superuser("olga", password="right")


def code(key: bytes, steps: int = 0) -> str:
    """The app's code now, or ``steps`` half minutes from now."""
    totp = TOTP(key)
    totp.time = timezone.now().timestamp() + 30 * steps
    return f"{totp.token():06d}"


def enrolled(client: Client) -> tuple[bytes, list[str]]:
    """Sign in for the first time and set the app up: its key, and the recovery codes."""
    client.post("/login/", PASSWORD)
    page = client.get("/login/setup/").text
    secret = re.search(r'class="secret">([A-Z2-7]+)<', page)
    assert secret
    assert "<svg" in page
    key = b32decode(secret[1])
    shown = client.post("/login/setup/", {"code": code(key), "next": "/console/calls/"}).text
    assert 'href="/console/calls/"' in shown
    return key, re.findall(r"<code>(\w{8})</code>", shown)


def with_password(next: str = "/console/") -> Client:
    client = Client()
    assert client.post("/login/", {**PASSWORD, "next": next}).headers["Location"] == next
    return client


PAGES = ("/console/", "/admin/", "/admin/auth/user/", "/calls/CA1/", "/admin/memory/caller/", "/console/audit/")


def test_a_password_alone_opens_no_page(olga: User) -> None:
    client = with_password()
    for place in PAGES:
        there = client.get(place)
        assert there.status_code == 302, place
        assert there.headers["Location"].startswith("/login/code/?next="), place
    assert client.get("/login/code/?next=/console/calls/").headers["Location"].startswith("/login/setup/?next=")


def test_somebody_sets_up_an_app_and_comes_in_with_its_code(olga: User) -> None:
    first = Client()
    key, codes = enrolled(first)
    assert len(set(codes)) == secondfactor.RECOVERY_CODES
    assert first.get("/console/").status_code == 200
    assert AuditEntry.objects.get(action="factor.enrolled").username == "olga"

    again = with_password()
    before = again.cookies["sessionid"].value
    assert again.get("/console/").headers["Location"].startswith("/login/code/")
    there = again.post("/login/code/", {"code": code(key, 1), "next": "/console/calls/"})
    assert there.headers["Location"] == "/console/calls/"
    assert again.cookies["sessionid"].value != before
    for place in ("/console/", "/admin/"):
        assert again.get(place).status_code == 200


def test_a_code_and_a_recovery_code_count_once(olga: User) -> None:
    key, codes = enrolled(Client())
    once = code(key, 1)
    assert with_password().post("/login/code/", {"code": once}).status_code == 302
    assert "wrong or was used" in with_password().post("/login/code/", {"code": once}).text
    assert with_password().post("/login/code/", {"code": codes[0].upper()}).status_code == 302
    assert "wrong or was used" in with_password().post("/login/code/", {"code": codes[0]}).text


def test_wrong_codes_make_the_next_wait_and_a_right_one_too(olga: User) -> None:
    key, _ = enrolled(Client())
    client = with_password()
    assert "wrong or was used" in client.post("/login/code/", {"code": "000000"}).text
    assert "Too many wrong codes" in client.post("/login/code/", {"code": code(key, 1)}).text
    device = TOTPDevice.objects.get(user=olga)
    device.throttling_failure_timestamp = timezone.now() - timedelta(seconds=3)
    device.save()
    assert client.post("/login/code/", {"code": code(key, 1)}).status_code == 302


def test_who_knows_the_password_alone_replaces_no_app(olga: User) -> None:
    enrolled(Client())
    thief = with_password()
    assert thief.get("/login/setup/").headers["Location"].startswith("/login/code/")
    assert thief.post("/login/setup/", {"code": "123456"}).headers["Location"].startswith("/login/code/")
    assert TOTPDevice.objects.filter(user=olga).count() == 1


def test_a_code_of_somebody_elses_app_is_wrong(olga: User) -> None:
    enrolled(Client())
    other = TOTPDevice.objects.create(user=User.objects.create_user("ivan"), confirmed=True)
    assert "wrong or was used" in with_password().post("/login/code/", {"code": code(other.bin_key)}).text


@pytest.mark.parametrize("ending", ["//evil.example.com", "https://evil.example.com/", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere_after_the_code(olga: User, ending: str) -> None:
    key, _ = enrolled(Client())
    there = with_password().post("/login/code/", {"code": code(key, 1), "next": ending})
    assert there.headers["Location"] == "/console/"


@pytest.mark.parametrize("given", ["", "x" * 5000, "１２３４５６", "12345", "-1", "0x1", "\x00"])
def test_nonsense_is_a_wrong_code(olga: User, given: str) -> None:
    enrolled(Client())
    assert "wrong or was used" in with_password().post("/login/code/", {"code": given}).text


@pytest.mark.django_db(transaction=True)
async def test_a_password_alone_opens_no_socket(olga: User, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    client = await sync_to_async(with_password)()
    headers = [
        (b"origin", b"http://testserver"),
        (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()),
    ]
    socket = WebsocketCommunicator(application, "/console/live", headers=headers)
    accepted, _ = await socket.connect()
    if accepted:
        assert (await socket.receive_json_from())["type"] == "refused"
        assert (await socket.receive_output())["code"] == 4401
    await sync_to_async(connections.close_all)()


def test_production_asks_for_it_unless_somebody_decided_otherwise() -> None:
    assert check_production().returncode == 0
    off = check_production(TWO_FACTORS="off")
    assert off.returncode == 1
    assert "voiceagent.W004" in off.stderr

"""Passwords are not tried out: many attempts lock a user at an address, and nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client, RequestFactory

from memory import limits
from memory.limits import Rule
from tests.protocol.house import free_port
from voiceagent.login import OF_ADDRESS, OF_USER

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = "/admin/login/"
LOCKED = "Too many attempts. Try again in "
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _counted_anew(redis_url: str, settings: Any) -> Iterator[None]:
    settings.REDIS_URL = redis_url
    limits._at.cache_clear()
    yield
    limits._at.cache_clear()


@pytest.fixture(autouse=True)
def _operator() -> None:
    get_user_model().objects.create_superuser("olga", password="right")
    get_user_model().objects.create_superuser("ivan", password="right")


def tries(password: str, user: str = "olga", address: str = "192.0.2.7", **more: str) -> str:
    answer = Client(REMOTE_ADDR=address).post(LOGIN, {"username": user, "password": password, **more})
    if answer.status_code == 302:
        return f"to {answer.headers['Location']}"
    return "locked" if LOCKED in answer.content.decode() else "wrong"


def test_five_wrong_passwords_lock_the_user_at_the_address_and_nobody_else() -> None:
    assert [tries("wrong") for _ in range(6)] == ["wrong"] * 5 + ["locked"]
    assert tries("right") == "locked"
    assert tries("right", "ivan").startswith("to ")
    assert tries("right", address="192.0.2.8").startswith("to ")
    assert tries("right", address="2001:db8::1").startswith("to ")


def test_the_right_password_in_time_clears_the_count() -> None:
    for _ in range(3):
        assert [tries("wrong") for _ in range(4)] == ["wrong"] * 4
        assert tries("right").startswith("to ")


def test_an_address_that_tries_many_users_is_locked_for_all() -> None:
    for _ in range(OF_ADDRESS.most):
        assert limits.current().wait_s(OF_ADDRESS, "192.0.2.9") == 0
    assert tries("right", address="192.0.2.9") == "locked"
    assert tries("right").startswith("to ")


def test_an_address_of_ipv6_is_its_network() -> None:
    assert [tries("wrong", address=f"2001:db8::{n:x}") for n in range(6)][-1] == "locked"
    assert tries("right", address="2001:db8:0:1::1").startswith("to ")


def test_an_operator_unlocks_everybody_for_all_processes() -> None:
    assert [tries("wrong") for _ in range(6)][-1] == "locked"
    for _ in range(OF_ADDRESS.most):
        limits.current().wait_s(OF_ADDRESS, "192.0.2.9")
    other = Rule("other", 1, 900)
    assert limits.current().wait_s(other, "login/") == 0
    serving = limits.current()
    limits._at.cache_clear()  # the command is another process
    call_command("unlock", stdout=StringIO())
    assert limits.current().wait_s(other, "login/") > 0
    assert serving.wait_s(OF_ADDRESS, "192.0.2.9") == serving.wait_s(OF_USER, "anybody") == 0
    assert tries("right").startswith("to ")


def test_unlocking_without_redis_says_so(settings: Any) -> None:
    settings.REDIS_URL = f"redis://:hidden@127.0.0.1:{free_port()}/0"
    with pytest.raises(CommandError, match="Redis does not answer") as caught:
        call_command("unlock")
    assert "hidden" not in str(caught.value)


def test_many_at_once_are_as_many_as_one_after_the_other() -> None:
    """The count comes before the password."""
    limiter = limits.current()
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda _: limiter.wait_s(OF_USER, "somebody"), range(30)))
    assert waits.count(0) == OF_USER.most


def test_without_redis_people_log_in_and_the_process_counts(settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert tries("right").startswith("to ")
    assert [tries("wrong") for _ in range(6)][-1] == "locked"


@pytest.mark.parametrize(
    "ending", ["//evil.example.com", "https://evil.example.com/admin/", "javascript:alert(1)", "/\\evil.example"]
)
def test_nobody_is_sent_elsewhere_after_the_login(ending: str) -> None:
    assert tries("right", next=ending) == "to /admin/"
    assert tries("right", next="/admin/calls/call/") == "to /admin/calls/call/"


def test_a_session_is_new_after_the_login_and_short_and_out_of_scripts_reach() -> None:
    client = Client()
    client.cookies["sessionid"] = "planted"
    answer = client.post(LOGIN, {"username": "olga", "password": "right"})
    cookie = answer.cookies["sessionid"]
    assert cookie.value != "planted"
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", 12 * 3600)


async def test_every_way_to_authenticate_is_counted() -> None:
    """Django's asynchronous one would go past a synchronous back end's own."""
    request = RequestFactory().post(LOGIN, REMOTE_ADDR="192.0.2.7")
    for _ in range(OF_USER.most):
        assert await aauthenticate(request, username="nobody", password="x") is None
    assert not hasattr(request, "login_wait_s")
    assert await aauthenticate(request, username="nobody", password="x") is None
    assert request.login_wait_s > 0  # type: ignore[attr-defined]
    await sync_to_async(connections.close_all)()


def test_a_command_is_not_counted() -> None:
    for _ in range(OF_USER.most + 1):
        assert authenticate(None, username="olga", password="wrong") is None
    assert authenticate(None, username="olga", password="right") is not None

"""Circuit breakers as operators see them and act on them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Page, expect, sync_playwright
from redis import Redis

from calls import breakers as module
from calls.breakerrules import Phase, Rules
from calls.breakers import Breaker, Breakers, Env
from calls.breakersync import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.live_server_helper import LiveServer

LIST = "/admin/calls/circuitbreaker/"
TRIP, RESET = f"{LIST}cartesia.tts/trip/", f"{LIST}cartesia.tts/reset/"


class Time:
    ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def here() -> Iterator[Breakers]:
    before = list(module._current)
    made = Breakers(env=Env(Time(), lambda: 0.0, "here"))
    made.expose()
    yield made
    module._current[:] = before


@pytest.fixture
def breaker(here: Breakers) -> Breaker:
    return here.of("cartesia.tts")


def operator(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("here")]


def test_a_trip_needs_a_reason_and_is_on_record_with_who_did_it(breaker: Breaker, caplog: Any) -> None:
    ann = operator("ann", "operate_breakers")
    assert "Nothing is asked of it any more" in ann.get(TRIP).content.decode()
    assert "This field is required" in ann.post(TRIP, {"reason": " "}).content.decode()
    assert breaker.phase is Phase.CLOSED

    page = ann.post(TRIP, {"reason": "the vendor warned us"}, follow=True).content.decode()
    assert breaker.phase is Phase.FORCED
    assert "held open by ann: the vendor warned us" in page
    assert "The breaker cartesia.tts was tripped." in page
    assert "tripped: the vendor warned us" in page
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("ann", "cartesia.tts")

    ann.post(RESET, {"reason": "over"})
    assert breaker.phase is Phase.CLOSED
    assert [one.change_message for one in LogEntry.objects.order_by("-pk")] == [
        "reset: over",
        "tripped: the vendor warned us",
    ]
    told = [record.msg for record in caplog.records]
    assert [(one["event"], one["by"], one["cause"]) for one in told] == [
        ("breaker.forced", "ann", "the vendor warned us"),
        ("breaker.closed", "ann", "over"),
    ]


def test_who_may_look_may_not_act_and_others_may_neither(breaker: Breaker) -> None:
    bob = operator("bob", "view_circuitbreaker")
    page = bob.get(LIST)
    assert page.status_code == 200
    assert b"/trip/" not in page.content
    assert [bob.get(TRIP).status_code, bob.post(TRIP, {"reason": "x"}).status_code] == [403, 403]
    stranger = operator("eve", "view_call")
    assert [stranger.get(LIST).status_code, stranger.post(TRIP, {"reason": "x"}).status_code] == [403, 403]
    assert Client().post(TRIP, {"reason": "x"}).status_code == 302  # to the login
    assert breaker.phase is Phase.CLOSED
    assert not LogEntry.objects.exists()


def test_another_site_cannot_make_an_operator_do_it(breaker: Breaker) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(TRIP, {"reason": "x"}).status_code == 403
    assert breaker.phase is Phase.CLOSED


def test_what_is_none_is_not_found(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST}cartesia.sing/trip/").status_code == 404
    assert admin_client.get(f"{LIST}cartesia.tts/explode/").status_code == 404


def test_an_open_one_says_since_when_why_and_when_it_is_tried_again(admin_client: Client, breaker: Breaker) -> None:
    breaker.admit().ok()
    for kind in ("timeout", "timeout", "cut", "timeout"):
        breaker.admit().failed(kind)
    page = admin_client.get(LIST).content.decode()
    assert "1 of 8 not closed" in page
    assert "4 of 5 attempts failed: 3 timeout, 1 cut" in page
    assert 'datetime="2023-11-14T22:13:22' in page  # two seconds after it opened


def test_a_reason_is_text(admin_client: Client) -> None:
    admin_client.post(TRIP, {"reason": "<script>alert(1)</script>"})
    page = admin_client.get(LIST).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_what_is_done_here_holds_elsewhere(admin_client: Client, here: Breakers, redis_url: str) -> None:
    there = Breakers(env=Env(Time(), lambda: 0.0, "there"))
    with Redis.from_url(redis_url) as client:
        admin_client.post(TRIP, {"reason": "x"})
        for breakers in (here, there):
            Exchange(breakers, client, Time.ms).round()
    assert there.of("cartesia.tts").phase is Phase.FORCED
    assert b"Redis is away" not in admin_client.get(LIST).content


def test_without_redis_the_page_says_for_whom_it_speaks(admin_client: Client) -> None:
    assert b"Redis is away" in admin_client.get(LIST).content


def test_a_process_without_breakers_says_so(admin_client: Client) -> None:
    module._current.clear()
    assert b"has no circuit breakers" in admin_client.get(LIST).content
    assert admin_client.get(TRIP).status_code == 404


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(live_server: LiveServer, here: Breakers) -> Iterator[Any]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        pytest.skip("no Chromium: .ci/chromium finds or installs one")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    said: list[str] = []

    def opened(path: str, **options: Any) -> Page:
        context = engine.new_context(**options)
        context.add_cookies([cookie])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(live_server.url + path)
        return page

    with sync_playwright() as playwright:
        engine = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        engine.close()
    assert said == []


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_an_operator_reads_and_acts_at_a_desk_and_on_a_phone(browser: Any, here: Breakers) -> None:
    for _ in range(Rules().attempts):
        here.of("openai.reply").admit().failed("timeout")
    here.of("cartesia.stt").admit().failed("quota")
    here.of("twilio.rest").admit().ok()
    shots = os.environ.get("SHOTS")
    for scheme, width in (("light", 1280), ("dark", 400)):
        for path in (LIST, TRIP):
            page = browser(path, viewport={"width": width, "height": 800}, color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, scheme)
            if shots:
                page.screenshot(
                    path=f"{shots}/{'act' if path == TRIP else 'list'}-{scheme}-{width}.png", full_page=True
                )
            page.context.close()

    page = browser(LIST, viewport={"width": 1280, "height": 800})
    page.get_by_role("link", name="Trip cartesia.tts").click()
    page.get_by_label("Reason").fill("the vendor warned us")
    page.get_by_role("button", name="Trip").click()
    expect(page.get_by_role("row", name="cartesia.tts")).to_contain_text("held open by root: the vendor warned us")
    page.get_by_role("link", name="Reset cartesia.tts").click()
    page.get_by_label("Reason").fill("over")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("row", name="cartesia.tts")).to_contain_text("closed")

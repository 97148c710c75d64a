"""Every page, as people see it who enlarge it, read other languages, want nothing to move, have no mouse, or a screen reader."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.db import connections
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import BrowserContext

from calls.models import Agent
from tests import database
from tests.app.records.conversation import booked_table
from tests.browser.console import (
    Console,
    Loop,
    assert_clean,
    assert_fits,
    assert_still,
    axe,
    lengthen,
    right_to_left,
    serve,
    wait_until,
    walk,
)
from tests.browser.known import known_caller
from tests.browser.recorded import archived

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser
    from pytest_django.plugin import DjangoDbBlocker

    from tests.conftest import TestServers

#: The data are the module's; a test of its own has nothing to write.
pytestmark = pytest.mark.django_db
#: What a page needs before it is whole: its own scripts draw it.
DRAWN = {
    "call": "globalThis.callPage?.timeline.waveReady === true",
    "health": "document.querySelector('.plot canvas') !== null",
    "board": "document.querySelector('.connection').dataset.state === 'live'",
}
#: And what it still fetches: what is behind a veil for a moment has not the contrast that it will have.
QUIET = "document.querySelector('main [aria-busy]:not([aria-busy=false])') === null"


@dataclass(frozen=True, slots=True)
class Place:
    """A page: its address, by the ids of what was made for it. ``stops``: more than so many lie on the way of the Tab key."""

    name: str
    ids: tuple[str, ...] = ()
    query: str = ""
    stops: int = 10
    skips: bool = True


PLACES = {
    **{name: Place(f"console:{name}") for name in ("board", "calls", "callers", "agents", "health", "phone", "trail")},
    "call": Place("console:call", ("call_sid",)),
    "time travel": Place("console:travel", ("call_sid",), "?t=5"),
    "exports": Place("console:calls-exports"),
    "turns by words": Place("console:calls", query="?q=table&show=turns"),
    "caller": Place("console:caller", ("caller_id",), "?tab=all"),
    "probe": Place("console:probe", ("caller_id",)),
    "erasing": Place("console:caller_erase", ("caller_id",)),
    "agent": Place("console:agent", ("pk",)),
    "versions": Place("console:agent-versions", ("pk",)),
    "system": Place("console:dependencies"),
    "login": Place("login", stops=1, skips=False),
    "second factor": Place("second-factor-setup", stops=2, skips=False),
}


@dataclass
class Site:
    """The served console, a browser for each of those who look, and the ids of what there is to see."""

    console: Console
    ids: dict[str, Any]
    contexts: dict[bool, BrowserContext] = field(default_factory=dict)


@pytest.fixture(scope="module")
def site(
    browser: Browser,
    test_servers: TestServers,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """One server and one set of data for all pages: nothing here changes any."""
    data = tmp_path_factory.mktemp("screens")
    (data / "recordings").mkdir()
    with redis.Redis.from_url(test_servers.redis_url) as client:
        client.flushdb()
    loop, stack = Loop(), AsyncExitStack()
    with django_db_blocker.unblock(), override_settings(ALLOWED_HOSTS=["127.0.0.1"], DATA_DIR=str(data)):
        try:
            console = Console(serve(loop, stack), browser, loop)
            call = archived(console, booked_table(), data / "recordings", test_servers.redis_url)
            agent = Agent.objects.get()
            agent.greeting = "Good evening!"
            agent.save()
            person = known_caller().person
            found = Site(console, {"call_sid": call.call_sid, "pk": agent.pk, "caller_id": person.id})
            enlarged = {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2}  # 1280 x 900 at 200%
            for known in (True, False):
                found.contexts[known] = console.context("admin" if known else None, reduced_motion="reduce", **enlarged)
            yield found
            for context in found.contexts.values():
                context.close()
            loop.run(stack.aclose())
        finally:
            loop.close()
            database.empty()
            connections.close_all()


#: Pages behind pages, which are walked in `make test-long`.
SELDOM = {"exports", "turns by words", "probe", "erasing", "versions", "second factor"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in SELDOM else ()) for name in PLACES]
)
def test_a_page_survives_zoom_long_text_and_the_other_direction(site: Site, name: str) -> None:
    place, console = PLACES[name], site.console
    console.said.clear()
    address = reverse(place.name, kwargs={one: site.ids[one] for one in place.ids}) + place.query
    page = console.visit(site.contexts[name != "login"], address)
    if name in DRAWN:
        wait_until(page, DRAWN[name])
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert_fits(page)
    assert_still(page)
    stops = walk(page)
    assert not place.skips or stops[0] == "a Skip to the content"
    assert len(stops) > place.stops
    page.set_viewport_size({"width": 1280, "height": 900})
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert_fits(page)
        wait_until(page, QUIET)
        assert_clean(console)
        axe(page)
        console.said.clear()  # it adds a style of its own to read the waveform's shadow, which the policy stops
    page.set_viewport_size({"width": 320, "height": 800})
    for change in (lengthen, right_to_left):
        change(page)
        assert_fits(page)
    assert_clean(console)
    page.close()

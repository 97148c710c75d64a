"""The pages in a real browser: what scripts add, what is there without them, and nothing that a policy has to stop."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from calls import phrasebook
from calls.models import Agent, AgentVersion, Booking, Call, PhraseRecording
from calls.services.recordings import write_stereo
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.test import Client
    from pytest_django.live_server_helper import LiveServer

    from tests.app.records.conftest import Cast

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    # The test server is no ASGI server: it takes the pieces of a recording one after the other.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators:Warning"),
]

SECONDS = 60
#: A page is there when it is there: how long it takes is the machine's, which has other things to do.
expect.set_options(timeout=30_000)


@dataclass(frozen=True, slots=True)
class House:
    """A server with one archived call, as a browser that has signed in sees it; ``said`` is what its console got."""

    url: str
    call: Call
    addresses: tuple[str, ...]
    browser: Browser
    cookies: list[Any]
    said: list[str]

    def open(self, path: str, **options: Any) -> Page:
        """A page in a browser of its own."""
        context: BrowserContext = self.browser.new_context(timezone_id="Asia/Tokyo", **options)
        context.add_cookies(self.cookies)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(self.url + path)
        return page


@pytest.fixture
def house(
    live_server: LiveServer,
    archived: Callable[[Conversation], Call],
    recordings: Path,
    cast: Cast,
    client: Client,
) -> Iterator[House]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        pytest.skip("no Chromium: .ci/chromium finds or installs one")
    call = archived(booked_table())
    Booking.objects.create(key="k", call_sid=call.call_sid, name="M", party_size=2, date="2026-11-28", time="19:00")
    for side in ("in", "out"):
        (recordings / f"{call.call_sid}.{side}.ulaw").write_bytes(b"\xff" * 8000 * SECONDS)
    write_stereo(recordings, call.call_sid)
    client.force_login(cast.root)
    session = SessionStore(client.cookies["sessionid"].value)
    cookie = {"name": "sessionid", "value": str(session.session_key), "url": live_server.url}
    rows = [call, Agent.objects.get(), AgentVersion.objects.get(), call.events.first(), Booking.objects.get()]
    bases = [(f"/admin/calls/{row._meta.model_name}/", row.pk) for row in rows if row]
    addresses = tuple(f"{base}{end}" for base, pk in bases for end in ("", f"{pk}/change/"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield House(
            live_server.url,
            call,
            addresses,
            browser,
            [cookie],
            [],
        )
        browser.close()


def test_the_recording_is_stereo_to_the_browser(house: House) -> None:
    page = house.open(f"/admin/calls/call/{house.call.pk}/change/")

    sound = page.evaluate(
        """async () => {
          const bytes = await (await fetch(document.querySelector("audio").src)).arrayBuffer();
          const sound = await new OfflineAudioContext(2, 1, 8000).decodeAudioData(bytes);
          return [sound.numberOfChannels, Math.round(sound.duration)];
        }"""
    )

    assert sound == [2, SECONDS]


def test_times_are_the_readers_own_and_the_servers_on_hover(house: House) -> None:
    for path in ("/admin/calls/call/", house.addresses[0]):
        page = house.open(path)
        for time in page.locator("time[data-local=moment], time[data-local=clock]").all():
            here, there = time.inner_text(), time.get_attribute("title") or ""
            assert there.endswith(" UTC")
            hours = [int(text.split(":")[0][-2:]) for text in (here, there)]
            assert hours[0] == (hours[1] + 9) % 24, path


def test_no_page_scrolls_sideways_on_a_phone(house: House) -> None:
    for path in house.addresses:
        page = house.open(path, viewport={"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
        page.context.close()
    assert house.said == []


def test_all_can_be_read_without_scripts(house: House) -> None:
    page = house.open("/admin/calls/call/", java_script_enabled=False)
    assert page.locator("#result_list time").first.inner_text()


OWN_PHRASE = phrasebook.shipped_audio("en", "ear_moment")


@pytest.fixture
def phrased(version: AgentVersion) -> str:
    """The page of an agent with phrases of every kind."""
    agent = version.agent
    agent.phrases = {"trouble": "Oh dear. Goodbye.", "closing": "I must go.", "busy": "Nobody is free."}
    agent.save()
    done, failed = (PhraseRecording.objects.filter(text=agent.phrases[key]) for key in ("trouble", "closing"))
    done.update(state="rendered", audio=OWN_PHRASE, rendered_at=timezone.now(), due_at=None)
    failed.update(state="failed", reason="cartesia: not_found 404", due_at=None)
    return f"/admin/calls/agent/{agent.pk}/change/"


def test_an_agents_phrases_can_be_listened_to_and_say_how_far_they_are(phrased: str, house: House) -> None:
    page = house.open(phrased, viewport={"width": 1280, "height": 900})
    seconds = {}
    for key in ("trouble", "closing", "busy", "handover"):
        row = page.locator(f".field-phrase_{key}")
        row.scroll_into_view_if_needed()
        seconds[key] = row.locator("audio").evaluate(
            """async (player) => {
              player.load();
              await new Promise((tell, fail) => { player.onloadedmetadata = tell; player.onerror = fail; player.preload = "auto"; });
              return player.duration;
            }"""
        )
    heard = {key: len(phrasebook.shipped_audio("en", key)) / 8000 for key in seconds} | {
        "trouble": len(OWN_PHRASE) / 8000
    }
    assert seconds == pytest.approx(heard, abs=0.05)
    expect(page.locator(".field-phrase_trouble")).to_contain_text("callers hear it")
    expect(page.locator(".field-phrase_closing")).to_contain_text("Could not be recorded: cartesia: not_found 404.")
    expect(page.locator(".field-phrase_busy")).to_contain_text("Waiting to be recorded")
    narrow = house.open(phrased, viewport={"width": 400, "height": 800})
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 400
    assert house.said == []

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
    answer_s: float
    caller_s: float
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
    turn = call.turns.get(number=2)
    started = call.events.filter(type="SpeechStarted", at_ms__lt=turn.speech_ended_ms).last()
    assert started
    assert turn.first_audio_ms is not None
    client.force_login(cast.root)
    session = SessionStore(client.cookies["sessionid"].value)
    cookie = {"name": "sessionid", "value": str(session.session_key), "url": live_server.url}
    rows = [call, Agent.objects.get(), AgentVersion.objects.get(), call.events.first(), Booking.objects.get()]
    bases = [(f"/admin/calls/{row._meta.model_name}/", row.pk) for row in rows if row]
    addresses = (f"/calls/{call.call_sid}/", *(f"{base}{end}" for base, pk in bases for end in ("", f"{pk}/change/")))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield House(
            live_server.url,
            call,
            turn.first_audio_ms / 1000,
            started.data["voiced_at_ms"] / 1000,
            addresses,
            browser,
            [cookie],
            [],
        )
        browser.close()


def landed(page: Page, click: Callable[[], None]) -> float:
    """Where a click has put the player, in seconds: the moment it arrives, since from then on it plays."""
    page.evaluate(
        """() => {
          const player = document.querySelector("audio");
          window.landed = new Promise((tell) =>
            player.addEventListener("seeked", () => tell(player.currentTime), { once: true })
          );
        }"""
    )
    click()
    return float(page.evaluate("window.landed"))


def test_what_is_said_can_be_listened_to_where_it_was_said(house: House) -> None:
    page = house.open(f"/calls/{house.call.call_sid}/")
    turn = page.locator("#turn-2")
    for side, second in (("agent", house.answer_s), ("caller", house.caller_s)):
        at_s = landed(page, turn.locator(f".said-{side} a.offset").click)
        turn.locator(f".said-{side}[data-played]").wait_for(state="attached")
        assert second <= at_s < second + 2
        assert page.locator("[data-played]").count() == 1

    ribbon = page.locator(".ribbon")
    box = ribbon.bounding_box()
    assert box
    middle_s = (house.call.duration_ms or 0) / 2000
    at_s = landed(page, lambda: ribbon.click(position={"x": box["width"] / 2, "y": 10}))
    assert middle_s - 0.1 <= at_s < middle_s + 2


def test_the_recording_is_stereo_to_the_browser(house: House) -> None:
    page = house.open(f"/calls/{house.call.call_sid}/")

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
    for scheme in ("light", "dark"):
        for path in house.addresses:
            page = house.open(path, viewport={"width": 400, "height": 800}, color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, (path, scheme)
            page.context.close()
    assert house.said == []


def test_all_can_be_read_without_scripts(house: House) -> None:
    page = house.open(f"/calls/{house.call.call_sid}/", java_script_enabled=False)

    assert page.locator("#turn-2 .said-agent a.offset").get_attribute("href") == (
        f"/calls/{house.call.call_sid}/audio.wav#t={house.answer_s:.2f}"
    )
    show, hide = (page.get_by_role("link", name=name) for name in ("Show them", "Hide them"))
    marks = page.locator("td.type", has_text="MarkReturned")
    expect(marks).to_have_count(0)
    show.click()
    expect(hide).to_be_visible()
    expect(marks).not_to_have_count(0)
    hide.click()
    expect(show).to_be_visible()
    expect(marks).to_have_count(0)
    page.goto(f"{house.url}/admin/calls/call/")
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

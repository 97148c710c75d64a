"""Agents in a real browser: edited by hand and by keyboard, compared, refused when somebody was faster, and tried by a test call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from calls.models import Agent, Call
from tests.browser.console import Console, assert_clean, assert_fits, axe, walk
from tests.line.conftest import NUMBER, make_agent
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.line.conftest import Line

MARKUP = "<img src=x onerror=document.title='taken'><script>document.title = 'taken over'</script>"
#: Right-to-left marks, one of them never closed.
TURNED = "\u202egnitirw\u202c \u200fשלום\u200f \u202eend"
LONG = f"{MARKUP} {TURNED} " + "x" * 10_000


@pytest.fixture
def bella(console: Console) -> Agent:
    """An agent with one number and one version."""
    return make_agent(greeting="Good day!")


def place(agent: Agent, page: str = "") -> str:
    return f"/console/agents/{agent.pk}/{page}"


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def shown(page: Page, group: str) -> None:
    """Unfold a group of fields."""
    heading = page.locator("summary", has=page.get_by_role("heading", name=group, exact=True))
    if heading.locator("..").get_attribute("open") is None:
        heading.click()


def assert_shown_as_text(page: Page) -> None:
    """Nothing of it ran or became an element, and it turns no other text round."""
    assert page.title() not in ("taken", "taken over")
    assert page.locator("main img, main script:not([type='application/json'])").count() == 0
    assert_fits(page)


def test_saving_makes_a_version_where_a_call_would_notice_and_none_where_not(console: Console, bella: Agent) -> None:
    page = console.open("/console/agents/", "engineer")
    page.get_by_role("link", name="Test line", exact=True).click()
    page.get_by_label("Instructions").fill("Be brief.\nBe kind.")
    page.get_by_label("Voice", exact=True).fill("another-voice")
    page.get_by_role("checkbox", name=re.compile("^recall ")).check()
    shown(page, "Turn-taking: Silence and the end of a call")
    page.get_by_label("Silence before a prompt (ms)").fill("9000")
    save(page)
    expect(page.get_by_role("status").filter(has_text="This is version 2")).to_be_visible()
    bella.refresh_from_db()
    assert (bella.instructions, bella.voice) == ("Be brief.\nBe kind.", "another-voice")
    assert (bella.turn_policy().idle_ms, "recall" in bella.tools) == (9000, True)

    row = page.get_by_role("group", name="Number 2")
    row.get_by_label("Number", exact=True).fill("+1 (500) 555-0009")
    row.get_by_label("Note").fill("Second line")
    save(page)
    expect(page.get_by_role("status").filter(has_text="Nothing that a call is made of has changed")).to_be_visible()
    assert set(bella.numbers.values_list("number", flat=True)) == {NUMBER, "+15005550009"}
    page.get_by_role("group", name="Number 2").get_by_label("Give it up").check()
    save(page)
    expect(page.get_by_role("group", name="Number 2").get_by_label("Number", exact=True)).to_have_value("")
    assert bella.numbers.get().number == NUMBER
    assert bella.versions.count() == 2
    axe(page)
    assert_clean(console)


@pytest.mark.long
def test_two_versions_that_were_chosen_are_compared(console: Console, bella: Agent) -> None:
    for greeting in ("Good evening!", "Good night!"):
        bella.greeting = greeting
        bella.save()
    page = console.open(place(bella, "versions/"), "viewer")
    expect(page.get_by_role("heading", name="From version 2 to version 3")).to_be_visible()
    page.get_by_label("From", exact=True).select_option("1")
    page.get_by_label("To", exact=True).select_option("2")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="From version 1 to version 2")).to_be_visible()
    expect(page.locator(".difference del")).to_have_text("Good day!")
    expect(page.locator(".difference ins")).to_have_text("Good evening!")
    assert page.url.endswith("?from=1&to=2")
    axe(page)
    page.get_by_role("link", name="v3", exact=True).click()
    expect(page.locator(".difference ins")).to_have_text("Good night!")
    assert_clean(console)


@pytest.mark.long
def test_a_stale_edit_is_refused_and_shows_both(console: Console, bella: Agent) -> None:
    tabs = console.context("engineer")
    first, late = (console.visit(tabs, place(bella)) for _ in range(2))
    first.get_by_label("Greeting", exact=True).fill("Good morning!")
    first.get_by_label("Instructions").fill("Be slow.")
    save(first)
    expect(first.get_by_text("This is version 2")).to_be_visible()
    late.get_by_label("Greeting", exact=True).fill(f"Good night! {MARKUP}")
    late.get_by_label("Language").fill("de")
    save(late)

    conflict = late.get_by_role("alert")
    expect(conflict).to_contain_text("Nothing was saved")
    for value, now, typed in (
        ("Greeting", "Good morning!", f"Good night! {MARKUP}"),
        ("Instructions", "Be slow.", "not changed by you"),
        ("Language", "en", "de"),
    ):
        cells = (
            conflict.get_by_role("row").filter(has=late.get_by_role("rowheader", name=value, exact=True)).locator("td")
        )
        expect(cells.nth(0)).to_have_text(now)
        expect(cells.nth(1)).to_have_text(typed)
    axe(late)
    assert_shown_as_text(late)
    bella.refresh_from_db()
    assert (bella.greeting, bella.language) == ("Good morning!", "en")

    save(late)  # knowing of it
    expect(late.get_by_text("This is version 3")).to_be_visible()
    bella.refresh_from_db()
    assert bella.greeting == f"Good night! {MARKUP}"
    assert (bella.instructions, bella.language) == ("Be slow.", "de")
    console.said.clear()  # Chromium tells of the status 409
    assert_clean(console)


def test_hostile_text_is_shown_as_text_wherever_an_agent_is(console: Console, bella: Agent) -> None:
    page = console.open(place(bella), "admin")
    page.get_by_label("Name", exact=True).fill(LONG)
    page.get_by_label("Instructions").fill(LONG)
    row = page.get_by_role("group", name="Number 2")
    row.get_by_label("Number", exact=True).fill(MARKUP)
    row.get_by_label("Note").fill(LONG)
    save(page)
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
    expect(page.get_by_role("heading", level=1)).to_have_text("Test line")
    expect(page.get_by_label("Instructions")).to_have_value(LONG)
    expect(row.get_by_text("Write the number with +")).to_be_visible()
    assert_shown_as_text(page)
    axe(page)

    name = f"{TURNED} {MARKUP}"[:80]
    page.get_by_label("Name", exact=True).fill(name)
    row.get_by_label("Number", exact=True).fill("+15005550009")
    row.get_by_label("Note").fill(f"{TURNED} {MARKUP}"[:120])
    save(page)
    expect(page.get_by_text("This is version 2")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    tried = f"/console/phone/?version={bella.versions.get(number=2).pk}"
    for path in ("/console/agents/", place(bella), place(bella, "versions/"), tried, "/console/audit/"):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(console.url + path)
        assert_shown_as_text(page)
        page.set_viewport_size({"width": 320, "height": 800})
        assert_shown_as_text(page)
        axe(page)
        if path == tried:
            expect(page.locator("#line option").first).to_have_text(f"\u2068{name}\u2069, version 2")
    console.said.clear()  # Chromium tells of the status 422
    assert_clean(console)


def test_a_viewer_sees_the_values_and_no_form(console: Console, bella: Agent) -> None:
    page = console.open(place(bella), "viewer")
    expect(page.get_by_role("heading", name="What calls get: version 1")).to_be_visible()
    expect(page.locator(".values")).to_contain_text("Good day!")
    assert page.locator("main form, main input, main textarea, main button").count() == 0
    expect(page.get_by_role("link", name="Try")).to_have_count(0)
    axe(page)
    page.get_by_role("link", name="Versions").click()
    expect(page.get_by_role("heading", name="Version 1", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Try")).to_have_count(0)
    assert_clean(console)


@pytest.mark.long
def test_the_keyboard_edits_and_saves(console: Console, bella: Agent) -> None:
    page = console.open(place(bella), "engineer")
    stops = walk(page)
    assert stops[0] == "a Skip to the content"
    assert "button Save" in stops
    page.get_by_label("Greeting", exact=True).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("Good morning!")
    while page.evaluate("document.activeElement.textContent") != "Save":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This is version 2")).to_be_visible()
    assert bella.versions.get(number=2).profile["greeting"] == "Good morning!"
    assert_clean(console)


def test_a_version_is_tried_by_a_test_call(line_console: Console, line: Line, agent: Any) -> None:
    """An older version than the one that the line answers with, so that it is known which was called."""
    line.ears.utterances("Two people, please.")
    line.answers(("two people", Reply(text="Very well. Goodbye.")))
    chosen = agent.versions.get()
    agent.greeting = "This is the newer greeting."
    agent.save()

    page = line_console.open("/console/agents/", "engineer")
    page.get_by_role("link", name=re.compile("^Try it.*Test line")).click()
    newest = agent.versions.get(number=2)
    expect(page.get_by_label("Call", exact=True)).to_have_value(f"v{newest.pk}")
    page.goto(line_console.url + place(agent, "versions/?from=1&to=1"))
    page.get_by_role("link", name="Try v1", exact=True).click()
    expect(page.get_by_label("Call", exact=True)).to_have_value(f"v{chosen.pk}")
    expect(page.locator("#line option:checked")).to_contain_text("version 1")
    page.get_by_label("Script", exact=True).check()
    page.get_by_label("One sentence on each line").fill("Two people, please.")
    page.get_by_role("button", name="Call", exact=True).click()

    transcript = page.locator("#transcript")
    expect(transcript).to_contain_text("Hello there, this is the test line.")
    expect(transcript).to_contain_text("Very well.")
    page.get_by_role("button", name="Hang up").click()
    expect(page.get_by_role("heading", name="The call is over")).to_be_visible()
    call = Call.objects.get()
    assert (call.agent_version_id, call.is_test) == (chosen.pk, True)
    assert_clean(line_console)

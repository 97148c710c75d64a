"""The frame of every page: policy, contrast, keyboard, themes, zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.console import (
    Console,
    assert_clean,
    assert_fits,
    assert_still,
    at_200_percent,
    axe,
    lengthen,
    right_to_left,
    walk,
)

if TYPE_CHECKING:
    from typing import Any

    from tests.line.conftest import Line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_is_clean_and_accessible(console: Console, scheme: Any) -> None:
    page = console.open("/console/audit/", "admin", color_scheme=scheme)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    axe(page)
    assert_fits(page)
    assert_clean(console)


def test_a_refusal_is_a_page_like_the_others(console: Console) -> None:
    page = console.open("/console/audit/", "viewer")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not allowed")
    axe(page)
    console.said.clear()  # Chromium tells of the status 403
    assert_clean(console)


def test_a_real_line_can_be_looked_at(line_console: Console, line: Line) -> None:
    """The line and the pages are one server."""
    page = line_console.open("/console/", "operator")
    expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
    assert line.url == line_console.url
    assert_clean(line_console)


#: A key that comes before the frame in which the focus leaves the map that was just closed.
ON_A_CLOSED_MAP = """() => {
  const map = document.getElementById("keys"), box = map.querySelector("input");
  map.showModal();
  map.close();
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "/", code: "Slash", bubbles: true, cancelable: true }));
}"""


def test_the_keyboard_has_a_map_and_letters_can_be_switched_off(console: Console) -> None:
    page = console.open("/console/audit/", "admin")
    keys = page.get_by_role("dialog", name="Keyboard")
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    expect(keys.get_by_role("row", name="Callers")).to_contain_text("g")
    axe(page)
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()

    page.evaluate(ON_A_CLOSED_MAP)
    expect(page.get_by_label("Search calls")).to_be_focused()
    page.get_by_label("Search calls").blur()
    page.keyboard.press("/")
    expect(page.get_by_label("Search calls")).to_be_focused()
    page.keyboard.type("g c?")
    expect(page.get_by_label("Search calls")).to_have_value("g c?")
    page.get_by_label("Search calls").blur()
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/console/calls/")

    page.keyboard.press("?")
    page.get_by_label("Single letters do something").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.keyboard.press("?")  # would not open on a page that is about to go
    expect(keys).to_be_visible()
    assert page.url.endswith("/console/calls/")
    page.reload()
    page.keyboard.press("?")
    expect(page.get_by_label("Single letters do something")).not_to_be_checked()
    assert_clean(console)


def test_a_theme_that_was_chosen_stays(console: Console) -> None:
    page = console.open("/console/audit/", "admin", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    switch = page.get_by_role("button", name="Theme:")
    switch.click()
    assert page.evaluate(ground) == light
    switch.click()
    expect(switch).to_have_text("Theme: dark")
    dark = page.evaluate(ground)
    assert dark != light
    assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--ground')") == dark
    axe(page)
    page.reload()
    assert page.evaluate(ground) == dark
    switch.click()
    expect(switch).to_have_text("Theme: system")
    assert page.evaluate(ground) == light
    assert_clean(console)


def test_every_stop_of_the_tab_key_is_seen_and_the_first_skips_the_frame(console: Console) -> None:
    page = console.open("/console/audit/", "admin")
    stops = walk(page)
    assert stops[0] == "a Skip to the content"
    assert {"a Live", "a Calls", "button Sign out", "button Filter"} <= set(stops)
    page.keyboard.press("Tab")
    page.locator(".skip-link").press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_enlarged_and_still(console: Console) -> None:
    page = at_200_percent(console, "/console/audit/", "admin", reduced_motion="reduce")
    assert_fits(page)
    assert_still(page)
    page = console.open("/console/audit/", "admin", viewport={"width": 320, "height": 800})
    assert_fits(page)
    lengthen(page)
    assert_fits(page)
    right_to_left(page)
    assert_fits(page)
    assert_clean(console)

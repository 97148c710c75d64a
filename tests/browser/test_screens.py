"""Every screen, as people see it who enlarge it, read other languages, want nothing to move, or have no mouse."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.browser.console import (
    Console,
    assert_clean,
    assert_fits,
    assert_still,
    at_200_percent,
    lengthen,
    right_to_left,
    walk,
)

SCREENS = ("board", "calls", "callers", "agents", "health", "phone", "trail")


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_survives_zoom_long_text_and_the_other_direction(console: Console, screen: str) -> None:
    place = reverse(f"console:{screen}")
    page = at_200_percent(console, place, "admin", reduced_motion="reduce")
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert_fits(page)
    assert_still(page)
    stops = walk(page)
    assert stops[0] == "a Skip to the content"
    assert len(stops) > 10
    page.set_viewport_size({"width": 320, "height": 800})
    for change in (lengthen, right_to_left):
        change(page)
        assert_fits(page)
    assert_clean(console)

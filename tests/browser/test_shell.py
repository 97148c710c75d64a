"""The frame of every page: policy, contrast, keyboard, themes, zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.console import Console, assert_clean, assert_fits, axe

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

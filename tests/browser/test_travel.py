"""Time travel in a real browser: the slider and the steps lead to a moment, the address keeps it, the replay is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from calls.models import Call, CallEvent
from calls.replay.callfile import read
from calls.services import transfer
from tests.browser.console import Console, assert_clean, assert_fits, axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILE = Path(__file__).resolve().parents[1] / "calls" / "booking-and-barge-in.call.jsonl.gz"


@pytest.fixture
def call(console: Console, settings: Any, tmp_path: Path) -> Call:
    settings.DATA_DIR = str(tmp_path)
    file = read(FILE.read_bytes())
    facts = {"started_at": "2026-11-01T12:00:00Z", "from_number": "+12025550123", "to_number": "+12125550100"}
    transfer.take_over(replace(file, record=replace(file.record, facts=facts)))
    return Call.objects.get(call_sid=file.record.call_sid)


def why(page: Page) -> Any:
    return page.locator(".travel-why h3")


@pytest.mark.timeout(240)
def test_any_moment_can_be_gone_to_and_has_an_address(console: Console, call: Call) -> None:
    cut = CallEvent.objects.filter(call=call, type="Clear").order_by("seq")[0]
    page = console.open(f"/console/calls/{call.call_sid}/travel/?t={cut.at_ms / 1000}", "engineer")
    expect(why(page)).to_have_text("Why? The caller interrupted the assistant.")
    axe(page)
    assert_fits(page)

    first = page.locator(".travel-chain a").first
    step = first.get_attribute("data-step-to")
    first.click()
    expect(page.locator(f'[data-step="{step}"]')).to_be_visible()
    assert f"step={step}" in page.url

    slider = page.get_by_role("slider", name="Moment")
    slider.focus()
    page.keyboard.press("Home")
    expect(why(page)).to_have_text("Why? The call is connecting.")
    expect(page.get_by_label("Seconds from the start")).to_have_value("0.000")

    page.get_by_role("link", name="Step after").click()
    expect(page.locator('[data-step="1"]')).to_be_visible()
    expect(page.get_by_role("link", name="Step after")).to_be_focused()

    page.get_by_text("The state as the core has it").click()
    expect(page.get_by_label("State", exact=True)).to_contain_text('"phase": "active"')
    page.get_by_role("button", name="Replay the whole call").click()
    expect(page.get_by_text("bit for bit")).to_be_visible()
    axe(page)
    assert_clean(console)

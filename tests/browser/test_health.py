"""Health in a real browser: a breaker that opens shows everywhere, a cell leads to its calls, and charts can be read."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from calls.breakerrules import OPERATIONS, Phase
from calls.models import Call, Turn
from tests.browser.console import Console, assert_clean, assert_fits, axe
from tests.line.conftest import speech
from voiceagent.sandbox.carrier import AgentStarted

if TYPE_CHECKING:
    from typing import Any

    from tests.line.conftest import Line


def answers(*latencies_ms: int) -> None:
    """A call of an hour ago with these answers."""
    began = timezone.now() - timedelta(hours=1)
    row = Call.objects.create(
        call_sid="CA" + "7" * 32,
        from_number="+15550100123",
        started_at=began,
        answered_at=began,
        ended_at=began + timedelta(minutes=3),
        end_reason="caller_hung_up",
        status="ended",
        latency_median_ms=latencies_ms[0],
        latency_max_ms=max(latencies_ms),
    )
    for number, latency_ms in enumerate(latencies_ms, 1):
        Turn.objects.create(
            call=row, number=number, kind="answer", outcome="answered", latency_ms=latency_ms,
            turn_end_wait_ms=300, model_wait_ms=200, voice_wait_ms=latency_ms - 500, causes=["<b>model</b>:timeout"],
        )  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_the_charts_can_be_read_and_a_cell_leads_to_its_calls(console: Console, scheme: Any) -> None:
    answers(850, 2400)
    page = console.open("/console/health/", color_scheme=scheme)
    expect(page.locator(".plot canvas").first).to_be_visible()
    expect(page.get_by_role("heading", name="The slowest answers")).to_be_visible()
    expect(page.get_by_text("<b>model</b>: timeout").first).to_be_visible()
    page.get_by_text("Show as table").first.click()
    expect(page.get_by_role("cell", name="850, 2,400 ms")).to_be_visible()
    axe(page)
    assert_fits(page)
    page.locator(".heat a").last.click()
    expect(page).to_have_url(re.compile("/console/calls/.*response%3A"))
    assert_clean(console)


def test_a_breaker_that_is_tripped_and_reset_shows_what_callers_hear(line_console: Console, line: Line) -> None:
    page = line_console.open("/console/health/system/", "engineer")
    voice = page.locator("[data-card=Voice]")
    expect(voice).to_contain_text("Callers hear the agent's voice.")
    voice.get_by_role("button", name="Trip").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("their status page says so")
    axe(page)
    dialog.get_by_role("button", name="Trip").click()
    expect(voice).to_contain_text("recorded phrases")
    expect(voice).to_contain_text("their status page says so")
    looking = line_console.open("/console/health/system/", "viewer")
    expect(looking.locator("[data-card=Voice]")).to_contain_text("held open")
    expect(looking.get_by_role("button", name="Reset")).to_have_count(0)
    voice.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_label("Why").fill("well again")
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(voice).to_contain_text("Callers hear the agent's voice.")
    # The other page asks again by itself.
    expect(looking.locator("[data-card=Voice]")).to_contain_text("Callers hear the agent's voice.")
    assert_clean(line_console)


def test_a_vendor_that_fails_is_seen_on_its_card_and_on_the_board(line_console: Console, line: Line) -> None:
    """The breaker opens by what calls meet, not by an operator."""
    model = line.runtime.breakers.of("openai.reply")
    model.rules = OPERATIONS["openai.reply"]
    line.ears.utterances("Is there a table?")
    line.model.fault("openai.chat", "refuse", status=500, times=0)
    board = line_console.open("/console/", "engineer")
    number = board.locator(".figures [data-filter=fallback]")
    expect(number).to_contain_text("healthy")
    all_well = number.inner_text()

    async def calls() -> None:
        for caller in range(4):
            phone = line.call(f"+1555000111{caller}")
            await phone.start()
            await phone.wait_for(AgentStarted)
            await phone.wait_for_quiet()
            greeted = len(phone.timeline.events)
            await phone.speak(speech(900))
            await phone.wait_for(AgentStarted, after=greeted)  # the apology
            await phone.hang_up()
            if model.phase is not Phase.CLOSED:
                return

    line_console.run(calls())
    page = line_console.open("/console/health/system/", "engineer")
    card = page.locator("[data-card=Model]")
    expect(card).to_contain_text("callers hear an apology")
    expect(card.locator("[data-breaker='openai.reply']")).to_contain_text("server")
    expect(card.locator("[data-breaker='openai.reply'] [data-lately]")).to_contain_text("0.0% of")
    expect(number).not_to_have_text(all_well)
    expect(number).to_contain_text("model: ")
    assert_clean(line_console)


def test_a_drained_process_says_so(line_console: Console, line: Line) -> None:
    page = line_console.open("/console/health/system/", "engineer")
    row = page.locator("#state tbody tr")
    expect(row.locator("td").nth(2)).to_have_text("0")  # jobs that wait for a thread
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_label("Why").fill("new version")
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(page.locator("#state")).to_contain_text("draining")
    assert line.runtime.registry.no_room() == "drain"
    assert_clean(line_console)

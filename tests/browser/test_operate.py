"""Stepping in, in a real browser, on a real call: by the keyboard, with what the caller hears and the model is shown."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from calls.core import history
from tests.app.console.conftest import somebody
from tests.browser.conftest import FAKE_MICROPHONE
from tests.browser.console import assert_clean, axe
from tests.conformance.ears import Vocabulary, spoken
from tests.line.conftest import PATIENT, make_agent, policy, speech
from voiceagent.console.models import AuditEntry
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

    from calls.models import Agent
    from tests.browser.console import Console
    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall

SENTENCE = "Our kitchen shuts at nine."
HOSTILE = "<img src=x onerror=alert(1)> \u202eterrace"


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """Has a microphone that beeps."""
    launched = launch(*FAKE_MICROPHONE)
    yield launched
    launched.close()


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """Does not ask whether somebody is there while a browser is slow."""
    return make_agent(policy=policy(**PATIENT, idle_ms=120_000))


def called(console: Console, line: Line) -> PhoneCall:
    """A call that has been greeted."""

    async def call() -> PhoneCall:
        phone = line.call()
        await phone.start()
        await phone.wait_for(AgentStarted)
        await phone.wait_for_quiet()
        return phone

    return console.run(call())


def panel_of(page: Page) -> Locator:
    return page.locator("[data-operate]")


def choose(page: Page, action: str) -> Locator:
    """Open the dialog of an action by the keyboard."""
    button = panel_of(page).locator(f'[data-do="{action}"]')
    expect(button).to_be_enabled()
    button.focus()
    page.keyboard.press("Enter")
    dialog = panel_of(page).locator(f'[data-dialog="{action}"]')
    expect(dialog).to_be_visible()
    return dialog


@pytest.mark.timeout(180)
def test_operators_step_in_to_a_call(line_console: Console, line: Line) -> None:
    console = line_console
    line.ears.utterances("Is there a table?")
    line.answers(("table", Reply(text="Yes, on the terrace.")), ("settled", Reply(text="It is settled then.")))
    phone = called(console, line)
    ada, bob = somebody("operator", "ada"), somebody("operator", "bob")
    page = console.open(f"/console/?call={phone.call_sid}", ada)
    other = console.open(f"/console/?call={phone.call_sid}", bob)
    viewer = console.open(f"/console/?call={phone.call_sid}", "viewer")
    expect(panel_of(page).locator("[data-holder]")).to_have_text("The assistant has this call.")
    expect(panel_of(viewer).locator("button[data-do]")).to_have_count(0)
    axe(page)

    dialog = choose(page, "whisper")
    axe(page)
    page.keyboard.press("Control+Enter")
    expect(dialog).to_be_visible()
    page.keyboard.type(HOSTILE)
    page.keyboard.press("Control+Enter")
    expect(dialog).to_be_hidden()
    expect(panel_of(page).locator("[data-waiting]")).to_have_text("1 note waits for the next reply.")

    async def ask() -> None:
        await phone.speak(speech(900))
        await phone.wait_for_quiet()

    console.run(ask())
    outcomes = panel_of(page).locator("[data-outcomes] li")
    expect(outcomes.first).to_contain_text("Your note took effect with turn 1: “\u2068<img src=x")
    expect(panel_of(other).locator("[data-outcomes] li").first).to_have_text("ada's note took effect with turn 1.")
    shown = [x["body"]["messages"] for x in line.model.journal("openai.chat") if x["body"].get("stream")][-1]
    shown_note = f"{history.WHISPER_NOTE}\n{HOSTILE}".replace("\u202e", "")
    assert shown_note in [message["content"] for message in shown]

    choose(page, "say")
    said_from = len(phone.heard)
    page.keyboard.type(SENTENCE)
    panel_of(page).get_by_label("Now:").check()
    page.keyboard.press("Enter")
    expect(outcomes.first).to_contain_text("Your sentence was heard")
    words = [word.text for word in Vocabulary([SENTENCE]).words_in(phone.heard[said_from:]) if word.text != "?"]
    once = [word for word, _ in groupby(words)]  # a busy machine may halt within a word, which is then heard as two
    assert once == spoken(SENTENCE), "it is what the caller hears"

    page.set_viewport_size({"width": 1280, "height": 720})
    place = panel_of(page).locator('[data-do="take_over"]').bounding_box()
    assert place is not None and place["y"] + place["height"] <= 720, "the actions are seen without scrolling"
    second = choose(other, "take_over")
    choose(page, "take_over")
    panel_of(page).locator('[data-dialog="take_over"] [type=submit]').click()
    expect(panel_of(page).locator("[data-holder]")).to_contain_text("You have this call.")
    expect(panel_of(page).locator("[data-microphone-said]")).to_have_text("The caller hears you.")
    before = len(phone.heard)
    page.wait_for_timeout(1500)
    assert any(byte not in (0xFF, 0x7F) for byte in phone.heard[before:]), "the beep is what the caller hears"
    expect(panel_of(other).locator("[data-holder]")).to_have_text("ada has taken this call over.")
    expect(panel_of(other).locator('[data-do="take_over"]')).to_be_disabled()
    expect(panel_of(page).locator('[data-do="say"]')).to_be_disabled()

    second.locator("[type=submit]").click()
    expect(second.locator("[data-error]")).to_have_text("ada has taken this call over.")

    page.keyboard.press("Escape")  # closes a call that one looks at, not one that one has
    expect(panel_of(page).locator('[data-dialog="hand_back"]')).to_be_visible()
    expect(page.locator("#drawer")).to_be_visible()
    page.keyboard.press("Enter")
    expect(panel_of(page).locator('[data-dialog="hand_back"]')).to_be_visible()
    page.keyboard.type("It is settled.")
    page.keyboard.press("Enter")
    expect(panel_of(page).locator("[data-holder]")).to_have_text("The assistant has this call.")
    console.run(phone.wait_for_quiet())

    second.locator("[type=submit]").click()  # what forbade it is over
    expect(second).to_be_hidden()
    expect(panel_of(other).locator("[data-holder]")).to_contain_text("You have this call.")
    other.locator("#drawer-close").click()
    expect(panel_of(other).locator('[data-dialog="hand_back"]')).to_be_visible()
    other.keyboard.type("Nothing more.")
    other.keyboard.press("Enter")
    expect(panel_of(other).locator("[data-holder]")).to_contain_text("The assistant has this call.")

    choose(other, "end")
    other.keyboard.type("abuse")
    panel_of(other).locator('[data-dialog="end"] [type=submit]').click()
    expect(panel_of(page).locator("[data-holder]")).to_contain_text("over")
    console.run(phone.wait_until_over())
    entries = list(AuditEntry.objects.order_by("id").values_list("username", "action", "reason"))
    assert entries == [
        ("ada", "call.whispered", ""),
        ("ada", "call.said", ""),
        ("ada", "call.taken_over", ""),
        ("ada", "call.listened", ""),
        ("bob", "call.taken_over", ""),  # refused: what is tried is on record too
        ("ada", "call.handed_back", ""),
        ("bob", "call.taken_over", ""),
        ("bob", "call.listened", ""),
        ("bob", "call.handed_back", ""),
        ("bob", "call.ended", "abuse"),
    ]
    console.said = [text for text in console.said if "409 (Conflict)" not in text]  # the take-over that was refused
    assert_clean(console)

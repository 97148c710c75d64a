"""The call page in a real browser: a scripted call with a barge-in at a known instant, so every number on screen is known."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from calls.core.events import SpeechStarted
from tests.app.records import conftest as records
from tests.app.records.conversation import Conversation, booked_table
from tests.browser.console import Console, assert_clean, assert_fits, axe
from tests.browser.recorded import archived, closed
from tests.line.conftest import speech
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from calls.models import Call
    from tests.line.conftest import Line

recordings = records.recordings  # a fixture

#: How far from its own instant something may be drawn.
PIXEL = 1.0


@pytest.fixture
def talk() -> Conversation:
    """Four answers; the second interrupts the first answer 90 ms after the caller's first sound."""
    return booked_table()


def first_sound_ms(talk: Conversation) -> int:
    """Where the caller began to interrupt."""
    cleared = next(t for t in talk.steps if any(type(c).__name__ == "Clear" for c in t.commands))
    assert isinstance(cleared.event, SpeechStarted)
    return cleared.event.voiced_at_ms


@pytest.fixture
def call(console: Console, talk: Conversation, recordings: Path, redis_url: str) -> Call:
    return archived(console, talk, recordings, redis_url)


def opened(console: Console, call: Call, query: str = "", role: str = "engineer", **options: Any) -> Page:
    """The page, drawn."""
    page = console.open(f"/console/calls/{call.call_sid}/{query}", role, **options)
    until(page, "globalThis.callPage !== undefined")
    until(page, "document.querySelector('#ruler').childElementCount > 0")
    return page


def until(page: Page, holds: str) -> None:
    """Wait for it. Playwright's own way evaluates text in the page, which the policy forbids."""
    for _ in range(1500):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(20)
    raise AssertionError(holds)


def at_ms(page: Page) -> float:
    """Where its clock stands."""
    found: float = page.evaluate("callPage.player.at")
    return found


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_it_is_clean_and_accessible_with_each_panel_open(console: Console, call: Call, scheme: Any) -> None:
    page = opened(console, call, "?turn=2", color_scheme=scheme)
    expect(page.locator("#wave canvas").first).to_be_attached()
    for name in ("memory", "model", "events", "audio", "timing"):
        page.click(f"#tab-{name}")
        expect(page.locator(f"#tab-{name}")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#panel")).not_to_have_attribute("aria-busy", "true")
    assert_fits(page)
    assert_clean(console)
    axe(page)  # last: it adds a style of its own to read the waveform's shadow, which the policy stops


def test_ribbon_mark_and_unheard_words_are_where_the_record_says(
    console: Console, call: Call, talk: Conversation
) -> None:
    """The ribbon's widths are the transitions to a pixel, and the barge-in's mark stands at the caller's first sound."""
    page = opened(console, call)
    drawn = page.evaluate(
        """() => {
          const lane = document.querySelector("#ribbon").getBoundingClientRect();
          return {
            width: lane.width,
            stretches: [...document.querySelectorAll("#ribbon path")].flatMap((one) => {
              const { a: scale, e: left } = one.getScreenCTM();
              return [...one.getAttribute("d").matchAll(/M(\\S+) \\S+H([\\d.]+)V/g)].map(([, from, to]) =>
                [one.dataset.state, from * scale + left - lane.left, (to - from) * scale]);
            }).toSorted((one, other) => one[1] - other[1]),
            mark: (() => { const box = document.querySelector(".mark-barge-in").getBoundingClientRect(); return box.left + box.width / 2 - lane.left; })(),
            hatch: (() => { const box = document.querySelector(".unheard-audio").getBoundingClientRect(); return [box.left - lane.left, box.right - lane.left]; })(),
          };
        }"""
    )
    modes = {taken.event.at_ms: taken.state.mode.value for taken in talk.steps}
    over = next(taken.event.at_ms for taken in talk.steps if any(type(c).__name__ == "HangUp" for c in taken.commands))
    modes = {at: "ENDING" if at >= over else mode for at, mode in modes.items()}
    changes = [
        (at, mode) for (at, mode), before in zip(modes.items(), ["", *modes.values()], strict=False) if mode != before
    ]
    ends = [at for at, _ in changes[1:]] + [talk.now]
    scale = drawn["width"] / talk.now

    assert [state for state, _, _ in drawn["stretches"]] == [mode for _, mode in changes]
    for (_, x, width), (at, _), end in zip(drawn["stretches"], changes, ends, strict=True):
        assert abs(x - at * scale) <= PIXEL
        assert abs(width - (end - at) * scale) <= PIXEL

    assert abs(drawn["mark"] - first_sound_ms(talk) * scale) <= PIXEL
    cut = next(command for command in closed(talk).values() if command.outcome == "interrupted")
    flushed = [word for word in cut.words if word.state == "flushed"]
    assert abs(drawn["hatch"][0] - flushed[0].start_ms * scale) <= PIXEL
    assert abs(drawn["hatch"][1] - flushed[-1].end_ms * scale) <= PIXEL + 1
    card = page.locator(f"#turn-{cut.turn}")
    assert card.locator("del").inner_text() == cut.generated_text[len(cut.heard_text) :].strip()
    assert card.locator(".heard").inner_text() == cut.heard_text
    expect(card.locator(".unheard-label")).to_have_text("not heard")
    expect(card).to_contain_text("silent 90 ms after the caller's first sound")


def test_clicking_a_line_plays_from_it(console: Console, call: Call, talk: Conversation) -> None:
    """To within 50 ms: of the caller's line, of the assistant's, and of the timeline."""
    page = opened(console, call)
    turn = closed(talk)[2]
    for place, expected in ((".line-agent", turn.first_audio_ms), (".line-caller", first_sound_ms(talk))):
        page.locator(f"#turn-2 {place}").click(position={"x": 20, "y": 8})
        assert abs(at_ms(page) - expected) <= 50, place
    page.keyboard.press("Space")
    until(page, "callPage.player.playing")
    until(page, f"callPage.player.at > {first_sound_ms(talk) + 400}")
    expect(page.locator("#turn-2 .line-caller")).to_have_attribute("data-heard", "")
    page.keyboard.press("Space")
    until(page, "!callPage.player.playing")

    box = page.locator("#ribbon").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    assert abs(at_ms(page) - talk.now / 2) <= talk.now / box["width"] + 50
    assert_clean(console)


def test_the_waterfall_is_the_recorded_events_and_adds_up(console: Console, call: Call, talk: Conversation) -> None:
    page = opened(console, call, "?turn=3")
    rows = {
        row.locator("th").inner_text(): row.locator(".counted").inner_text()
        for row in page.locator(".waterfall tbody tr").all()
    }
    assert rows["End-of-turn wait"] == "260 ms"
    assert rows["Function book_table"] == "90 ms"
    assert rows["Model, first token"] == "310 ms"
    assert rows["Voice, first byte"] == "150 ms"
    total = int(page.locator("#response-total").get_attribute("data-ms") or 0)
    turn = closed(talk)[3]
    assert total == turn.answer_audio_ms - turn.speech_ended_ms
    counted = page.locator(".waterfall .solid").evaluate_all("(all) => all.map((one) => Number(one.dataset.ms))")
    assert sum(counted) == total
    expect(page.locator("#turn-3 .card-head")).to_contain_text(f"{total:,} ms")
    boxes = page.locator(".waterfall .solid").evaluate_all(
        "(all) => all.map((one) => { const box = one.getBoundingClientRect(); return [box.left, box.right]; })"
    )
    for (_, end), (start, _) in itertools.pairwise(boxes):
        assert abs(end - start) <= PIXEL, "each begins where the one before it ended"


def test_a_step_that_is_missing_is_said_to_be_missing(console: Console, call: Call) -> None:
    call.events.filter(type__in=("ModelText", "ModelToolCall"), turn=1).delete()
    page = opened(console, call, "?turn=1")
    row = page.locator('tr[data-stage="token"]')
    expect(row).to_have_class(re.compile("is-missing"))
    expect(row).to_contain_text("not on record")
    expect(row.locator(".missing")).to_be_attached()
    expect(page.locator("#response-total")).to_have_attribute("data-ms", "720")


def test_a_link_opens_what_its_sender_saw(console: Console, call: Call, talk: Conversation) -> None:
    page = opened(console, call, "?turn=3&tab=events")
    expect(page.locator("#turn-3")).to_have_class(re.compile("is-chosen"))
    expect(page.locator("#turn-3")).to_be_in_viewport()
    expect(page.locator("#tab-events")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#panel table")).to_contain_text("RunTool")

    page.locator("#turn-1 .card-title").click()
    expect(page).to_have_url(re.compile(r"turn=1\b"))
    page.go_back()
    expect(page.locator("#turn-3")).to_have_class(re.compile("is-chosen"))

    page = opened(console, call, "?t=8.8")
    assert abs(at_ms(page) - 8800) <= 50
    page.keyboard.press("b")
    assert abs(at_ms(page) - first_sound_ms(talk)) <= 50
    page.keyboard.press("Shift+ArrowRight")
    expect(page).to_have_url(re.compile(r"turn="))
    assert_clean(console)


def test_what_was_understood_on_the_way_and_the_next_call_of_the_list(
    console: Console, call: Call, talk: Conversation, recordings: Path, redis_url: str
) -> None:
    """Wordings come and go in the card; the find box finds over the edge of a dotted word; j and k walk the list."""
    older = Conversation(call_sid="CA" + "3" * 32, wall_ms=1_794_000_000_000)
    older.begin()
    older.agent_speaks()
    older.caller_says("A table for two people, please.", mistaken_for="A table for to")
    older.model_says("Gladly.")
    older.agent_speaks()
    older.hang_up()
    archived(console, older, recordings, redis_url, sound=False)
    page = opened(console, call, "?q=&sort=newest", role="viewer")
    page.keyboard.press("j")
    page.wait_for_url("**/CA" + "3" * 32 + "/?q=*")
    until(page, "globalThis.callPage !== undefined")
    expect(page.locator(".unsteady[title]")).to_have_attribute("title", "First understood as: to")
    page.fill("#find", "for two people")
    expect(page.locator("#found")).to_have_text("1 found")
    link = page.locator("#turn-1 [data-wording]")
    link.click()
    expect(page.locator("#turn-1 .wording li")).to_have_count(8)
    expect(link).to_have_attribute("aria-expanded", "true")
    link.click()
    expect(page.locator("#turn-1 .wording")).to_have_count(0)
    offset = page.locator("#turn-1 .card-head .offset")
    offset.hover()
    expect(offset).to_have_attribute("title", re.compile("UTC"))
    page.keyboard.press("k")
    page.wait_for_url(f"**/{call.call_sid}/?q=*")
    assert_clean(console)


def test_a_range_loops_and_filters(console: Console, call: Call, talk: Conversation) -> None:
    page = opened(console, call)
    box = page.locator("#ribbon").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 10, steps=4)
    page.mouse.up()
    found = page.evaluate("callPage.player.range")
    assert abs(found[0] - talk.now * 0.4) < 100
    assert abs(found[1] - talk.now * 0.6) < 100
    expect(page.locator("#turn-4")).to_be_hidden()
    expect(page.locator("#turn-2")).to_be_visible()
    page.click("#clear-range")
    expect(page.locator("#turn-4")).to_be_visible()

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    until(page, f"callPage.timeline.view.to - callPage.timeline.view.from < {talk.now * 0.8}")
    expect(page).to_have_url(re.compile(r"from="))
    page.fill("#find", "saturday")
    expect(page.locator("#found")).to_have_text("3 found")
    assert_clean(console)


def test_hostile_text_is_text(console: Console, recordings: Path, redis_url: str) -> None:
    """HTML, script, marks that turn the direction, and ten thousand characters: in words, tools and errors."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> \u202eevil\u202c " + "x" * 10_000
    talk = Conversation()
    talk.begin()
    talk.agent_speaks()
    talk.caller_says(hostile)
    talk.model_says("", tool=("book_table", '{"name":"<svg onload=alert(3)>"}'))
    talk.tool_settles(hostile)
    talk.model_says("</script><b>bold</b> & done.")
    talk.agent_speaks()
    talk.hang_up()
    call = archived(console, talk, recordings, redis_url, sound=False)
    page = opened(console, call, "?turn=1")
    for name in ("model", "events", "memory", "timing"):
        page.click(f"#tab-{name}")
        expect(page.locator("#panel")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#turn-1 .line-caller")).to_contain_text("<script>alert(2)</script>")
    expect(page.locator("#turn-1 .line-agent")).to_contain_text("</script><b>bold</b> & done.")
    assert page.locator("#main img, #main script:not([type]), #main b").count() == 0
    expect(page.locator("#wave")).to_contain_text("No recording")
    assert_fits(page)
    assert_clean(console)


def test_what_a_viewer_sees_and_does_not(console: Console, call: Call) -> None:
    """No sound, no prompts, no raw events; each says what is missing."""
    page = opened(console, call, "?turn=2", role="viewer")
    expect(page.locator("#play")).to_be_disabled()
    expect(page.locator("#wave")).to_contain_text("console.hear_recording")
    for name, permission in (("model", "console.see_prompts"), ("events", "console.see_raw")):
        page.click(f"#tab-{name}")
        expect(page.locator("#panel")).to_contain_text(permission)
    assert page.get_by_role("button", name="Export").count() == 0
    assert_clean(console)


def test_a_call_in_progress_grows_and_is_the_same_page(line_console: Console, line: Line) -> None:
    """Words, states and turns appear as they happen; the end is told, and the same address shows the archived call."""
    line.ears.utterances("What time do you open?")
    line.answers(("open", Reply(text="We open at noon, every day but Monday.")))
    line.model.configure(llm={"first_token_ms": 1500})  # a guess has not been answered already when the turn is over
    phone = line.call()
    line_console.run(phone.start())
    line_console.run(phone.wait_for(AgentStarted))
    address = f"/console/calls/{phone.call_sid}/"
    page = line_console.open(address, "operator")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#cards")).to_contain_text("Hello there, this is the test line.")
    expect(page.locator(".call-foot")).to_contain_text("Whisper")
    line_console.run(phone.wait_for_quiet())
    count = len(phone.timeline.events)
    line_console.run(phone.speak(speech(900)))
    line_console.run(phone.wait_for(AgentStarted, after=count))
    expect(page.locator(".line-caller")).to_contain_text("What time do you open?")
    expect(page.locator(".line-agent").last).to_contain_text("We open at noon, every day but Monday.")
    line_console.run(phone.wait_for_quiet())
    expect(page.locator("#turn-1")).to_contain_text("ms")
    live = page.evaluate("callPage.data.states")
    # A reply that was begun early may be heard in the very millisecond in which the turn is sure: then nobody was thinking.
    assert [state for _, state in live if state != "THINKING"][-2:] == ["SPEAKING", "LISTENING"], live
    before = page.evaluate("callPage.data.duration")
    until(page, f"callPage.data.duration > {before}")

    idle = line_console.open(address, "operator")
    expect(idle.locator("#connection")).to_have_attribute("data-state", "live")
    page.fill("#find", "noon")  # what somebody has typed is not taken from them
    line_console.run(phone.hang_up())
    expect(page.locator("#toasts")).to_contain_text("The call has ended")
    expect(page.locator(".call-facts")).not_to_contain_text("in progress")
    line_console.run(line.archived_call(phone))
    expect(page.locator("#final")).to_contain_text("The call is over and archived")
    archived_page = line_console.open(address, "operator")
    until(archived_page, "globalThis.callPage !== undefined")
    assert archived_page.evaluate("callPage.data.states")[: len(live)] == live
    assert page.locator("#turn-1 .line").all_inner_texts() == archived_page.locator("#turn-1 .line").all_inner_texts()
    page.locator("#final a").click()
    for shown in (page, idle):  # the other one has gone there by itself
        expect(shown.get_by_role("button", name="Play", exact=True)).to_be_enabled()
        assert shown.locator("#final, #follow").count() == 0
    expect(idle.locator("#toasts")).to_contain_text("this is its final page")
    assert "turn=" in idle.url
    assert_clean(line_console)

"""The live board: calls over the carrier's protocol, the socket cut, a batch lost, an order that stands still, two hundred rows."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.console import Console, assert_clean, assert_fits, assert_still, at_200_percent, axe, walk
from tests.browser.crowd import SIDS, Crowd
from tests.line.conftest import speech
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocketRoute

    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall

MANY = 200
#: Every state that a row has been in, in order.
WATCH_STATES = """
() => {
  window.seen = {};
  const look = () => {
    for (const row of document.querySelectorAll("#rows tr[data-call]")) {
      const states = (window.seen[row.dataset.call] ??= []);
      const state = row.querySelector(".state").dataset.state;
      if (states.at(-1) !== state) states.push(state);
    }
    requestAnimationFrame(look);
  };
  look();
}
"""
#: The states that a row's ribbon shows, in order.
RIBBON = """
(svg) => [...svg.querySelectorAll("path:not(.r-cut)")]
  .flatMap((path) => [...path.getAttribute("d").matchAll(/M(\\d+)/g)].map(([, at]) => [Number(at), path.className.baseVal.slice(2)]))
  .sort((a, b) => a[0] - b[0] || "CTSL".indexOf(a[1]) - "CTSL".indexOf(b[1])).map(([, state]) => state)
"""


def row(page: Page, call_sid: str) -> Locator:
    return page.locator(f'#rows tr[data-call="{call_sid}"]')


def order(page: Page) -> list[str]:
    found: list[str] = page.locator("#rows tr[data-call]").evaluate_all("rows => rows.map((row) => row.dataset.call)")
    return found


def live(page: Page) -> None:
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


@pytest.fixture
def crowd(console: Console) -> Iterator[Crowd]:
    """Three calls of another process, as its feed tells of them; nothing of them moves by itself."""

    async def made() -> Crowd:
        return Crowd(3, linger_ms=3_600_000)

    built = console.run(made())
    yield built
    console.run(built.close())


def tell(console: Console, crowd: Crowd) -> None:
    """The feed tells what there is to tell, as it does at the latest a second later."""

    async def told() -> None:
        crowd.feed._looked_ms = 0  # as if the second were over
        await crowd.feed.round()

    console.run(told())


async def answered(phone: PhoneCall) -> None:
    """The caller asks and hears the answer."""
    before = len(phone.timeline.events)
    await phone.speak(speech(900))
    await phone.wait_for(AgentStarted, after=before)
    await phone.wait_for_quiet()


def linger(line: Line, ms: int) -> None:
    """From now on ended calls stay on the board for so long."""
    feed = line.runtime.feed
    assert feed is not None
    feed.conf = replace(feed.conf, linger_ms=ms)


async def archived(line: Line, phone: PhoneCall) -> str:
    return (await line.archived_call(phone)).end_reason


def test_three_calls_appear_go_through_their_states_in_order_linger_and_leave(
    line_console: Console, line: Line
) -> None:
    page = line_console.open("/console/", "operator")
    live(page)
    linger(line, 600_000)
    expect(page.get_by_text("No calls right now")).to_be_visible()
    page.evaluate(WATCH_STATES)
    line.ears.utterances("What time do you open?", "What time do you open?")
    line.answers(("open", Reply(text="We open at noon, every day but Monday.")))
    phones = [line.call(f"+1555000111{number}") for number in range(3)]
    for phone in phones:
        line_console.run(phone.start())
    for phone in phones:
        expect(row(page, phone.call_sid)).to_be_visible()
    expect(page.locator('.figure[data-filter="all"] [data-f="value"]')).to_have_text("3 / 50")
    line_console.run(answered(phones[0]))
    spoken = row(page, phones[0].call_sid)
    expect(spoken.locator('[data-f="words"]')).to_have_text("We open at noon, every day but Monday.")
    expect(spoken.locator('[data-f="answer"]')).to_have_text(re.compile(r"^[\d,]+ ms$"))
    expect(spoken.locator('[data-f="number"]')).to_have_text("+1 •••• ••1110")
    expect(spoken.locator('[data-f="history"]')).to_have_text("new")
    axe(page)

    line_console.run(phones[0].hang_up())
    expect(spoken).to_have_class(re.compile("over-row"))
    expect(spoken.locator('[data-f="outcome"]')).to_contain_text("caller hung up")
    assert order(page)[-1] == phones[0].call_sid
    ribbon = spoken.locator(".ribbon").evaluate(RIBBON)
    assert "".join(ribbon) == "CTSLTSL"
    badges = iter(ribbon)  # told at most four times a second: some were too short to be seen
    seen = page.evaluate("(sid) => window.seen[sid]", phones[0].call_sid)
    assert all(state[0] in badges for state in seen if state != "ENDED"), seen
    page.keyboard.press("j")
    page.keyboard.press("Enter")  # the first in the list, which is still on the line
    open_call = order(page)[0]
    spoken_to = next(phone for phone in phones if phone.call_sid == open_call)
    line_console.run(answered(spoken_to))
    transcript = page.locator("#lines")
    expect(transcript).to_contain_text("What time do you open?")
    expect(transcript).to_contain_text("We open at noon, every day but Monday.")
    expect(page.locator("#waterfall .w-row")).not_to_have_count(0)
    expect(page.locator("#waterfall")).to_contain_text("model")
    axe(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    linger(line, 0)
    expect(spoken).to_have_count(0)
    assert line_console.run(archived(line, phones[0])) == "caller_hung_up"
    for phone in phones[1:]:
        line_console.run(phone.hang_up())
    expect(page.get_by_text("No calls right now. The last one ended at")).to_be_visible()
    assert_clean(line_console)


class Wire:
    """The board's socket of every page of a browser, in our hands: cut it, refuse it, let a message fall."""

    def __init__(self, context: BrowserContext) -> None:
        self.refuses = False
        self.freezes = False
        self.falls = 0
        self.asked = 0
        self._sockets: list[WebSocketRoute] = []
        context.route_web_socket(re.compile("/console/live/"), self._route)

    def cut(self) -> None:
        self.refuses = True
        self._sockets[-1].close(code=1012)

    def beat(self) -> None:
        """What the server says when it has nothing to say."""
        self._sockets[-1].send('{"type": "beat"}')

    def _route(self, socket: WebSocketRoute) -> None:
        if self.refuses:
            socket.close(code=1012)
            return
        server = socket.connect_to_server()
        self._sockets.append(socket)
        server.on_message(lambda text: self._down(socket, str(text)))
        socket.on_message(lambda text: self._up(server, str(text)))

    def _down(self, socket: WebSocketRoute, text: str) -> None:
        if self.freezes:
            return
        if self.falls and '"change"' in text:
            self.falls -= 1
        else:
            socket.send(text)

    def _up(self, server: WebSocketRoute, text: str) -> None:
        self.asked += '"snapshot"' in text
        server.send(text)


def on_our_clock(console: Console, crowd: Crowd) -> tuple[Wire, Page]:
    """The board, live, with its socket and its time in our hands."""
    tell(console, crowd)
    context = console.context("operator")
    wire = Wire(context)
    context.clock.install()
    page = console.visit(context, "/console/")
    live(page)
    return wire, page


def test_a_cut_socket_says_how_old_what_it_shows_is_and_comes_back_without_doubles(
    console: Console, crowd: Crowd
) -> None:
    wire, page = on_our_clock(console, crowd)
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    wire.cut()
    expect(page.locator("#connection-banner")).to_contain_text("Reconnecting; showing")
    page.clock.run_for(4_000)
    expect(page.locator("#age")).to_have_text(re.compile(r"as it was \d+ s ago"))
    elapsed = row(page, SIDS.format(0)).locator('[data-f="elapsed"]')
    stopped_at = elapsed.text_content() or ""
    page.clock.run_for(9_000)
    expect(elapsed).to_have_text(stopped_at)  # nobody knows how long it is by now
    wire.refuses = False
    page.clock.run_for(20_000)
    live(page)
    expect(page.locator("#connection-banner")).to_be_hidden()
    assert sorted(order(page)) == [SIDS.format(number) for number in range(3)]
    assert_clean(console)


def test_a_connection_that_says_nothing_any_more_is_given_up_and_made_anew(console: Console, crowd: Crowd) -> None:
    wire, page = on_our_clock(console, crowd)
    wire.freezes = True  # open, as far as the browser knows
    page.clock.run_for(13_000)
    expect(page.locator("#connection-banner")).to_contain_text("Reconnecting; showing")
    wire.freezes = False
    page.clock.run_for(5_000)
    live(page)
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    assert_clean(console)


def test_a_batch_that_is_lost_is_made_good_by_a_snapshot(console: Console, crowd: Crowd) -> None:
    tell(console, crowd)
    context = console.context("operator")
    wire = Wire(context)
    page = console.visit(context, "/console/")
    live(page)
    first, second = row(page, SIDS.format(0)), row(page, SIDS.format(1))
    crowd.dropped = 1  # on the channel layer: the server notices
    crowd.say(0, "One two three")
    tell(console, crowd)
    crowd.say(1, "Four five six")
    tell(console, crowd)
    expect(first.locator('[data-f="words"]')).to_have_text("One two three")
    expect(second.locator('[data-f="words"]')).to_have_text("Four five six")
    wire.falls = 1  # on the way to the page: the page notices, and asks
    asked = wire.asked
    crowd.say(0, "Seven eight nine")
    tell(console, crowd)
    page.wait_for_function("() => true")
    crowd.say(1, "Ten eleven twelve")
    tell(console, crowd)
    expect(first.locator('[data-f="words"]')).to_have_text("Seven eight nine")
    assert wire.asked == asked + 1
    assert_clean(console)


def test_the_order_stands_still_while_somebody_is_inside_the_list(console: Console, crowd: Crowd) -> None:
    tell(console, crowd)
    page = console.open("/console/", "operator")
    live(page)
    sids = [SIDS.format(number) for number in range(3)]
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    before = order(page)
    page.keyboard.press("j")
    expect(row(page, before[0])).to_be_focused()
    last = sids.index(before[-1])
    crowd.fail(last)
    crowd.add(7)
    tell(console, crowd)
    expect(row(page, before[-1]).locator(".chip-alarm")).to_have_text(re.compile("error: our own code"))  # it is told
    expect(row(page, SIDS.format(7))).to_have_class("fresh")  # what is new comes to the end
    assert order(page) == [*before, SIDS.format(7)]
    expect(page.locator('.figure[data-filter="attention"] [data-f="value"]')).to_have_text("1")
    page.get_by_role("button", name="1 change, apply").click()
    assert order(page)[0] == before[-1] and len(order(page)) == 4
    expect(page.locator("#apply")).to_be_hidden()
    row(page, before[0]).hover()  # the pointer counts as well
    crowd.fail(sids.index(before[0]))
    crowd.fail(sids.index(before[1]))
    tell(console, crowd)
    expect(page.locator("#apply")).to_be_visible()
    assert order(page)[0] == before[-1]
    page.mouse.move(5, 5)
    expect(page.locator("#apply")).to_be_hidden()
    page.get_by_role("link", name="Newest").click()
    assert order(page)[0] == SIDS.format(7) or len(order(page)) == 4
    page.get_by_role("link", name="Needs attention").click()
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    assert "filter=attention" in page.url and "order=newest" in page.url
    page.go_back()
    expect(page.locator("#rows tr[data-call]")).to_have_count(4)


def test_a_focus_that_was_not_sought_or_is_long_left_alone_holds_nothing_back(console: Console, crowd: Crowd) -> None:
    context = console.context("operator")
    context.clock.install()
    tell(console, crowd)
    page = console.visit(context, "/console/")
    live(page)
    before = order(page)
    first, last = before[0], before[-1]
    row(page, first).get_by_role("link", name="Open").click()
    expect(page.locator("#drawer [data-holder]")).not_to_contain_text("Looking")  # its socket is there
    page.locator("#drawer-close").click()
    expect(row(page, first)).to_be_focused()
    crowd.fail([SIDS.format(number) for number in range(3)].index(last))
    tell(console, crowd)
    expect(page.locator("#rows tr").first).to_have_attribute("data-call", last)
    expect(row(page, first)).to_be_focused()
    page.keyboard.press("j")  # now somebody is inside
    crowd.add(7)
    crowd.fail(3)
    tell(console, crowd)
    expect(page.get_by_role("button", name="1 change, apply")).to_be_visible()
    expect(page.locator("#rows tr").last).to_have_attribute("data-call", SIDS.format(7))
    page.clock.run_for(11_000)  # and has gone for a coffee
    expect(page.locator("#apply")).to_be_hidden()
    assert order(page).index(SIDS.format(7)) == 1
    assert_clean(console)


def test_the_keyboard_moves_opens_and_closes_and_pausing_keeps_changes_back(console: Console, crowd: Crowd) -> None:
    tell(console, crowd)
    page = console.open("/console/", "operator")
    live(page)
    first, second = order(page)[:2]
    for key in ("j", "j", "k", "ArrowDown"):
        page.keyboard.press(key)
    expect(row(page, second)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_be_focused()
    assert f"call={second}" in page.url
    axe(page)
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(row(page, second)).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#connection")).to_have_attribute("data-state", "paused")
    crowd.say(0, "Nobody sees this yet")
    tell(console, crowd)
    expect(page.locator("#apply")).to_have_text(re.compile("^[1-9][0-9]* changes?, apply$"))
    words = row(page, SIDS.format(0)).locator('[data-f="words"]')
    expect(words).not_to_have_text("Nobody sees this yet")
    page.locator("#apply").click()
    expect(words).to_have_text("Nobody sees this yet")
    live(page)
    page.goto(f"{console.url}/console/?call={first}")
    expect(page.locator("#drawer")).to_be_visible()
    assert_clean(console)


def test_hostile_words_are_shown_and_never_run(console: Console, crowd: Crowd) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202egnirts " * 250
    crowd.say(0, hostile)
    crowd.add(8, agent="<script>alert(2)</script>", from_number="'\"><script>alert(3)</script>", to_number="<b>x</b>")
    tell(console, crowd)
    page = console.open("/console/", "operator")
    live(page)
    expect(row(page, SIDS.format(0)).locator('[data-f="words"]')).to_contain_text("<img src=x")
    expect(row(page, SIDS.format(8)).locator('[data-f="line"]')).to_have_text("to <b>x</b>")
    assert page.locator("#rows img, #rows script, #rows b").count() == 0
    assert_fits(page)
    assert_clean(console)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_the_board_can_be_read_by_everybody(console: Console, crowd: Crowd, scheme: Any) -> None:
    crowd.say(0, "Is anybody there?")
    crowd.fail(1)
    tell(console, crowd)
    page = console.open("/console/", "viewer", color_scheme=scheme, reduced_motion="reduce")
    live(page)
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    stops = walk(page)
    assert [stop for stop in stops if "Needs attention" in stop] and len(stops) > 15
    row(page, SIDS.format(1)).click()
    expect(page.locator("#drawer")).to_be_visible()
    axe(page)
    assert_fits(page)
    assert_still(page)
    if scheme == "light":
        large = at_200_percent(console, "/console/")
        live(large)
        assert_fits(large)
    assert_clean(console)


def test_without_scripts_the_page_shows_the_calls_of_one_moment(console: Console, crowd: Crowd) -> None:
    crowd.say(0, "Is anybody there?")
    crowd.fail(1)
    tell(console, crowd)
    page = console.visit(console.context("viewer", java_script_enabled=False), "/console/?order=attention")
    assert order(page)[0] == SIDS.format(1)
    expect(row(page, SIDS.format(0)).locator('[data-f="words"]')).to_have_text("Is anybody there?")
    expect(page.locator('.figure[data-filter="all"] [data-f="value"]')).to_have_text("3 / 250")
    page.get_by_role("link", name="Needs attention").click()
    assert order(page) == [SIDS.format(1)]


def test_a_call_whose_process_dies_is_marked_as_lost(console: Console, crowd: Crowd) -> None:
    tell(console, crowd)
    page = console.open("/console/", "operator")
    live(page)
    expect(page.locator("#rows tr[data-call]")).to_have_count(3)
    console.run(crowd.die())  # its hash goes as by its expiry, and nothing more is told
    lost = row(page, SIDS.format(0))
    expect(lost.locator(".state")).to_have_attribute("data-state", "FAILED")
    expect(lost.locator('[data-f="outcome"]')).to_contain_text("the process died")


#: Chromium's own word for a task of over 50 ms, by the clock on the wall.
WATCH_TASKS = """
() => {
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask", buffered: false });
}
"""
#: What must not be exceeded by any task of the page.
LONGEST_TASK_MS = 100


def tasks_cpu_ms(trace: bytes) -> list[float]:
    """CPU time of each task on the page's main thread, the longest first: what it takes, whatever else the machine does."""
    events = json.loads(trace)["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tasks: dict[Any, list[float]] = {}
    for event in events:
        thread = event["pid"], event["tid"]
        if event["name"] == "RunTask" and names.get(thread) == "CrRendererMain":
            tasks.setdefault(thread, []).append(event.get("tdur", 0) / 1000)
    return sorted(max(tasks.values(), key=sum), reverse=True)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_two_hundred_rows_at_four_updates_a_second_stay_responsive(console: Console, browser: Browser) -> None:
    """No task of the page over 100 ms: by its CPU time always, and by the clock where nobody else uses the machine."""

    async def made() -> Crowd:
        return Crowd(MANY)

    crowd = console.run(made())
    page = console.open("/console/", "operator")
    live(page)
    console.run(crowd.play(8))
    expect(page.locator(".board-table")).to_have_attribute("aria-rowcount", str(MANY + 1))
    assert page.locator("#rows tr[data-call]").count() < 60  # a window on them
    page.evaluate(WATCH_TASKS)
    told = crowd.batches
    browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
    console.run(crowd.play(80))
    by_cpu = tasks_cpu_ms(browser.stop_tracing())
    by_clock = sorted(page.evaluate("window.tasks"), reverse=True)
    load = os.getloadavg()[0]
    logging.getLogger(__name__).warning(
        "%d rows, %d batches, load %.1f: longest tasks %s ms CPU, %s ms by the clock",
        MANY, crowd.batches - told, load, by_cpu[:3], by_clock[:3],
    )  # fmt: skip
    assert crowd.batches - told >= 60
    for _ in range(3):
        page.keyboard.press("k")  # from the end of the list upwards
    expect(page.locator(f'#rows tr[aria-rowindex="{MANY - 1}"]')).to_be_focused()
    page.keyboard.press("Escape")
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator('#rows tr[aria-rowindex="2"]')).to_be_visible()
    assert by_cpu[0] <= LONGEST_TASK_MS
    assert not by_clock or by_clock[0] <= LONGEST_TASK_MS or load > (os.cpu_count() or 1)
    console.run(crowd.close())

"""How the console looks: each screen empty, busy and failed, and its components, in light and in dark, against baselines.

``LOOKS=retake`` writes the baselines (``tests/browser/looks/``) and ``LOOKS=show`` pictures for people, in the machine's own
fonts (``var/looks/``); without either the pictures are compared. Text is blocks there and the clock stands still
(``tests.browser.blocks``), so that neither fonts nor times nor numbers of one length matter.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
import time_machine
from PIL import Image
from playwright.sync_api import expect

from calls.eventlog import LogConf, LogWriter
from calls.models import Agent, Call, Turn
from tests.app.console import callcast
from tests.app.console.callcast import NOON
from tests.app.memory.talks import FIRST
from tests.app.records import conftest as records
from tests.app.records.conversation import Conversation, booked_table
from tests.browser import blocks
from tests.browser.console import Console, assert_clean, wait_until
from tests.browser.crowd import SIDS, Crowd
from tests.browser.known import known_caller
from tests.browser.recorded import archived
from tests.browser.test_board import Wire
from tests.line.conftest import make_agent
from voiceagent.console.board import reading
from voiceagent.console.health import system
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page


recordings = records.recordings  # a fixture

BASELINES = Path(__file__).parent / "looks"
SHOWN = Path("var/looks")
MODE = os.environ.get("LOOKS", "")
SCHEMES = ("light", "dark")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Stage:
    """What a screen's looks are made from: a server, its data, and the page that was opened last."""

    console: Console
    redis_url: str
    recordings: Path
    settings: Any
    request: pytest.FixtureRequest
    page: Any = None
    context: Any = None
    crowd: Any = None
    kept: dict[str, Any] = field(default_factory=dict)


def nothing(_stage: Stage) -> None:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Look:
    """One picture in both themes. Looks of a screen are taken in their order and share a database.

    ``data`` is made first, then ``path`` is opened as ``role`` (without one the page of the look before goes on), then ``act``
    does on it what is to be seen. ``same`` are elements whose text is another one each time and of another length: it is
    replaced. ``mask`` are elements that cannot be made still.
    """

    name: str
    path: str = ""
    role: str = "admin"
    data: Callable[[Stage], None] = nothing
    act: Callable[[Stage], None] = nothing
    same: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ("wide",)
    #: Down to the page's end, not the window's.
    whole: bool = False
    #: Statuses that Chromium tells of on its console: a refusal is a page here.
    status: int = 200


# --- data -------------------------------------------------------------------------------------------------------------


def probed(stage: Stage) -> None:
    """Whether database and Redis answer is asked anew, before a page asks."""
    reading.probes = reading.Probes()
    stage.console.run(reading.probes.now())


def a_crowd(stage: Stage) -> None:
    """Calls in every state, at other places of one conversation; and the log of the one that is opened."""

    async def made() -> Crowd:
        crowd = Crowd(0, linger_ms=3_600_000)
        # Steps of the conversation that have been taken: it speaks, listens, thinks, is interrupted, books, is over.
        for number, upto in enumerate((20, 40, 60, 120, 180, 220, 252)):
            bus = crowd.add(
                number, from_number=f"+4420794612{number:02d}", began_ms_ago=crowd.steps[upto - 1].event.at_ms
            )
            began_ms = crowd.now_ms - crowd.steps[upto - 1].event.at_ms
            crowd.publish(bus, crowd.steps[:upto], began_ms)
        crowd.add(7, from_number="+15550100123")
        crowd.fail(4)
        await crowd.feed.round()
        await logged(stage.redis_url, booked_table(SIDS.format(3)), 120)
        return crowd

    stage.crowd = stage.console.run(made())
    stage.request.addfinalizer(lambda: stage.console.run(stage.crowd.close()))


async def logged(url: str, of: Conversation, upto: int) -> None:
    """A call's log so far; the call goes on."""
    async with redis.asyncio.Redis.from_url(url, socket_timeout=2) as client:
        writer = LogWriter(client, lambda _: None, conf=LogConf(flush_ms=1))
        running = asyncio.create_task(writer.run())
        log = writer.open(of.call_sid, records.meta_of(None))
        for step in of.steps[:upto]:
            log.on_step(step)
        while log.waiting:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def a_cast(_stage: Stage) -> None:
    callcast.cast()


def a_month(_stage: Stage) -> None:
    """Enough answers for percentiles, some failures, and two callers who were refused."""
    calls, turns = [], []
    for number in range(60):
        began = NOON - timedelta(minutes=17 * number + 4)
        made = Call(
            call_sid=f"CA{number:032d}", from_number=f"+155501{number:05d}", started_at=began, status="ended",
            answered_at=None if number % 25 == 9 else began, ended_at=began + timedelta(minutes=3 + number % 5),
            end_reason="overload" if number % 25 == 9 else "caller_hung_up",
        )  # fmt: skip
        calls.append(made)
    Call.objects.bulk_create(calls)
    for number, made in enumerate(calls):
        if made.answered_at is None:
            continue
        for turn in range(1, 25):
            latency_ms = 640 + (number * 37 + turn * 211) % 700 + (1900 if (number + turn) % 43 == 0 else 0)
            turns.append(Turn(
                call=made, number=turn, kind="answer", outcome="answered", latency_ms=latency_ms, turn_end_wait_ms=280,
                model_wait_ms=(latency_ms - 280) * 2 // 3, voice_wait_ms=latency_ms - 280 - (latency_ms - 280) * 2 // 3,
                causes=["model:timeout"] if latency_ms > 1900 else [],
            ))  # fmt: skip
    Turn.objects.bulk_create(turns)


def a_recording(stage: Stage) -> None:
    stage.kept["call"] = archived(stage.console, booked_table(), stage.recordings, stage.redis_url)


def no_recording(stage: Stage) -> None:
    """Another call, of which nothing was heard and a part of the record is lost."""
    silent = booked_table("CA" + "2" * 32, 1_794_990_000_000)
    made = archived(stage.console, silent, stage.recordings, stage.redis_url, sound=False)
    Call.objects.filter(pk=made.pk).update(broken_count=2, violations=[{"invariant": "x", "step": 1}])


def a_caller(stage: Stage) -> None:
    known = known_caller()
    stage.kept |= {"caller": known.person.id, "entry": known.seat.id}


def some_agents(stage: Stage) -> None:
    """Two, one of them changed once."""
    bella = make_agent(name="Bella Vista", greeting="Bella Vista, good day! How can I help you?")
    bella.greeting = "Bella Vista, good evening! What can I do for you?"
    bella.save()
    stage.kept["agent"] = bella.pk
    Agent.objects.create(name="Night desk", instructions="Take messages.", greeting="We are closed.", is_active=False)


def an_audit(_stage: Stage) -> None:
    for who, action, reason in (
        ("ada", "call.whispered", ""),
        ("ada", "call.taken_over", ""),
        ("bob", "call.ended", "abuse"),
        ("eve", "breaker.operated", "their status page says so"),
    ):
        AuditEntry.objects.create(username=who, action=action, reason=reason, address="127.0.0.1", call_sid=FIRST)


# --- what is done on a page -------------------------------------------------------------------------------------------


def live(stage: Stage) -> None:
    expect(stage.page.locator("#connection")).to_have_attribute("data-state", "live")


def busy_board(stage: Stage) -> None:
    live(stage)
    expect(stage.page.locator("#rows tr[data-call]")).to_have_count(8)
    expect(stage.page.locator("[data-filter=fallback]")).to_contain_text("4 of 4 healthy")


def away(stage: Stage) -> None:
    expect(stage.page.locator("#connection")).to_have_attribute("data-state", "lost")
    expect(stage.page.locator("[data-filter=fallback]")).to_contain_text("1 of 2 healthy")


def open_drawer(stage: Stage) -> None:
    busy_board(stage)
    expect(stage.page.locator("#lines li")).not_to_have_count(0)
    expect(stage.page.locator("[data-holder]")).to_contain_text("No process has this call")


def cut_board(stage: Stage) -> None:
    """What is shown is as old as the last message, and that is told by a clock that goes on here: how long the cut took to come
    would move the ribbons and count in the rows. So the last message comes at a moment that stays."""
    busy_board(stage)
    stage.page.evaluate("((at) => { performance.now = () => at; })(performance.now())")
    stage.kept["wire"].beat()
    stage.kept["wire"].cut()
    expect(stage.page.locator("#connection-banner")).to_contain_text("Reconnecting; showing")
    stage.page.clock.set_fixed_time(NOON + timedelta(seconds=4))
    expect(stage.page.locator("#age")).to_have_text(re.compile("ago"))


def drawn(stage: Stage) -> None:
    """The call's page, with its waveform where it has one."""
    wait_until(stage.page, "globalThis.callPage !== undefined")
    wait_until(stage.page, "document.querySelector('#ruler').childElementCount > 0")
    expect(stage.page.locator("#panel")).not_to_have_attribute("aria-busy", "true")
    if stage.page.locator("#wave .empty").count() == 0:
        wait_until(stage.page, "callPage.timeline.waveReady === true")


def with_moment(stage: Stage) -> None:
    """The last moment of the call has come into view and is fetched."""
    drawn(stage)
    expect(stage.page.locator(".travel-why h3")).to_be_visible()
    expect(stage.page.locator("[data-travel-moment]")).not_to_have_attribute("aria-busy", "true")


def beside(stage: Stage) -> None:
    """With what the list of calls fetches after itself."""
    expect(stage.page.locator("#facets")).not_to_contain_text("Counting…")
    expect(stage.page.locator("#histogram svg")).to_be_visible()


def nothing_beside(stage: Stage) -> None:
    """The same where nothing is found, which has no histogram."""
    expect(stage.page.locator("#facets")).not_to_contain_text("Counting…")
    expect(stage.page.locator("#histogram-place")).to_be_hidden()


def charts(stage: Stage) -> None:
    expect(stage.page.locator(".plot canvas").first).to_be_visible()


def lower(stage: Stage) -> None:
    stage.page.evaluate("scrollTo(0, 860)")


def standing(stage: Stage) -> None:
    """The system tab asks again every two seconds unless nobody looks."""
    stage.page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")


def redis_away(stage: Stage) -> None:
    standing(stage)
    stage.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(stage.page.locator("[data-card=Redis]")).to_contain_text("away")


def tripped(stage: Stage) -> None:
    standing(stage)
    stage.page.locator("[data-card=Voice]").get_by_role("button", name="Trip").click()
    expect(stage.page.get_by_role("dialog")).to_be_visible()


def dialog_done(stage: Stage) -> None:
    dialog = stage.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("their status page says so")
    dialog.get_by_role("button", name="Trip").click()
    expect(stage.page.locator("[data-card=Voice]")).to_contain_text("recorded phrases")
    standing(stage)


def toasts(stage: Stage) -> None:
    stage.page.evaluate(
        """async () => {
          const { toast } = await import("/static/console/js/say.js");
          toast("Your note took effect with turn 3.");
          toast("The caller does not hear you: the microphone is gone.", "alarm");
        }"""
    )


def keys(stage: Stage) -> None:
    stage.page.evaluate("document.getElementById('toasts').replaceChildren()")
    stage.page.keyboard.press("?")
    expect(stage.page.get_by_role("dialog", name="Keyboard")).to_be_visible()


#: Each component in the markup that components.css names, in all of its kinds.
COMPONENTS = """
<div class="page-head"><h1>Components</h1><div class="actions"><button class="pill">3 changes, apply</button><button>Pause</button></div></div>
<ul class="messages"><li class="message message-success">It is saved.</li><li class="message message-error">It is not saved.</li></ul>
<p class="actions"><button>Plain</button> <button class="primary">Primary</button> <button class="danger">Danger</button>
  <button class="quiet">Quiet</button> <a class="button" href="#main">A link</a> <button disabled>Disabled</button>
  <button class="primary" disabled>Disabled</button> <button aria-pressed="true">Pressed</button></p>
<ul class="chips">%s</ul>
<p class="chips"><span class="chip">plain</span> <span class="chip chip-ok">ok</span> <span class="chip chip-info">info</span>
  <span class="chip chip-warn">warn</span> <span class="chip chip-alarm">alarm</span> <kbd>Esc</kbd> <code>code</code></p>
<nav class="tabs"><a href="#main" aria-current="page">Chosen</a><a href="#main">Other</a><a href="#main">Third</a></nav>
<div class="table-scroll"><table class="table"><caption>A table</caption>
  <thead><tr><th scope="col">Name</th><th scope="col">Words</th><th scope="col" class="number">Number</th></tr></thead>
  <tbody><tr><th scope="row">One</th><td>Some words</td><td class="number">1,200 ms</td></tr>
    <tr class="selected"><th scope="row">Two</th><td class="soft">Softer words</td><td class="number over">9.9 s</td></tr></tbody></table></div>
<section class="panel"><h2>A panel with a form</h2><form>
  <div class="field"><label for="c1">Name</label><input id="c1" value="Bella"><p class="hint">What callers hear.</p></div>
  <div class="field wrong"><label for="c2">Number</label><input id="c2" value="12"><ul class="errorlist"><li>Write it with + and country code.</li></ul></div>
  <div class="field"><label for="c3">Kind</label><select id="c3"><option>One</option></select></div>
  <div class="field"><label for="c4">Note</label><textarea id="c4" rows="2">Some words</textarea></div>
  <p class="actions"><label><input type="checkbox" checked> Checked</label> <label><input type="radio"> Round</label></p></form></section>
<p class="empty panel">Empty: one sentence of what it means. <a href="#main">One action</a></p>
<p class="failed">Failed: one sentence of what it means. <a href="#main">Try again</a></p>
<p class="warning">A warning.</p>
"""
STATES = ("CONNECTING", "LISTENING", "THINKING", "SPEAKING", "OPERATOR", "ENDING", "ENDED", "FAILED")


def components(stage: Stage) -> None:
    states = "".join(
        f'<li class="state" data-state="{state}"><span class="state-letter">{state[0]}</span> {state}</li>'
        for state in STATES
    )
    stage.page.locator("#main").evaluate("(main, html) => { main.innerHTML = html; }", COMPONENTS % states)


def wrong_form(stage: Stage) -> None:
    stage.page.get_by_label("Name", exact=True).fill("")
    stage.page.get_by_role("button", name="Save").click()
    expect(stage.page.get_by_role("alert")).to_contain_text("Nothing was saved")


def phone_before(stage: Stage) -> None:
    stage.page.get_by_role("button", name="Call", exact=True).wait_for()


def phone_denied(stage: Stage) -> None:
    phone_before(stage)
    stage.page.get_by_role("button", name="Call", exact=True).click()
    expect(stage.page.locator("#before-failed")).to_contain_text("not allowed to use the microphone")
    expect(stage.page.locator("#start")).to_be_enabled()


def phone_during(stage: Stage) -> None:
    """A caller who says nothing hears the greeting to its end."""
    phone_before(stage)
    stage.page.get_by_label("Audio file", exact=True).first.check()
    stage.page.locator("#file").set_input_files(
        {"name": "silence.wav", "mimeType": "audio/wav", "buffer": stage.kept["silence"]}
    )
    stage.page.get_by_role("button", name="Call", exact=True).click()
    expect(stage.page.locator("#transcript")).to_contain_text("this is the test line.")
    expect(stage.page.locator("#state")).to_have_attribute("data-state", "LISTENING")
    expect(stage.page.locator(".bubble-interim")).to_have_count(0)


def phone_after(stage: Stage) -> None:
    stage.page.set_viewport_size(WIDE)
    stage.page.get_by_role("button", name="Hang up").click()
    expect(stage.page.get_by_role("heading", name="The call is over")).to_be_visible()
    expect(stage.page.locator("#outcome")).to_contain_text("hung up")


# --- data that needs the stage ----------------------------------------------------------------------------------------


def wired(stage: Stage) -> None:
    """The next page's socket is in our hands."""
    stage.context = stage.console.context("admin", viewport=WIDE, **STILL)
    stage.kept["wire"] = Wire(stage.context)


def without_redis(stage: Stage) -> None:
    stage.settings.REDIS_URL = "redis://127.0.0.1:1/0"
    probed(stage)


def a_process(stage: Stage) -> None:
    """The line's process has told of itself, as it does in its first second."""

    async def seen() -> None:
        while not await system.shots():  # noqa: ASYNC110 - told in Redis
            await asyncio.sleep(0.05)

    stage.console.run(seen())


def no_agent(_stage: Stage) -> None:
    Agent.objects.update(is_active=False)


def an_agent(stage: Stage) -> None:
    from calls.codecs import mulaw
    from calls.phrasebook import wav

    Agent.objects.update(is_active=True)
    stage.kept["silence"] = wav(mulaw.silence(20_000))


STILL: dict[str, Any] = {"locale": "en-US", "timezone_id": "UTC", "reduced_motion": "reduce"}
BOTH = ("wide", "narrow")
CALL = f"/console/calls/{'CA' + '0' * 32}/"
#: What is measured anew each time stands on the system tab: how soon something answered, and what is installed.
MEASURED = (
    "#state .facts dd",
    "#state td.number",
    "#state > .soft",
    "[data-breaker] .soft",
    "[aria-labelledby=installed] dd",
    "[data-ask-name]",
    "#state th code",
)

#: What the database dates by its own clock.
DATED = ("main time",)

#: Screen → its looks. Those of a line are served by a process that takes calls.
SCREENS: dict[str, tuple[Look, ...]] = {
    "frame": (
        Look("components", "/console/agents/", act=components, whole=True),
        Look("toasts", "/console/agents/new/", act=toasts),
        Look("keys", act=keys),
        Look("forbidden", "/console/audit/", role="viewer", status=403),
        Look("audit-empty", "/console/audit/"),
        Look("audit", "/console/audit/", data=an_audit, same=DATED),
    ),
    "board": (
        Look("board-empty", "/console/", data=probed, act=live, sizes=BOTH),
        Look("board", "/console/", data=a_crowd, act=busy_board, sizes=BOTH),
        Look("board-drawer", f"/console/?call={SIDS.format(3)}", act=open_drawer, sizes=BOTH),
        Look("board-cut", "/console/", data=wired, act=cut_board),
        Look("board-away", "/console/", data=without_redis, act=away),
    ),
    "calls": (
        Look("calls-empty", "/console/calls/", act=nothing_beside),
        Look("calls", "/console/calls/?q=", data=a_cast, act=beside),
        Look("calls-none-fit", "/console/calls/?q=lang:en+response:%3E1500", act=nothing_beside),
        Look("calls-wrong-query", "/console/calls/?q=respons:%3E1500+outcome:lost"),
    ),
    "call": (
        Look("call", CALL, data=a_recording, act=drawn, sizes=BOTH),
        Look("call-turn", f"{CALL}?turn=2", act=drawn),
        Look("call-not-allowed", f"{CALL}?turn=2&tab=model", role="viewer", act=with_moment),
        Look("call-no-recording", f"/console/calls/CA{'2' * 32}/", data=no_recording, act=drawn),
        Look("call-missing", f"/console/calls/CA{'9' * 32}/", status=404),
    ),
    "callers": (
        Look("callers-empty", "/console/callers/"),
        Look("callers", "/console/callers/", data=a_caller),
        Look("callers-none-fit", "/console/callers/?q=nobody"),
        Look("caller", "/console/callers/{caller}/?entry={entry}&tab=all"),
        Look("caller-missing", "/console/callers/0198a000-0000-7000-8000-000000000000/", status=404),
    ),
    "health": (
        Look("health-empty", "/console/health/", act=charts),
        Look("health", "/console/health/", data=a_month, act=charts),
        Look("health-lower", act=lower),
    ),
    "system": (
        Look("system", "/console/health/system/", data=a_process, act=standing, same=MEASURED),
        Look("system-lower", act=lower, same=MEASURED),
        Look("system-dialog", "/console/health/system/", act=tripped, same=MEASURED),
        Look("system-tripped", act=dialog_done, same=MEASURED),
        Look("system-away", "/console/health/system/", data=without_redis, act=redis_away, same=MEASURED),
    ),
    "phone": (
        Look("phone-empty", "/console/phone/", data=no_agent),
        Look("phone", "/console/phone/", data=an_agent, act=phone_before, sizes=BOTH),
        Look("phone-denied", "/console/phone/", act=phone_denied),
        Look("phone-call", "/console/phone/", act=phone_during, mask=("#ribbon",), sizes=BOTH),
        Look("phone-over", act=phone_after, mask=("#ribbon",)),
    ),
    "agents": (
        Look("agents-empty", "/console/agents/"),
        Look("agents", "/console/agents/", data=some_agents, same=DATED),
        Look("agent", "/console/agents/{agent}/"),
        Look("agent-wrong", act=wrong_form, status=422),
        Look("agent-versions", "/console/agents/{agent}/versions/", same=DATED),
    ),
}
ON_A_LINE = {"system", "phone"}


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """Has a microphone that it may not use."""
    launched = launch("--use-fake-device-for-media-stream", "--force-color-profile=srgb")
    yield launched
    launched.close()


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, transactional_db: None, screen: str, recordings: Path, redis_url: str, settings: Any
) -> Iterator[Stage]:
    """The screen's server, whose clock stands still. A line's goes on from there: it would fall silent."""
    with time_machine.travel(NOON, tick=screen in ON_A_LINE):
        console = request.getfixturevalue("line_console" if screen in ON_A_LINE else "console")
        yield Stage(console, redis_url, recordings, settings, request)


def shown(stage: Stage, look: Look) -> Page:
    """The page as the look has it."""
    look.data(stage)
    if look.path:
        context: BrowserContext = stage.context or stage.console.context(look.role, viewport=WIDE, **STILL)
        stage.context = None
        if MODE != "show":
            context.add_init_script(blocks.script())
        context.clock.set_fixed_time(NOON)
        if stage.page:
            stage.page.context.close()
        stage.page = stage.console.visit(context, look.path.format(**stage.kept))
    look.act(stage)
    expect(stage.page.locator("#keys-open")).to_be_visible()  # the frame's own script has run
    stage.page.mouse.move(1, 1)
    if look.status != 200:
        stage.console.said[:] = [said for said in stage.console.said if f"status of {look.status}" not in said]
    page: Page = stage.page
    return page


def picture(page: Page, look: Look) -> Image.Image:
    """What the window shows."""
    page.evaluate(
        """(all) => { for (const one of document.querySelectorAll(all.join(", ") || "none")) { one.textContent = "the same words"; one.classList.remove("over"); }; }""",
        list(look.same),
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    taken = page.screenshot(
        full_page=look.whole, mask=[page.locator(one) for one in look.mask], mask_color="#808080", scale="css"
    )
    return Image.open(io.BytesIO(taken)).convert("RGB")


def judged(name: str, actual: Image.Image, tmp_path: Path) -> str:
    """What is wrong with a picture; nothing where it is as its baseline is."""
    baseline = BASELINES / f"{name}.png"
    if MODE == "retake":
        blocks.keep(actual, baseline)
        return ""
    if MODE == "show":
        SHOWN.mkdir(parents=True, exist_ok=True)
        actual.save(SHOWN / f"{name}.png")
        return ""
    if not baseline.exists():
        actual.save(tmp_path / f"{name}.actual.png")
        return f"{name}: there is no baseline; what it looks like: {tmp_path / name}.actual.png"
    expected = Image.open(baseline)
    found = blocks.compare(expected, actual)
    if not found.is_seen:
        return ""
    kept = {"actual": actual, "expected": expected, "difference": blocks.beside(expected, actual, found.squares)}
    for what, image in kept.items():
        image.save(tmp_path / f"{name}.{what}.png")
    return f"{name}: {found}: {tmp_path / name}.{{{','.join(kept)}}}.png"


def names(look: Look) -> list[tuple[str, str, str]]:
    """Its pictures: name, scheme and size."""
    return [
        (f"{look.name}-{scheme}" + ("" if size == "wide" else f"-{size}"), scheme, size)
        for size in look.sizes
        for scheme in SCHEMES
    ]


#: A picture takes half a second of both processors: each time are taken, in one theme and size, the screens on which most
#: stands; with `make test-long` all of them, in both.
QUICK = ("frame", "board", "call")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("screen", "every"),
    [
        *(pytest.param(screen, False, id=screen) for screen in QUICK),
        *(pytest.param(screen, True, id=f"{screen}-every", marks=pytest.mark.long) for screen in SCREENS),
    ],
)
def test_a_screen_looks_as_it_did(screen: str, every: bool, stage: Stage, tmp_path: Path) -> None:
    wrong = []
    for look in SCREENS[screen]:
        page = shown(stage, look)
        for name, scheme, size in names(look):
            if not every and (scheme, size) != ("light", "wide"):
                continue
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            if size == "narrow":
                page.set_viewport_size(NARROW)  # type: ignore[arg-type]
            wrong.append(judged(name, picture(page, look), tmp_path))
    found = "\n".join(filter(None, wrong))
    assert not found, f"{found}\nWhere it is meant: LOOKS=retake pytest tests/browser/test_looks.py"
    assert_clean(stage.console)


def test_every_baseline_belongs_to_a_look() -> None:
    expected = {f"{name}.png" for looks in SCREENS.values() for look in looks for name, _, _ in names(look)}
    assert {path.name for path in BASELINES.glob("*")} == expected

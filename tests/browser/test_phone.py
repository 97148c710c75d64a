"""The test call in a real browser: a microphone fed from a file, the real consumer, the vendors' stand-ins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect

from calls.codecs import mulaw
from calls.models import Call
from calls.phrasebook import wav
from tests.browser.conftest import FAKE_MICROPHONE
from tests.browser.console import Console, assert_clean, assert_fits, axe, wait_until
from tests.line.conftest import speech
from voiceagent.console.models import AuditEntry
from voiceagent.console.phone.views import INTERRUPT_OBJECTIVE_MS
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from tests.line.conftest import Line

LONG = (
    "First there is the pasta, then there is the fish, and after that a very long list of desserts, cheeses and wines."
)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
#: What the browser allows the machine, which runs other things: the voice's stop is told by the frames, not by this.
PATIENT_MS = 30_000


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Has a microphone that hears nothing for five seconds, then somebody who asks something."""
    heard = tmp_path_factory.mktemp("microphone") / "question.wav"
    heard.write_bytes(wav(mulaw.silence(5000) + speech(1200) + mulaw.silence(60_000)))
    launched = launch(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={heard}%noloop")
    yield launched
    launched.close()


def opened(console: Console, role: str = "operator") -> Page:
    page = console.open("/console/phone/", role)
    page.get_by_role("button", name="Call", exact=True).wait_for()
    return page


def test_a_conversation_by_microphone_and_an_interruption(line_console: Console, line: Line) -> None:
    line.ears.utterances(f"What do you have? {HOSTILE}", "Sorry, I did not hear that.")
    line.answers(("have", Reply(text=LONG)), ("sorry", Reply(text="Never mind. Goodbye.")))
    page = opened(line_console)
    page.get_by_role("button", name="Call", exact=True).click()

    transcript = page.locator("#transcript")
    expect(transcript).to_contain_text("Hello there, this is the test line.", timeout=PATIENT_MS)
    expect(transcript).to_contain_text(f"What do you have? {HOSTILE}", timeout=PATIENT_MS)
    expect(transcript).to_contain_text("First there is the pasta", timeout=PATIENT_MS)
    axe(page)
    wait_until(page, "document.querySelector('#state').dataset.state === 'SPEAKING'")
    page.get_by_role("button", name="Interrupt now").click()
    said = page.locator("#interrupt-said")
    expect(said).to_have_attribute("data-ms", re.compile(r"^\d+$"), timeout=PATIENT_MS)
    took_ms = int(said.get_attribute("data-ms") or -1)
    expect(transcript.locator("s")).not_to_be_empty()
    expect(transcript).to_contain_text("Never mind.", timeout=PATIENT_MS)
    expect(page.locator("#last-response")).to_have_text(re.compile(r"ms|s"))
    page.get_by_role("button", name="Hang up").click()

    expect(page.get_by_role("heading", name="The call is over")).to_be_visible()
    expect(page.locator("#outcome")).to_contain_text("the caller hung up")
    expect(page.locator("#after-cuts")).to_have_text("1")
    link = page.get_by_role("link", name="Open the call").get_attribute("href") or ""
    call = Call.objects.get()
    assert link == f"/console/calls/{call.call_sid}/"
    assert call.is_test
    assert call.from_number == "anonymous"
    assert AuditEntry.objects.get(action="call.tested").call_sid == call.call_sid
    assert 0 < took_ms <= INTERRUPT_OBJECTIVE_MS, f"silent after {took_ms} ms"
    assert_clean(line_console)


@pytest.mark.long
def test_a_script_speaks_and_a_note_is_whispered(line_console: Console, line: Line) -> None:
    line.ears.utterances("Two people, please.")
    line.answers(("two people", Reply(text="Very well.")))
    page = opened(line_console)
    page.get_by_label("Scratch caller").check()
    page.get_by_label("Script", exact=True).check()
    page.get_by_label("One sentence on each line").fill("Two people, please.")
    page.get_by_role("button", name="Call", exact=True).click()

    expect(page.locator("#transcript")).to_contain_text("Very well.", timeout=PATIENT_MS)
    page.get_by_role("button", name="5", exact=True).click()
    page.get_by_label("A note for the next reply").fill("They like the terrace.")
    page.get_by_role("button", name="Whisper", exact=True).click()
    expect(page.locator("#whisper-said")).to_have_text("The assistant will have it for its next reply.")
    expect(page.get_by_role("heading", name="The call is over")).to_be_visible(timeout=PATIENT_MS)
    assert Call.objects.get().from_number.startswith("client:operator-")
    assert_clean(line_console)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_the_page_is_clean_and_accessible(console: Console, scheme: str) -> None:
    page = console.open("/console/phone/", "operator", color_scheme=scheme)
    axe(page)
    assert_fits(page)
    assert_clean(console)


def test_its_parts_compute_what_the_server_computes(console: Console) -> None:
    """µ-law as calls/codecs/mulaw.py has it; a network that delays and loses what it is told to; a queue with marks."""
    page = console.open("/console/phone/", "operator")
    mulaw_js = page.evaluate(
        """async () => {
          const { byteOf, decode } = await import("/static/console/js/audio/mulaw.js");
          const bytes = Array.from({ length: 65536 }, (_, at) => byteOf(at - 32768));
          return [bytes, [...decode(Uint8Array.from({ length: 256 }, (_, byte) => byte))]];
        }"""
    )
    assert bytes(mulaw_js[0]) == mulaw.from_samples(np.arange(-32768, 32768).astype(np.int16))
    assert mulaw_js[1] == [float(sample) for sample in mulaw.to_float(bytes(range(256)))]

    arrivals, lost = page.evaluate(
        """async () => {
          const { Network } = await import("/static/console/js/phone/network.js");
          const numbers = [0.9, 0, 0.05, 0.9, 0.5, 0.9, 0.9]; // loss, then jitter, of each frame that is not lost
          const network = new Network({ delayMs: 40, jitterMs: 100, lossShare: 0.1 }, () => numbers.shift() ?? 0.9);
          const seen = [];
          for (let tick = 0; tick < 14; tick += 1) {
            if (tick < 4) network.send(tick, tick);
            for (const item of network.arrived(tick)) seen.push([item, tick]);
          }
          return [seen, network.lost];
        }"""
    )
    assert lost == 1
    assert arrivals == [[0, 2], [2, 7], [3, 10]]

    heard = page.evaluate(
        """async () => {
          const { CarrierStream } = await import("/static/console/js/phone/carrier.js");
          const sent = [];
          const queue = Object.create(CarrierStream.prototype);
          Object.assign(queue, { queue: [], waiting: 0, on: {}, echo: (name) => sent.push(name) });
          const media = (bytes) => queue.take({ event: "media", media: { payload: btoa(String.fromCharCode(...new Uint8Array(bytes).fill(7))) } });
          const mark = (name) => queue.take({ event: "mark", mark: { name } });
          media(240); mark("a"); media(80); mark("b"); mark("c");
          const played = [queue.play(), queue.play(), queue.play()].map((frame) => frame && [...frame].filter((byte) => byte === 7).length);
          const first = [...sent];
          media(160); mark("d");
          queue.take({ event: "clear" });
          mark("e");
          return [played, first, sent, queue.play()];
        }"""
    )
    assert heard == [[160, 160, None], ["a", "b", "c"], ["a", "b", "c", "d", "e"], None]
    assert_clean(console)

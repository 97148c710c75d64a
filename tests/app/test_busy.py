"""Callers for whom there is no line: the agent's busy answer, why it was given, and no going round in circles."""

from __future__ import annotations

import io
import wave
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from calls import phrasebook
from calls.models import Agent, AgentNumber, Call, PhraseRecording
from calls.phrasebook import recording_digest, shipped_audio
from calls.services.phrases import render_due
from calls.strain import MEASURES, Strains
from tests.app.test_webhooks import VOICE, http, row
from tests.line.conftest import NUMBER, Line, line, make_agent, unused_tcp_port
from tests.line.hostile import Counts, Twiml, Wire, eventually, sid
from voiceagent.sandbox.carrier import CallFailedError

__all__ = ["http", "line", "unused_tcp_port"]  # fixtures

ELSEWHERE = "+15005550042"
SORRY = "Sorry, every one of us is on the phone."


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """A German one, who waits for the caller to speak."""
    return make_agent(greeting="", language="de")


async def answers(agent: Agent, **changes: Any) -> None:
    """Edit the agent as the admin does."""
    for name, value in changes.items():
        setattr(agent, name, value)
    await agent.asave()


async def full(wire: Wire, **changes: str) -> tuple[Twiml, str]:
    """What a caller gets when all lines are taken, and the call's id."""
    wire.line.runtime.registry.max_calls = 0
    call_sid = sid()
    return await wire.post(VOICE, wire.fields(call_sid, **changes)), call_sid


def first(answer: Twiml) -> tuple[str, str]:
    """The first verb and its text, or what it points to."""
    verb = ElementTree.fromstring(answer.text)[0]  # noqa: S314 - our own server's answer
    number = verb.find("Number")
    return verb.tag, (verb.text if number is None else number.text) or ""


async def sound(wire: Wire, url: str) -> bytes:
    """What the carrier fetches from there: samples."""
    async with wire.session.get(url) as answer:
        assert (answer.status, answer.content_type) == (200, "audio/wav")
        assert "immutable" in answer.headers["Cache-Control"]
        with wave.open(io.BytesIO(await answer.read())) as file:
            return file.readframes(file.getnframes())


# --- the answers ----------------------------------------------------------------------------------------------------


async def test_the_busy_tone_is_the_usual_answer(http: Wire) -> None:
    counts, why = Counts("calls_refused", "why"), Counts("calls_refused_overload", "what")
    answer, call_sid = await full(http)
    assert answer.verbs == ["Reject"]
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "overload"
    assert (counts.moved(), why.moved()) == ({"overload": 1}, {"no_slot": 1})


async def test_a_sentence_in_the_agents_language_from_our_own_address(http: Wire, agent: Agent) -> None:
    await answers(agent, busy_answer="phrase")
    answer, call_sid = await full(http)
    assert answer.verbs == ["Play", "Hangup"]
    url = first(answer)[1]
    assert url == f"{http.line.url}/twilio/phrases/de-busy.wav"
    assert await sound(http, url) == phrasebook.mulaw.decode(shipped_audio("de", "busy"))
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "overload"


async def test_a_sentence_of_its_own_once_it_is_recorded(http: Wire, agent: Agent) -> None:
    class Voice:
        def render(self, text: str, voice: str, language: str) -> bytes:
            return shipped_audio("fr", "busy")

    await answers(agent, busy_answer="phrase", phrases={"busy": SORRY})
    assert first((await full(http))[0])[1].endswith("/de-busy.wav")
    await sync_to_async(render_due)(Voice(), timezone.now())
    phrasebook._lately.clear()
    _, url = first((await full(http))[0])
    assert url.endswith(f"/{recording_digest(agent.voice, 'de', SORRY)}.wav")
    assert await sound(http, url) == phrasebook.mulaw.decode(shipped_audio("fr", "busy"))


async def test_another_number_and_what_follows_when_nobody_is_there_either(http: Wire, agent: Agent) -> None:
    await answers(agent, busy_answer="forward", overflow_to=ELSEWHERE)
    answer, call_sid = await full(http)
    assert answer.verbs == ["Dial"]
    assert first(answer) == ("Dial", ELSEWHERE)
    assert f'action="{http.line.url}/twilio/overflow-ended"' in answer.text
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "overload"
    path = "/twilio/overflow-ended"
    for status in ("completed", "answered"):
        assert (await http.post(path, http.fields(call_sid, DialCallStatus=status))).verbs == ["Hangup"]
    for status in ("busy", "no-answer", "failed", "canceled", ""):
        after = await http.post(path, http.fields(call_sid, DialCallStatus=status))
        assert after.verbs == ["Play", "Hangup"], status
        assert first(after)[1].endswith("/de-busy.wav")
    assert first(await http.post(path, http.fields(call_sid, To="+15559999", DialCallStatus="busy")))[1].endswith(
        "/en-busy.wav"
    )
    assert (await http.post(path, http.fields(call_sid, DialCallStatus="busy"), token="forged")).status == 403


async def test_nobody_is_sent_round_in_circles(http: Wire, agent: Agent) -> None:
    await answers(agent, busy_answer="forward", overflow_to=ELSEWHERE)
    assert (await full(http, ForwardedFrom=ELSEWHERE))[0].verbs == ["Play", "Hangup"], "it came back from there"
    assert (await full(http, From=ELSEWHERE))[0].verbs == ["Play", "Hangup"], "they call us themselves"
    await AgentNumber.objects.acreate(agent=agent, number=ELSEWHERE)
    assert (await full(http))[0].verbs == ["Play", "Hangup"], "the number has become ours since"


async def test_who_we_have_called_is_not_told_that_our_lines_are_taken(http: Wire, agent: Agent) -> None:
    await answers(agent, busy_answer="forward", overflow_to=ELSEWHERE)
    placed = {"Direction": "outbound-api", "From": NUMBER, "To": "+15550009999"}
    assert (await full(http, **placed))[0].verbs == ["Hangup"]


async def test_only_recorded_phrases_are_given_to_whoever_asks(http: Wire, agent: Agent) -> None:
    await PhraseRecording.objects.acreate(digest="a" * 64, voice="v", language="de", text="x")
    for name in ("de-joke", "xx-busy", "busy", "..-busy", "a" * 64, "b" * 64, "A" * 64, "%00", "de-busy.ulaw"):
        async with http.session.get(f"{http.line.url}/twilio/phrases/{name}.wav") as answer:
            assert answer.status == 404, name


# --- why ------------------------------------------------------------------------------------------------------------


async def test_a_stop_gives_the_same_answer_for_another_reason(http: Wire, agent: Agent) -> None:
    await answers(agent, busy_answer="forward", overflow_to=ELSEWHERE)
    http.line.runtime.registry.drain(5)
    counts, why = Counts("calls_refused", "why"), Counts("calls_refused_overload", "what")
    call_sid = sid()
    assert (await http.post(VOICE, http.fields(call_sid))).verbs == ["Dial"]
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "drain"
    assert (counts.moved(), why.moved()) == ({"drain": 1}, {})


@pytest.mark.parametrize("measure", ["loop_lag", "mailbox_delay"])
async def test_calls_in_progress_that_suffer_go_first(http: Wire, measure: str) -> None:
    runtime, why = http.line.runtime, Counts("calls_refused_overload", "what")
    runtime.registry._strains = Strains()  # a test's line has none: its machine has other things to do
    runtime.registry.observe(measure, 4000)
    stream = await http.stream(sid())
    await eventually(lambda: bool(runtime.registry.live))
    call_sid = sid()
    assert (await http.post(VOICE, http.fields(call_sid))).verbs == ["Reject"]
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "overload"
    assert why.moved() == {measure: 1}
    await stream.stop()
    await eventually(lambda: not runtime.registry.live)
    assert (await http.post(VOICE, http.fields(sid()))).verbs == ["Connect", "Hangup"]


async def test_the_loop_and_the_mailboxes_are_what_is_measured(http: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    strains = http.line.runtime.registry._strains
    monkeypatch.setattr(strains, "observe", lambda measure, *_: seen.update([measure]))
    stream = await http.stream(sid())
    await eventually(lambda: all(seen[measure] for measure in MEASURES))
    await stream.stop()


# --- the slot -------------------------------------------------------------------------------------------------------


async def test_a_webhook_that_fails_after_it_took_a_slot_gives_it_back(
    http: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = http.line.runtime.registry
    registry.max_calls = 1

    async def broken(_ticket: object) -> str:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(http.line.runtime.tickets, "issue", broken)
        assert (await http.post(VOICE, http.fields(sid()))).status == 500
    assert registry.expected == 0
    assert (await http.post(VOICE, http.fields(sid()))).verbs == ["Connect", "Hangup"]


async def test_a_caller_of_the_carrier_gets_the_busy_answer_and_a_slot_when_one_is_free(line: Line) -> None:
    line.runtime.registry.max_calls = 1
    first_call = line.call()
    await first_call.start()
    with pytest.raises(CallFailedError):
        await line.call().start()
    await first_call.hang_up()
    await eventually(lambda: line.runtime.registry.expected == 0)
    after = line.call()
    await after.start()
    await after.hang_up()

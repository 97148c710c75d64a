"""What callers said, dialled and typed stays out of the logs, also where something goes wrong, unless it was asked for."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from prometheus_client import generate_latest

from tests.line.conftest import Line, make_agent, policy, speech
from tests.line.hostile import TOKEN, answered, eventually, exchange, keyed, quick, sid, wire
from voiceagent.logs import formatter
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.carrier.signing import HEADER
from voiceagent.sandbox.control import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calls.models import Agent
    from tests.line.receiver import Receiver

CALLER = "+15557654321"
SAID = "My name is Wilhelmina and my card is four two four two."
REPLIED = "Thank you, Wilhelmina, your table awaits."
DIGITS = "90817263"
#: Parts of the above that no line may hold.
SECRETS = ("7654321", "Wilhelmina", "wilhelmina", "four two four", "table awaits", DIGITS)


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="", policy=policy(dtmf_pause_ms=300))


@contextmanager
def logged() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """All lines of this process, debugging ones too, as the server writes them: by default, and with words switched on."""
    outputs = io.StringIO(), io.StringIO()
    handlers = [logging.StreamHandler(output) for output in outputs]
    root = logging.getLogger()
    before = root.level
    for handler, with_pii in zip(handlers, (False, True), strict=True):
        handler.setFormatter(formatter("json", with_pii))
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield outputs
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)


async def a_revealing_call(line: Line) -> str:
    """Words, a number, keys and a booking; vendors that fail; requests that are refused. Gives the call's id."""
    quick(line)
    line.ears.utterances(SAID)
    booking = {"name": "Wilhelmina", "party_size": 2, "date": "2026-11-24", "time": "seven"}
    line.answers(("wilhelmina", Reply(text=REPLIED)), (DIGITS, Reply(text=REPLIED)))
    phone = await answered(line, caller=CALLER)
    line.model.reply("", tool_calls=[ToolCall(name="book_table", arguments=booking)])
    line.model.reply(REPLIED)
    await exchange(phone, speech(600))
    line.model.fault("openai.chat", "refuse", status=401, message=f"no: {SAID}")
    line.ears.fault("cartesia.tts.context", "error", status=500, message=f"no: {REPLIED}", skip=1)
    count = len(phone.timeline.events)
    await phone.dtmf(DIGITS + "#", gap_ms=0)
    await phone.wait_for(AgentStarted, after=count)
    line.model.reply("", tool_calls=[ToolCall(name="book_table", arguments='{"name": "Wilhelmina"')])
    line.model.reply(REPLIED)
    await keyed(phone)
    async with wire(line) as made:
        forged = {HEADER: "forged"}
        query = f"?CallSid={sid()}&From={quote(CALLER)}&SpeechResult={quote(SAID)}"
        assert (await made.send("GET", "/twilio/voice" + query, forged)).status == 403
        assert (await made.send("GET", "/twilio/nowhere" + query, {})).status == 404
        assert (await made.post("/twilio/voice", made.fields("", From=CALLER))).status == 400
        await made.post("/twilio/voice", made.fields(sid(), From=CALLER, To="+15557654321"))
        raw = await made.stream(From=CALLER)
        for text in (f'{{"event": "{SAID}"}}', f"{SAID}", f'{{"event":"dtmf","dtmf":{{"digit":"{DIGITS}"}}}}'):
            await raw.text(text)
        await raw.stop()
        await raw.closed()
    await phone.hang_up()
    row = await line.archived_call(phone)
    assert row.error_count >= 1
    assert SAID in [turn.user_text async for turn in row.turns.all()]
    await eventually(lambda: not line.runtime.registry.live)
    await asyncio.sleep(0.1)
    return phone.call_sid


async def test_nothing_of_a_caller_is_logged_measured_or_traced_unless_somebody_switched_that_on(
    traced_line: Line, receiver: Receiver
) -> None:
    with logged() as (plain, with_pii):
        call_sid = await a_revealing_call(traced_line)
        await eventually(lambda: bool(receiver.named("call")))
    lines = plain.getvalue().splitlines()
    for wanted in ("call.started", "turn.closed", "vendor.failed", "call.ended", "webhook.refused", "Not Found"):
        assert [entry for entry in lines if wanted in entry], wanted
    assert [entry for entry in lines if call_sid in entry]
    revealing = [entry for entry in lines if any(secret in entry for secret in SECRETS)]
    # The stand-in and the carrier run in this process too; theirs are not the product's lines.
    assert [entry for entry in revealing if "voiceagent.sandbox" not in entry and "aiohttp" not in entry] == []
    for wanted in (CALLER, SAID, REPLIED):
        assert wanted in with_pii.getvalue()
    elsewhere = b"\n".join([generate_latest(), *receiver.bodies])
    assert b"/twilio/voice" in elsewhere
    assert [secret for secret in (*SECRETS, TOKEN) if secret.encode() in elsewhere] == []

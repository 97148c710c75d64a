"""What callers said, dialled and typed stays out of the logs, also where something goes wrong, unless it was asked for."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.line.conftest import Line, make_agent, policy, speech
from tests.line.hostile import answered, eventually, exchange, keyed, quick, sid, wire
from voiceagent.logs import formatter
from voiceagent.sandbox.carrier.signing import HEADER
from voiceagent.sandbox.control import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calls.models import Agent

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
def logged(*, with_pii: bool, level: int) -> Iterator[io.StringIO]:
    """All lines of this process as the server writes them."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(formatter("json", with_pii))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield output
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


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
    await phone.dtmf(DIGITS, gap_ms=0)
    await keyed(phone)
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


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG], ids=["info", "debug"])
async def test_nothing_of_a_caller_is_logged(line: Line, level: int) -> None:
    with logged(with_pii=False, level=level) as output:
        call_sid = await a_revealing_call(line)
    lines = output.getvalue().splitlines()
    assert [entry for entry in lines if "call.started" in entry and call_sid in entry]
    assert [entry for entry in lines if "call.ended" in entry and call_sid in entry]
    assert [entry for entry in lines if "vendor.failed" in entry and call_sid in entry]
    revealing = [entry for entry in lines if any(secret in entry for secret in SECRETS)]
    # The stand-in and the carrier run in this process too; theirs are not the product's lines.
    assert [entry for entry in revealing if "voiceagent.sandbox" not in entry and "aiohttp" not in entry] == []


async def test_words_and_numbers_are_logged_where_somebody_switched_that_on(line: Line) -> None:
    with logged(with_pii=True, level=logging.INFO) as output:
        await a_revealing_call(line)
    for wanted in (CALLER, SAID, REPLIED):
        assert wanted in output.getvalue()

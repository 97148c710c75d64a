"""Vendors that refuse, hang, cut, talk rubbish or are slow, in the middle of real calls.

Each case says what the caller hears, what is recorded and counted, how long it may take, that the next turn works
where the vendor has recovered, and that a call beside it goes on.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from calls.core.phrases import shipped_text
from calls.phrasebook import shipped_audio
from calls.tasks import sweep
from tests.line.conftest import ACCOUNT, Line, make_agent, open_line, policy, speech
from tests.line.hostile import Counts, answered, events_of, eventually, exchange, keyed, quick, small_talk
from voiceagent.embedded import state
from voiceagent.embedded.valkey import Valkey
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall
from voiceagent.sandbox.control import Handle, Reply, Rule, ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from calls.conf import CallsConf
    from calls.models import Agent, Call, Turn

STT, VOICE_SOCKET, VOICE, MODEL, REST = (
    "cartesia.stt.turns",
    "cartesia.tts.socket",
    "cartesia.tts.context",
    "openai.chat",
    "twilio.calls.update",
)
FINE = "Fine, thank you."
#: Deadlines short enough for a test, long enough for a busy machine.
POLICY: dict[str, Any] = {
    "first_token_ms": 1200,
    "first_audio_ms": 700,
    "playback_slack_ms": 400,
    "hangup_grace_ms": 1000,
    "speculative": False,
}


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="", policy=policy(**POLICY))


@pytest.fixture
async def line(
    agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Path
) -> AsyncIterator[Line]:
    """A line that gives its vendors little time."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    conf = replace(
        calls_conf,
        cartesia=replace(calls_conf.cartesia, connect_timeout_ms=400),
        openai=replace(calls_conf.openai, read_timeout_ms=800),
    )
    async with AsyncExitStack() as stack:
        opened = await open_line(stack, conf, unused_tcp_port)
        quick(opened)
        small_talk(opened)
        yield opened
    await sync_to_async(connections.close_all)()


async def ended_row(line: Line, phone: PhoneCall) -> tuple[Call, list[Turn]]:
    """The row and turns of a call that this hangs up if it is still up."""
    if phone.is_up:
        await phone.hang_up()
    row = await line.archived_call(phone)
    return row, [turn async for turn in row.turns.order_by("number")]


async def kinds(row: Call, event: str) -> list[str]:
    """The kinds of failure in a call's log."""
    return [data["kind"] for data in await events_of(row, event)]


def was_played(phone: PhoneCall, phrase: str) -> bool:
    """Whether the caller heard the recorded phrase: a second of it, as it is."""
    return shipped_audio("en", phrase)[4000:12000] in phone.heard


async def struck(handle: Handle) -> None:
    """Every fault has found its request: the next one is of somebody else."""
    await eventually(lambda: not handle._namespace.faults, 10)


async def unaffected(line: Line, phone: PhoneCall) -> None:
    """A call that was up before all this has a turn and ends without an error on record."""
    await exchange(phone, speech(600))
    row, turns = await ended_row(line, phone)
    assert (row.end_reason, row.error_count) == ("caller_hung_up", 0)
    assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", FINE)]


@dataclass
class Case:
    """What a vendor does to one call, and the kind that is recorded."""

    fault: dict[str, Any]
    kind: str
    endpoint: str = ""
    phone: PhoneCall = field(init=False)


# --- the model -----------------------------------------------------------------------------------------------------


async def test_a_model_that_fails_costs_one_turn_and_one_that_stays_away_the_call(line: Line) -> None:
    """Without a word of the reply the phrase is heard; what has begun is gone on with, and no word of it is heard twice."""
    counts = Counts("openai_error", "kind")
    cases = [
        Case({"kind": "refuse", "status": 401}, "auth"),
        Case({"kind": "refuse", "status": 429, "times": 3}, "rate_limited"),
        Case({"kind": "garbage", "times": 3}, "garbage"),
        Case({"kind": "hang", "times": 0}, "timeout"),
        Case({"kind": "cut", "after": 2}, "cut"),
        Case({"kind": "stall", "after": 2}, "hung"),
    ]
    other, away = await answered(line), await answered(line)
    for case in cases:
        case.phone = await answered(line)
        asked = len(line.model.journal(MODEL))
        line.model.fault(MODEL, **case.fault)
        await case.phone.dtmf("#", gap_ms=0)
        if case.fault.get("times") == 0:
            await case.phone.wait_for(AgentStarted)
            line.model.clear_faults()
        await struck(line.model)
        if "after" in case.fault:  # the rest of the answer is asked for before the next fault is there to meet
            await eventually(lambda before=asked: len(line.model.journal(MODEL)) == before + 2, 10)
    for _ in range(3):
        line.model.fault(MODEL, "refuse", status=401)
        count = len(away.timeline.events)
        await away.dtmf("#", gap_ms=0)
        await away.wait_for(AgentStarted, after=count)

    async def recovers(case: Case) -> None:
        began = await case.phone.wait_for(AgentStarted)
        assert began.at_ms < 4000, case
        await case.phone.wait_for_quiet()
        await keyed(case.phone)
        row, turns = await ended_row(line, case.phone)
        assert row.end_reason == "caller_hung_up", case
        assert await kinds(row, "ModelFailed") == [case.kind]
        assert turns[1].heard_text == FINE
        if "after" in case.fault:
            assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", FINE)] * 2, case
        else:
            assert [turn.outcome for turn in turns] == ["failed_to_fallback", "answered"], case
            assert turns[0].heard_text == shipped_text("en", "model_failed")
            assert was_played(case.phone, "model_failed")

    async def gives_up() -> None:
        assert (await away.wait_until_over(15)).by == "server"
        row, turns = await ended_row(line, away)
        assert row.end_reason == "model_failed"
        assert await kinds(row, "ModelFailed") == ["auth"] * 3
        assert turns[-1].heard_text == shipped_text("en", "trouble")
        assert was_played(away, "trouble")

    await asyncio.gather(unaffected(line, other), gives_up(), *(recovers(case) for case in cases))
    assert counts.moved() == {"auth": 4, "rate_limited": 3, "garbage": 3, "timeout": 2, "cut": 1, "hung": 1}


async def test_a_model_that_fails_once_is_asked_again_and_nobody_notices(line: Line) -> None:
    counts = Counts("openai_error", "kind")
    phone = await answered(line)
    faults: list[dict[str, Any]] = [
        {"kind": "refuse", "status": 500},
        {"kind": "garbage"},
        {"kind": "slow", "delay_ms": 400},
    ]
    for fault in faults:
        line.model.fault(MODEL, **fault)
        await keyed(phone, timeout_s=3)
    row, turns = await ended_row(line, phone)
    assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", FINE)] * 3
    assert (row.error_count, counts.moved()) == (0, {"server": 1, "garbage": 1})


# --- the voice -----------------------------------------------------------------------------------------------------


async def test_a_voice_that_stays_away_is_replaced_by_the_phrase_until_it_is_back(line: Line) -> None:
    counts = Counts("cartesia_tts_error", "kind")
    other = await answered(line)
    await line.ears.wait_for(VOICE_SOCKET)
    cases = [
        Case({"kind": "refuse", "status": 401}, "auth", VOICE_SOCKET),
        Case({"kind": "refuse", "status": 429}, "rate_limited", VOICE_SOCKET),
        Case({"kind": "hang"}, "timeout", VOICE_SOCKET),
        Case({"kind": "stall"}, "hung", VOICE),
        Case({"kind": "error", "status": 500}, "server", VOICE),
    ]
    for case in cases:
        line.ears.fault(case.endpoint, **case.fault, times=0)
        case.phone = await answered(line)
        await case.phone.dtmf("#", gap_ms=0)
        began = await case.phone.wait_for(AgentStarted)
        assert began.at_ms < 8000
        line.ears.clear_faults()

    async def recovers(case: Case) -> None:
        await case.phone.wait_for_quiet()
        await keyed(case.phone)
        row, turns = await ended_row(line, case.phone)
        assert row.end_reason == "caller_hung_up", case
        assert set(await kinds(row, "VoiceFailed")) == {case.kind}, case
        assert [turn.outcome for turn in turns] == ["failed_to_fallback", "answered"], case
        assert [turn.heard_text for turn in turns] == [shipped_text("en", "voice_failed"), FINE]
        assert was_played(case.phone, "voice_failed")

    await asyncio.gather(unaffected(line, other), *(recovers(case) for case in cases))
    assert set(counts.moved()) == {"auth", "rate_limited", "server", "timeout", "hung"}


async def test_a_voice_lost_in_the_middle_says_the_unheard_words_again(line: Line) -> None:
    counts = Counts("cartesia_tts_error", "kind")
    answer = "We have pasta, we have fish, and we have a very good soup of the day."
    line.model.configure(llm={"rules": [Rule(contains="keypad", reply=Reply(text=answer)).model_dump()]})
    cases = [
        Case({"kind": "cut", "after": 2}, "cut"),
        Case({"kind": "close", "after": 2}, "cut"),
        Case({"kind": "garbage", "after": 2}, "garbage"),
        Case({"kind": "error", "after": 2, "status": 500}, "server"),
    ]
    for case in cases:
        case.phone = await answered(line)
        before = len(line.ears.journal(VOICE))
        line.ears.fault(VOICE, **case.fault)
        await case.phone.dtmf("#", gap_ms=0)
        await line.ears.wait_for(VOICE, before + 2)  # the one that fails and the one that takes its place

    async def goes_on(case: Case) -> None:
        await case.phone.wait_for(AgentStarted)
        await case.phone.wait_for_quiet()
        row, turns = await ended_row(line, case.phone)
        assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", answer)], case
        assert await kinds(row, "VoiceFailed") == [case.kind]

    await asyncio.gather(*(goes_on(case) for case in cases))
    assert counts.moved() == {"cut": 2, "garbage": 1, "server": 1}


# --- the ears ------------------------------------------------------------------------------------------------------


async def test_ears_that_come_back_lose_no_word_and_others_end_the_call(line: Line) -> None:
    """``after`` 1: the connection is fine and fails at the first word. What was said meanwhile is answered all the same."""
    counts = Counts("cartesia_stt_error", "kind")
    other = await answered(line)
    await line.ears.wait_for(STT)
    cases = [
        Case({"kind": "refuse", "status": 429, "times": 2}, "rate_limited"),
        Case({"kind": "refuse", "status": 500}, "server"),
        Case({"kind": "hang"}, "timeout"),
        Case({"kind": "cut", "after": 1}, "cut"),
        Case({"kind": "garbage", "after": 1}, "garbage"),
        Case({"kind": "error", "after": 1, "status": 500}, "server"),
    ]
    for case in cases:
        before = len(line.ears.journal(STT))
        line.ears.fault(STT, **case.fault)
        case.phone = await answered(line)
        await line.ears.wait_for(STT, before + 1)  # it has a connection: another attempt would meet the next fault
    line.ears.fault(STT, "refuse", status=401)
    refused = await answered(line)
    await struck(line.ears)
    line.ears.configure(stt={"latency_ms": 500})
    slow = await answered(line)
    await line.ears.wait_for(STT, 1 + len(cases) + 1)
    line.ears.configure(stt={"latency_ms": 0})

    async def recovers(case: Case) -> None:
        late = "after" in case.fault
        if late:
            await exchange(case.phone, speech(600))
        await line.ears.wait_for(STT, 1 + len(cases) + 1 + 3)  # those that fail later have theirs again
        await asyncio.sleep(0.6)
        await exchange(case.phone, speech(600))
        row, turns = await ended_row(line, case.phone)
        assert row.end_reason == "caller_hung_up"
        assert await failures(row) == [(case.kind, False)], case
        assert len(await events_of(row, "EarReady")) == 1 + late
        assert [turn.heard_text for turn in turns] == [FINE] * (1 + late)

    async def ends(phone: PhoneCall, *failed: tuple[str, bool]) -> None:
        assert (await phone.wait_until_over(20)).by == "server"
        row, turns = await ended_row(line, phone)
        assert row.end_reason == "ear_failed"
        assert was_played(phone, "ear_failed")
        assert {turn.kind for turn in turns} == {"notice"}  # where it takes long, the caller was told before
        assert turns[-1].heard_text == shipped_text("en", "ear_failed")
        assert await failures(row) == list(failed)

    async def hangs_for_good() -> None:
        await line.ears.wait_for(STT, 1 + len(cases) + 1 + 3)
        line.ears.fault(STT, "hang", times=0)
        phone = await answered(line)
        began = await phone.wait_for(AgentStarted, timeout_s=12)
        assert began.at_ms < 10_000
        await ends(phone, ("timeout", False), ("timeout", True))

    for_good = (ends(refused, ("auth", True)), hangs_for_good())
    await asyncio.gather(
        unaffected(line, other), unaffected(line, slow), *for_good, *(recovers(case) for case in cases)
    )
    # How often each kind was met depends on how the attempts fall together.
    assert set(counts.moved()) == {"rate_limited", "server", "timeout", "cut", "garbage", "auth"}


async def failures(row: Call) -> list[tuple[str, bool]]:
    """The failures of the ears in a call's log: their kind, and whether for good."""
    return [(data["kind"], data["final"]) for data in await events_of(row, "EarFailed")]


async def test_ears_that_hear_nothing_are_found_out_and_the_caller_is_answered(line: Line) -> None:
    """The socket is up and says nothing, from the start, after its greeting, or after the turn's beginning."""
    counts = Counts("cartesia_stt_error", "kind")
    line.ears.utterances("A table for two, please.")
    phones = []
    for after in range(3):
        line.ears.fault(STT, "stall", after=after)
        phones.append(await answered(line))
        await line.ears.wait_for(STT, after + 1)

    async def is_answered(phone: PhoneCall) -> None:
        assert await exchange(phone, speech(600)) < 6000
        await exchange(phone, speech(600))
        row, turns = await ended_row(line, phone)
        assert row.end_reason == "caller_hung_up"
        assert [turn.user_text for turn in turns] == ["A table for two, please."] * 2
        assert [turn.outcome for turn in turns] == ["answered"] * 2
        assert await failures(row) == [("hung", False)]

    await asyncio.gather(*map(is_answered, phones))
    assert counts.moved() == {"hung": 3}


# --- the carrier's REST interface ----------------------------------------------------------------------------------


async def test_a_hang_up_that_the_carrier_does_not_take_closes_the_stream(line: Line) -> None:
    goodbye = Reply(text="Goodbye.", tool_calls=[ToolCall(name="end_call")])
    line.answers(("keypad", goodbye))
    rest = line.sandbox.handle(ACCOUNT)
    cases = [
        (Case({"kind": "refuse", "status": 401}, "auth"), 1),
        (Case({"kind": "refuse", "status": 500}, "server"), 0),
        (Case({"kind": "cut"}, "cut"), 0),
        (Case({"kind": "hang"}, "timeout"), 0),
    ]
    for case, errors in cases:
        rest.fault(REST, **case.fault, times=0)
        phone = await answered(line)
        began = time.monotonic()
        await keyed(phone)
        over = await phone.wait_until_over(8)
        assert time.monotonic() - began < 6
        assert (over.by, over.reason) == ("server", "<Hangup>")  # of the document that follows a closed stream
        rest.clear_faults()
        row, turns = await ended_row(line, phone)
        assert row.end_reason == "agent_hung_up"
        assert turns[-1].heard_text == "Goodbye."
        # Where the grace is over before the last attempt, the closed stream is what ended the call.
        assert len(await events_of(row, "ErrorRaised")) >= errors
        await eventually(lambda: not line.runtime.registry.live)


# --- Redis ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A Valkey that may be stopped."""
    server = Valkey(tmp_path / "own", lambda _: None)
    await asyncio.to_thread(server.ensure)
    yield server
    await asyncio.to_thread(server.stop)


async def test_without_redis_calls_go_on_begin_and_are_archived_later(
    agent: Agent, calls_conf: CallsConf, own_redis: Valkey, unused_tcp_port: int, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    address = state.addresses(tmp_path / "own")["REDIS_URL"]
    settings.REDIS_URL = address
    async with AsyncExitStack() as stack:
        line = await open_line(stack, replace(calls_conf, redis_url=address), unused_tcp_port)
        quick(line)
        small_talk(line)
        phone = await answered(line)
        await keyed(phone)
        await asyncio.to_thread(own_redis.stop)
        await keyed(phone)
        late = await answered(line, caller="+15550002222")
        await exchange(late, speech(600))
        await asyncio.gather(phone.hang_up(), late.hang_up())
        await eventually(lambda: not line.runtime.registry.live, 10)
        assert not line.archived
        await asyncio.to_thread(own_redis.ensure)
        for call, count in ((phone, 2), (late, 1)):
            row = await line.archived_call(call, 10)
            assert row.end_reason == "caller_hung_up"
            assert [turn.heard_text async for turn in row.turns.all()] == [FINE] * count
            assert row.broken_count == 0
        assert await sync_to_async(sweep)() == {}
    await sync_to_async(connections.close_all)()

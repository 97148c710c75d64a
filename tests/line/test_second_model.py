"""A second model in real calls: the first one fails in whatever way, and the caller hears one whole answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from calls.conf import OpenAIConf
from tests.line.conftest import Line, make_agent, open_line, policy, speech
from tests.line.hostile import answered, events_of, eventually, quick
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall
from voiceagent.sandbox.control import Reply, Rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from calls.conf import CallsConf
    from calls.models import Agent, Call, Turn

MODEL = "openai.chat"
ANSWER = "We have pasta, we have fish, and we have a very good soup of the day."
FIRST, SECOND = "gpt-6-luna", "gpt-5.4-mini"


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak; its first model has 1 s for its first word."""
    return make_agent(greeting="", policy=policy(first_token_ms=2000, speculative=False))


@pytest.fixture
async def line(
    agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Path
) -> AsyncIterator[Line]:
    """A line with two models, each of which can be told what goes wrong with it."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    fallback = OpenAIConf(api_key="", model=SECOND)
    conf = replace(calls_conf, openai=replace(calls_conf.openai, model=FIRST, read_timeout_ms=800, fallback=fallback))
    async with AsyncExitStack() as stack:
        opened = await open_line(stack, conf, unused_tcp_port)
        quick(opened)
        rules = [
            Rule(contains="keypad", reply=Reply(text=ANSWER)).model_dump(),
            Rule(contains="how are you", reply=Reply(text="Fine, thank you.")).model_dump(),
        ]
        for handle in (opened.model, opened.second):
            handle.configure(llm={"rules": rules})
        yield opened
    await sync_to_async(connections.close_all)()


async def record(line: Line, phone: PhoneCall) -> tuple[Call, list[Turn]]:
    """The row and turns of a call that this hangs up."""
    await phone.hang_up()
    row = await line.archived_call(phone)
    return row, [turn async for turn in row.turns.order_by("number")]


#: What happens to the first model, what of it is on record, and whether the caller had heard some of the answer by then.
CASES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "refused": ({"kind": "refuse", "status": 500}, "server", False),
    "too many": ({"kind": "refuse", "status": 429, "code": "rate_limit_exceeded"}, "rate_limited", False),
    "no money": ({"kind": "refuse", "status": 429, "code": "insufficient_quota"}, "quota", False),
    "hangs": ({"kind": "hang"}, "timeout", False),
    "rubbish": ({"kind": "garbage"}, "garbage", False),
    "cut": ({"kind": "cut", "after": 6}, "cut", True),
    "stalls": ({"kind": "stall", "after": 6}, "hung", True),
    "rubbish in the middle": ({"kind": "garbage", "after": 6}, "garbage", True),
    "told in the stream": ({"kind": "error", "after": 6, "code": "insufficient_quota"}, "quota", True),
}


@pytest.mark.timeout(240)
async def test_whatever_happens_to_the_first_model_the_caller_hears_one_whole_answer(line: Line) -> None:
    phones: dict[str, PhoneCall] = {}
    for name, (fault, _, _) in CASES.items():
        phones[name] = await answered(line)
        line.model.fault(MODEL, **fault)
        await phones[name].dtmf("#", gap_ms=0)
        await eventually(lambda: not line.model._namespace.faults, 10)

    async def hears_it(name: str) -> None:
        _, kind, begun = CASES[name]
        phone = phones[name]
        await phone.wait_for(AgentStarted)
        await phone.wait_for_quiet()
        row, turns = await record(line, phone)
        assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", ANSWER)], name
        assert [data["model"] for data in await events_of(row, "ModelFinished")] == [SECOND], name
        told = await events_of(row, "ModelFailed" if begun else "ModelAttemptFailed")
        assert [(data["endpoint"], data["kind"]) for data in told] == [("openai.reply", kind)], name
        assert [turn.causes for turn in turns] == [[f"model:{kind}"]], name
        assert row.end_reason == "caller_hung_up"

    await asyncio.gather(*(hears_it(name) for name in CASES))
    assert len(line.second.journal(MODEL)) == len(CASES)


async def test_a_caller_who_speaks_during_the_switch_is_answered_cleanly(line: Line) -> None:
    line.ears.configure(tts={"ms_per_char": 80, "speed": 50})
    line.ears.utterances("How are you?")
    line.second.configure(llm={"first_token_ms": 1500})
    phone = await answered(line)
    line.model.fault(MODEL, "cut", after=6)
    await phone.dtmf("#", gap_ms=0)
    await phone.wait_for(AgentStarted)
    await line.second.wait_for(MODEL)
    count = len(phone.timeline.events)
    await phone.speak(speech(900))
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    row, turns = await record(line, phone)
    assert [turn.outcome for turn in turns] == ["interrupted", "answered"]
    assert ANSWER.startswith(turns[0].heard_text)
    assert turns[1].heard_text == "Fine, thank you."
    assert [data["model"] for data in await events_of(row, "ModelFinished")] == [FIRST]
    assert (await line.second.wait_for(MODEL, outcome="disconnected"))[0]["tokens_sent"] == 0

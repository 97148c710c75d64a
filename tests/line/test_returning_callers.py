"""Calls of one person on the real memory, over real sockets: what the first teaches the second uses, and a third forgets."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from calls import tasks
from calls.agents import seed_demo_agent
from memory import tasks as memory_tasks
from memory.models import Conversation
from tests.line.conftest import open_line
from voiceagent.sandbox.carrier import AgentStarted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from calls.conf import CallsConf
    from calls.models import Agent, Call, Turn
    from tests.line.conftest import Line

MARIA = "+15550004321"


@pytest.fixture
def agent(transactional_db: None, settings: Any) -> Agent:
    """The restaurant of an empty database; what is said is distilled by the rules alone."""
    settings.OPENAI_DISTIL_MODEL = ""
    version = seed_demo_agent()
    assert version is not None
    return version.agent


@pytest.fixture
async def line(
    agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Any
) -> AsyncIterator[Line]:
    """A line whose memory has time: how long it needs on a busy machine is the benchmark's matter."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    async with AsyncExitStack() as stack:
        yield await open_line(stack, calls_conf, unused_tcp_port, recall_ms=1000)
    await sync_to_async(connections.close_all)()


async def talk_about(line: Line, talk: Callable[[int], bytes], *said: str) -> tuple[Call, list[Turn]]:
    """One call in which Maria says this, and what became of its turns; the memory has worked it through afterwards."""
    line.ears.utterances(*said)
    phone = line.call(caller=MARIA)
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    for _ in said:
        count = len(phone.timeline.events)
        await phone.speak(talk(900))
        await phone.wait_for(AgentStarted, after=count)
        await phone.wait_for_quiet()
    await phone.hang_up()
    row = await line.archived_call(phone)
    await sync_to_async(_work_through)(phone.call_sid)
    return row, [turn async for turn in row.turns.order_by("number")]


def _work_through(call_sid: str) -> None:
    """What the worker does after a call."""
    tasks.remember(call_sid)
    for conversation in Conversation.objects.filter(name=call_sid):
        for step in (memory_tasks.embed, memory_tasks.distil, memory_tasks.card):
            step(str(conversation.caller_id), str(conversation.pk))
    connections.close_all()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_one_call_teaches_the_next_uses_and_says_where_it_was_said(
    line: Line, talk: Callable[[int], bytes]
) -> None:
    first, turns = await talk_about(
        line,
        talk,
        "Hello, my name is Maria Keller.",
        "Please remember that my dog is called Bruno.",
        "What is my dog called?",
    )
    assert turns[0].heard_text == "Bella Vista, good day! How can I help you?"
    assert "your dog is called Bruno" in turns[2].heard_text
    assert "your dog is called Bruno" in turns[3].heard_text, "it takes effect within the call"

    second, turns = await talk_about(line, talk, "What is my dog called?")
    assert turns[0].heard_text == "Bella Vista, welcome back, Maria! How can I help you?"
    assert "your dog is called Bruno" in turns[1].heard_text
    sources = [item for item in turns[1].recalled["items"] if item["in_prompt"] and "Bruno" in item["text"]]
    assert sources, turns[1].recalled
    assert {item["conversation"] for item in sources} == {first.call_sid}
    assert all(item["audio_ms"] > 0 and "Bruno" in item["quote"] for item in sources)
    assert (first.violations, second.violations) == ([], [])

    third, turns = await talk_about(line, talk, "Actually, my dog's name is Rex.", "What is my dog called?")
    assert "Rex" in turns[2].heard_text, "a correction takes effect within the call"

    fourth, turns = await talk_about(line, talk, "What is my dog called?")
    assert "Rex" in turns[1].heard_text
    assert "Bruno" not in turns[1].heard_text
    shown = [item for item in turns[1].recalled["items"] if item["in_prompt"]]
    assert not [item for item in shown if "Bruno" in item["text"]]
    assert any(item["conversation"] == third.call_sid and "Rex" in item["quote"] for item in shown)
    assert (third.violations, fourth.violations) == ([], [])

"""A call of somebody who is known, over real sockets: from the ring to the record. The memory is a double of its port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async

from calls.core import events as e
from calls.core.state import Card
from calls.models import Agent, CallEvent
from tests.actor.line import VirtualMemory
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.ports import CallMemory
    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall

WINDOW = e.Recalled(
    id="m1", level="L2", kind="preference", text="a table by the window", score_milli=812,
    said_at="2026-11-02T18:30:00+00:00", conversation="CA" + "9" * 32, seq=4, audio_ms=21_400, quote="by the window",
)  # fmt: skip


@dataclass
class RememberedCallers:
    """The memory of a process: who rang, who was opened. A card is there once it was prefetched."""

    rang: list[tuple[str, str, str]] = field(default_factory=list)
    opened: list[tuple[str, str, str]] = field(default_factory=list)
    calls: list[VirtualMemory] = field(default_factory=list)
    rings: asyncio.Event = field(default_factory=asyncio.Event)
    ring_fails: Exception | None = None
    open_fails: Exception | None = None
    closed: bool = False

    async def ring(self, call_sid: str, number: str, locale: str) -> None:
        self.rang.append((call_sid, number, locale))
        self.rings.set()
        if self.ring_fails is not None:
            raise self.ring_fails

    def open(self, call_sid: str, number: str, locale: str, *, reads_only: bool = False) -> CallMemory:
        self.opened.append((call_sid, number, locale))
        if self.open_fails is not None:
            raise self.open_fails
        self.calls.append(VirtualMemory(Card("Maria", "Vegetarian."), (WINDOW,)))
        return self.calls[-1]

    async def aclose(self) -> None:
        self.closed = True


async def one_question(line: Line, talk: Callable[[int], bytes]) -> PhoneCall:
    """A call with one question: greeting, answer, hang-up."""
    line.ears.utterances("Is there a table?")
    line.answers(("table", Reply(text="By the window, as always.")))
    phone = line.call(caller="+15550001111")
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    count = len(phone.timeline.events)
    await phone.speak(talk(900))
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    await phone.hang_up()
    return phone


async def test_who_is_known_is_greeted_by_name_and_the_record_says_what_was_recalled(
    line: Line, talk: Callable[[int], bytes], agent: Agent
) -> None:
    agent.returning_greeting = "Welcome back, {name}."
    await sync_to_async(agent.save)()
    line.runtime.memory = memory = RememberedCallers()
    phone = await one_question(line, talk)

    assert memory.rang == [(phone.call_sid, "+15550001111", "en")]
    assert memory.opened == memory.rang
    row = await line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert turns[0].heard_text == "Welcome back, Maria."
    assert turns[0].recalled == {}
    assert turns[1].heard_text == "By the window, as always."
    (item,) = turns[1].recalled["items"]
    assert item == {
        "id": "m1", "level": "L2", "kind": "preference", "text": "a table by the window", "score_milli": 812,
        "said_at": "2026-11-02T18:30:00+00:00", "conversation": "CA" + "9" * 32, "seq": 4, "audio_ms": 21_400,
        "quote": "by the window", "in_prompt": True, "why_not": "", "role": "user", "after": "",
    }  # fmt: skip
    ask = await CallEvent.objects.filter(call=row, type="AskModel").alast()
    assert ask is not None
    assert "a table by the window" in ask.data["messages"][-2]["text"]
    assert ask.data["messages"][-1] == {"role": "user", "text": "Is there a table?", "tool_calls": [], "call_id": ""}
    assert '"name": "Maria"' in ask.data["messages"][0]["text"]
    (call,) = memory.calls
    assert call.heard
    assert ("user", "Is there a table?") in {(role, text) for role, text, _, _ in call.noted}
    assert call.closed
    assert (row.error_count, row.violations) == (0, [])


async def test_a_memory_that_fails_costs_nobody_a_call(line: Line, talk: Callable[[int], bytes]) -> None:
    line.runtime.memory = memory = RememberedCallers(
        ring_fails=ConnectionError("away"), open_fails=ConnectionError("away")
    )
    phone = await one_question(line, talk)
    assert len(memory.rang) == len(memory.opened) == 1
    row = await line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert [turn.outcome for turn in turns] == ["answered", "answered"]
    assert turns[1].recalled == {}
    assert row.error_count == 0


async def test_the_process_lets_its_memory_go(line: Line) -> None:
    line.runtime.memory = memory = RememberedCallers()
    await line.runtime.aclose()
    assert memory.closed

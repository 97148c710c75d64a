"""Operators step in to whole calls over real sockets. Requests go by Redis, as from another process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async

from calls import control
from calls.codecs import mulaw
from calls.core import history
from calls.models import CallEvent
from calls.replay.run import replay
from calls.services.transfer import record_of
from tests.line.test_hostile_logs import logged
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.desk import Outcome
    from calls.models import Call
    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall

FRAME_MS = 20


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks knows of no call in this process."""
    monkeypatch.setattr(control, "_here", _Deaf())


class _Deaf(list[Any]):
    """Keeps nothing."""

    def append(self, _: Any) -> None: ...

    def remove(self, _: Any) -> None: ...


async def ask(phone: PhoneCall, action: str, by: str = "ada", **args: Any) -> Outcome:
    """A request that must be accepted."""
    outcome = await control.ask(phone.call_sid, action, by, **args)
    assert outcome.accepted, outcome.why
    return outcome


async def greeted(line: Line) -> PhoneCall:
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    return phone


async def answered(phone: PhoneCall, audio: bytes) -> None:
    """The caller speaks, and has heard the answer."""
    count = len(phone.timeline.events)
    await phone.speak(audio)
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()


async def until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - it becomes so in other tasks
            await asyncio.sleep(0.02)


def asked(line: Line) -> list[list[dict[str, Any]]]:
    """What the model was shown, request by request."""
    return [entry["body"]["messages"] for entry in line.model.journal("openai.chat") if entry["body"].get("stream")]


async def types(call: Call) -> list[str]:
    return [row.type async for row in CallEvent.objects.filter(call=call).order_by("seq")]


async def test_an_operator_whispers_says_takes_over_and_hands_back(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("Is there a table?", "Can I sit outside?", "Thank you.")
    line.answers(
        ("table", Reply(text="Yes, on the terrace.")),
        ("thank", Reply(text="You are welcome.")),
        ("booked for eight", Reply(text="Your table is at eight.")),
    )
    with logged() as (_, lines):
        row = await a_call_with_operators(line, talk)
    told = [json.loads(x) for x in lines.getvalue().splitlines() if "operator.intervened" in x]
    recorded = CallEvent.objects.filter(call=row, type="Intervened").order_by("seq")
    course = [[x[name] for name in ("action", "outcome", "key", "for_turn", "pii_operator")] for x in told]
    assert course == [[x.data[name] for name in ("action", "outcome", "key", "turn", "by")] async for x in recorded], (
        "the log tells what the record has"
    )


async def a_call_with_operators(line: Line, talk: Callable[[int], bytes]) -> Call:
    """All that operators can do, and what the caller hears and the model is shown of it."""
    phone = await greeted(line)
    await ask(phone, "whisper", text="Offer the terrace.", key="w1")
    await ask(phone, "whisper", text="Offer the terrace.", key="w1")
    await answered(phone, talk(900))
    notes = [m["content"] for m in asked(line)[-1] if str(m["content"]).startswith(history.WHISPER_NOTE)]
    assert notes == [f"{history.WHISPER_NOTE}\nOffer the terrace."], "the same key twice is one note"
    status = (await ask(phone, "status")).data
    assert [(x["key"], x["outcome"], x["turn"]) for x in status["outcomes"]] == [("w1", "shown", 1)]

    count = len(phone.timeline.events)
    await ask(phone, "say", text="The kitchen closes at ten.", when="now", key="s1")
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()

    await ask(phone, "take_over", key="t1")
    second = await control.ask(phone.call_sid, "take_over", "bob", key="t2")
    assert (second.accepted, second.why) == (False, "ada has taken this call over.")
    session = line.runtime.registry.live[phone.call_sid]
    before, requests = len(phone.heard), len(asked(line))
    tone = mulaw.dtmf("5")
    frames = [tone[at : at + 160].ljust(160, b"\xff") for at in range(0, len(tone), 160)] * 2
    assert not session.operator.audio("bob", frames[0])
    speaking = asyncio.create_task(phone.speak(talk(900)))
    for frame in frames:
        assert session.operator.audio("ada", frame)
        await asyncio.sleep(FRAME_MS / 1000)
    await speaking
    await until(lambda: session.actor.state.turn == 3)
    assert len(asked(line)) == requests, "nothing is asked of the model"
    heard = phone.heard[before:]
    assert any(frame in heard for frame in frames[:4]), "the operator's voice is what the caller hears"

    count = len(phone.timeline.events)
    await ask(phone, "hand_back", text="It is booked for eight.", key="h1")
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    shown = [message["content"] for message in asked(line)[-1]]
    assert shown[-2:] == ["Can I sit outside?", history.HANDED_BACK_NOTE.format(summary="It is booked for eight.")]
    await answered(phone, talk(900))
    await phone.hang_up()

    row = await line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert [(turn.kind, turn.outcome) for turn in turns] == [
        ("greeting", "answered"),
        ("answer", "answered"),
        ("say", "answered"),
        ("operator", "with_operator"),
        ("return", "answered"),
        ("answer", "answered"),
    ]
    assert turns[2].heard_text == "The kitchen closes at ten."
    assert turns[3].user_text == "Can I sit outside?"
    assert [x for x in await types(row) if x.startswith("Operator")] == [
        "OperatorWhispered", "OperatorSaid", "OperatorTookOver", "OperatorTookOver", "OperatorHandedBack",
    ]  # fmt: skip
    outcome = await sync_to_async(lambda: replay(record_of(row.call_sid)))()
    assert outcome.is_same, outcome.difference
    assert outcome.states
    return row


async def test_an_operator_who_is_gone_gives_the_call_back_and_one_ends_it(line: Line) -> None:
    await line_grace(line)
    phone = await greeted(line)
    await ask(phone, "take_over", key="t1")
    count = len(phone.timeline.events)
    await ask(phone, "gone")
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    assert (await ask(phone, "status")).data["outcomes"][-1]["outcome"] == "lost"
    refused = await control.ask(phone.call_sid, "end", "ada", key="e0", text="Goodbye.")
    assert (refused.accepted, refused.why) == (False, "The reason is empty.")
    await ask(phone, "end", key="e1", reason="abuse", text="I have to end this call.")
    await phone.wait_until_over()
    row = await line.archived_call(phone)
    assert row.end_reason == "operator"
    event = await CallEvent.objects.aget(call=row, type="HangUpAsked")
    assert (event.data["operator"], event.data["why"]) == ("ada", "abuse")
    last = [turn async for turn in row.turns.order_by("number")][-1]
    assert last.heard_text == "I have to end this call."
    late = await control.ask(phone.call_sid, "say", "ada", text="Hello?")
    assert (late.accepted, late.why) == (False, control.NOBODY)


async def line_grace(line: Line) -> None:
    """Agents of this test give a lost operator half a second."""
    from calls.models import Agent

    agent = await Agent.objects.aget()
    agent.policy = {**agent.policy, "operator_grace_ms": 500}
    await agent.asave()

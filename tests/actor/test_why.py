"""Why it did not answer: conversations through the real actor, visited at a moment afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from calls.core import events as e
from calls.core.policy import POLICY_VERSION
from calls.core.record import tagged
from calls.core.state import Mode
from calls.replay.log import Line as Entry
from calls.replay.track import CHANGES, track_of
from calls.replay.versions import core_of
from calls.replay.why import CAUSES, SITUATIONS, why
from tests.actor.line import Line, Tool, VirtualMemory, call
from tests.unit.core.world import agent
from voiceagent.console.call import travel_words
from voiceagent.demo.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from calls.replay.why import Why

LONG = "We have a table for two at seven and another one at eight, both are by the window. "


def entries_of(line: Line) -> list[Entry]:
    """The record's events."""
    found, seq = [], 1
    for step in line.steps:
        data = tagged(step.event)
        found.append(
            Entry(seq, step.seq, "event", data["type"], step.event.at_ms, 0, step.state.mode, step.state.turn, data)
        )
        seq += 1 + len(step.commands)
    return found


def at(line: Line, ms: int) -> tuple[Why, list[tuple[str, tuple[str, ...]]]]:
    """Why the call was as it was then, and the chain by names of events."""
    entries = entries_of(line)
    track = track_of(core_of(POLICY_VERSION), entries)
    assert track.broken is None
    step = track.step_at(ms)
    moment = track.visit(step, [entries[n - 1] for n in track.behind(step)], ms)
    found = why(moment)
    assert travel_words.groups(moment, str)
    return found, [(entries[link.step - 1].type, link.changed) for link in found.chain]


def told(conversation: Callable[[Line], Coroutine[object, object, None]], **options: object) -> tuple[Line, int]:
    """A conversation, and the moment in it at which somebody asks why: where it returned."""

    async def whole() -> tuple[Line, int]:
        async with call(**options) as line:  # type: ignore[arg-type]
            await conversation(line)
            asked_ms = line.clock.now_ms()
            await line.wait(1)
        return line, asked_ms

    return run(whole())


def test_the_caller_interrupted_it() -> None:
    async def conversation(line: Line) -> None:
        line.model.scripts = [[(200, LONG)]]
        await line.say("is there a table")
        await line.wait(1500)
        line.starts()
        await line.wait(400)

    found, chain = at(*told(conversation))
    assert found.cause == "interrupted"
    assert chain == [("AudioSent", ("audible",)), ("SpeechStarted", ("speaks", "cut"))]
    assert [waits.what for waits in found.waits] == ["words"]
    assert {one.why for one in found.dropped} == {"cancelled"}
    assert all(one.since == found.chain[-1].step for one in found.dropped)


def test_it_waits_for_the_end_of_the_turn() -> None:
    async def conversation(line: Line) -> None:
        line.starts()
        await line.wait(700)
        line.post(e.WordsHeard(text="is there a"))
        line.post(e.SpeechEnded(voiced_until_ms=line.clock.now_ms()))
        await line.wait(500)

    found, chain = at(*told(conversation))
    assert found.cause == "end_of_turn"
    assert [name for name, _ in chain] == ["SpeechStarted", "WordsHeard", "SpeechEnded"]
    assert [waits.what for waits in found.waits] == ["end_of_turn"]
    assert found.waits[0].set_in in {link.step for link in found.chain}


def test_the_model_is_slow() -> None:
    async def conversation(line: Line) -> None:
        line.model.scripts = [[(4000, "Yes. ")]]
        await line.say("is there a table")
        await line.wait(2000)

    found, chain = at(*told(conversation, profile=agent(patience_ms=0)))
    assert found.cause == "model_slow"
    assert chain[-1] == ("TurnEnded", ("reply", "confirmed", "asked"))
    assert "model" in [waits.what for waits in found.waits]


def test_the_voice_failed() -> None:
    async def conversation(line: Line) -> None:
        line.voice.mute = True
        await line.say("is there a table")
        await line.wait(500)
        reply = line.actor.state.reply
        assert reply is not None
        line.post(e.VoiceFailed(turn=reply.turn, epoch=reply.epoch, kind="server", retryable=True))
        await line.wait(200)

    found, chain = at(*told(conversation))
    assert found.cause == "voice_failed"
    assert "VoiceFailed" in [name for name, _ in chain]


def test_an_operator_took_over() -> None:
    async def conversation(line: Line) -> None:
        await line.say("is there a table")
        await line.wait(100)
        line.post(e.OperatorTookOver(key="k1", by="olga"))
        await line.wait(3000)

    found, chain = at(*told(conversation))
    assert found.cause == "operator"
    assert [name for name, _ in chain] == ["OperatorTookOver"]
    assert [waits.what for waits in found.waits] == ["hand_back"]


def test_the_gate_is_closed() -> None:
    async def conversation(line: Line) -> None:
        line.model.scripts = [[(900, LONG)]]
        await line.say("is there a table")
        await line.wait(300)
        line.starts()
        await line.wait(300)

    found, chain = at(*told(conversation))
    assert found.cause == "gate_closed"
    assert chain[-1][0] == "SpeechStarted"
    assert {"held", "gate"} <= set(chain[-1][1])
    assert "words" in [waits.what for waits in found.waits]


def test_nobody_says_anything() -> None:
    async def conversation(line: Line) -> None:
        await line.say("is there a table")
        await line.wait(5000)
        assert line.actor.state.mode is Mode.LISTENING

    found, chain = at(*told(conversation))
    assert found.cause == "silence"
    assert chain == [("MarkReturned", ("closed",))]
    assert [waits.what for waits in found.waits] == ["prompt", "caller"]


def test_a_function_and_the_memory_and_the_caller_and_the_end() -> None:
    async def asks_memory(line: Line) -> None:
        await line.say("is there a table")
        await line.wait(10)

    memory = VirtualMemory()
    memory.delay_ms = 300
    assert at(*told(asks_memory, memory=memory, recall_ms=500))[0].cause == "recall"

    async def speaks(line: Line) -> None:
        line.starts()
        await line.wait(300)

    line, asked_ms = told(speaks)
    assert at(line, asked_ms)[0].cause == "caller_speaks"
    found, chain = at(line, line.steps[-1].event.at_ms)
    assert found.cause == "ended"
    assert [name for name, _ in chain] == ["CarrierGone"]
    assert at(line, -1)[0].cause == "connecting"


def test_a_function_keeps_it() -> None:
    async def slow(_: object) -> tuple[str, str]:
        await asyncio.sleep(5)
        return "ok", "{}"

    async def conversation(line: Line) -> None:
        line.tools["book_table"] = slow
        line.model.scripts = [[(100, Tool("book_table"))]]
        await line.say("is there a table")
        await line.wait(800)

    found, chain = at(*told(conversation, profile=agent(filler_ms=0)))
    assert found.cause == "tool"
    assert chain[-1][0] == "ModelToolCall"


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_has_words(cause: str) -> None:
    assert travel_words.CAUSES[cause][0]


def test_whatever_can_be_waited_for_or_change_has_words() -> None:
    assert {what for one in SITUATIONS for what, _ in one.ends} == set(travel_words.WAITS)
    assert set(CHANGES) | {"asked", "closed", "gate"} <= set(travel_words.EFFECTS) | {"mode"}
    assert {name for one in SITUATIONS for name in one.led} <= set(travel_words.EFFECTS)

"""Whole conversations through the real actor in virtual time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from calls.codecs import mulaw
from calls.core import events as e
from calls.core.commands import Clear, EndCall, RunTool, SetTimer, StaleDropped, TurnClosed
from calls.core.events import MarkReturned, TimerFired, ToolSettled
from calls.core.state import Mode
from tests.actor.line import Line, Tool, call
from tests.unit.core.world import MS_PER_CHAR, agent
from voiceagent.demo.virtual import run

if TYPE_CHECKING:
    from calls.bus import StepTaken
    from calls.tools import ToolContext

LONG = "We have a table for two at seven and another one at eight, both are by the window. "


def outcomes(line: Line) -> list[tuple[int, str, str]]:
    return [(turn.turn, turn.outcome, turn.heard_text) for turn in line.of(TurnClosed)]


def test_half_a_minute_of_conversation_takes_no_time() -> None:
    async def conversation() -> Line:
        async with call(agent(greeting="Hello. How can I help you?")) as line:
            await line.wait(3000)
            for _ in range(6):
                await line.say("is there a table")
                await line.wait(4000)
            assert line.clock.now_ms() > 30_000
        return line

    began = time.perf_counter()
    line = run(conversation())
    assert time.perf_counter() - began < 1.0
    assert [outcome for _, outcome, _ in outcomes(line)] == ["answered"] * 7
    assert line.of(EndCall) == [EndCall("caller_hung_up")]


def test_timers_fire_when_they_are_due_and_only_the_latest_of_a_name() -> None:
    async def conversation() -> None:
        async with call(agent(idle_ms=5000)) as line:
            await line.wait(4000)
            line.starts()
            line.post(e.SpeechEnded(voiced_until_ms=4000))
            await line.wait(4999)
            assert line.of(TimerFired) == []
            await line.wait(2)
            assert [(f.timer, f.at_ms) for f in line.of(TimerFired)] == [("idle", 9000)]
            assert len([s for s in line.of(SetTimer) if s.timer == "idle"]) == 3

    run(conversation())


def test_events_are_stamped_when_they_enter_and_steps_say_how_long_they_waited() -> None:
    async def conversation() -> list[StepTaken]:
        async with call() as line:
            await line.wait(1234)
            line.post(e.TurnOpened(at_ms=99))
            await line.wait(1)
        return line.steps

    steps = run(conversation())
    opened = next(step for step in steps if isinstance(step.event, e.TurnOpened))
    assert opened.event.at_ms == 1234
    assert opened.waited_us == 0
    assert [step.event.at_ms for step in steps] == sorted(step.event.at_ms for step in steps)


def test_barge_in_cancels_clears_and_nothing_of_the_old_epoch_follows() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.voice.deaf = True
            line.model.scripts = [[(200, LONG), (500, "And more of it. "), (5000, "And more. ")]]
            await line.say("is there a table")
            await line.wait(1500)
            assert line.actor.state.mode is Mode.SPEAKING
            line.starts()
            await line.wait(100)
            line.post(e.WordsHeard(text="no, tomorrow"))
            line.post(e.SpeechEnded(voiced_until_ms=line.clock.now_ms()))
            line.post(e.TurnEnded(text="no, tomorrow"))
            await line.wait(4000)
        return line

    line = run(conversation())
    assert len(line.model.asked) == 2
    assert line.model.cancelled == 1
    assert 1 in line.voice.cancelled
    at_clear = next(n for n, (_, what, _) in enumerate(line.carrier.wire) if what == "clear")
    after = [value for _, what, value in line.carrier.wire[at_clear:] if what == "media"]
    assert after
    assert 1 not in after
    echoed = [mark for mark in line.of(MarkReturned) if mark.epoch == 1]
    assert StaleDropped("MarkReturned") in line.of(StaleDropped)
    assert len(echoed) > 3
    assert [outcome for _, outcome, _ in outcomes(line)] == ["interrupted", "answered"]
    said = outcomes(line)[0][2]
    assert said
    assert LONG.startswith(said)


def test_late_audio_after_a_cancel_is_dropped_at_the_gate_and_counted() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.voice.deaf = True
            line.model.scripts = [[(200, LONG)]]
            await line.say("is there a table")
            await line.wait(250)
            line.starts()
            line.post(e.WordsHeard(text="no wait"))
            await line.wait(400)
            line.post(e.TurnEnded(text="no wait"))
            await line.wait(2000)
        return line

    line = run(conversation())
    assert line.dropped_bytes > 8000
    assert [value for _, value in line.sent("media")].count(1) == 0


def test_a_cough_costs_one_clear_and_no_word() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.model.scripts = [[(200, LONG)]]
            await line.say("is there a table")
            await line.wait(1500)
            line.starts()
            await line.wait(200)
            line.post(e.SpeechEnded(voiced_until_ms=line.clock.now_ms()))
            await line.wait(20_000)
        return line

    line = run(conversation())
    assert len(line.of(Clear)) == 1
    assert outcomes(line)[0] == (1, "answered", LONG.strip())


def test_a_guess_is_made_behind_the_gate_and_heard_at_once_when_it_is_confirmed() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.starts()
            await line.wait(500)
            line.post(e.EagerEnd(text="is there a table"))
            await line.wait(700)
            assert line.carrier.wire == []
            line.post(e.TurnEnded(text="is there a table"))
            await line.wait(0)
            assert [at for at, _ in line.sent("media")] == [1200]
            line.post(e.SpeechEnded(voiced_until_ms=500))
            await line.wait(3000)
        return line

    line = run(conversation())
    assert len(line.model.asked) == 1
    assert outcomes(line)[0][1] == "answered"


def test_a_tools_result_reaches_the_model_and_the_answer_the_caller() -> None:
    async def lookup(context: ToolContext) -> tuple[str, str]:
        assert (context.call_sid, context.turn, context.key) == ("CA1", 1, "CA1:1.1:c1")
        return "ok", '{"free":true}'

    async def conversation() -> Line:
        async with call() as line:
            line.tools["lookup"] = lookup
            line.model.scripts = [[(200, Tool("lookup"))], [(100, "There is one. ")]]
            await line.say("is there a table")
            await line.wait(4000)
        return line

    line = run(conversation())
    assert [settled.outcome for settled in line.of(ToolSettled)] == ["ok"]
    assert line.model.asked[1].messages[-1].text == '{"free":true}'
    assert outcomes(line) == [(1, "answered", "There is one.")]


def test_a_goodbye_is_heard_to_its_end_before_the_hang_up() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.model.scripts = [[(200, "Thank you, goodbye. "), (0, Tool("end_call"))]]
            await line.say("that was all")
            await line.wait(5000)
        return line

    line = run(conversation())
    assert line.control.requests == ["hang_up CA1"]
    assert outcomes(line) == [(1, "answered", "Thank you, goodbye.")]
    assert line.of(EndCall) == [EndCall("agent_hung_up")]


def test_a_silence_endpoint_asks_the_ear_for_the_text() -> None:
    async def conversation() -> None:
        async with call(agent(endpointing="silence", silence_end_ms=600)) as line:
            line.starts()
            await line.wait(500)
            line.post(e.SpeechEnded(voiced_until_ms=400))
            await line.wait(499)
            assert line.ear.finalized == 0
            await line.wait(2)
            assert line.ear.finalized == 1

    run(conversation())


def test_the_steps_are_the_same_whenever_the_conversation_is_held() -> None:
    async def conversation() -> list[tuple[object, ...]]:
        async with call(agent(greeting="Hello.")) as line:
            line.model.scripts = [[(200, LONG)]]
            await line.wait(1000)
            await line.say("is there a table")
            await line.wait(1500)
            await line.say("no, tomorrow")
            await line.wait(5000)
        return [(step.event, step.commands, step.state) for step in line.steps]

    assert run(conversation()) == run(conversation())


def test_every_running_call_of_a_turn_has_one_outcome() -> None:
    async def conversation() -> Line:
        async with call() as line:

            async def book(_: ToolContext) -> tuple[str, str]:
                await line.wait(3000)
                return "ok", "{}"

            line.tools["book_table"] = book
            line.model.scripts = [[(200, Tool("book_table"))], [(200, "First things first. ")]]
            await line.say("book a table")
            await line.wait(500)
            await line.say("and the parking?")
            await line.wait(6000)
        return line

    line = run(conversation())
    assert len(line.of(RunTool)) == len(line.of(ToolSettled)) == 1
    assert line.of(ToolSettled)[0].outcome == "ok"


def test_keys_reach_the_carrier_as_tones_after_the_words() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.model.scripts = [[(100, "I press it. "), (0, Tool("send_dtmf", arguments='{"digits":"1#"}'))]]
            await line.say("press one, please")
            await line.wait(6000)
        return line

    line = run(conversation())
    words_ms = sum((len(word) + 1) * MS_PER_CHAR for word in ("I", "press", "it."))
    sent = sum(audio.size_bytes for audio in line.of(e.AudioSent))
    assert sent == words_ms * mulaw.BYTES_PER_MS + len(mulaw.dtmf("1#"))
    assert line.of(TurnClosed)[-1].outcome == "answered"

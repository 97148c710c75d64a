"""What goes wrong around the core comes back as an event, and the call goes on or ends with a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from calls import actor
from calls.bus import StepTaken
from calls.core import events as e
from calls.core.commands import EndCall, PlayPhrase, TurnClosed
from calls.core.events import (
    CallStarted,
    CardLoaded,
    CarrierGone,
    DtmfPressed,
    ErrorRaised,
    Event,
    ModelFailed,
    ToolSettled,
)
from calls.core.machine import step
from calls.core.state import Phase
from calls.mailbox import Clock, Mailbox
from tests.actor.line import Line, Tool, call
from tests.unit.core.world import agent
from voiceagent.demo.virtual import Stuck, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.core.commands import Command
    from calls.core.state import State
    from calls.tools import ToolContext


def errors(line: Line) -> list[tuple[str, str]]:
    return [(raised.where, raised.error) for raised in line.of(ErrorRaised)]


def reason(line: Line) -> str:
    ends = line.of(EndCall)
    assert len(ends) == 1
    return ends[0].reason


# --- the model ----------------------------------------------------------------------------------------------------------


def test_a_model_that_raises_is_a_failed_model_and_the_caller_hears_a_phrase() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.model.scripts = [[(100, ValueError("bad"))]]
            await line.say("hello?")
            await line.wait(8000)
            await line.say("hello again")
            await line.wait(4000)
        return line

    line = run(conversation())
    assert [failed.kind for failed in line.of(ModelFailed)] == ["internal"]
    assert errors(line) == [("model", "ValueError")]
    assert [played.phrase for played in line.of(PlayPhrase)] == ["model_failed"]
    assert line.sent("media")
    assert [turn.outcome for turn in line.of(TurnClosed)] == ["failed_to_fallback", "answered"]


def test_a_request_cancelled_before_its_first_step_leaves_nothing_behind() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.post(e.TurnEnded(text="hello"))
            line.post(e.TurnEnded(text="there"))
            await line.wait(3000)
        return line

    line = run(conversation())
    assert [turn.user_text for turn in line.of(TurnClosed)] == ["hello there"]
    assert len(line.model.asked) == 1


# --- tools --------------------------------------------------------------------------------------------------------------


async def _raises(_: ToolContext) -> tuple[str, str]:
    raise LookupError("none")


async def _never(_: ToolContext) -> tuple[str, str]:
    await asyncio.sleep(10**6)
    return "ok", "{}"


@pytest.mark.parametrize(
    ("tool", "outcome", "raised"),
    [(_raises, "error", [("tool:lookup", "LookupError")]), (_never, "timeout", [])],
    ids=["raises", "takes too long"],
)
def test_a_tool_that_fails_has_its_one_outcome(
    tool: Callable[[ToolContext], Any], outcome: str, raised: list[tuple[str, str]]
) -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.tools["lookup"] = tool
            line.model.scripts = [[(200, Tool("lookup"))], [(200, "I cannot say. ")]]
            await line.say("is there a table")
            await line.wait(12_000)
        return line

    line = run(conversation())
    assert [settled.outcome for settled in line.of(ToolSettled)] == [outcome]
    assert errors(line) == raised
    assert "error" in line.model.asked[1].messages[-1].text
    assert line.of(TurnClosed)[0].heard_text.endswith("I cannot say.")


def test_a_read_is_cancelled_when_its_reply_is_interrupted() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.tools["lookup"] = _never
            line.model.scripts = [[(200, "One moment please. "), (0, Tool("lookup"))]]
            await line.say("is there a table")
            await line.wait(1000)
            await line.say("no, stop that")
            await line.wait(3000)
        return line

    line = run(conversation())
    assert [settled.outcome for settled in line.of(ToolSettled)] == ["cancelled"]


def test_a_tool_cancelled_before_its_first_step_settles_too() -> None:
    """The cancel is in the mailbox before the loop has had a turn."""

    async def conversation() -> Line:
        async with call() as line:
            line.tools["lookup"] = _never
            line.post(e.EagerEnd(text="is there a table"))
            await line.wait(1)
            ask = line.model.asked[0]
            line.post(e.ModelToolCall(turn=ask.turn, epoch=ask.epoch, call_id="c9", name="lookup", arguments="{}"))
            line.post(e.TurnResumed())
            await line.wait(100)
        return line

    line = run(conversation())
    assert line.ran == []
    assert [(settled.call_id, settled.outcome) for settled in line.of(ToolSettled)] == [("c9", "cancelled")]


# --- our own code -------------------------------------------------------------------------------------------------------


def test_a_command_that_raises_is_on_record_and_the_others_are_carried_out() -> None:
    def prepare(line: Line) -> None:
        line.voice.fails_at_say = RuntimeError("broken")

    async def conversation() -> Line:
        async with call(agent(greeting="Hello there."), prepare=prepare) as line:
            await line.wait(20_000)
        return line

    line = run(conversation())
    assert ("Say", "RuntimeError") in errors(line)
    assert line.of(TurnClosed)[0].outcome == "failed_to_fallback"
    assert line.of(PlayPhrase)[0].phrase == "voice_failed"


def test_a_subscriber_that_raises_is_reported_and_the_others_still_hear() -> None:
    heard: list[StepTaken] = []

    def broken(*_: object) -> None:
        raise RuntimeError("subscriber")

    async def conversation() -> Line:
        async with call() as line:
            line.bus.subscribe(StepTaken, broken)
            line.bus.subscribe(StepTaken, lambda step, _: heard.append(step))
            await line.say("hello")
            await line.wait(3000)
        return line

    line = run(conversation())
    assert heard == line.steps[-len(heard) :]
    assert len(heard) == len(line.errors) > 5
    assert line.of(TurnClosed)[0].outcome == "answered"


def breaking(kinds: tuple[type[Event], ...], times: int) -> Callable[[State, Event], tuple[State, tuple[Command, ...]]]:
    """The core, with a bug: the first ``times`` events of these kinds raise."""
    left = [times]

    def broken(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
        if isinstance(event, kinds) and left[0]:
            left[0] -= 1
            raise ZeroDivisionError
        return step(state, event)

    return broken


def test_a_step_that_breaks_changes_nothing_and_the_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "step", breaking((e.TurnOpened,), 2))

    async def conversation() -> Line:
        async with call() as line:
            await line.wait(100)
            before = line.actor.state
            line.post(e.TurnOpened())
            line.post(e.TurnOpened())
            await line.wait(1)
            assert line.actor.state == before
            await line.say("hello")
            await line.wait(3000)
        return line

    line = run(conversation())
    assert errors(line) == [("step:TurnOpened", "broken")] * 2
    assert line.of(TurnClosed)[0].outcome == "answered"


@pytest.mark.parametrize("times", [3, 4, 40])
def test_a_core_that_breaks_again_and_again_ends_the_call(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """However many events of the kind that breaks it are waiting already."""
    monkeypatch.setattr(actor, "step", breaking((e.TurnOpened,), times))

    async def conversation() -> Line:
        async with call() as line:
            await line.wait(100)
            for _ in range(times):
                line.post(e.TurnOpened())
            await line.wait(1000)
            assert line.control.requests == ["hang_up CA1"]
        return line

    assert reason(run(conversation())) == "internal_error"


def test_a_core_that_cannot_even_end_the_call_gives_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "step", breaking((e.TurnOpened, e.HangUpAsked), 100))

    async def conversation() -> Line:
        line = Line(agent())
        running = asyncio.create_task(line.actor.run())
        await line.wait(100)
        for _ in range(4):
            line.post(e.TurnOpened())
        with pytest.raises(ExceptionGroup) as raised:
            await running
        assert raised.group_contains(RuntimeError, match="the core broke")
        assert line.ear.ended
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return line

    run(conversation())


def test_an_event_that_is_not_admitted_is_left_out_of_the_record() -> None:
    async def conversation() -> Line:
        async with call() as line:
            await line.wait(100)
            line.post(e.CallStarted(call_sid="CA1", agent=agent()))
            await line.wait(100)
        return line

    line = run(conversation())
    assert len(line.of(e.CallStarted)) == 1


def test_an_ear_that_raises_is_an_error_and_not_the_end() -> None:
    async def broken() -> None:
        raise OSError("socket")

    def prepare(line: Line) -> None:
        line.ear.run = broken  # type: ignore[method-assign]

    async def conversation() -> Line:
        async with call(prepare=prepare) as line:
            await line.say("hello")
            await line.wait(3000)
        return line

    line = run(conversation())
    assert errors(line) == [("ear", "OSError")]
    assert line.of(TurnClosed)[0].outcome == "answered"


# --- the end ------------------------------------------------------------------------------------------------------------


def test_a_hang_up_that_the_carrier_refuses_closes_the_stream() -> None:
    async def conversation() -> Line:
        async with call() as line:
            line.control.fails = OSError("503")
            line.post(e.HangUpAsked(by="operator"))
            await line.wait(500)
            assert line.carrier.closed
        return line

    line = run(conversation())
    assert ("hang_up", "OSError") in errors(line)
    assert reason(line) == "operator"


def test_a_hang_up_that_never_answers_does_not_hold_the_call() -> None:
    async def conversation() -> int:
        async with call() as line:
            line.control.hangs = True
            line.post(e.HangUpAsked(by="operator"))
            await line.wait(4000 + 2000)
            assert reason(line) == "operator"
        return line.clock.now_ms()

    assert run(conversation()) < 10_000


def test_a_transfer_is_asked_of_the_carrier_with_its_number() -> None:
    async def conversation() -> Line:
        async with call(agent(transfer_to="+15550001111")) as line:
            line.model.scripts = [[(200, "I pass you on. "), (0, Tool("transfer_call"))]]
            await line.say("a person please")
            await line.wait(4000)
        return line

    line = run(conversation())
    assert len(line.control.requests) == 1
    assert line.control.requests[0].startswith("redirect CA1 ")
    assert "+15550001111" in line.control.requests[0]
    assert reason(line) == "transferred"


@pytest.mark.parametrize("when_ms", [0, 150, 1300, 1400, 1700, 2600])
def test_the_end_of_the_stream_at_any_moment_leaves_no_task_and_no_timer(when_ms: int) -> None:
    async def conversation() -> Line:
        async with call(agent(greeting="Hello.")) as line:
            line.tools["lookup"] = _never
            line.model.scripts = [[(200, "One moment. "), (100, Tool("lookup")), (5000, "more")]]
            talking = asyncio.create_task(line.say("is there a table"))
            await line.wait(when_ms)
            line.post(CarrierGone(how="stop"))
            await talking
        loop: Any = asyncio.get_running_loop()
        set_by_actor = [handle for handle in loop._scheduled if handle._callback == line.mailbox.post]
        assert all(handle.cancelled() for handle in set_by_actor)
        return line

    assert reason(run(conversation())) == "caller_hung_up"


def test_who_hangs_up_while_the_call_is_being_set_up_ends_it() -> None:
    async def conversation() -> Line:
        async with call(prepare=lambda line: line.post(CarrierGone(how="stop"))) as line:
            await line.wait(100)
            assert line.actor.state.phase is Phase.ENDED
        return line

    assert reason(run(conversation())) == "caller_hung_up"


def test_a_key_pressed_while_the_call_is_being_set_up_is_answered_and_the_card_still_comes_first() -> None:
    def press(line: Line) -> None:
        line.post(CardLoaded(name="Maria", text=""))
        for digit in "7#":
            line.post(DtmfPressed(digit=digit))

    async def conversation() -> Line:
        async with call(agent(greeting=""), prepare=press) as line:
            await line.wait(1000)
        return line

    line = run(conversation())
    first = [type(step.event) for step in line.steps[:4]]
    assert first == [CardLoaded, CallStarted, DtmfPressed, DtmfPressed]
    assert line.model.asked[0].messages[-1].text == "(pressed on the keypad: 7#)"


# --- the mailbox --------------------------------------------------------------------------------------------------------


def test_a_call_that_cannot_keep_up_is_ended_and_not_robbed_of_facts() -> None:
    async def conversation() -> Line:
        async with call(capacity=50) as line:
            await line.wait(100)
            for number in range(80):
                line.post(e.WordsHeard(text=f"word {number}"))
            assert len(line.mailbox) == 51
            await line.wait(5000)
            assert line.control.requests == ["hang_up CA1"]
        return line

    line = run(conversation())
    assert [event.text for event in line.of(e.WordsHeard)] == [f"word {number}" for number in range(50)]
    assert reason(line) == "overload"


def test_the_mailbox_gives_letters_in_order_and_waits_for_the_next() -> None:
    async def reading() -> None:
        loop = asyncio.get_running_loop()
        box = Mailbox(Clock(loop.time))
        loop.call_later(0.5, box.post, e.TurnOpened())
        loop.call_later(0.7, box.post, e.TurnResumed())
        letters = [await box.get(), await box.get()]
        assert [(type(x.event), x.event.at_ms, x.posted_us) for x in letters] == [
            (e.TurnOpened, 500, 500_000),
            (e.TurnResumed, 700, 700_000),
        ]
        assert len(box) == 0

    run(reading())


def test_a_loop_that_waits_for_nothing_says_so() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(forever())

"""A call that gets more events than it can take is ended, and its end gets through."""

from __future__ import annotations

from calls.core.commands import EndCall, HangUp, SetTimer
from calls.core.events import CallStarted, CarrierGone, DtmfPressed, HangUpAsked, TimerFired, ToolSettled
from calls.core.machine import step
from calls.core.policy import AgentProfile
from calls.core.state import Phase, State
from calls.mailbox import Clock, Mailbox

AGENT = AgentProfile(name="A", version=1, instructions="", greeting="", voice="v")


async def test_an_overflown_mailbox_takes_what_the_end_of_the_call_needs_and_nothing_else() -> None:
    box = Mailbox(Clock(lambda: 0.0), capacity=10)
    box.post(CallStarted(call_sid="CA1", agent=AGENT))
    for _ in range(50):
        box.post(DtmfPressed(digit="1"))
    assert len(box) == 11
    state, hung_up = State(), False
    while len(box):
        state, commands = step(state, (await box.get()).event)
        hung_up = hung_up or HangUp(reason="overload") in commands
    grace = next(command for command in commands if isinstance(command, SetTimer))
    assert (hung_up, state.phase) == (True, Phase.ENDING)
    box.post(DtmfPressed(digit="1"))
    box.post(HangUpAsked(by="operator"))
    assert len(box) == 0
    box.post(ToolSettled(call_id="x", outcome="ok", output=""))
    box.post(CarrierGone(how="stop"))
    box.post(TimerFired(timer=grace.timer, key=grace.key))
    assert [type((await box.get()).event) for _ in range(len(box))] == [ToolSettled, CarrierGone, TimerFired]
    state, commands = step(state, TimerFired(timer=grace.timer, key=grace.key))
    assert EndCall(reason="overload") in commands
    assert state.phase is Phase.ENDED

"""What the lines of a call say where an event alone does not tell what came of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from calls.bus import Bus, StepTaken
from calls.calllog import CallLog
from calls.core.commands import AskModel
from calls.core.events import MemoryRecalled, Recalled, TimerFired
from calls.core.state import State
from calls.logcontext import CallPlace
from calls.tickets import Ticket
from tests.unit.core.world import agent

ITEM = Recalled(id="m1", level="L2", kind="fact", text="Vegetarian.", in_prompt=True)
FOUND = MemoryRecalled(at_ms=900, turn=1, epoch=3, outcome="full", took_ms=60, items=(ITEM,))


@pytest.mark.parametrize(("asked_epoch", "outcome", "in_prompt"), [(3, "late", 0), (2, "full", 1)])
def test_a_recall_that_comes_after_the_model_was_asked_is_late_as_on_record(
    asked_epoch: int, outcome: str, in_prompt: int
) -> None:
    bus = Bus(on_error=pytest.fail)
    CallLog(bus, Ticket("CA1", "", "", "", 1, agent()), CallPlace("CA1", ""))
    asked = AskModel(turn=1, epoch=asked_epoch, messages=())
    with capture_logs() as lines:
        bus.publish(StepTaken(1, 0, TimerFired(at_ms=880, timer="recall", key=1), (asked,), State()))
        bus.publish(StepTaken(2, 0, FOUND, (), State()))
    (line,) = [line for line in lines if line["event"] == "memory.recalled"]
    assert (line["outcome"], line["for_turn"], line["in_prompt"]) == (outcome, 1, in_prompt)

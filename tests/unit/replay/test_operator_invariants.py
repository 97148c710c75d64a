"""What the checker finds wrong where operators act: one defect after the other, put into one step of a good call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from calls.core import commands as c
from calls.core import events as e
from calls.core.state import Phase, Reply, State
from calls.replay.invariants import Checker, Invariant
from tests.unit.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = tuple[State, e.Event, tuple[c.Command, ...], State]


def a_call() -> list[Step]:
    """Listened to, whispered to, taken over in the middle of an answer, handed back."""
    w = World()
    w.feed(e.OperatorListening(by="ada", on=True))
    w.feed(e.OperatorWhispered(key="w", by="ada", text="Offer the terrace."))
    w.say("is there a table")
    w.model("We have one by the window, and another one by the door. ")
    w.voice()
    w.wait(500)
    w.feed(e.OperatorTookOver(key="t", by="ada"))
    w.feed(e.OperatorTookOver(key="u", by="bob"))
    w.say("outside please")
    w.feed(e.OperatorHandedBack(key="h", by="ada", summary="It is settled."))
    w.feed(e.CarrierGone(how="stop"))
    return list(w.steps)


CALL = a_call()


def without(*kinds: type[c.Command]) -> Callable[[Step], Step]:
    return lambda step: (step[0], step[1], tuple(x for x in step[2] if not isinstance(x, kinds)), step[3])


def after(**changes: object) -> Callable[[Step], Step]:
    return lambda step: (*step[:3], replace(step[3], **changes))  # type: ignore[arg-type]


#: The step that is wrong, how, and what is broken by it.
DEFECTS: dict[str, tuple[type[e.Event], int, Callable[[Step], Step], Invariant]] = {
    "listening changes a call": (e.OperatorListening, 0, after(failures=1), Invariant.TURN_ISOLATION),
    "a note is lost": (e.OperatorWhispered, 0, after(notes=()), Invariant.EXACTLY_ONCE),
    "the carrier is not cleared": (e.OperatorTookOver, 0, without(c.Clear), Invariant.IMMEDIATE_BARGE_IN),
    "the gate is not lent": (e.OperatorTookOver, 0, without(c.LendGate), Invariant.IMMEDIATE_BARGE_IN),
    "a second one takes the floor": (e.OperatorTookOver, 1, after(operator="bob"), Invariant.EXACTLY_ONCE),
    "nobody has the floor": (e.OperatorTookOver, 1, after(operator=""), Invariant.EXACTLY_ONCE),
    "the assistant goes on": (
        e.OperatorTookOver,
        1,
        after(cut=Reply(turn=9, epoch=9, kind="answer")),
        Invariant.IMMEDIATE_BARGE_IN,
    ),
    "the gate is not taken back": (e.OperatorHandedBack, 0, without(c.TakeGateBack), Invariant.IMMEDIATE_BARGE_IN),
}


def test_the_call_itself_is_in_order() -> None:
    checker = Checker()
    for step in CALL:
        checker.watch(*step)
    assert Phase.OPERATOR in [state.phase for *_, state in CALL]


def test_what_an_operator_has_heard_may_be_told_twice() -> None:
    w = World()
    w.feed(e.OperatorTookOver(key="t", by="ada"))
    w.say("outside please")
    w.feed(e.TurnEnded(text="outside please"))
    assert w.of(c.StaleDropped)[-1].event == "TurnEnded"
    checker = Checker()
    for step in w.steps:
        checker.watch(*step)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    kind, number, defect, invariant = DEFECTS[name]
    at = [index for index, step in enumerate(CALL) if isinstance(step[1], kind)][number]
    checker = Checker()
    for step in CALL[:at]:
        checker.watch(*step)
    found = checker.collect(*defect(CALL[at]))
    assert invariant in [violation.invariant for violation in found]

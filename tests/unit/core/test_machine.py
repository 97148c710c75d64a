"""The table itself: what is admitted when, and that an event which is not changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core import events as e
from calls.core import machine
from calls.core.machine import ALWAYS, AROUND, TABLE, BrokenRule, IllegalEvent, step
from calls.core.record import EVENT_TYPES
from calls.core.state import END_REASONS, Mode, Phase, State
from tests.unit.core.world import World, agent


def test_every_mode_treats_every_event_of_an_active_call() -> None:
    assert {*TABLE} == {*Mode} - {Mode.OPERATOR}
    for mode in TABLE:
        assert {*TABLE[mode]} == {*EVENT_TYPES.values()} - {e.CallStarted}


def test_what_all_modes_treat_alike_stands_once() -> None:
    for event, row in ALWAYS.items():
        assert all(TABLE[mode][event] is row for mode in TABLE)


def test_every_row_says_what_it_does() -> None:
    rows = [row for rows in (*TABLE.values(), *AROUND.values()) for row in rows.values()]
    assert all(row.handler.__doc__ and row.then for row in rows)


@pytest.mark.parametrize(
    "event",
    [e.WordsHeard(text="hello"), e.TimerFired(timer="idle", key=1), e.ModelText(turn=1, epoch=1, text="a")],
    ids=lambda event: type(event).__name__,
)
def test_nothing_of_a_conversation_is_admitted_before_its_start(event: e.Event) -> None:
    state = State()
    with pytest.raises(IllegalEvent, match=f"{type(event).__name__} is not admitted while the call is connecting"):
        step(state, event)
    assert state == State()


def test_a_call_starts_once() -> None:
    w = World()
    before = w.state
    with pytest.raises(IllegalEvent, match="CallStarted is not admitted while the call is active"):
        w.feed(e.CallStarted(call_sid="CA1", agent=agent()))
    assert w.state == before


def test_a_handler_that_breaks_its_row_is_found_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World()
    w.say("hello")
    row = machine.TABLE[Mode.THINKING][e.ModelText]
    monkeypatch.setitem(machine.TABLE[Mode.THINKING], e.ModelText, row._replace(then=frozenset({Mode.SPEAKING})))
    before = w.state
    with pytest.raises(BrokenRule, match="ModelText in THINKING led to THINKING"):
        w.feed(e.ModelText(turn=1, epoch=1, text="Hello. "))
    assert w.state == before


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.ENDED])
def test_what_comes_late_is_counted_and_changes_nothing(phase: Phase) -> None:
    w = World()
    w.feed(e.HangUpAsked(by="operator"))
    if phase is Phase.ENDED:
        w.feed(e.CarrierGone(how="stop"))
    assert w.state.phase is phase
    before = w.state
    commands = w.feed(e.SpeechStarted(voiced_at_ms=0))
    assert [type(c).__name__ for c in commands] == ["StaleDropped"]
    assert w.state == before


def test_a_timer_of_an_earlier_setting_is_dropped() -> None:
    w = World()
    armed = w.state.timers[0]
    before = w.state
    w.feed(e.TimerFired(timer=armed.name, key=armed.key + 99))
    w.feed(e.TimerFired(timer="nobody's", key=1))
    assert w.state == before


def test_end_reasons_are_documented_in_a_sentence() -> None:
    assert all(reason.isidentifier() and len(text) > 20 for reason, text in END_REASONS.items())


def test_the_core_does_not_read_a_clock() -> None:
    w, later = World(), World()
    assert step(w.state, e.TurnOpened(at_ms=5)) == step(later.state, e.TurnOpened(at_ms=5))
    assert replace(w.state) == later.state

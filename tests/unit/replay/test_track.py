"""A record that can be visited: every moment is the state that a straight replay has there."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from calls.core import events as e
from calls.core.commands import CancelModel, Command, LendGate, TakeGateBack
from calls.replay.callfile import read
from calls.replay.log import CallRecord, Line, version_of
from calls.replay.run import replay
from calls.replay.track import EVERY, LENT, Dropped, Moment, Track, track_of
from calls.replay.versions import core_of
from calls.replay.why import CAUSES, why
from tests.unit.core.world import World
from tests.unit.replay import records

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = sorted((Path(__file__).resolve().parents[2] / "calls").glob("*.call.jsonl.gz"))


def record_of(file: Path) -> CallRecord:
    return read(file.read_bytes()).record


def events_of(record: CallRecord) -> list[Line]:
    return [line for line in record.lines if line.kind == "event"]


def visited(track: Track, events: list[Line], step: int) -> Any:
    return track.visit(step, [events[n - 1] for n in track.behind(step)])


def along(record: CallRecord) -> tuple[Track, list[Moment]]:
    """A track, and the moment behind each of its steps as it came."""
    track = track_of(core_of(version_of(record.lines)), [])
    moments = [visited(track, [], 0)]
    for event in events_of(record):
        assert track.add(event), track.broken
        moments.append(Moment(len(track), track.ends_ms, track._state, track._origins))
    return track, moments


@pytest.mark.search
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.split(".")[0])
def test_every_moment_is_the_state_of_a_straight_replay_whatever_rules_made_the_record(file: Path) -> None:
    record, states = record_of(file), []
    assert replay(record, lambda _step, _commands, after: states.append(after)).is_same
    track, moments = along(record)
    assert [moment.state for moment in moments[1:]] == states
    events = events_of(record)
    for step, moment in enumerate(moments):
        assert visited(track, events, step) == moment


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.split(".")[0])
def test_every_moment_has_a_cause_and_steps_that_led_to_it(file: Path) -> None:
    _, moments = along(record_of(file))
    for step, moment in enumerate(moments):
        found = why(moment)
        assert found.cause in CAUSES
        assert [link.step for link in found.chain] == sorted({link.step for link in found.chain})
        assert all(0 < link.step <= step for link in found.chain)
        assert all(0 <= waits.set_in <= step for waits in found.waits)
    assert (why(moments[0]).cause, why(moments[-1]).cause) == ("connecting", "ended")


def test_no_more_than_the_steps_behind_a_checkpoint_are_run_again() -> None:
    record = record_of(FILES[0])
    events = events_of(record)
    track = track_of(core_of(version_of(record.lines)), events)
    assert len(track) > 2 * EVERY, "else this shows nothing"
    assert max(len(track.behind(step)) for step in range(len(track) + 1)) == EVERY - 1
    assert list(track.behind(EVERY)) == []
    assert list(track.behind(EVERY + 2)) == [EVERY + 1, EVERY + 2]
    assert [track.seq(step) for step in range(1, len(track) + 1)] == [line.seq for line in events]


def test_a_time_leads_to_the_last_step_before_it_and_the_clock_goes_on_between_steps() -> None:
    record = record_of(FILES[0])
    events = events_of(record)
    track = track_of(core_of(version_of(record.lines)), events)
    assert track.step_at(-1) == 0
    assert track.step_at(10**9) == len(track)
    for step in (1, 5, len(track) - 1):
        at_ms = track.at_ms(step)
        assert track.at_ms(track.step_at(at_ms)) == at_ms
        assert track.step_at(at_ms) >= step
    moment = track.visit(5, [events[n - 1] for n in track.behind(5)], track.at_ms(5) + 7)
    assert moment.now_ms == track.at_ms(5) + 7


@pytest.mark.parametrize("step", [-1, 10**6])
def test_a_step_that_is_none_is_refused(step: int) -> None:
    record = record_of(FILES[0])
    track = track_of(core_of(version_of(record.lines)), events_of(record))
    with pytest.raises(IndexError, match="no step"):
        track.visit(step, [])


@pytest.mark.parametrize(
    ("spoil", "why_not"),
    [
        (lambda line: changed(line, kind="broken", error="unknown type 'X'"), "unknown type"),
        (lambda line: changed(line, data={"type": "NoSuchThing"}), "NoSuchThing"),
        (lambda line: changed(line, data={**line.data, "turn": "seven"}), "turn"),
        (lambda line: changed(line, step=line.step + 1), "is missing"),
    ],
    ids=["broken", "unknown", "of another type", "gap"],
)
def test_a_record_can_be_visited_up_to_where_it_is_broken(spoil: Any, why_not: str) -> None:
    record = record_of(FILES[0])
    events = events_of(record)
    place = next(n for n, line in enumerate(events) if n > 40 and "turn" in line.data)
    track = track_of(core_of(version_of(record.lines)), [*events[:place], spoil(events[place]), *events[place + 1 :]])
    assert len(track) == place
    assert track.broken is not None
    assert track.broken.step == place + 1
    assert why_not in track.broken.why
    assert visited(track, events, place).step == place
    assert not track.add(events[place]), "nothing follows what is broken"


LONG = "We have one by the window, and another one by the door. "


class Gated(World):
    """A world that notes after each step what its gate lets through."""

    def __init__(self) -> None:
        self.lent = False
        self.gates: list[int] = []
        super().__init__()

    def _step(self, event: e.Event) -> None:
        super()._step(event)
        is_open = self.open_epoch > self.dead_epoch
        self.gates.append(LENT if self.lent else self.open_epoch if is_open else 0)

    def _obey(self, command: Command) -> None:
        super()._obey(command)
        self.lent = isinstance(command, LendGate) or (self.lent and not isinstance(command, TakeGateBack))


def track_through(w: World) -> tuple[Track, list[Line]]:
    """The way through what this world has seen."""
    record = records.record_of(w.steps)
    events = events_of(record)
    return track_of(core_of(version_of(record.lines)), events), events


def test_the_gate_is_at_every_moment_what_it_was_for_the_carrier() -> None:
    w = Gated()
    w.say("is there a table")
    w.starts()  # held
    w.stops()
    w.wait(3000)  # it was nothing: let go
    w.model(LONG, finish="")
    w.voice(finish=False, words=4)
    w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="connect", retryable=False))
    assert isinstance(w.steps[-1][2][0], CancelModel)
    assert w.gates[-1] == w.ask.epoch, "what the voice has is still heard"
    w.say("the window please")  # over speech
    w.model(LONG)
    w.voice()
    w.wait(500)
    w.starts()
    w.feed(e.EagerEnd(text="no"))  # a guess
    w.feed(e.TurnResumed())  # that was wrong
    w.feed(e.OperatorTookOver(key="t", by="ada"))
    w.say("outside please")
    w.feed(e.OperatorHandedBack(key="h", by="ada", summary="It is settled."))
    w.answer(LONG)
    w.wait(500)
    w.feed(e.CarrierGone(how="stop"))
    assert {0, LENT} < {*w.gates}
    track, events = track_through(w)
    assert [visited(track, events, step).origins.gate for step in range(1, len(track) + 1)] == w.gates


def told_twice(w: World) -> int:
    w.starts()
    w.starts()
    return 0


def a_timer_set_anew(w: World) -> int:
    timer = w.state.timers[0]
    w.feed(e.TimerFired(timer=timer.name, key=timer.key - 1))
    return next(n for n, (*_, after) in enumerate(w.steps, 1) if timer in after.timers)


def of_a_cancelled_answer(w: World) -> int:
    w.say("is there a table")
    ask = w.ask
    w.answer(LONG)
    w.wait(500)
    w.starts()
    cancelled = len(w.steps)
    w.feed(e.ModelText(turn=ask.turn, epoch=ask.epoch, text="And "))
    return cancelled


def of_an_answer_that_is_over(w: World) -> int:
    w.say("is there a table")
    ask = w.ask
    w.answer("Yes. ")
    w.wait(2000)
    w.feed(e.ModelText(turn=ask.turn, epoch=ask.epoch, text="And "))
    return 0


def after_the_end(w: World) -> int:
    w.feed(e.CarrierGone(how="stop"))
    ended = len(w.steps)
    w.starts()
    return ended


@pytest.mark.parametrize(
    ("happens", "type_", "reason"),
    [
        (told_twice, "SpeechStarted", "twice"),
        (a_timer_set_anew, "TimerFired", "timer"),
        (of_a_cancelled_answer, "ModelText", "cancelled"),
        (of_an_answer_that_is_over, "ModelText", "over"),
        (after_the_end, "SpeechStarted", "ended"),
    ],
)
def test_what_came_too_late_is_told_with_the_reason_and_the_step_it_was_decided_in(
    happens: Callable[[World], int], type_: str, reason: str
) -> None:
    w = World()
    since = happens(w)
    track, events = track_through(w)
    assert visited(track, events, len(track)).origins.dropped[-1] == Dropped(len(track), type_, reason, since)
    assert visited(track, events, len(track) - 1).origins.dropped == ()

"""A log is followed as far as it is whole, and says where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.core.policy import POLICY_VERSION
from calls.replay.log import CallRecord, steps_of, version_of
from tests.unit.replay.records import a_booking, place_of, with_line

CALL = a_booking()
LAST = len(CALL.lines)


def without(first: int, last: int) -> CallRecord:
    return replace(CALL, lines=tuple(line for line in CALL.lines if not first <= line.seq <= last))


def test_a_whole_log_is_steps_in_order() -> None:
    steps, damage = steps_of(replace(CALL, lines=tuple(reversed(CALL.lines))))
    assert damage is None
    assert [step.event.step for step in steps] == list(range(1, len(steps) + 1))
    assert [line for step in steps for line in (step.event, *step.commands)] == list(CALL.lines)
    assert all(step.is_whole for step in steps)


@pytest.mark.parametrize(
    ("call", "seq", "why"),
    [
        (without(40, 40), 40, "entry 40 is missing"),
        (without(40, 45), 40, "entries 40 to 45 are missing"),
        (without(1, 3), 1, "entries 1 to 3 are missing"),
        (without(LAST, LAST), LAST, f"{LAST} entries were archived, {LAST - 1} are left"),
        (replace(CALL, damage="the file ends after line 9"), LAST + 1, "the file ends after line 9"),
        (replace(CALL, lines=(*CALL.lines, CALL.lines[-1])), LAST + 1, f"entry {LAST} stands twice"),
        (with_line(CALL, 20, kind="broken", error="no JSON"), 21, "no JSON"),
        (with_line(CALL, 20, kind="wish"), 21, "an entry of kind 'wish'"),
        (with_line(CALL, 20, type="Clear"), 21, "the entry does not hold a 'Clear'"),
        (with_line(CALL, 0, kind="command"), 1, "a command of step 1 stands after step 0"),
        (with_line(CALL, 0, step=2), 1, "a event of step 2 stands after step 0"),
    ],
)
def test_a_damaged_log_says_where_and_keeps_what_stands_before(call: CallRecord, seq: int, why: str) -> None:
    steps, damage = steps_of(call)
    assert damage is not None
    assert (damage.seq, damage.why) == (seq, why)
    assert sum(1 + len(step.commands) for step in steps) == seq - 1
    assert [step.is_whole for step in steps] == [True] * (len(steps) - 1) + [False] * bool(steps)


def test_an_empty_log_has_no_steps() -> None:
    assert steps_of(CallRecord("CA0", (), {})) == ([], None)


def test_a_record_names_its_version() -> None:
    assert version_of(CALL.lines) == CALL.lines[0].data["agent"]["policy"]["version"]
    started = CALL.lines[place_of(CALL, "CallStarted")]
    for agent, version in (
        ({"policy": {"version": 7}}, 7),
        ({"policy": {"version": "7"}}, 1),
        ({"policy": {}}, 1),
        ({"policy": None}, 1),
        (None, 1),
    ):
        assert version_of([replace(started, data={**started.data, "agent": agent})]) == version
    assert version_of([]) == POLICY_VERSION
    assert version_of(CALL.lines[1:]) == POLICY_VERSION

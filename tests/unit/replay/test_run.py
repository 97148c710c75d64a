"""A record replays to the same commands and states, or the first difference is shown."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from calls.core import events as e
from calls.core import hearing, machine, record, wording
from calls.core.state import Mode, State
from calls.replay.invariants import Invariant
from calls.replay.run import replay
from calls.replay.show import BAD_INPUT, DIFFERS, SAME, exit_code, report
from tests.unit.core.fuzz import random_call
from tests.unit.replay.records import a_booking, place_of, record_of, with_line

if TYPE_CHECKING:
    from calls.replay.log import CallRecord

CALL = a_booking()
STEPS = CALL.lines[-1].step
COMMANDS = sum(line.kind == "command" for line in CALL.lines)


def shown(call: CallRecord, took: str = "") -> str:
    return "\n".join(report("CA0", replay(call), took))


def changed(call: CallRecord, place: int, **values: Any) -> CallRecord:
    """Other values in the data of a line."""
    return with_line(call, place, data={**call.lines[place].data, **values})


def test_a_record_replays_to_the_same() -> None:
    outcome = replay(CALL)
    assert outcome.is_same
    assert (outcome.steps, outcome.commands, outcome.states) == (STEPS, COMMANDS, STEPS)
    data = [line.data for line in CALL.lines if line.kind == "command"]
    assert outcome.commands_sha256 == sha256(b"".join(record.dumps(record.command_from(d)) for d in data)).hexdigest()
    assert exit_code(outcome) == SAME
    assert shown(CALL, "12 ms") == f"CA0: OK, {STEPS} steps, {COMMANDS} commands, {STEPS} states, 12 ms"


@pytest.mark.parametrize("seed", range(4000, 4020))
def test_random_calls_replay(seed: int) -> None:
    assert replay(record_of(random_call(seed).steps)).is_same


def test_a_watcher_sees_each_step() -> None:
    seen = []
    replay(CALL, lambda step, commands, after: seen.append((len(step.commands) == len(commands), after.mode)))
    assert len(seen) == STEPS
    assert all(same for same, _ in seen)
    assert {mode for _, mode in seen} == set(Mode) - {Mode.OPERATOR}


def test_a_call_that_never_began_replays() -> None:
    gone = e.CarrierGone(how="closed")
    after, commands = machine.step(State(), gone)
    assert replay(record_of([(State(), gone, commands, after)])).is_same


# --- differences ------------------------------------------------------------------------------------------------------


def test_the_first_difference_is_shown_with_what_stands_around_it() -> None:
    place = place_of(CALL, "SetTimer", 12)
    call = changed(changed(CALL, place, due_ms=7), len(CALL.lines) - 1, reason="drain")
    outcome = replay(call)
    assert outcome.difference is not None
    line = call.lines[place]
    assert (outcome.difference.what, outcome.difference.step.event.step) == ("commands", line.step)
    assert outcome.steps == line.step - 1
    assert exit_code(outcome) == DIFFERS
    text = shown(call)
    head, *rest = text.splitlines()
    event = outcome.difference.step.event
    assert head.startswith(f"CA0: DIFFERS in step {line.step} (entry {event.seq}): commands. Same before: ")
    around = [row for row in rest if " s  " in row]
    assert [int(row[3:9]) for row in around] == list(range(line.step - 5, line.step + 6))
    assert [row[2] for row in around] == [" "] * 5 + [">"] + [" "] * 5
    assert f"{event.type} " in around[5]
    assert "→" in around[5]
    due = CALL.lines[place].data["due_ms"]
    assert '  -  "due_ms": 7,' in rest
    assert f'  +  "due_ms": {due},' in rest


@pytest.mark.parametrize(
    ("changes", "what"), [({"mode": "DANCING"}, "mode"), ({"turn": 99}, "turn"), ({"digest": "0" * 16}, "state")]
)
def test_a_difference_in_the_state_is_one(changes: dict[str, Any], what: str) -> None:
    place = place_of(CALL, "TurnEnded")
    call = with_line(CALL, place, **changes)
    outcome = replay(call)
    assert outcome.difference is not None
    assert (outcome.difference.what, outcome.difference.step.event.seq) == (what, place + 1)
    assert exit_code(outcome) == DIFFERS
    assert f": {what}. Same before" in shown(call)


def test_a_state_that_differs_is_shown_without_the_agent() -> None:
    text = shown(with_line(CALL, place_of(CALL, "TurnEnded"), digest="0" * 16))
    assert '"user_text": "Hi, I would like to book a table for Saturday."' in text
    assert "receptionist" not in text


def test_commands_too_many_and_too_few_are_differences() -> None:
    place = place_of(CALL, "AskModel")
    extra = replace(
        CALL,
        lines=tuple(
            replace(line, seq=line.seq + (line.seq > place)) for line in (*CALL.lines[:place], *CALL.lines[place:])
        ),
        entries=None,
    )
    doubled = replace(extra, lines=(*extra.lines[:place], replace(CALL.lines[place]), *extra.lines[place:]))
    missing = replace(
        CALL,
        lines=tuple(replace(x, seq=x.seq - (x.seq > place + 1)) for x in CALL.lines if x.seq != place + 1),
        entries=None,
    )
    for call in (doubled, missing):
        found = replay(call).difference
        assert found is not None
        assert found.what == "commands"
        assert len(found.expected) != len(found.got)


def test_a_command_of_another_kind_is_a_difference() -> None:
    place = place_of(CALL, "EndSay")
    call = with_line(CALL, place, type="FinalizeEar", data={"type": "FinalizeEar"})
    found = replay(call).difference
    assert found is not None
    assert any('"EndSay"' in text for text in found.got)


def test_a_core_that_fails_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    for rows in machine.TABLE.values():
        monkeypatch.setitem(rows, e.TurnEnded, machine.row(fail, *Mode))
    found = replay(CALL).difference
    assert found is not None
    assert (found.what, found.got) == ("failure", ("RuntimeError: out of order",))
    assert "+RuntimeError: out of order" in shown(CALL)


def test_a_rule_that_changed_without_a_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "takes_floor", lambda *_: False)
    assert not replay(CALL).is_same


# --- invariants -------------------------------------------------------------------------------------------------------


def test_an_invariant_that_did_not_hold_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "_keep", lambda w, text: None)
    world = random_call_with_a_lost_word()
    outcome = replay(record_of(world))
    assert outcome.difference is None
    assert {violation.invariant for _, violation in outcome.violations} == {Invariant.EXACTLY_ONCE}
    assert not outcome.is_same
    assert exit_code(outcome) == DIFFERS
    text = "\n".join(report("CA0", outcome))
    assert text.startswith("CA0: VIOLATES invariants. Commands and states are the same: ")
    assert f"  step {outcome.violations[0][0]} violates invariant 3, exactly once: " in text


def random_call_with_a_lost_word() -> list[Any]:
    from tests.unit.core.world import World, agent

    w = World(agent(greeting="This call is recorded for training.", greeting_interruptible=False))
    w.voice()
    w.wait(300)
    w.say("is there a table", ms=100, settle_ms=100)
    return w.steps


# --- damage -----------------------------------------------------------------------------------------------------------


def test_what_stands_before_a_gap_replays() -> None:
    # The gap takes the last two commands of a step of its own.
    place = place_of(CALL, "AskModel")
    call = replace(CALL, lines=tuple(x for x in CALL.lines if not place < x.seq <= place + 3))
    outcome = replay(call)
    assert outcome.difference is None
    assert outcome.damage is not None
    assert outcome.damage.seq == place + 1
    assert outcome.steps == CALL.lines[place].step
    assert exit_code(outcome) == BAD_INPUT
    assert shown(call).startswith(
        f"CA0: DAMAGED at entry {place + 1}: entries {place + 1} to {place + 3} are missing. "
        f"What stands before it replays: {outcome.steps} steps, "
    )


def test_an_event_that_cannot_be_read_is_a_damage() -> None:
    place = place_of(CALL, "TurnEnded")
    for data in ({"type": "TurnEnded"}, {"type": "TurnEnded", "at_ms": 1, "text": 7}):
        outcome = replay(with_line(CALL, place, data=data))
        assert outcome.damage is not None
        assert outcome.damage.seq == place + 1
        assert "TurnEnded" in outcome.damage.why
        assert outcome.steps == CALL.lines[place].step - 1
        assert exit_code(outcome) == BAD_INPUT


def test_a_policy_that_makes_no_sense_is_a_damage() -> None:
    data = CALL.lines[0].data
    agent = {**data["agent"], "policy": {**data["agent"]["policy"], "verdict_ms": 0}}
    outcome = replay(changed(CALL, 0, agent=agent))
    assert outcome.damage is not None
    assert "verdict_ms must be above 0" in outcome.damage.why


# --- what older and newer records lack --------------------------------------------------------------------------------


def test_a_field_that_is_newer_than_the_record_is_named_and_not_compared() -> None:
    lines = []
    for line in CALL.lines:
        data = {name: value for name, value in line.data.items() if (line.type, name) != ("TurnClosed", "words")}
        if line.type == "AskModel":
            data["messages"] = [
                {name: value for name, value in message.items() if name != "call_id"} for message in data["messages"]
            ]
        lines.append(replace(line, data=data))
    outcome = replay(replace(CALL, lines=tuple(lines)))
    assert outcome.is_same
    assert outcome.newer == {"TurnClosed.words", "Message.call_id"}
    assert "  not compared: TurnClosed.words, which is newer than the record" in report("CA0", outcome)


def test_a_field_without_a_default_is_never_newer() -> None:
    place = place_of(CALL, "TurnClosed")
    data = {name: value for name, value in CALL.lines[place].data.items() if name != "outcome"}
    assert replay(with_line(CALL, place, data=data)).difference is not None


def test_another_number_of_items_is_a_difference() -> None:
    place = place_of(CALL, "AskModel")
    data = CALL.lines[place].data
    assert replay(changed(CALL, place, messages=data["messages"][:-1])).difference is not None
    assert replay(changed(CALL, place, messages="none")).difference is not None


def test_a_record_without_digests_is_replayed_without_them() -> None:
    outcome = replay(replace(CALL, layout={}))
    assert outcome.is_same
    assert outcome.states == 0
    assert "  states are not compared: the record has no digests" in report("CA0", outcome)


def test_a_layout_that_is_no_longer_there_is_told() -> None:
    outcome = replay(replace(CALL, layout={**CALL.layout, "State": [*CALL.layout["State"], "weather"]}))
    assert outcome.is_same
    assert outcome.states == 0
    assert outcome.notes == ("states are not compared: states have no State.weather",)


def test_a_step_without_a_digest_is_not_compared() -> None:
    outcome = replay(with_line(CALL, 0, digest=""))
    assert outcome.is_same
    assert outcome.states == STEPS - 1


def test_states_are_not_compared_after_an_event_that_was_stored_with_other_characters() -> None:
    place = place_of(CALL, "TurnEnded")
    call = with_line(with_line(CALL, place, error="characters replaced"), place + 20, error="characters replaced")
    outcome = replay(call)
    assert outcome.is_same
    assert outcome.states == CALL.lines[place].step - 1
    assert outcome.notes == (f"states are not compared from step {CALL.lines[place].step} on: characters replaced",)

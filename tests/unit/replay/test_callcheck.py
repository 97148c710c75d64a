"""The invariants watched on a call: sampled by its id, reported once, without a word of it, and never felt by it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from calls import metrics
from calls.bus import Bus, StepTaken
from calls.callcheck import CallCheck, is_watched
from calls.core.commands import Clear
from calls.replay.invariants import Checker
from tests.app.records.conversation import booked_table

if TYPE_CHECKING:
    from collections.abc import Iterable

SID = "CA" + "0" * 32


def watched(steps: Iterable[StepTaken]) -> tuple[dict[str, str], list[dict[str, Any]], list[BaseException]]:
    """Facts, log lines and errors of a watched call."""
    facts: dict[str, str] = {}
    errors: list[BaseException] = []
    bus = Bus(errors.append)
    with capture_logs() as lines:
        CallCheck(bus, SID, facts.__setitem__)
        for step in steps:
            bus.publish(step)
    return facts, list(lines), errors


def counted(invariant: str) -> float:
    return metrics.INVARIANT_VIOLATIONS.labels(invariant)._value.get()


def without_clears() -> list[StepTaken]:
    """A call whose barge-in forgot to empty the carrier's buffer."""
    return [
        replace(step, commands=tuple(command for command in step.commands if not isinstance(command, Clear)))
        for step in booked_table().steps
    ]


def test_a_good_call_is_flagged_as_watched_and_nothing_else() -> None:
    facts, lines, errors = watched(booked_table().steps)
    assert facts == {"checked": "1"}
    assert (lines, errors) == ([], [])


def test_a_violation_is_counted_logged_without_words_and_flagged_with_its_first_step() -> None:
    before = counted("immediate_barge_in")
    steps = without_clears()
    facts, lines, errors = watched([*steps, *steps])  # the second time round everything is wrong
    assert counted("immediate_barge_in") == before + 1
    first = json.loads(facts["violations"])[0]
    assert first["invariant"] == "immediate_barge_in"
    cleared = [step.seq for step in booked_table().steps if any(isinstance(x, Clear) for x in step.commands)]
    assert first["step"] in cleared
    assert {line["event"] for line in lines} == {"invariant.violated"}
    assert all(line.keys() == {"event", "log_level", "call_sid", "invariant", "step"} for line in lines)
    assert [line["invariant"] for line in lines] == [fact["invariant"] for fact in json.loads(facts["violations"])]
    assert len({line["invariant"] for line in lines}) == len(lines) > 1
    assert errors == []


def test_a_checker_that_fails_ends_its_watch_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("words of the caller")

    monkeypatch.setattr(Checker, "collect", stumble)
    facts, lines, errors = watched(booked_table().steps)
    assert [(line["event"], line["step"], line["error"]) for line in lines] == [
        ("invariants.check_failed", 1, "KeyError")
    ]
    assert facts == {"checked": "1"}
    assert errors == []


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (1.0, 2000, 2000), (0.3, 500, 700)])
def test_the_share_of_calls_follows_from_their_ids(share: float, least: int, most: int) -> None:
    sids = [f"CA{number:032x}" for number in range(2000)]
    chosen = [sid for sid in sids if is_watched(sid, share)]
    assert least <= len(chosen) <= most
    assert chosen == [sid for sid in sids if is_watched(sid, share)]
    assert set(chosen) <= {sid for sid in sids if is_watched(sid, min(1.0, share + 0.2))}

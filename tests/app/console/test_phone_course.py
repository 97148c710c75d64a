"""What a page shows of a call in progress: from a recorded call's log, entry by entry."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from calls.replay.callfile import read
from voiceagent.console.phone.course import Course

CALLS = Path(__file__).parents[2] / "calls"


def played(name: str) -> tuple[Course, list[dict[str, Any]]]:
    course, changes = Course(), []
    for line in read((CALLS / f"{name}.call.jsonl.gz").read_bytes()).record.lines:
        entry = {
            "kind": line.kind,
            "type": line.data["type"],
            "at_ms": str(line.at_ms),
            "wall_ms": str(1_000_000 + line.at_ms),
            "mode": line.mode,
            "turn": str(line.turn),
            "data": json.dumps(line.data),
        }
        changes += course.take(entry)
    return course, changes


def test_a_call_with_a_barge_in_is_told_as_it_was() -> None:
    course, changes = played("booking-and-barge-in")

    shown = course.snapshot()
    turns = shown["turns"]
    assert shown["end"]
    assert [turn["number"] for turn in turns] == sorted(turn["number"] for turn in turns)
    assert all(turn["outcome"] for turn in turns)
    cut = [turn for turn in turns if turn["cut"]]
    assert cut
    assert all(turn["unheard"] for turn in cut)
    assert any(turn["response_ms"] for turn in turns)
    times = [at_ms for at_ms, _ in shown["states"]]
    assert times == sorted(times)
    names = [name for _, name in shown["states"]]
    assert all(before != after for before, after in itertools.pairwise(names))
    assert {"LISTENING", "THINKING", "SPEAKING"} <= set(names)
    assert shown["marks"]
    assert [tuple(change["state"]) for change in changes if "state" in change] == shown["states"]
    assert json.dumps(shown), "plain JSON"


def test_words_are_shown_as_they_form() -> None:
    _, changes = played("booking-and-barge-in")

    callers = [change["caller"] for change in changes if change.get("caller")]
    assert any(after.startswith(before) and after != before for before, after in itertools.pairwise(callers))

"""Recorded calls, disguised by ``manage.py call_to_test``: each must go as it went.

Put a bad call here once it goes well: ``docs/replay.md`` says how.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from calls.core.commands import PlayPhrase, RunTool, TurnClosed
from calls.core.events import DtmfPressed, ModelFailed, VoiceFailed
from calls.core.policy import POLICY_VERSION
from calls.replay.callfile import read
from calls.replay.log import version_of
from calls.replay.run import replay
from calls.replay.show import report
from tests.calls.carry_over import carried_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.replay.log import CallRecord

FOLDER = Path(__file__).resolve().parent
FILES = sorted(FOLDER.glob("*.call.jsonl.gz"))
ROOT = FOLDER.parent.parent


def name_of(file: Path) -> str:
    return file.name.split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_recorded_call_goes_as_it_went(file: Path) -> None:
    call = read(file.read_bytes())
    outcome = replay(call.record)
    assert outcome.is_same, "\n".join(report(file.name, outcome))
    assert outcome.steps == call.record.lines[-1].step
    assert outcome.states == outcome.steps, "every state of a test has its digest"
    assert call.record.lines[-1].type == "EndCall"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_it_holds_nothing_of_a_person(file: Path) -> None:
    call = read(file.read_bytes())
    assert call.audio == b""
    assert call.record.facts == {}
    assert {line.wall_ms - line.at_ms for line in call.record.lines} == {1_700_000_000_000}


def test_in_another_process_with_another_hash_seed_every_command_is_the_same() -> None:
    mine = [replay(read(file.read_bytes()).record).commands_sha256 for file in FILES]
    for seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-m", "calls.replay", *FILES],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert re.findall(r"sha256 (\w{64})", done.stdout) == mine


# --- and shows what it is there for -----------------------------------------------------------------------------------


def count(call: CallRecord, kind: type, **values: str) -> int:
    found = [line for line in call.lines if line.type == kind.__name__]
    return sum(all(line.data[name] == value for name, value in values.items()) for line in found)


SHOWS: dict[str, Callable[[CallRecord], bool]] = {
    "four-barge-ins": lambda call: count(call, TurnClosed, outcome="interrupted") >= 3,
    "booking-and-barge-in": lambda call: (
        count(call, RunTool, name="book_table") == 1 and count(call, TurnClosed, outcome="interrupted") == 1
    ),
    "keys": lambda call: count(call, DtmfPressed) == 3,
    "voice-and-model-fail": lambda call: (
        min(count(call, VoiceFailed), count(call, ModelFailed), count(call, PlayPhrase)) >= 1
    ),
    "short-word-over-speech": lambda call: count(call, TurnClosed, outcome="interrupted") >= 1,
    "older-rules": lambda call: version_of(call.lines) == 1,
}


@pytest.mark.parametrize("name", SHOWS)
def test_a_call_shows_what_it_is_named_for(name: str) -> None:
    assert SHOWS[name](read((FOLDER / f"{name}.call.jsonl.gz").read_bytes()).record)


# --- older rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_call_watches_todays_rules_where_they_lead_the_same_way(file: Path) -> None:
    call = read(file.read_bytes()).record
    if name_of(file) == "older-rules":
        assert carried_over(call) is None, "it hears word times twice, which version 1 counted twice"
    else:
        assert version_of(call.lines) == POLICY_VERSION, f"python -m tests.calls.carry_over {file.name}"
        assert carried_over(call) is not None

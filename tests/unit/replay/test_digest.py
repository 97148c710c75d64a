"""A digest says whether two states are the same: in any process, by either encoder, and for an older layout."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from calls.core.commands import Message
from calls.core.state import Caller, Mode, Reply, State, Timer
from calls.replay.digest import LayoutError, StateDigest, layout_of
from tests.unit.core.fuzz import random_call

LAYOUT = layout_of(State)
ROOT = Path(__file__).resolve().parents[3]


def digest(state: State) -> str:
    return StateDigest(State, LAYOUT).of(state)


def test_the_fast_encoder_gives_the_same() -> None:
    slow, fast = StateDigest(State, LAYOUT), StateDigest(State, LAYOUT, orjson.dumps)
    for seed in range(3000, 3010):
        for _, _, _, after in random_call(seed).steps:
            assert fast.of(after) == slow.of(after) == digest(after)


def test_every_value_counts_wherever_it_stands() -> None:
    base = State(reply=Reply(1, 1, "answer"), history=(Message("user", "a"),), timers=(Timer("idle", 1, 5),))
    others = [
        replace(base, mode=Mode.SPEAKING),
        replace(base, turn=1),
        replace(base, reply=None),
        replace(base, reply=replace(base.reply, said=1)),  # type: ignore[type-var]
        replace(base, history=()),
        replace(base, history=(Message("user", "b"),)),
        replace(base, timers=(Timer("idle", 1, 6),)),
        replace(base, caller=Caller(text="x")),
    ]
    assert len({digest(state) for state in (base, *others)}) == len(others) + 1
    assert digest(deepcopy(base)) == digest(base)


def test_a_history_that_changed_is_noticed_though_it_is_kept() -> None:
    kept = StateDigest(State, LAYOUT)
    first, second = State(), State(history=(Message("user", "a"),))
    assert [kept.of(first), kept.of(first), kept.of(second)] == [digest(first), digest(first), digest(second)]


def test_text_that_utf_8_has_no_bytes_for_has_a_digest() -> None:
    state = State(caller=Caller(text="\ud83d"))
    assert StateDigest(State, LAYOUT, orjson.dumps).of(state) == digest(state) != digest(State())


def test_a_field_that_the_layout_does_not_have_does_not_count() -> None:
    older = {name: [field for field in names if field != "digits"] for name, names in LAYOUT.items()}
    digests = StateDigest(State, older)
    assert digests.of(State(caller=Caller(digits="12"))) == digests.of(State())
    assert digests.of(State(caller=Caller(text="12"))) != digests.of(State())


def test_a_layout_with_more_than_states_have_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"Caller\.mood"):
        StateDigest(State, {**LAYOUT, "Caller": ["mood"]})
    with pytest.raises(LayoutError, match=r"Nobody\.name"):
        StateDigest(State, {**LAYOUT, "Nobody": ["name"]})
    with pytest.raises(LayoutError, match="no State"):
        StateDigest(State, {"Caller": LAYOUT["Caller"]})


def test_a_value_of_a_class_that_the_layout_does_not_have_is_refused() -> None:
    without = {name: names for name, names in LAYOUT.items() if name != "Timer"}
    digests = StateDigest(State, without)
    digests.of(State())
    with pytest.raises(LayoutError, match="no Timer"):
        digests.of(State(timers=(Timer("idle", 1, 5),)))


def test_the_layout_names_all_that_a_state_is_made_of_but_the_agent() -> None:
    assert {"State", "Reply", "Part", "ToolRun", "Playback", "Caller", "Timer", "Message"} <= LAYOUT.keys()
    assert "AgentProfile" not in LAYOUT
    assert "agent" not in LAYOUT["State"]


def test_another_process_with_another_hash_seed_gives_the_same() -> None:
    code = (
        "from tests.unit.replay.test_digest import digest; from calls.core.state import *; "
        "print(digest(State(running_tools=('a', 'b'), caller=Caller(text='x'))))"
    )
    mine = digest(State(running_tools=("a", "b"), caller=Caller(text="x")))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == mine

"""Random calls under the eyes of the checker; the record replays; and the checker finds bugs that are put in."""

from __future__ import annotations

import json

import pytest

from calls.core import record
from calls.core.machine import step
from calls.core.state import State
from tests.unit.core.fuzz import random_call

pytestmark = pytest.mark.search

SEEDS = 100
BATCH = 25


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_happens_in_whatever_order_the_invariants_hold(first: int) -> None:
    for seed in range(first, first + BATCH):
        random_call(seed)


@pytest.mark.parametrize("first", range(20_000, 20_000 + SEEDS, BATCH))
def test_whatever_happens_in_a_call_with_a_memory_the_invariants_hold(first: int) -> None:
    for seed in range(first, first + BATCH):
        random_call(seed, recall_ms=30 if seed % 2 else 300)


@pytest.mark.parametrize("first", range(40_000, 40_000 + SEEDS, BATCH))
def test_whatever_people_of_ours_do_the_invariants_hold(first: int) -> None:
    for seed in range(first, first + BATCH):
        random_call(seed, recall_ms=0 if seed % 2 else 30, operators=True)


@pytest.mark.parametrize("seed", range(1000, 1030))
@pytest.mark.parametrize("recall_ms", [0, 300])
def test_the_record_of_a_call_replays_to_the_same_states_and_commands(seed: int, recall_ms: int) -> None:
    w = random_call(seed, recall_ms=recall_ms, operators=seed % 2 == 1)
    lines = [record.dumps(event) for _, event, _, _ in w.steps]
    state = State()
    for line, (_, event, commands, after) in zip(lines, w.steps, strict=True):
        read = record.event_from(json.loads(line))
        assert read == event
        state, again = step(state, read)
        assert [record.dumps(x) for x in again] == [record.dumps(x) for x in commands]
        assert state == after
        assert repr(state) == repr(after)
        assert [record.command_from(json.loads(record.dumps(x))) for x in again] == list(commands)

"""Every order of the alphabet's events, from several places in a call, to the depth that a test run has time for.

``make test-long`` goes as deep as two minutes allow. Both print what was seen.
"""

from __future__ import annotations

import sys

import pytest

from tests.unit.core.search import ALPHABET, BEGINNINGS, REMEMBERING, search
from tests.unit.core.world import agent

pytestmark = pytest.mark.search

#: How deep from each beginning; at the start the fewest events are possible.
DEPTHS = {"the start": 4, "thinking": 4, "a guess": 4, "speaking": 4, "stopped": 4}
REMEMBERING_DEPTH = 4
LONG_SECONDS = 120


def report(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_every_order_of_events_keeps_the_invariants(beginning: str, capsys: pytest.CaptureFixture[str]) -> None:
    # A model's slowness takes more events from the start than are gone through: without its timer there are fewer orders.
    profile = agent(patience_ms=0) if beginning == "the start" else agent()
    found = search(profile, DEPTHS[beginning], BEGINNINGS[beginning])
    report(f"search from {beginning}: {found}", capsys)
    assert found.violations == []
    assert found.depth == DEPTHS[beginning]
    assert found.states > 1_000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("beginning", REMEMBERING)
def test_every_order_of_events_around_a_recall_keeps_the_invariants(
    beginning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search(agent(), REMEMBERING_DEPTH, REMEMBERING[beginning], recall_ms=30)
    report(f"search from {beginning}: {found}", capsys)
    assert found.violations == []
    assert found.depth == REMEMBERING_DEPTH
    assert found.states > 1_000


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("beginning", [*BEGINNINGS, *REMEMBERING])
def test_every_order_of_events_as_deep_as_two_minutes_go(beginning: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = (BEGINNINGS | REMEMBERING)[beginning]
    found = search(agent(), 99, first, seconds=LONG_SECONDS, recall_ms=30 if beginning in REMEMBERING else 0)
    report(f"search from {beginning}: {found}", capsys)
    assert found.violations == []
    assert found.depth > DEPTHS.get(beginning, REMEMBERING_DEPTH)


def test_every_event_of_the_alphabet_can_happen_somewhere() -> None:
    seen = {name for first in BEGINNINGS.values() for name in search(agent(), 3, first).moves}
    seen |= {name for first in REMEMBERING.values() for name in search(agent(), 3, first, recall_ms=30).moves}
    assert seen == {move.name for move in ALPHABET}

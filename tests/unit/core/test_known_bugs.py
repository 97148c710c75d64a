"""Random calls, exhaustive search and the state machine of Hypothesis each find the bugs that are put in."""

from __future__ import annotations

import pytest

from calls.replay.invariants import Violation
from tests.unit.core.bugs import BUGS, Bug
from tests.unit.core.fuzz import random_call
from tests.unit.core.search import BEGINNINGS, REMEMBERING, search
from tests.unit.core.world import agent

pytestmark = pytest.mark.search


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_random_calls_find_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.install(monkeypatch)
    for seed in range(bug.seeds):
        try:
            random_call(seed, recall_ms=bug.recall_ms)
        except Violation as violation:
            assert any(broken in str(violation) for broken in bug.breaks.split("|"))
            return
    pytest.fail(f"{bug.seeds} random calls did not find it")


#: What a search sees: a bug that needs real words in the audio or an agent of its own is for random calls.
SEARCHED = {name: bug for name, bug in BUGS.items() if bug.depth}


@pytest.mark.parametrize("bug", SEARCHED.values(), ids=SEARCHED)
def test_the_search_finds_it(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.install(monkeypatch)
    first = (BEGINNINGS | REMEMBERING)[bug.first]
    found = search(agent(), bug.depth, first, recall_ms=bug.recall_ms)
    assert any(broken in str(violation) for _, violation in found.violations for broken in bug.breaks.split("|")), found

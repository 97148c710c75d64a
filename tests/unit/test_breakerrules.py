"""The rules of circuit breakers, for every history."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.breakerrules import (
    OPERATIONS,
    PARTS,
    SAYS,
    Phase,
    Rules,
    Ruling,
    Says,
    Window,
    greater,
    judged,
    phase_at,
    probed,
    reset,
    ruling_of,
    tripped,
)

KINDS = st.sampled_from(sorted(SAYS))
COUNTS = st.dictionaries(KINDS, st.integers(0, 50))
DRAW = st.floats(0, 1)
RULES = st.sampled_from([*OPERATIONS.values(), Rules(attempts=1, share=1.0), Rules(opens=False)])
NAMES = st.sampled_from(["", "a", "b"])
RULINGS = st.builds(
    Ruling,
    acts=st.integers(0, 2),
    epoch=st.integers(0, 3),
    since_ms=st.integers(0, 3),
    made_by=NAMES,
    phase=st.sampled_from([Phase.CLOSED, Phase.OPEN, Phase.FORCED]),
    until_ms=st.integers(0, 100_000),
    openings=st.integers(0, 10**6),
    cause=KINDS,
    by=NAMES,
    seen=st.lists(st.tuples(KINDS, st.integers(0, 9)), max_size=3).map(tuple),
)
NOW = st.integers(0, 10**13)


def says(counts: dict[str, int], what: Says) -> int:
    return sum(number for kind, number in counts.items() if SAYS[kind] is what)


@given(st.lists(RULINGS, min_size=3, max_size=3, unique_by=lambda ruling: ruling.rank))
def test_however_they_meet_processes_agree(rulings: list[Ruling]) -> None:
    assert len({reduce(greater, order) for order in permutations(rulings)}) == 1
    assert reduce(greater, [*rulings, *rulings]) == reduce(greater, rulings)


@given(RULES, COUNTS, NOW, DRAW)
def test_it_opens_for_what_was_lost_or_for_enough_failures_alone(
    rules: Rules, counts: dict[str, int], now_ms: int, draw: float
) -> None:
    new = judged(Ruling(), rules, counts, now_ms, draw, "p")
    ill, well = says(counts, Says.ILL), says(counts, Says.WELL)
    enough = ill > 0 and ill + well >= rules.attempts and ill >= rules.share * (ill + well)
    assert (new.phase is Phase.OPEN) == (rules.opens and bool(says(counts, Says.LOST) or enough))
    if new.phase is Phase.OPEN:
        assert SAYS[new.cause] is (Says.LOST if says(counts, Says.LOST) else Says.ILL)
        assert (new.epoch, new.openings, new.since_ms, dict(new.seen)) == (1, 1, now_ms, counts)


@given(RULES, RULINGS, KINDS, NOW, DRAW)
def test_a_probe_closes_opens_for_longer_or_says_nothing(
    rules: Rules, ruling: Ruling, kind: str, now_ms: int, draw: float
) -> None:
    new = probed(ruling, rules, kind, now_ms, draw, "p")
    if ruling.phase is not Phase.OPEN or SAYS[kind] is Says.NOTHING:
        assert new is ruling
        return
    assert (new.acts, new.epoch, new.made_by) == (ruling.acts, ruling.epoch + 1, "p")
    if SAYS[kind] is Says.WELL:
        assert (new.phase, new.openings) == (Phase.CLOSED, ruling.openings)
    else:
        assert (new.phase, new.openings, new.cause) == (Phase.OPEN, ruling.openings + 1, kind)


@given(st.sampled_from([*OPERATIONS.values()]), st.integers(0, 10**6), KINDS, NOW, DRAW)
def test_pauses_grow_are_jittered_and_bounded(rules: Rules, openings: int, kind: str, now_ms: int, draw: float) -> None:
    new = probed(Ruling(phase=Phase.OPEN, openings=openings), rules, kind, now_ms, draw, "p")
    if new.phase is not Phase.OPEN or new.epoch == 0:
        return
    pause_ms = new.until_ms - now_ms
    first_ms = rules.lost_pause_ms if SAYS[kind] is Says.LOST else rules.pause_ms
    assert (1 - rules.jitter) * first_ms - 1 <= pause_ms <= rules.longest_pause_ms
    longer = probed(new, rules, kind, now_ms, draw, "p")
    assert longer.until_ms >= new.until_ms
    assert phase_at(new, rules, new.until_ms - 1) is Phase.OPEN
    assert phase_at(new, rules, new.until_ms) is Phase.HALF_OPEN


@given(RULES, RULINGS, COUNTS, KINDS, NOW, DRAW)
def test_what_an_operator_holds_open_nothing_automatic_moves(
    rules: Rules, ruling: Ruling, counts: dict[str, int], kind: str, now_ms: int, draw: float
) -> None:
    forced = tripped(ruling, "ann", "maintenance", now_ms, "p")
    assert judged(forced, rules, counts, now_ms, draw, "q") is forced
    assert probed(forced, rules, kind, now_ms, draw, "q") is forced
    assert phase_at(forced, rules, now_ms + 10**9) is Phase.FORCED
    # Nor does what others ruled without knowing of it, however often.
    assert greater(Ruling(acts=ruling.acts, epoch=ruling.epoch + 10**6, since_ms=now_ms + 1), forced) is forced
    closed = reset(forced, "bob", "", now_ms, "p")
    assert (greater(closed, forced), closed.phase, closed.openings) == (closed, Phase.CLOSED, 0)


def test_opening_again_soon_counts_as_a_failed_probe() -> None:
    rules = Rules(jitter=0.0)
    closed = Ruling(epoch=2, since_ms=100_000, openings=3)
    soon = judged(closed, rules, {"cut": 5}, 100_000 + rules.calm_ms - 1, 0, "p")
    late = judged(closed, rules, {"cut": 5}, 100_000 + rules.calm_ms, 0, "p")
    assert (soon.openings, soon.until_ms - soon.since_ms) == (4, 16_000)
    assert (late.openings, late.until_ms - late.since_ms) == (1, 2_000)


def test_a_pause_that_a_wrong_clock_began_is_over() -> None:
    rules = Rules()
    assert phase_at(Ruling(phase=Phase.OPEN, until_ms=3_600_000), rules, 0) is Phase.HALF_OPEN


@given(st.lists(st.tuples(st.integers(0, 400), KINDS), max_size=40), st.integers(0, 600))
def test_a_window_forgets_by_its_parts(ends: list[tuple[int, str]], now_ms: int) -> None:
    window = Window(100)
    for at_ms, kind in sorted(ends):
        if at_ms <= now_ms:
            window.add(kind, at_ms)
    part = now_ms // 10
    assert window.counts(now_ms) == Counter(
        kind for at_ms, kind in ends if at_ms <= now_ms and at_ms // 10 > part - PARTS
    )
    other = Window(100)
    other.add_record(window.record(now_ms))
    other.add_record(window.record(now_ms))
    assert other.counts(now_ms) == window.counts(now_ms) + window.counts(now_ms)


def test_a_clock_that_is_set_back_leaves_nothing_for_ever() -> None:
    window = Window(100)
    window.add("cut", 10**9)
    assert not window.counts(5)
    assert not window.record(10**9)


@pytest.mark.parametrize("record", [[], {"x": {}}, {"1": {"cut": "2"}}, {"1": 3}, None])
def test_a_window_that_is_none_is_refused_whole(record: Any) -> None:
    window = Window(100)
    with pytest.raises(ValueError, match="not a window"):
        window.add_record(record)
    assert not window.counts(10)


def test_a_kind_of_another_version_is_left_out() -> None:
    window = Window(100)
    window.add_record({"1": {"tired": 3, "cut": 1}})
    assert window.counts(15) == {"cut": 1}


@given(RULINGS)
def test_rulings_travel(ruling: Ruling) -> None:
    import json

    assert ruling_of(json.loads(json.dumps(ruling.record()))) == ruling


@pytest.mark.parametrize(
    "change", [{"acts": "1"}, {"phase": "ajar"}, {"seen": [["cut"]]}, {"seen": 3}, {"until_ms": 1.5}, {"by": None}]
)
def test_what_is_no_ruling_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a ruling"):
        ruling_of(Ruling().record() | change)
    with pytest.raises(ValueError, match="not a ruling"):
        ruling_of(None)

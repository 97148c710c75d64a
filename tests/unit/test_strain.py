"""When the calls in progress suffer so much that no further one is taken, on a clock that the test moves."""

from __future__ import annotations

import pytest

from calls.strain import MEASURES, Bounds, Strain, Strains

BOUNDS = Bounds(high_ms=250, low_ms=100, gap_ms=1000, bad_ms=3000, calm_ms=5000)


def strained(*observed: tuple[float, float], bounds: Bounds = BOUNDS) -> Strain:
    """After values at times, as ``(seconds, milliseconds)``."""
    strain = Strain(bounds)
    for now_s, value_ms in observed:
        strain.observe(value_ms, now_s)
    return strain


def test_a_stall_now_and_then_is_no_overload() -> None:
    assert not strained((10, 2900)).is_over(10)
    assert not strained(*((at, 900) for at in range(0, 60, 2))).is_over(60)
    assert not strained(*((at / 10, 250) for at in range(600))).is_over(60), "at the bound is not over it"


def test_one_stall_after_the_other_for_seconds_is() -> None:
    assert not strained(*((at / 2, 300) for at in range(6))).is_over(2.5)
    assert strained(*((at / 2, 300) for at in range(8))).is_over(3.5)


def test_a_single_stall_that_lasts_so_long_is_too() -> None:
    assert strained((50, 3000)).is_over(50)


def test_good_values_between_bad_ones_do_not_hide_them() -> None:
    assert strained(*((at / 10, 400 if at % 9 == 0 else 1) for at in range(60))).is_over(6)


def test_it_ends_after_a_calm_while_and_not_before() -> None:
    strain = strained((50, 3000))
    strain.observe(240, 52)  # no longer over the bound, and far from well
    strain.observe(100, 53)
    assert strain.is_over(56.9)
    assert not strain.is_over(57)
    assert not strain.is_over(57.1)


def test_after_it_has_ended_it_takes_as_long_again() -> None:
    strain = strained((50, 3000))
    assert not strain.is_over(55)
    strain.observe(300, 55.1)
    strain.observe(300, 55.9)
    assert not strain.is_over(56)
    for at in range(4):
        strain.observe(300, 56.5 + at)
    assert strain.is_over(59.5)


def test_a_bound_of_nought_is_none() -> None:
    assert not strained((50, 60_000), bounds=Bounds(high_ms=0, low_ms=0)).is_over(50)


@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_counts_by_itself_and_is_named(measure: str) -> None:
    strains = Strains(BOUNDS)
    assert strains.suffering(50) == ""
    strains.observe(measure, 3000, 50)
    assert strains.suffering(50) == measure
    assert strains.suffering(55) == ""


def test_two_measures_do_not_add_up() -> None:
    strains = Strains(BOUNDS)
    for at in range(5):
        strains.observe(MEASURES[at % 2], 300, at)
    assert strains.suffering(5) == ""

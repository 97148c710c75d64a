"""A breaker in one process."""

from __future__ import annotations

import asyncio

import pytest

from calls.breakerrules import OPERATIONS, SAYS, Phase, Rules
from calls.breakers import PROBE_MS, UNGUARDED, Breaker, Breakers, Env
from calls.providers.errors import KINDS, VendorError


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("cartesia.tts", Rules(attempts=4, pause_ms=1000, jitter=0.0), Env(clock, lambda: 0.0))


def open_it(breaker: Breaker) -> None:
    while breaker.phase is Phase.CLOSED:
        breaker.admit().failed("refused")


def test_every_kind_of_failure_says_something() -> None:
    assert {*SAYS} == {*KINDS, "ok"}


def test_one_bad_attempt_cuts_nobody_off(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.admit().failed("timeout")
    assert breaker.phase is Phase.CLOSED


def test_it_opens_and_says_so_at_once(breaker: Breaker) -> None:
    open_it(breaker)
    with pytest.raises(VendorError) as refused:
        breaker.admit()
    error = refused.value
    assert (error.kind, error.vendor, error.retryable, error.retry_after_s) == ("open", "cartesia", False, 1.0)


def test_one_probe_at_a_time_and_its_success_closes(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.ms += 1000
    probe = breaker.admit()
    with pytest.raises(VendorError, match="half_open"):
        breaker.admit()
    probe.ok()
    assert breaker.phase is Phase.CLOSED


def test_a_probe_that_was_cancelled_leaves_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.ms += 1000
    with pytest.raises(asyncio.CancelledError), breaker.admit():
        raise asyncio.CancelledError
    breaker.admit().ok()
    assert breaker.phase is Phase.CLOSED


def test_a_stream_that_begins_is_enough_of_a_probe(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.ms += 1000
    with breaker.admit() as probe:
        probe.answering()
        assert breaker.phase is Phase.CLOSED
        breaker.admit().ok()


def test_of_another_stream_the_end_counts_and_a_cancelled_one_has_answered(breaker: Breaker) -> None:
    for failure in (VendorError("hung", "cartesia"), asyncio.CancelledError()):
        with pytest.raises(type(failure)), breaker.admit() as permit:
            permit.answering()
            raise failure
    view = breaker.view()
    assert (view.attempts, view.failures) == (2, {"hung": 1})


def test_a_probe_that_never_tells_is_given_up(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.ms += 1000
    lost = breaker.admit()
    clock.ms += PROBE_MS
    breaker.admit().ok()
    lost.failed("timeout")
    assert breaker.phase is Phase.CLOSED


def test_an_attempt_from_before_the_opening_closes_nothing(breaker: Breaker, clock: Clock) -> None:
    early, late = breaker.admit(), breaker.admit()
    open_it(breaker)
    early.ok()
    assert breaker.phase is Phase.OPEN
    clock.ms += 1000
    breaker.admit().ok()
    late.failed("auth")
    assert breaker.phase is Phase.CLOSED


def test_an_operator_holds_it_open_until_it_is_reset(breaker: Breaker, clock: Clock) -> None:
    breaker.trip("ann", "the vendor asked us to wait")
    clock.ms += 10**9
    with pytest.raises(VendorError, match="forced") as refused:
        breaker.admit()
    assert refused.value.retry_after_s is None
    view = breaker.view()
    assert (view.phase, view.ruling.by, view.ruling.cause) == (Phase.FORCED, "ann", "the vendor asked us to wait")
    breaker.reset("bob", "")
    breaker.admit().ok()


def test_what_opened_it_can_be_seen_while_it_is_open(breaker: Breaker) -> None:
    breaker.admit().ok()
    breaker.admit().failed("timeout")
    view = breaker.view()
    assert (view.phase, view.attempts, view.failures) == (Phase.CLOSED, 2, {"timeout": 1})
    open_it(breaker)
    view = breaker.view()
    assert (view.phase, view.attempts, view.failures) == (Phase.OPEN, 4, {"timeout": 1, "refused": 2})
    assert view.ruling.cause == "refused"


def test_old_sockets_count_while_it_is_closed_and_are_no_probes(breaker: Breaker, clock: Clock) -> None:
    for _ in range(4):
        breaker.saw("cut")
    assert breaker.phase is Phase.OPEN
    clock.ms += 1000
    breaker.saw("ok")
    breaker.saw("cut")
    assert breaker.phase is Phase.HALF_OPEN
    breaker.admit().ok()
    assert breaker.phase is Phase.CLOSED


def test_the_first_word_about_an_attempt_counts(breaker: Breaker) -> None:
    permits = [breaker.admit() for _ in range(4)]
    for permit in permits:
        permit.ok()
        permit.failed("refused")
    assert breaker.phase is Phase.CLOSED


def test_the_block_of_a_permit_settles_it(breaker: Breaker) -> None:
    for _ in range(4):
        with pytest.raises(VendorError, match="garbage"), breaker.admit():
            raise VendorError("garbage", "cartesia")
    assert breaker.phase is Phase.OPEN


def test_a_kind_that_is_none_is_a_bug(breaker: Breaker) -> None:
    with pytest.raises(ValueError, match="'tired' is not a kind"):
        breaker.admit().failed("tired")


def test_without_figures_there_is_no_breaker() -> None:
    breakers = Breakers()
    assert [breaker.name for breaker in breakers] == [*OPERATIONS]
    with pytest.raises(LookupError, match="breaker of openai"):
        breakers.of("openai.sing")


def test_the_unguarded_one_never_opens() -> None:
    for kind in ("auth", *["refused"] * 20):
        UNGUARDED.admit().failed(kind)
    UNGUARDED.admit().ok()


def test_one_that_never_opens_does_not_for_what_others_rule_either(breaker: Breaker, clock: Clock) -> None:
    never = Breaker("openai.reply", Rules(opens=False), Env(clock, lambda: 0.5, "me"))
    open_it(breaker)
    never.learn(breaker.view().ruling, (), 0, clock())
    assert never.phase is Phase.CLOSED
    breaker.trip("ann", "maintenance")
    never.learn(breaker.view().ruling, (), 0, clock())
    assert never.phase is Phase.FORCED

"""How a vendor's operation fared lately."""

from __future__ import annotations

import pytest

from calls.breakerrules import Rules
from calls.breakers import Breaker, Breakers, Env
from calls.providers.errors import VendorError
from calls.vendorwaits import MOST_TOLD, SPAN_MS, Fared, Lately
from tests.unit.test_breakers import Clock, clock
from voiceagent.console.health.system import WAITS, lately

__all__ = ["clock"]  # a fixture


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("openai.reply", Rules(attempts=100), Env(clock))


def test_what_is_older_than_the_span_is_forgotten() -> None:
    seen = Lately()
    seen.add(0, well=True, wait_ms=100)
    seen.add(1, well=False, wait_ms=None)
    seen.add(SPAN_MS, well=True, wait_ms=300)
    assert seen.fared(SPAN_MS) == Fared(2, 1, (300,))
    assert seen.fared(SPAN_MS * 2) == Fared()


def test_the_newest_waits_are_told() -> None:
    seen = Lately()
    for wait_ms in range(MOST_TOLD + 7):
        seen.add(0, well=True, wait_ms=wait_ms)
    fared = seen.fared(0)
    assert (fared.asked, len(fared.waits_ms), fared.waits_ms[-1]) == (MOST_TOLD + 7, MOST_TOLD, MOST_TOLD + 6)


def test_what_another_process_told_is_read_and_put_together() -> None:
    told = Fared(3, 1, (10, 20)).told()
    assert Fared.together([Fared.of(told), Fared(1, 0, (5,))]) == Fared(4, 1, (10, 20, 5))
    for rubbish in (
        {},
        {"asked": 1},
        {"asked": None, "failed": 0, "waits_ms": []},
        {**told, "waits_ms": 3},
        {**told, "asked": "x"},
    ):
        with pytest.raises(ValueError, match=r"."):
            Fared.of(rubbish)


def test_the_wait_of_an_attempt_is_until_its_first_answer(breaker: Breaker, clock: Clock) -> None:
    with breaker.admit() as permit:
        clock.ms += 250
        permit.answering()
        clock.ms += 4_000
    with breaker.admit():
        clock.ms += 40
    assert breaker.fared() == Fared(2, 0, (250, 40))


def test_an_attempt_in_vain_has_no_wait_and_one_that_was_left_does_not_count(breaker: Breaker, clock: Clock) -> None:
    with pytest.raises(VendorError), breaker.admit():
        clock.ms += 900
        raise VendorError("timeout", "openai")
    with pytest.raises(KeyboardInterrupt), breaker.admit():
        raise KeyboardInterrupt
    with breaker.admit(timed=False):
        clock.ms += 70
    breaker.saw("ok", wait_ms=310)
    assert breaker.fared() == Fared(3, 1, (310,))


def test_a_ruling_forgets_nothing_of_it(breaker: Breaker) -> None:
    breaker.admit().failed("refused")
    breaker.trip("ann", "status page")
    breaker.reset("ann", "mended")
    assert breaker.fared() == Fared(1, 1)


def test_those_that_nobody_asked_are_not_told() -> None:
    several = Breakers()
    several.of("twilio.rest").admit().ok()
    assert list(several.fared) == ["twilio.rest"]
    assert set(WAITS) == {breaker.name for breaker in several}


def test_in_words() -> None:
    assert lately("openai.reply", Fared()) == "no data of the last 5 minutes"
    assert lately("cartesia.tts", Fared(3, 1)) == "last 5 minutes: 66.6% of 3 went well"
    few = lately("openai.reply", Fared(2, 0, (300, 1_200)))
    assert few == "last 5 minutes: 100% of 2 went well; first word after 300, 1,200 ms"
    many = lately("openai.reply", Fared(10_000, 1, tuple(range(1, 101))))
    assert many == "last 5 minutes: 99.9% of 10,000 went well; first word after 50 ms (p50), 95 ms (p95 of 100)"

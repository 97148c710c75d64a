"""Admission: who gets a slot of this process, and that a call has one owner."""

from __future__ import annotations

from typing import Any, cast

import pytest

from calls.registry import Registry
from calls.strain import Bounds, Strains

SESSION = cast("Any", object())


class Clock:
    """Seconds that the test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(1, reservation_s=10, clock=clock)


def test_J1_two_calls_for_one_slot(registry: Registry) -> None:
    assert registry.reserve("CA1")
    assert not registry.reserve("CA2")
    registry.claim("CA1", SESSION)
    assert not registry.reserve("CA2")
    assert registry.refusal("CA2") == "no_slot"
    registry.ended("CA1")
    assert registry.reserve("CA2")


def test_J2_a_second_stream_of_a_call_gets_no_actor(registry: Registry) -> None:
    registry.reserve("CA1")
    assert registry.refusal("CA1") == ""
    registry.claim("CA1", SESSION)
    assert registry.refusal("CA1") == "already_streaming"
    assert registry.live == {"CA1": SESSION}
    registry.ended("CA1")
    assert registry.refusal("CA1") == "over"


def test_a_webhook_asked_again_keeps_its_one_slot(registry: Registry) -> None:
    assert registry.reserve("CA1")
    assert registry.reserve("CA1")
    registry.claim("CA1", SESSION)
    assert registry.reserve("CA1")
    registry.ended("CA1")
    assert registry.reserve("CA2")


def test_a_webhook_asked_again_when_the_call_is_over_takes_no_slot(registry: Registry) -> None:
    registry.claim("CA1", SESSION)
    registry.ended("CA1")
    assert registry.reserve("CA1")
    assert registry.refusal("CA1") == "over"
    assert registry.expected == 0


def test_a_reservation_that_no_stream_claims_expires(registry: Registry, clock: Clock) -> None:
    registry.reserve("CA1")
    clock.now_s += 9.9
    assert not registry.reserve("CA2")
    clock.now_s += 0.1
    assert registry.reserve("CA2")
    assert registry.refusal("CA1") == "no_slot"


def test_a_late_stream_may_have_a_slot_that_is_free(registry: Registry, clock: Clock) -> None:
    registry.reserve("CA1")
    clock.now_s += 60
    assert registry.refusal("CA1") == ""


def test_a_call_that_ended_before_its_stream_gives_its_slot_back(registry: Registry) -> None:
    registry.reserve("CA1")
    registry.release("CA1")
    registry.release("CA1")
    assert registry.reserve("CA2")


def test_a_draining_process_takes_no_new_call_but_those_it_promised(registry: Registry) -> None:
    registry.reserve("CA1")
    registry.drain(promised_s=5)
    assert not registry.reserve("CA2")
    assert registry.refusal("CA2") == "draining"
    assert registry.refusal("CA1") == ""


def test_a_draining_process_does_not_wait_long_for_what_it_promised(registry: Registry, clock: Clock) -> None:
    registry.reserve("CA1")
    registry.drain(promised_s=5)
    clock.now_s += 4.9
    assert registry.expected == 1
    registry.claim("CA1", SESSION)
    clock.now_s += 60
    assert registry.expected == 1
    registry.ended("CA1")
    assert registry.expected == 0
    assert registry.refusal("CA1") == "over"


def test_a_promise_that_is_older_than_the_stop_is_not_extended(registry: Registry, clock: Clock) -> None:
    registry.reserve("CA1")
    clock.now_s += 9
    registry.drain(promised_s=5)
    clock.now_s += 1
    assert registry.expected == 0
    assert registry.refusal("CA1") == "draining"


def test_an_end_that_is_told_twice_frees_one_slot(registry: Registry) -> None:
    registry.claim("CA1", SESSION)
    registry.ended("CA1")
    registry.ended("CA1")
    assert registry.reserve("CA2")
    assert not registry.reserve("CA3")


def test_only_the_latest_calls_are_remembered(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calls.registry.MOST_REMEMBERED", 2)
    for call_sid in ("CA1", "CA2", "CA3"):
        registry.claim(call_sid, SESSION)
        registry.ended(call_sid)
    assert [registry.refusal(call_sid) for call_sid in ("CA1", "CA2", "CA3")] == ["", "over", "over"]


# --- calls in progress go first ---------------------------------------------------------------------------------------


def test_new_calls_wait_while_those_in_progress_suffer(clock: Clock) -> None:
    registry = Registry(10, reservation_s=10, clock=clock, strains=Strains(Bounds()))
    registry.claim("CA1", SESSION)
    assert registry.reserve("CA2")
    registry.observe("loop_lag", 4000)
    assert registry.no_room() == "loop_lag"
    assert not registry.reserve("CA3")
    assert registry.reserve("CA2"), "who was promised a slot has it"
    assert registry.refusal("CA2") == ""
    clock.now_s += 5
    assert registry.no_room() == ""
    assert registry.reserve("CA3")


def test_nobody_suffers_where_nobody_is(registry: Registry) -> None:
    """Else a process that was slow to start would turn away its first caller."""
    registry.observe("loop_lag", 60_000)
    assert registry.reserve("CA1")


def test_why_there_is_no_room(registry: Registry, clock: Clock) -> None:
    registry.claim("CA1", SESSION)
    registry.observe("mailbox_delay", 4000)
    assert registry.no_room() == "no_slot"
    registry.drain(5)
    assert registry.no_room() == "drain"


def test_a_webhook_asked_again_in_a_stop_keeps_its_promise_no_longer(registry: Registry, clock: Clock) -> None:
    registry.reserve("CA1")
    registry.drain(promised_s=5)
    clock.now_s += 4
    assert registry.reserve("CA1")
    clock.now_s += 1
    assert registry.expected == 0
    assert not registry.reserve("CA1")

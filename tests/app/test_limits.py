"""How often somebody may do something: one count for all processes, and each for itself while Redis is away."""

from __future__ import annotations

import pytest

from memory.limits import Limiter, Rule, source
from tests.protocol.house import free_port

FOUR, TWO = Rule("a", 4), Rule("a", 2)


def test_two_processes_count_together(redis_url: str) -> None:
    here, there = Limiter(redis_url), Limiter(redis_url)

    waits = [limiter.wait_s(FOUR, "a") for limiter in (here, there) * 3]

    assert waits[:4] == [0] * 4
    assert all(1 <= wait <= 60 for wait in waits[4:])
    assert here.wait_s(FOUR, "b") == 0
    assert here.wait_s(Rule("b", 4), "a") == 0


def test_who_is_over_the_limit_is_known_without_asking_until_it_is_cleared(redis_url: str) -> None:
    here = Limiter(redis_url)
    assert here.known_wait_s(TWO, "a") == 0
    assert [bool(here.wait_s(TWO, "a")) for _ in range(3)] == [False, False, True]
    assert here.known_wait_s(TWO, "a") > 0
    here.clear(TWO, "a")
    assert (here.known_wait_s(TWO, "a"), here.wait_s(TWO, "a")) == (0, 0)


def test_without_redis_a_process_counts_for_itself() -> None:
    limiter = Limiter(f"redis://127.0.0.1:{free_port()}/0")

    waits = [limiter.wait_s(TWO, "a") for _ in range(3)]

    assert waits[:2] == [0, 0]
    assert waits[2] > 0
    limiter.clear(TWO, "a")
    assert limiter.wait_s(TWO, "a") == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_one_customer_of_ipv6_is_one_source(address: str, counted: str) -> None:
    assert source(address) == counted

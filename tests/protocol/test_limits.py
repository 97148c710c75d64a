"""The rate of a token: one count for all processes, and each for itself while Redis is away."""

from __future__ import annotations

from memory.mcp.limits import Limiter
from tests.protocol.house import free_port


def test_two_processes_count_together(redis_url: str) -> None:
    here, there = Limiter(redis_url), Limiter(redis_url)

    waits = [limiter.wait_s("a", 4) for limiter in (here, there) * 3]

    assert waits[:4] == [0] * 4
    assert all(1 <= wait <= 60 for wait in waits[4:])
    assert here.wait_s("b", 4) == 0


def test_without_redis_a_process_counts_for_itself() -> None:
    limiter = Limiter(f"redis://127.0.0.1:{free_port()}/0")

    waits = [limiter.wait_s("a", 2) for _ in range(3)]

    assert waits[:2] == [0, 0]
    assert waits[2] > 0

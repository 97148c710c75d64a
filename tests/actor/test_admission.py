"""J1 and J2 in 1,000 random orders each: webhooks, tickets, streams and ends meet at the real registry, tickets and runtime.

Each call is a task that does what webhook and stream do, with random time between; what lies outside is a double: Redis,
which takes its time, and the session, which lasts as long as the caller stays.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from calls import runtime
from calls.registry import Registry
from calls.runtime import Runtime
from calls.tickets import Ticket, Tickets
from tests.unit.core.world import agent
from voiceagent.demo.virtual import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

ORDERS = 1_000
GAPS_MS = (0, 0, 0, 1, 20, 300)
RESERVATION_S = 10.0
NOTHING = cast("Any", None)


class SlowRedis:
    """What tickets need of Redis, each answer after a while."""

    def __init__(self, pause: Callable[[], Awaitable[None]]) -> None:
        self._pause = pause
        self._held: dict[str, bytes] = {}

    async def set(self, key: str, value: bytes, ex: int) -> None:
        await self._pause()
        self._held[key] = value

    async def getdel(self, key: str) -> bytes | None:
        await self._pause()
        value = self._held.pop(key, None)
        await self._pause()
        return value


@dataclass
class Town:
    """One process with one slot, and what happened to the calls there."""

    rng: Random
    begun: list[str] = field(default_factory=list)
    answers: list[tuple[str, bool]] = field(default_factory=list)
    staying: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.registry = Registry(1, RESERVATION_S, clock=loop.time)
        self.tickets = Tickets(cast("Any", SlowRedis(self.pause)), 60, clock=loop.time)
        parts = dict.fromkeys(
            "conf redis signatures log_writer model control make_ear make_voice run_tool disk database".split(), NOTHING
        )
        self.runtime = Runtime(
            **parts, tickets=self.tickets, registry=self.registry, recordings_dir=NOTHING, process_name="town"
        )

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.choice(GAPS_MS) / 1000)

    async def rings(self, call_sid: str) -> str:
        """The webhook: a token, or nothing for the busy answer."""
        await self.pause()
        has_slot = self.registry.reserve(call_sid)
        if call_sid not in self.staying:
            assert has_slot == (not self.staying), f"{call_sid} got {has_slot} beside {self.staying}"
        self.answers.append((call_sid, has_slot))
        if not has_slot:
            return ""
        self.staying.add(call_sid)
        token = await self.tickets.issue(Ticket(call_sid, "AC1", "+15550001", "+15550002", 1, agent()))
        await self.pause()
        return token

    async def streams(self, token: str) -> None:
        """A stream that shows this token, for as long as the caller stays; no longer than a moment where it is refused."""
        ticket = await self.tickets.take(token)
        session = self.runtime.begin(ticket, NOTHING) if ticket is not None else None
        assert len(self.registry.live) <= 1
        if session is not None:
            await cast("StayingSession", session).over.wait()

    async def calls(self, call_sid: str) -> None:
        """Rings, is answered, talks, hangs up."""
        token = await self.rings(call_sid)
        if token:
            await self.streams(token)


class StayingSession:
    """In the place of a call's session: it lasts for a moment."""

    town: Town

    def __init__(self, _runtime: Runtime, ticket: Ticket, *_: object) -> None:
        self.ticket = ticket
        self.over = asyncio.Event()
        self.town.begun.append(ticket.call_sid)

    async def run(self) -> None:
        await self.town.pause()
        await self.town.pause()
        self.town.staying.discard(self.ticket.call_sid)
        self.over.set()


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "Session", StayingSession)
    monkeypatch.setattr(Runtime, "in_background", lambda *_, **__: None)


async def two_calls(town: Town) -> None:
    await asyncio.gather(town.calls("CA1"), town.calls("CA2"))
    admitted = [call_sid for call_sid, has_slot in town.answers if has_slot]
    assert sorted(town.begun) == sorted(admitted), "who was promised a slot has it"
    assert admitted, "somebody is admitted"


async def many_streams(town: Town) -> None:
    """The webhook is asked twice; the first token is shown twice, the second once."""
    tokens: list[str] = []

    async def second() -> None:
        tokens.append(await town.rings("CA1"))
        await town.streams(tokens[-1])

    first = await town.rings("CA1")
    await asyncio.gather(town.streams(first), _later(town, town.streams(first)), second())
    assert town.begun == ["CA1"]
    assert first
    assert tokens != [first]


async def _later(town: Town, stream: Coroutine[Any, Any, None]) -> None:
    await town.pause()
    await stream


STORIES = {"J1": two_calls, "J2": many_streams}


def in_random_orders(name: str, orders: int) -> set[int]:
    """How many webhooks were answered with a slot, over all runs."""

    async def main() -> set[int]:
        admitted = set()
        for seed in range(orders):
            town = StayingSession.town = Town(Random(seed))
            await STORIES[name](town)
            await asyncio.gather(*town.runtime._tasks)
            assert town.registry.expected == 0
            assert town.registry.reserve("CA9"), "a slot is free again once the calls are over"
            admitted.add(sum(has_slot for _, has_slot in town.answers))
        return admitted

    return run(main())


def test_J1_one_of_two_calls_for_one_slot_is_busy_in_every_order() -> None:
    assert in_random_orders("J1", ORDERS) == {1, 2}, "at once, and one after the other"


def test_J2_one_actor_owns_a_call_in_every_order_of_its_streams() -> None:
    in_random_orders("J2", ORDERS)


@pytest.mark.parametrize(
    ("name", "method", "answer"), [("J1", "reserve", True), ("J2", "refusal", "")], ids=["greedy", "twins"]
)
def test_a_registry_with_a_bug_is_found(
    name: str, method: str, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, method, lambda *_: answer)
    with pytest.raises(AssertionError):
        in_random_orders(name, 100)

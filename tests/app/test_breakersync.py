"""Breakers of several processes, over a real Redis: each has its own connection, time is set by hand."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase as Phase_
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from calls.breakerrules import OPERATIONS, Phase, Rules
from calls.breakers import ALONE_MS, PROBE_MS, Breaker, Breakers, Env, Permit
from calls.breakersync import EVERY_S, LEASE_MS, Exchange, Sharing
from calls.providers.errors import VendorError
from memory import guards
from voiceagent import celery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME = "cartesia.tts"
RULES = Rules(attempts=4, pause_ms=1000, lost_pause_ms=1000, longest_pause_ms=8000, jitter=0.0)
ROUND_MS = round(EVERY_S * 1000)


class Time:
    ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@dataclass
class Process:
    """One process's breakers and its rounds; ``away``: it does not reach Redis."""

    name: str
    time: Time
    redis: Redis
    away: bool = False
    breakers: Breakers = field(init=False)
    exchange: Exchange = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers({NAME: RULES}, Env(self.time, lambda: 0.0, self.name))
        self.exchange = Exchange(self.breakers, self.redis)

    @property
    def breaker(self) -> Breaker:
        return self.breakers.of(NAME)

    def round(self) -> None:
        if not self.away:
            self.exchange.shared_ms = self.time.ms
            self.exchange.round()

    def fail(self, times: int = 1, kind: str = "refused") -> None:
        for _ in range(times):
            self.breaker.admit().failed(kind)

    def is_refused(self) -> bool:
        try:
            self.breaker.admit().dropped()
        except VendorError:
            return True
        return False


@dataclass
class House:
    time: Time
    processes: list[Process]

    def round(self) -> None:
        """Each tells, then each has heard of all."""
        for process in self.processes * 2:
            process.round()

    def later(self, ms: int) -> None:
        """Time goes by, with its rounds."""
        while ms > 0:
            self.time.ms += min(ms, ROUND_MS)
            ms -= ROUND_MS
            self.round()

    @property
    def phases(self) -> list[Phase]:
        return [process.breaker.phase for process in self.processes]


@pytest.fixture
def redis_url(redis_url: str) -> Iterator[str]:
    """Empty afterwards too: what these tests rule is nobody else's."""
    yield redis_url
    with Redis.from_url(redis_url) as client:
        client.flushdb()


@pytest.fixture
def house(redis_url: str) -> Iterator[House]:
    clients = [Redis.from_url(redis_url) for _ in range(3)]
    time_ = Time()
    yield House(time_, [Process(name, time_, client) for name, client in zip("abc", clients, strict=True)])
    for client in clients:
        client.close()


def test_an_outage_seen_by_one_opens_all(house: House) -> None:
    first, *_ = house.processes
    first.fail(4)
    house.round()
    assert house.phases == [Phase.OPEN] * 3
    assert {process.breaker.view().failures["refused"] for process in house.processes} == {4}


def test_what_each_has_seen_a_little_of_counts_together(house: House) -> None:
    one, two, three = house.processes
    one.fail(2)
    two.fail(1)
    house.round()
    assert house.phases == [Phase.CLOSED] * 3
    three.fail(1)
    house.round()
    assert house.phases == [Phase.OPEN] * 3


def test_what_was_told_twice_counts_once(house: House) -> None:
    one, two, _ = house.processes
    one.fail(2)
    for _ in range(5):
        house.round()
    two.fail(1)
    house.round()
    assert house.phases == [Phase.CLOSED] * 3


def test_the_wells_of_others_keep_one_bad_call_from_cutting_all(house: House) -> None:
    one, two, three = house.processes
    for process in (two, three):
        for _ in range(3):
            process.breaker.admit().ok()
    house.round()
    one.fail(5)
    house.round()
    assert house.phases == [Phase.CLOSED] * 3


def open_all(house: House) -> None:
    house.processes[0].fail(4)
    house.round()
    house.later(RULES.pause_ms)
    assert house.phases == [Phase.HALF_OPEN] * 3


def test_one_probe_over_all_processes(house: House) -> None:
    open_all(house)
    permits = []
    for process in house.processes:
        try:
            permits.append(process.breaker.admit())
        except VendorError:
            continue
    assert len(permits) == 1
    house.later(10 * LEASE_MS)  # for as long as it lasts
    assert [process.is_refused() for process in house.processes] == [True] * 3
    permits[0].ok()
    house.round()
    assert house.phases == [Phase.CLOSED] * 3


def test_a_failed_probe_opens_all_for_longer(house: House) -> None:
    open_all(house)
    house.processes[0].breaker.admit().failed("timeout")
    house.round()
    assert house.phases == [Phase.OPEN] * 3
    house.later(RULES.pause_ms)
    assert house.phases == [Phase.OPEN] * 3
    house.later(RULES.pause_ms)
    assert house.phases == [Phase.HALF_OPEN] * 3


def test_who_has_a_caller_waiting_gets_the_next_probe(house: House) -> None:
    open_all(house)
    waiting = house.processes[2]
    assert waiting.is_refused()
    house.later(LEASE_MS + ROUND_MS)
    permit = waiting.breaker.admit()
    assert [process.is_refused() for process in house.processes] == [True] * 3
    permit.ok()
    house.round()
    assert house.phases == [Phase.CLOSED] * 3


def test_a_process_that_dies_with_the_probe_is_followed_by_another(house: House) -> None:
    open_all(house)
    house.processes[0].breaker.admit()
    house.processes[0].away = True
    house.later(LEASE_MS + ROUND_MS)
    house.processes[1].breaker.admit().ok()
    house.round()
    assert house.phases[1:] == [Phase.CLOSED] * 2


def test_without_redis_each_goes_on_and_they_agree_on_its_return(house: House) -> None:
    one, two, three = house.processes
    house.round()
    one.away = two.away = three.away = True
    one.fail(4)
    assert house.phases == [Phase.OPEN, Phase.CLOSED, Phase.CLOSED]
    house.time.ms += ALONE_MS + 1
    one.breaker.admit().failed("timeout")  # its own probe: nobody can keep it from it
    assert one.is_refused()
    one.away = two.away = three.away = False
    house.round()
    assert house.phases == [Phase.OPEN] * 3


def test_an_operators_act_outlives_an_empty_redis_and_outranks_what_was_ruled_without_it(house: House) -> None:
    one, two, _ = house.processes
    two.away = True
    one.breaker.trip("ann", "maintenance")
    for _ in range(3):  # two knows nothing of it and opens and closes by itself
        two.fail(4)
        house.time.ms += 60_000
        two.breaker.admit().ok()
    one.redis.flushdb()
    two.away = False
    house.round()
    assert house.phases == [Phase.FORCED] * 3
    two.breaker.reset("bob", "over")
    house.round()
    assert house.phases == [Phase.CLOSED] * 3


def test_a_late_process_learns_what_holds(house: House, redis_url: str) -> None:
    house.processes[0].fail(1, "auth")
    house.round()
    with Redis.from_url(redis_url) as client:
        late = Process("late", house.time, client)
        late.round()
        assert late.breaker.phase is Phase.OPEN
        assert late.breaker.view().ruling.cause == "auth"


@pytest.mark.parametrize("junk", ["", "{}", "[1]", '{"acts":{}}', '{"acts":9,"epoch":9,"since_ms":9,"made_by":"z"}'])
def test_junk_in_redis_stops_nobody(junk: str, house: House) -> None:
    one, two, _ = house.processes
    one.redis.hset("breakers", NAME, junk)
    one.redis.hset(f"breakers:window:{NAME}", "z", f"{house.time.ms} {junk}")
    one.round()
    one.fail(4)
    one.round()
    two.round()
    assert one.breaker.phase is Phase.OPEN


def test_what_dead_processes_saw_is_cleared_away(house: House) -> None:
    one, two, _ = house.processes
    one.fail(1)
    one.round()
    one.away = True
    house.later(RULES.window_ms + 2 * ROUND_MS)
    two.fail(1)
    two.round()
    kept = one.redis.hgetall(f"breakers:window:{NAME}")
    assert [*kept] == [b"b"]
    rank, window = json.loads(kept[b"b"].split(b" ", 1)[1])
    assert (rank, sum(parts["refused"] for parts in window.values())) == ([0, 0, 0, ""], 1)


def test_a_clock_that_is_wrong_is_set_by_the_first_round(redis_url: str) -> None:
    breakers = Breakers()
    breakers.clock.set(breakers.clock() + 3_600_000)
    breaker = breakers.of(NAME)
    breaker.admit().failed("auth")
    with Redis.from_url(redis_url) as client:
        Exchange(breakers, client).round()
        seconds, micros = client.time()
    assert abs(breakers.clock() - (seconds * 1000 + micros // 1000)) < 1_000
    assert breaker.phase is Phase.HALF_OPEN  # the pause would have lasted for an hour


@pytest.mark.usefixtures("db")
def test_a_worker_shares_what_its_tasks_ask(redis_url: str) -> None:
    seen = Breakers()
    seen.of("openai.distil").trip("ann", "maintenance")
    with Redis.from_url(redis_url) as client:
        Exchange(seen, client).round()
    celery._share_breakers()
    try:
        until(_is_turned_away)
    finally:
        celery._stop_sharing()


def _is_turned_away() -> bool:
    try:
        with guards.guarded("openai.distil"):
            return False
    except guards.TurnedAway:
        return True


# --- any history ------------------------------------------------------------------------------------------------------


class Histories(RuleBasedStateMachine):
    """Three processes, in any order of attempts, ends, rounds, outages of Redis and operators' acts."""

    def __init__(self, clients: Sequence[Redis]) -> None:
        super().__init__()
        clients[0].flushdb()
        self.time = Time()
        self.house = House(self.time, [Process(name, self.time, one) for name, one in zip("abc", clients, strict=True)])
        self.probes: list[tuple[int, Permit]] = []
        self.were_apart = False
        self.last_act: Phase | None = None
        self.house.round()

    who = st.integers(0, 2)

    @rule(who=who, kind=st.sampled_from(["ok", "refused", "timeout", "auth", "bad_request", ""]), at_once=st.booleans())
    def attempt(self, who: int, kind: str, at_once: bool) -> None:
        try:
            permit = self.house.processes[who].breaker.admit()
        except VendorError:
            return
        if permit.probe and not at_once:
            self.probes.append((self.time.ms, permit))
        else:
            self.end(permit, kind)

    @rule(who=who)
    def everybody_comes_when_the_pause_is_over(self, who: int) -> None:
        self.attempt(who, "auth", True)
        self.house.later(RULES.longest_pause_ms)
        for process in range(3):
            self.attempt(process, "", False)

    @precondition(lambda self: self.probes)
    @rule(kind=st.sampled_from(["ok", "refused", ""]))
    def probe_ends(self, kind: str) -> None:
        self.end(self.probes.pop()[1], kind)

    @staticmethod
    def end(permit: Permit, kind: str) -> None:
        if kind in ("", "ok"):
            (permit.ok if kind else permit.dropped)()
        else:
            permit.failed(kind)

    @rule(ms=st.integers(1, 8 * ROUND_MS))
    def time_goes_by(self, ms: int) -> None:
        self.house.later(ms)

    @rule(who=who)
    def one_round(self, who: int) -> None:
        self.house.processes[who].round()

    @rule(who=who, act=st.sampled_from([Phase.FORCED, Phase.CLOSED]))
    def operator(self, who: int, act: Phase) -> None:
        if self.were_apart:
            return  # two operators who act apart: who wins is not for a test to say
        breaker = self.house.processes[who].breaker
        (breaker.trip if act is Phase.FORCED else breaker.reset)("ann", "x")
        self.house.round()
        self.last_act = act

    @rule(who=who)
    def redis_goes(self, who: int) -> None:
        self.house.processes[who].away = self.were_apart = True

    @rule(flushed=st.booleans())
    def redis_returns(self, flushed: bool) -> None:
        if flushed and self.were_apart:
            self.house.processes[0].redis.flushdb()
        for process in self.house.processes:
            process.away = False
        self.house.round()
        self.house.round()  # what they have only seen together is ruled in the first, and told in the second
        self.were_apart = False
        self.probes.clear()  # of those who were alone
        rulings = {process.breaker.view().ruling.rank for process in self.house.processes}
        assert len(rulings) == 1

    @invariant()
    def one_probe(self) -> None:
        current = max(process.breaker.view().ruling.rank for process in self.house.processes)
        given_up_ms = self.time.ms - PROBE_MS
        running = [permit for begun_ms, permit in self.probes if permit.rank == current and begun_ms > given_up_ms]
        assert self.were_apart or len(running) <= 1

    @invariant()
    def operators_are_obeyed(self) -> None:
        if self.last_act is Phase.FORCED:
            assert self.house.phases == [Phase.FORCED] * 3


def test_in_any_history_there_is_one_probe_and_the_processes_agree(redis_url: str) -> None:
    clients = [Redis.from_url(redis_url) for _ in range(3)]
    try:
        run_state_machine_as_test(
            lambda: Histories(clients),
            settings=settings(
                max_examples=12, stateful_step_count=25, deadline=None, phases=[Phase_.generate, Phase_.shrink]
            ),
        )
    finally:
        for client in clients:
            client.close()


# --- real threads, real processes -------------------------------------------------------------------------------------


def until(holds: Callable[[], bool], within_s: float = 10.0) -> float:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < within_s
        time.sleep(0.01)  # two clocks that nothing but time brings together
    return time.monotonic() - begun


def _fails_elsewhere(redis_url: str) -> None:
    breakers = Breakers()
    sharing = Sharing(breakers, redis_url)
    sharing.start()
    for _ in range(OPERATIONS[NAME].attempts):
        breakers.of(NAME).admit().failed("refused")
    sharing.stop()


def test_another_process_hears_of_an_outage(redis_url: str) -> None:
    breakers = Breakers()
    sharing = Sharing(breakers, redis_url)
    sharing.start()
    try:
        until(lambda: not breakers.of(NAME).is_alone)
        other = multiprocessing.get_context("spawn").Process(target=_fails_elsewhere, args=(redis_url,))
        other.start()
        other.join(30)
        assert other.exitcode == 0
        until(lambda: breakers.of(NAME).phase is not Phase.CLOSED)
        assert breakers.of("openai.reply").phase is Phase.CLOSED
    finally:
        sharing.stop()


def test_a_redis_that_is_not_there_is_not_waited_for() -> None:
    breakers = Breakers()
    sharing = Sharing(breakers, "redis://127.0.0.1:9/0")
    sharing.start()
    try:
        breaker = breakers.of(NAME)
        for _ in range(breaker.rules.attempts):
            breaker.admit().failed("refused")
        assert breaker.is_alone
        assert breaker.phase is Phase.OPEN
    finally:
        sharing.stop()

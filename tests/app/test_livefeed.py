"""What a process tells the boards, through a real Redis: batches, the hash behind them, and a Redis that is away."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from calls.bus import Bus
from calls.livefeed import GROUP, WATCHED_KEY, FeedConf, LiveFeed, rows_key, shots
from calls.liverow import Identity
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SID = "CA" + "0" * 32


def raised(error: BaseException) -> None:
    raise error


class Process:
    """A process with one call, and what its feed has sent."""

    def __init__(self, redis: Redis, name: str = "a:1", talk: Conversation | None = None, **conf: int) -> None:
        self.talk = talk or booked_table()
        self.now_ms = self.talk.wall_ms
        self.sent: list[dict[str, Any]] = []
        self.refuses: Exception | None = None
        about = {"capacity": 50}
        self.vendors: dict[str, Any] = {}
        self.feed = LiveFeed(
            redis, self._send, name, lambda: about, FeedConf(**conf), lambda: self.now_ms, lambda: self.vendors
        )
        self.bus = Bus(raised)
        self._at = 0
        self.feed.open(Identity(self.talk.call_sid, "+15550001111", "+15005550006", "B", "", self.now_ms), self.bus)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert group == GROUP
        self.sent.append(message | orjson.loads(message["batch"]))

    def steps(self, count: int = 10_000) -> None:
        """The call goes on."""
        for step in self.talk.steps[self._at : self._at + count]:
            self.bus.publish(step)
            self.now_ms = max(self.now_ms, step.wall_ms)
        self._at += count

    async def round(self, after_ms: int = 1_000) -> dict[str, Any] | None:
        """The batch that follows, if one does."""
        self.now_ms += after_ms
        before = len(self.sent)
        await self.feed.round()
        return self.sent[-1] if len(self.sent) > before else None


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    await client.set(WATCHED_KEY, 1)
    yield client
    await client.aclose()


async def test_how_the_vendors_fare_is_told_every_two_seconds(redis: Redis) -> None:
    process = Process(redis)
    process.steps(40)
    seen = []
    for asked in range(1, 5):
        process.vendors = {"openai.reply": {"asked": asked, "failed": 0, "waits_ms": []}}
        await process.round(1_000)
        (shot,) = await shots(redis)
        seen.append(shot.about["vendors"]["openai.reply"]["asked"])
    assert seen == [1, 1, 3, 3]


async def test_what_a_newer_release_tells_beside_its_rows_is_left_out(redis: Redis) -> None:
    process = Process(redis)
    process.steps(40)
    await process.round()
    await redis.hset(rows_key("a:1"), "#weather", "[1]")  # type: ignore[misc]
    (shot,) = await shots(redis)
    assert list(shot.rows) == [SID]
    assert "weather" not in shot.about


async def test_rows_are_told_when_they_look_new_and_the_hash_has_them_all(redis: Redis) -> None:
    process = Process(redis)
    process.steps(40)
    first = await process.round()
    assert first is not None
    assert [row["call_sid"] for row in first["rows"]] == [SID]
    assert first["about"] == {"number": 1, "at": process.now_ms, "capacity": 50}
    process.steps(2)
    second = await process.round(250)
    assert second is not None and second["number"] == 2
    assert await process.round(250) is None  # nothing has happened
    (shot,) = await shots(redis)
    assert shot.rows == {SID: second["rows"][0]}
    assert shot.about["number"] == 2
    process.steps()
    third = await process.round(250)
    assert third is not None
    assert [ms for _, ms in third["latencies"]] == [720, 1390, 1120, 720]
    (shot,) = await shots(redis)
    assert shot.about["latencies"] == third["latencies"] and shot.about["errors"] == []


async def test_an_ended_call_lingers_and_goes_with_its_number_told(redis: Redis) -> None:
    process = Process(redis, linger_ms=5_000)
    process.steps()
    process.feed.close(SID, "internal_error")  # the steps have said it before
    first = await process.round()
    assert first is not None and first["rows"][0]["reason"] == "agent_hung_up"
    assert (await process.round(3_000) or {"gone": []})["gone"] == []
    last = await process.round(2_000)
    assert last is not None and last["gone"] == [SID]
    (shot,) = await shots(redis)
    assert shot.rows == {}


async def test_while_nobody_looks_the_hash_is_kept_once_a_second_and_nothing_is_sent(redis: Redis) -> None:
    await redis.delete(WATCHED_KEY)
    process = Process(redis)
    process.steps(40)
    assert await process.round() is None
    process.steps(5)
    assert await process.feed.round() is False  # within the same second
    await process.round()
    (shot,) = await shots(redis)
    assert shot.about["number"] == 2 and list(shot.rows) == [SID]
    await redis.set(WATCHED_KEY, 1)
    await process.round()
    process.steps()
    batch = await process.round(250)
    assert batch is not None and batch["number"] == shot.about["number"] + 2


async def test_a_redis_that_is_away_costs_batches_and_everything_is_told_anew(redis: Redis) -> None:
    process = Process(redis)
    process.steps(40)
    await process.round()
    process.refuses = RedisConnectionError("away")
    process.steps(20)
    assert await process.round() is None
    await redis.delete(rows_key("a:1"))
    await redis.set(WATCHED_KEY, 1)
    process.refuses = None
    batch = await process.round(250) or await process.round()
    assert batch is not None and batch["number"] == 3  # 2 is missing, so a board reads the hash
    (shot,) = await shots(redis)
    assert list(shot.rows) == [SID]


async def test_a_hash_that_expired_is_written_whole_with_a_number_of_its_own(redis: Redis) -> None:
    process = Process(redis)
    other = "CA" + "1" * 32
    process.feed.open(Identity(other, "", "", "B", "", process.now_ms), Bus(raised))
    process.steps(40)
    await process.round()
    await redis.delete(rows_key("a:1"))
    process.steps(1)
    batch = await process.round(250)
    assert batch is not None and batch["number"] == 3
    assert [row["call_sid"] for row in batch["rows"]] == [SID]
    (shot,) = await shots(redis)
    assert sorted(shot.rows) == [SID, other]


async def test_a_redis_that_hangs_is_waited_for_no_longer_than_it_may() -> None:
    hung = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
    client = Redis.from_url(f"redis://127.0.0.1:{hung.getsockname()[1]}/0")
    process = Process(client)
    process.feed.conf = FeedConf(patience_s=0.05)
    process.steps(40)
    assert await process.feed.round() is False
    await process.feed.aclose()
    await client.aclose()
    hung.close()


async def test_processes_stand_beside_each_other_and_one_that_dies_is_forgotten(redis: Redis) -> None:
    one, two = Process(redis, "a:1"), Process(redis, "b:2", booked_table("CA" + "2" * 32))
    for process in (one, two):
        process.steps(40)
        await process.round()
    assert [shot.process for shot in await shots(redis)] == ["a:1", "b:2"]
    await redis.delete(rows_key("a:1"))  # as its expiry does
    assert [shot.process for shot in await shots(redis)] == ["b:2"]
    assert await redis.pttl(rows_key("b:2")) <= FeedConf().expire_ms
    await two.feed.aclose()
    assert await shots(redis) == []
    assert two.sent[-1]["about"]["closed"] and two.sent[-1]["gone"] == ["CA" + "2" * 32]


async def test_half_a_surrogate_pair_stops_nothing(redis: Redis) -> None:
    process = Process(redis)
    process.feed.open(Identity("CA3", "", "", "\ud83d", "", process.now_ms), Bus(raised))
    batch = await process.round()
    await redis.set(WATCHED_KEY, 1)
    batch = batch or await process.round()
    (shot,) = await shots(redis)
    assert shot.rows["CA3"]["agent"] == "?"

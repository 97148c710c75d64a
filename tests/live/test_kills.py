"""SIGKILL to every part of a running product, at the worst moments: no row of the archive is missing or there twice.

The sweeper's time is made to pass by making heartbeats older; all else is as it runs.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import psutil
import psycopg
import pytest
import redis
from celery import Celery

from calls.logkeys import DEAD_AFTER_MS, LIVE_KEY
from tests.live.house import ACCOUNT, TOKEN, House, scripted_keys
from voiceagent.embedded import state
from voiceagent.embedded.postgres import Postgres
from voiceagent.embedded.valkey import Valkey
from voiceagent.sandbox.carrier import AgentStarted, Carrier, MarkReturned, PhoneCall
from voiceagent.sandbox.control import Handle, Reply, Rule, SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PARTS = ("worker", "web", "redis", "postgres")
ANSWER = "We have pasta, we have fish, and we have a very good soup of the day that everybody likes, and bread."
#: What a dying web process may lose of a call's log, and how long a mark is on its way on a machine that is busy.
LOST_MS, TRANSIT_MS = 100, 150
#: For a part to run again, which after many deaths is started only after half a minute, and for a call to be on record.
RECOVERY_S = 120.0
ROUNDS = 20
MOST_WAITING = 3


@dataclass
class Product:
    """A running product, its vendors and the phone network in front of it."""

    house: House
    carrier: Carrier
    model: Handle
    database_url: str
    redis_url: str

    def processes(self, part: str) -> list[psutil.Process]:
        """Those to kill."""
        if part in ("redis", "postgres"):
            server = (Valkey if part == "redis" else Postgres)(self.house.data_dir, lambda _: None).find()
            return [server] if server is not None else []
        mark = {"worker": "worker@", "web": "voiceagent.web"}[part]
        return [process for process in self.house.processes() if mark in " ".join(_command(process))]

    def kill(self, part: str) -> float:
        """SIGKILL; gives the moment on the monotonic clock."""
        doomed = self.processes(part)
        assert doomed, f"{part} does not run"
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        return time.monotonic()

    async def recovered(self) -> None:
        """Everything answers again."""
        async with asyncio.timeout(RECOVERY_S):
            while True:
                try:
                    async with self.carrier.session.get(f"{self.house.url}/readyz") as answer:
                        ready = answer.status == 200 and not (await answer.json())["degraded"]
                        if ready and self.processes("worker"):
                            return
                except OSError:
                    pass
                await asyncio.sleep(0.1)

    async def call(self) -> PhoneCall:
        """A call that has been greeted and has had an answer."""
        phone = self.carrier.call(f"+1555{time.monotonic_ns() // 1000 % 10**7:07d}")
        await phone.start()
        await phone.wait_for(AgentStarted)
        await phone.wait_for_quiet()
        return phone

    async def asks(self, phone: PhoneCall) -> None:
        """The agent begins to answer."""
        after = len(phone.timeline.events)
        await phone.dtmf("#", gap_ms=0)
        await phone.wait_for(AgentStarted, after=after)

    async def on_record(self, phones: list[PhoneCall]) -> dict[str, dict[str, Any]]:
        """Each call's record, once the sweeper has seen to it."""
        sids = [phone.call_sid for phone in phones]
        found: dict[str, dict[str, Any]] = {}
        until = time.monotonic() + RECOVERY_S
        while time.monotonic() < until:
            await asyncio.to_thread(self._sweep)
            await asyncio.sleep(0.5)
            with suppress(psycopg.Error):
                found = await asyncio.to_thread(self._records, sids)
                if len(found) == len(sids):
                    return found
        raise AssertionError(f"not on record: {set(sids) - set(found)} of {sids}")

    def _sweep(self) -> None:
        """Let the time pass after which a silent call counts as dead, and an archived one as forgotten; ask for a sweep."""
        with suppress(psycopg.Error), psycopg.connect(self.database_url, connect_timeout=5) as database:
            database.execute("UPDATE calls_call SET remember_due_at = remember_due_at - interval '2 minutes'")
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(self.redis_url, socket_timeout=2) as client,
            Celery(broker=self.redis_url) as queue,
        ):
            for sid in client.zrange(LIVE_KEY, 0, -1):
                client.zincrby(LIVE_KEY, -DEAD_AFTER_MS, sid)
            # A worker that is slow is not to find ever more sweeps before what they asked for.
            if cast("int", client.llen("celery")) < MOST_WAITING:
                queue.send_task("calls.tasks.sweep", retry=False, expires=10)

    def _records(self, sids: list[str]) -> dict[str, dict[str, Any]]:
        with psycopg.connect(self.database_url, connect_timeout=5) as database:
            calls = database.execute(
                "SELECT id, call_sid, end_reason, entry_count, broken_count FROM calls_call"
                " WHERE call_sid = ANY(%s) AND archived_at IS NOT NULL AND remember_due_at IS NULL",
                [sids],
            ).fetchall()
            return {sid: _record(database, pk, *rest) for pk, sid, *rest in calls}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _record(database: psycopg.Connection, call: int, reason: str, entries: int, broken: int) -> dict[str, Any]:
    def column(query: str) -> list[Any]:
        return [row[0] for row in database.execute(query, [call])]

    seqs = column("SELECT seq FROM calls_callevent WHERE call_id = %s ORDER BY seq")
    assert seqs == list(range(1, len(seqs) + 1)), "an event is missing or there twice"
    assert (entries, broken) == (len(seqs), 0)
    turns = database.execute(
        "SELECT number, user_text, heard_text FROM calls_turn WHERE call_id = %s ORDER BY number", [call]
    ).fetchall()
    numbers = [number for number, _, _ in turns]
    assert numbers == sorted(set(numbers))
    spoken = sum(bool(said.strip()) + bool(heard.strip()) for _, said, heard in turns)
    lines = column(
        "SELECT u.seq FROM memory_utterance u JOIN memory_conversation c ON c.id = u.conversation_id"
        " JOIN calls_call k ON k.call_sid = c.name WHERE k.id = %s"
    )
    assert len(lines) == len(set(lines)) == spoken, "a line of the memory is missing or there twice"
    assert len(column("SELECT id FROM calls_recording WHERE call_id = %s")) == 1
    marks = column("SELECT count(*) FROM calls_callevent WHERE call_id = %s AND type = 'MarkReturned'")
    return {"reason": reason, "marks": marks[0], "turns": len(turns)}


@asynccontextmanager
async def product(data_dir: Path) -> AsyncIterator[Product]:
    """`make run` with scripted vendors in this loop."""
    async with SandboxServer() as sandbox:
        cartesia, openai = sandbox.handle(), sandbox.handle()
        cartesia.configure(tts={"ms_per_char": 30, "speed": 3})
        openai.configure(llm={"rules": [Rule(contains="keypad", reply=Reply(text=ANSWER)).model_dump()]})
        keys = scripted_keys(sandbox, cartesia.key, openai.key) | {"OPENAI_DISTIL_MODEL": "none"}
        house = House(data_dir, DRAIN_SECONDS="1", **keys)
        house.output.unlink(missing_ok=True)
        try:
            await asyncio.to_thread(house.start().wait_for, "Ready after", 90)
            addresses = state.addresses(data_dir)
            async with Carrier(house.url, account_sid=ACCOUNT, auth_token=TOKEN, rest_url=sandbox.url) as carrier:
                yield Product(house, carrier, openai, addresses["DATABASE_URL"], addresses["REDIS_URL"])
        finally:
            await asyncio.to_thread(house.kill)


# --- what is killed, and when -------------------------------------------------------------------------------------


async def worker_in_mid_archive(run: Product) -> None:
    """Exactly in the middle: the archive waits for the call's row, which somebody holds."""
    phone = await run.call()
    async with await psycopg.AsyncConnection.connect(run.database_url) as holder:
        await holder.execute("SELECT id FROM calls_call WHERE call_sid = %s FOR UPDATE", [phone.call_sid])
        await phone.hang_up()
        async with await psycopg.AsyncConnection.connect(run.database_url, autocommit=True) as watcher:
            async with asyncio.timeout(RECOVERY_S):
                while True:
                    waiting = await watcher.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT%calls_call%'"
                    )
                    if await waiting.fetchone():
                        break
                    await asyncio.sleep(0.02)
        run.kill("worker")
    record = (await run.on_record([phone]))[phone.call_sid]
    assert record["reason"] == "caller_hung_up"


async def at_a_random_moment(run: Product, part: str, rng: random.Random) -> None:
    """Two calls: one in the middle of an answer, one just over. Whoever dies, both come to be on record."""
    talking, leaving = await asyncio.gather(run.call(), run.call())
    await run.asks(talking)
    await leaving.hang_up()
    # An archive takes a tenth of a second, an answer two: anywhere in them.
    await asyncio.sleep(rng.uniform(0, 0.4 if part == "worker" else 1.5))
    spent_ms = talking.timeline.now_ms()
    run.kill(part)
    if part == "web":
        await talking.wait_until_over(10)
    else:
        await talking.wait_for_quiet()
        await run.asks(talking)
        await talking.wait_for_quiet()
        await talking.hang_up()
    records = await run.on_record([talking, leaving])
    assert records[leaving.call_sid]["reason"] == "caller_hung_up"
    record = records[talking.call_sid]
    marks = [mark.at_ms for mark in talking.timeline.all(MarkReturned)]
    if part == "web":
        assert record["reason"] == "process_died"
        sure = [at_ms for at_ms in marks if at_ms < spent_ms - LOST_MS - TRANSIT_MS]
        assert len(sure) <= record["marks"] <= len(marks)
    else:
        assert record["reason"] == "caller_hung_up"
        assert (record["marks"], record["turns"]) == (len(marks), 3)
    await run.recovered()


async def test_one_kill_of_each_costs_no_row_and_doubles_none(data_dir: Path) -> None:
    rng = random.Random(5)
    async with product(data_dir) as run:
        await worker_in_mid_archive(run)
        await run.recovered()
        for part in PARTS[1:]:
            await at_a_random_moment(run, part, rng)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", PARTS)
async def test_twenty_kills_at_random_moments(part: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    with capsys.disabled():
        print(f"\n{part}: seed {seed}")  # noqa: T201 - what it takes to see a failure again
    rng = random.Random(seed)
    async with product(data_dir) as run:
        for _ in range(ROUNDS):
            await at_a_random_moment(run, part, rng)

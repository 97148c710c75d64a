"""A stop with callers on the line, in real processes: who finishes, who is told goodbye, and that all of it is archived."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from calls.phrasebook import shipped_audio
from tests.live.house import ACCOUNT, TOKEN, House, scripted_keys
from tests.live.test_run import get
from voiceagent.conf import CLOSING_S
from voiceagent.embedded import state
from voiceagent.embedded.servers import running
from voiceagent.sandbox.carrier import AgentStarted, CallFailedError, Carrier, PhoneCall
from voiceagent.sandbox.control import SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: What a stop takes beyond its calls: worker, servers, on a machine that has other things to do.
REST_S = 25


@asynccontextmanager
async def served(data_dir: Path, drain_s: int) -> AsyncIterator[tuple[House, Carrier]]:
    """`make run` with scripted vendors in this loop, and the phone network in front of it."""
    async with SandboxServer() as sandbox:
        keys = scripted_keys(sandbox, sandbox.handle().key, sandbox.handle().key)
        house = House(data_dir, DRAIN_SECONDS=str(drain_s), **keys)
        house.output.unlink(missing_ok=True)
        try:
            await asyncio.to_thread(house.start().wait_for, "Ready after", 90)
            async with Carrier(house.url, account_sid=ACCOUNT, auth_token=TOKEN, rest_url=sandbox.url) as carrier:
                yield house, carrier
        finally:
            await asyncio.to_thread(house.kill)


async def call(carrier: Carrier) -> PhoneCall:
    """A call on which the agent has begun to speak."""
    phone = carrier.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    return phone


def tell(house: House, number: int) -> None:
    """Send a signal to `make run`, as a terminal or a service manager does."""
    assert house.process is not None
    house.process.send_signal(number)


async def ended(house: House, timeout_s: float) -> int:
    """The exit code, in time."""
    assert house.process is not None
    return await asyncio.to_thread(house.process.wait, timeout_s)


async def at_rest(house: House, phone: PhoneCall) -> None:
    """Wait until the worker has archived a call."""
    log = house.data_dir / "logs" / "worker.log"
    async with asyncio.timeout(30):
        while not any(phone.call_sid in line and '"call.archived"' in line for line in log.read_text().splitlines()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


def archived(data_dir: Path, *phones: PhoneCall) -> list[str]:
    """The end reasons of calls whose record is complete."""
    with (
        running({"DATA_DIR": str(data_dir)}),
        psycopg.connect(state.addresses(data_dir)["DATABASE_URL"]) as connection,
    ):
        query = "SELECT call_sid, end_reason FROM calls_call WHERE archived_at IS NOT NULL AND entry_count > 0"
        reasons = dict(connection.execute(query).fetchall())
    return [reasons.get(phone.call_sid, "not archived") for phone in phones]


@pytest.mark.long
async def test_calls_may_finish_and_a_second_signal_does_not_wait_for_them(data_dir: Path) -> None:
    async with served(data_dir, drain_s=90) as (house, carrier):
        staying, leaving = await asyncio.gather(call(carrier), call(carrier))
        tell(house, signal.SIGTERM)
        await asyncio.to_thread(house.wait_for, "Waiting for 2 calls, up to 90 s. Ctrl-C again to stop at once.", 10)
        status, body = await asyncio.to_thread(get, f"{house.url}/readyz")
        assert (status, json.loads(body)["draining"], json.loads(body)["calls"]) == (503, True, 2)
        refused = carrier.call()
        with pytest.raises(CallFailedError):
            await refused.start()
        await asyncio.to_thread(house.wait_for, f"call {refused.call_sid} refused: the server is stopping", 10)
        assert staying.is_up
        assert leaving.is_up
        await leaving.hang_up()
        await at_rest(house, leaving)
        begun = time.monotonic()
        tell(house, signal.SIGTERM)
        assert (await staying.wait_until_over(10)).by == "server"
        assert await ended(house, REST_S) == 0
        assert time.monotonic() - begun < REST_S
    assert await asyncio.to_thread(archived, data_dir, leaving, staying) == ["caller_hung_up", "drain"]


@pytest.mark.long
async def test_who_is_still_talking_is_told_goodbye(data_dir: Path) -> None:
    async with served(data_dir, drain_s=1) as (house, carrier):
        phone = await call(carrier)
        tell(house, signal.SIGINT)
        over = await phone.wait_until_over(1 + CLOSING_S + 5)
        assert over.by == "server"
        assert shipped_audio("en", "closing")[4000:24000] in phone.heard
        assert await ended(house, REST_S) == 0
        shown = house.shown()
        assert "Waiting for 1 call, up to 1 s." in shown
        assert "Time is up: 1 call told goodbye" in shown
        assert f"call {phone.call_sid} ended: " in shown
        assert shown.endswith("Stopped.\n")
    assert await asyncio.to_thread(archived, data_dir, phone) == ["drain"]


@pytest.mark.long
async def test_nobody_on_the_line_is_not_waited_for(data_dir: Path) -> None:
    async with served(data_dir, drain_s=90) as (house, carrier):
        phone = await call(carrier)
        await phone.hang_up()
        await at_rest(house, phone)
        tell(house, signal.SIGTERM)
        assert await ended(house, REST_S) == 0
        assert "Waiting for" not in house.shown()
    assert await asyncio.to_thread(archived, data_dir, phone) == ["caller_hung_up"]

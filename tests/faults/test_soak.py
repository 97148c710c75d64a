"""Very many calls through one process: nothing of them stays."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
import uvloop
from asgiref.sync import sync_to_async
from django.db import connections

from tests import database
from tests.actor.line import call
from tests.faults.matrix import alone
from tests.faults.play import NEXT
from tests.faults.soak import MOST_GROWTH, MOST_RSS_GROWTH, WARM_UP, Held, held
from tests.faults.stage import open_stage
from tests.faults.weather import prepare
from tests.line.conftest import make_agent, policy
from tests.unit.core.world import agent
from voiceagent.demo.virtual import run
from voiceagent.sandbox.carrier import AgentStarted

if TYPE_CHECKING:
    from tests.faults.conftest import House


def judge(before: Held, after: Held, calls: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The second look must not show more than the first."""
    with capsys.disabled():
        print(f"\nafter {WARM_UP} calls: {before}\nafter {calls}: {after}")  # noqa: T201 - the figures are what a soak is for
        print(f"{after.growth(before):+.2%} in use, {after.rss_growth(before):+.2%} as the system counts")  # noqa: T201 - as above
    assert after.growth(before) < MOST_GROWTH
    assert after.rss_growth(before) < MOST_RSS_GROWTH
    assert after.tasks <= before.tasks
    assert (after.sockets, after.files, after.threads) <= (before.sockets, before.files, before.threads)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_calls_in_virtual_time_leave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    calls = 10_000

    async def many() -> tuple[Held, Held]:
        for number in range(calls):
            if number == WARM_UP:
                before = await held()
            async with call(agent(greeting="Hello, how can I help you today?")) as line:
                await line.wait(2500)
                await line.say("is there a table")
                await line.wait(3000)
        return before, await held()

    logging.disable(logging.WARNING)  # what the test framework keeps of them would be what grows
    try:
        figures = run(many())
    finally:
        logging.disable(logging.NOTSET)
    judge(*figures, calls, capsys)


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(7200)
def test_a_thousand_calls_over_sockets_leave_nothing(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    conf, patch = house
    calls = 1_000

    async def many() -> tuple[Held, Held]:
        async with open_stage(conf, 1, patch) as stage:
            line = await stage.line()
            prepare(line)
            for number in range(calls):
                if number == WARM_UP:
                    await asyncio.sleep(1)
                    before = await held()
                phone = line.call(f"+1555{number:07d}")
                await phone.start()
                await phone.dtmf("#", gap_ms=0)
                await phone.wait_for(AgentStarted, timeout_s=20)
                await phone.hang_up()
                await line.row(phone, 60)
                line.archived.clear()
                stage.forget_requests()
            await asyncio.sleep(1)
            return before, await held()

    alone(patch)
    make_agent(greeting="", policy=policy(speculative=False), idle_texts=[NEXT])
    connections.close_all()
    logging.disable(logging.WARNING)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(many())
            runner.run(sync_to_async(connections.close_all)())
    finally:
        logging.disable(logging.NOTSET)
        patch.undo()
        database.empty()
        connections.close_all()
    judge(*figures, calls, capsys)

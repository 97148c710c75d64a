"""Plays what befalls own dependencies, one storm after the other, in a loop of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections

from calls import tasks
from tests.faults.cells import QUEUE
from tests.faults.matrix import alone, run_apart
from tests.faults.play import GREETING
from tests.faults.stage import open_stage
from tests.faults.weather import Kept, prepare, proxied, storm
from tests.line.conftest import make_agent, policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from calls.conf import CallsConf
    from tests.faults.cells import Own

Stormed = dict["Own", dict[str, Kept] | BaseException]


def play_storms(cells: Sequence[Own], conf: CallsConf, patch: pytest.MonkeyPatch) -> Stormed:
    """What became of the calls of each. Leaves an empty database."""
    alone(patch)
    make_agent(greeting=GREETING, policy=policy(speculative=False))
    connections.close_all()
    return run_apart(_play_storms(cells, conf, patch), patch)


async def _play_storms(cells: Sequence[Own], conf: CallsConf, patch: pytest.MonkeyPatch) -> Stormed:
    stormed: Stormed = {}
    async with (
        proxied(conf.redis_url, patch) as proxies,
        open_stage(replace(conf, redis_url=settings.REDIS_URL), 1, patch) as stage,
    ):
        # Who has a queue to hand a call over to does so, and has no worker who would take it.
        line = await stage.line(archive=tasks.send_archive if cells[0] in QUEUE else None)
        prepare(line)
        for cell in cells:
            struck = [proxies[name] for name in cell.who if name in proxies]
            try:
                stormed[cell] = await storm(line, struck, cell.fault)
            except Exception as error:  # noqa: BLE001 - told by the test of this cell
                stormed[cell] = error
            for proxy in struck:
                proxy.heal()
    return stormed

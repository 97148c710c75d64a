"""Plays cells, many at once, in a loop of its own."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvloop
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections

from calls import breakersync, phrasebook, runtime
from tests.faults.play import GOODBYE, GREETING, IDLE, PHRASE_BYTES, Seen, heal, play
from tests.faults.stage import open_stage
from tests.line.conftest import make_agent, policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from calls.conf import CallsConf
    from tests.faults.cells import Cell

#: So many calls at once leave half of a core idle: what is measured is the product, not the queue for the processor.
LINES = 12
#: Deadlines of the cells' agent, short enough for a test. What a caller waits for in real life are the defaults.
POLICY: dict[str, Any] = {
    "first_token_ms": 1500,
    "first_audio_ms": 900,
    "playback_slack_ms": 500,
    "hangup_grace_ms": 1000,
    "speculative": False,
    "idle_ms": 8000,
}
CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS = 600, 900

Played = dict["Cell", Seen | BaseException]


def play_all(cells: Sequence[Cell], conf: CallsConf, patch: pytest.MonkeyPatch) -> Played:
    """What became of each cell. Leaves an empty database."""
    conf = replace(
        conf,
        cartesia=replace(conf.cartesia, connect_timeout_ms=CONNECT_TIMEOUT_MS, stt_join_ms=100),
        openai=replace(conf.openai, read_timeout_ms=READ_TIMEOUT_MS),
    )

    alone(patch)
    # The beginning of a phrase tells it from the others; hearing each out would take most of the time.
    shipped = phrasebook.shipped_audio
    patch.setattr(phrasebook, "shipped_audio", lambda language, key: shipped(language, key)[:PHRASE_BYTES])
    make_agent(greeting=GREETING, policy=policy(**POLICY), idle_texts=[IDLE], goodbye_text=GOODBYE)
    logging.disable(logging.WARNING)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_play_all(cells, conf, patch))
    finally:
        logging.disable(logging.NOTSET)
        patch.undo()
        call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True)


def alone(patch: pytest.MonkeyPatch) -> None:
    """Leave out what a process has once, where there are many runtimes in one."""

    async def nothing(_watch: object) -> None:
        """No watch for each line."""

    patch.setattr(runtime.LoopWatch, "run", nothing)
    # What one cell's vendor does is no news to the others.
    patch.setattr(breakersync.Sharing, "start", lambda _sharing: None)


async def _play_all(cells: Sequence[Cell], conf: CallsConf, patch: pytest.MonkeyPatch) -> Played:
    played: Played = {}
    waiting = list(reversed(cells))
    async with open_stage(conf, LINES, patch) as stage:

        async def on_one_line() -> None:
            line = await stage.line()
            while waiting:
                cell = waiting.pop()
                try:
                    played[cell] = await play(cell, line)
                except Exception as error:  # noqa: BLE001 - told by the test of this cell
                    played[cell] = error
                heal(line)
                line.forget_failures()

        await asyncio.gather(*(on_one_line() for _ in range(min(LINES, len(cells)))))
    await sync_to_async(connections.close_all)()
    return played

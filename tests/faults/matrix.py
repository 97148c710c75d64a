"""Plays cells, many at once, in a loop of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from asgiref.sync import sync_to_async
from django.db import connections

from calls import breakersync, phrasebook, runtime
from memory import manager
from tests import database
from tests.faults.pace import Pace
from tests.faults.play import (
    CONNECT_TIMEOUT_MS,
    GOODBYE,
    GREETING,
    IDLE,
    PHRASE_BYTES,
    POLICY,
    READ_TIMEOUT_MS,
    REST_TIMEOUT_MS,
    Seen,
    TooLateError,
    faults_of,
    heal,
    play,
)
from tests.faults.stage import open_stage
from tests.line.conftest import make_agent, policy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from _pytest.mark.structures import ParameterSet

    from calls.conf import CallsConf
    from tests.faults.cells import Cell, Own
    from tests.faults.stage import Line

#: So many calls at once leave half of a core idle: what is measured is the product, not the queue for the processor.
LINES = 8
#: A cell that failed is tried again where the machine may have been the cause (``Spell.is_void``).
MOST_ATTEMPTS = 4

Played = dict["Cell", Seen | BaseException]


def each(cells: Sequence[Cell | Own]) -> list[ParameterSet]:
    """A test for each."""
    return [pytest.param(cell, id=cell.id, marks=() if cell.is_quick else pytest.mark.long) for cell in cells]


def play_all(cells: Sequence[Cell], conf: CallsConf, patch: pytest.MonkeyPatch) -> Played:
    """What became of each cell. Leaves an empty database."""
    conf = replace(
        conf,
        cartesia=replace(conf.cartesia, connect_timeout_ms=CONNECT_TIMEOUT_MS, stt_join_ms=100),
        openai=replace(conf.openai, read_timeout_ms=READ_TIMEOUT_MS),
        twilio=replace(conf.twilio, request_timeout_ms=REST_TIMEOUT_MS),
    )

    alone(patch)
    # The beginning of a phrase tells it from the others; hearing each out would take most of the time.
    shipped = phrasebook.shipped_audio
    patch.setattr(phrasebook, "shipped_audio", lambda language, key: shipped(language, key)[:PHRASE_BYTES])
    make_agent(greeting=GREETING, policy=policy(**POLICY), idle_texts=[IDLE], goodbye_text=GOODBYE)
    return run_apart(_play_all(cells, conf, patch), patch)


def run_apart[T](playing: Coroutine[Any, Any, T], patch: pytest.MonkeyPatch) -> T:
    """Play on a loop like the product's, quietly. Takes back what was patched, and leaves an empty database."""
    logging.disable(logging.WARNING)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(playing)
    finally:
        logging.disable(logging.NOTSET)
        patch.undo()
        manager.current.cache_clear()  # it may have been made where Redis was behind a proxy that is gone
        connections.close_all()
        database.empty()


def alone(patch: pytest.MonkeyPatch) -> None:
    """Leave out what a process has once, where there are many runtimes in one."""

    async def nothing(_watch: object) -> None:
        """No watch for each line."""

    patch.setattr(runtime.LoopWatch, "run", nothing)
    # What one cell's vendor does is no news to the others.
    patch.setattr(breakersync.Sharing, "start", lambda _sharing: None)


async def _play_all(cells: Sequence[Cell], conf: CallsConf, patch: pytest.MonkeyPatch) -> Played:
    played: Played = {}
    waiting = deque((cell, 1) for cell in cells)
    async with open_stage(conf, LINES, patch) as stage, Pace(LINES) as pace:

        async def on_one_line(line: Line) -> None:
            while waiting:
                cell, attempt = waiting.popleft()
                async with pace.turn() as spell:
                    try:
                        played[cell] = await play(cell, line, spell)
                    except Exception as error:  # noqa: BLE001 - told by the test of this cell
                        played[cell] = error
                    heal(line)
                void = spell.is_void or isinstance(played[cell], TooLateError)
                if void and attempt < MOST_ATTEMPTS and faults_of(cell, played[cell]):
                    waiting.append((cell, attempt + 1))
                stage.forget_requests(line.cartesia, line.openai, line.twilio)

        lines = [await stage.line() for _ in range(min(LINES, len(cells)))]
        await asyncio.gather(*map(on_one_line, lines))
    await sync_to_async(connections.close_all)()
    return played

"""A call that our own code or the disk lets down, over real sockets: its record is closed at once and says why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from calls.models import Recording
from tests.line.conftest import Line, agent, line, talk, unused_tcp_port
from tests.line.hostile import counted
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.tools import ToolContext
    from voiceagent.sandbox.carrier import PhoneCall

__all__ = ["agent", "line", "talk", "unused_tcp_port"]  # fixtures of the line, which a conftest further down has


class Panic(BaseException):
    """What a native library raises when it gives up: no ``Exception``, so nothing on the way holds it up."""


async def greeted(line: Line) -> PhoneCall:
    """A call in which the agent has said its greeting."""
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    return phone


async def test_a_crash_is_on_record_as_ours(line: Line, talk: Callable[[int], bytes]) -> None:
    async def panics(_name: str, _arguments: str, _context: ToolContext) -> tuple[str, str]:
        raise Panic("index out of bounds")

    line.runtime.run_tool = panics
    line.ears.utterances("A table for two, please.")
    booking = {"name": "Maria", "party_size": 2, "date": "2026-11-24", "time": "19:00"}
    line.model.reply("One moment. ", tool_calls=[ToolCall(name="book_table", arguments=booking)])
    before = counted("calls_ended", reason="internal_error")
    phone = await greeted(line)
    await phone.speak(talk(900))
    assert (await phone.wait_until_over()).by != "caller"

    row = await line.archived_call(phone)

    assert (row.end_reason, row.error_count) == ("internal_error", 1)
    assert counted("calls_ended", reason="internal_error") == before + 1
    assert not line.runtime.registry.live
    assert [turn.kind async for turn in row.turns.order_by("number")] == ["greeting", "answer"]


@pytest.mark.parametrize("folder", ["no\x00folder", "/dev/null"], ids=["ValueError", "OSError"])
async def test_a_recording_that_cannot_be_written_costs_nothing_else(line: Line, folder: str) -> None:
    line.runtime.recordings_dir = Path(folder)
    phone = await greeted(line)
    await phone.hang_up()

    row = await line.archived_call(phone)

    assert row.end_reason == "caller_hung_up"
    assert not await Recording.objects.filter(call=row).aexists()

"""The transcript of the open call beside the board: what stands in it, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calls.core import events as e
from calls.core.commands import TurnClosed
from calls.logkeys import events_key
from tests.app.records.conftest import write_log
from tests.app.records.conversation import Conversation, booked_table
from voiceagent.console.board.drawer import Drawer
from voiceagent.console.logtail import client, closing

if TYPE_CHECKING:
    from collections.abc import Sequence


async def looks(redis_url: str, talk: Conversation, *steps: int) -> list[list[dict[str, Any]]]:
    """What a reader is told of a call at each look, when it has made so many steps; at last when it has made them all."""
    await write_log(redis_url, talk, {})
    async with closing(client()) as redis:
        key = events_key(talk.call_sid)
        entries = await redis.xrange(key)
        await redis.delete(key)
        drawer = Drawer(redis, talk.call_sid, str)
        told = []
        for until in (*steps, len(talk.steps)):
            while entries and int(entries[0][1][b"step"]) <= until:
                entry_id, fields = entries.pop(0)
                await redis.xadd(key, fields, id=entry_id)
            found = await drawer.look()
            told.append(found["items"] if found else [])
        return told


def kinds(items: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{item['who']}: {item['text']}" for item in items]


async def test_lines_stand_in_the_order_of_time_with_what_operators_did(redis_url: str) -> None:
    talk = Conversation(call_sid="CAdrawer1")
    talk.begin()
    talk.agent_speaks()
    talk.post(e.OperatorWhispered(key="k1", by="ana", text="They are a regular."))
    talk.caller_says("A table for two")
    talk.model_says("For when?")
    talk.agent_speaks()
    talk.post(e.OperatorTookOver(key="k2", by="ana"))
    talk.caller_says("Tomorrow at seven")
    talk.now += 500
    talk.post(e.OperatorHandedBack(key="k3", by="ana", summary="Tomorrow at seven."))
    talk.hang_up()
    (items,) = await looks(redis_url, talk)
    assert [item["ms"] for item in items] == sorted(item["ms"] for item in items)
    told = kinds(items)
    in_order = [
        "event: ana whispered: They are a regular.",
        "caller: A table for two",
        "assistant: For when?",
        "event: ana takes the call over",
        "caller: Tomorrow at seven",
        "event: ana hands the call back: Tomorrow at seven.",
    ]
    assert [line for line in told if line in in_order] == in_order, told
    assert told[-1].startswith("event: The call ended")


async def test_a_callers_line_keeps_its_place_from_the_first_words_on(redis_url: str) -> None:
    talk = booked_table("CAdrawer2")
    heard = next(at for at, step in enumerate(talk.steps) if isinstance(step.event, e.WordsHeard))
    closed = next(
        at
        for at, step in enumerate(talk.steps)
        if at > heard and any(isinstance(command, TurnClosed) for command in step.commands)
    )
    forming, after, _ = await looks(redis_url, talk, heard + 1, closed + 1)
    (first,) = [item for item in forming if item["who"] == "caller"]
    final = next(item for item in after if item["who"] == "caller")
    assert first["interim"] and not final.get("interim")
    assert (first["key"], first["ms"]) == (final["key"], final["ms"])
    assert final["text"].startswith(first["text"])

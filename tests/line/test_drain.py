"""A stop with callers in every situation: whoever is on the line hears the closing sentence, and why they were cut off is on record."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from calls.core.phrases import shipped_text
from calls.memoryfeed import MemoryFeed
from calls.models import Call
from calls.phrasebook import shipped_audio
from tests.line.conftest import open_line, speech
from tests.line.hostile import Raw, Wire, answered, eventually, quick, sid, small_talk, wire
from tests.line.test_vendors import POLICY, line, make_agent, own_redis, policy
from voiceagent.conf import CLOSING_S
from voiceagent.embedded import state

if TYPE_CHECKING:
    from pathlib import Path

    from calls.conf import CallsConf
    from calls.models import Agent
    from tests.line.conftest import Line
    from voiceagent.embedded.valkey import Valkey

__all__ = ["line", "own_redis"]  # fixtures

GRACE_S = 2.0
CLOSING = shipped_audio("en", "closing")[8000:24000]


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="", policy=policy(**POLICY))


def played(raw: Raw) -> bytes:
    """What a raw socket's caller was sent."""
    return b"".join(b64decode(said["media"]["payload"]) for said in raw.heard if said["event"] == "media")


async def begin_late(http: Wire, token: str, call_sid: str) -> Raw:
    """The stream of a call whose webhook was answered before the stop."""
    raw = await http.open()
    await raw.begin(call_sid, token)
    return raw


async def reasons(*call_sids: str) -> list[str]:
    """Why these calls ended, once they are over."""

    async def reason(call_sid: str) -> str:
        async with asyncio.timeout(10):
            while True:
                call = await Call.objects.filter(call_sid=call_sid).afirst()
                if call is not None and call.archived_at is not None:
                    return call.end_reason
                await asyncio.sleep(0.05)

    return list(await asyncio.gather(*map(reason, call_sids)))


async def listening(raw: Raw) -> None:
    """A carrier that plays everything at once and says so, until it is hung up on."""
    async for message in raw.socket:
        said = message.json()
        raw.heard.append(said)
        if said["event"] == "mark":
            await raw.say({"event": "mark", "streamSid": raw.stream_sid, "mark": said["mark"]})


async def test_everybody_on_the_line_is_told_goodbye(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """In silence, in mid-sentence, promised a stream before the stop, connecting as the time is up; the voice vendor is away."""
    greet = MemoryFeed.greet
    slow, asked = sid(), asyncio.Event()

    async def slowly(feed: MemoryFeed) -> None:
        await greet(feed)
        if feed._call_sid == slow:
            await asked.wait()

    monkeypatch.setattr(MemoryFeed, "greet", slowly)
    async with wire(line) as http:
        silent, speaking = await answered(line), await answered(line, caller="+15550002222")
        promised = sid()
        tokens = {call_sid: await http.ring(call_sid) for call_sid in (promised, slow)}
        line.ears.fault("cartesia.tts", "refuse", status=503, times=0)
        talk = asyncio.create_task(speaking.speak(speech(1400) * 6))
        stop = asyncio.create_task(line.runtime.drain(GRACE_S, CLOSING_S, asyncio.Event()))
        await eventually(lambda: line.runtime.registry.draining)
        late, connecting = [await begin_late(http, tokens[call_sid], call_sid) for call_sid in (promised, slow)]
        uninvited = sid()
        assert (await http.post("/twilio/voice", http.fields(uninvited))).verbs == ["Reject"]
        await eventually(lambda: {promised, slow} <= line.runtime.registry.live.keys())
        session = line.runtime.registry.live[silent.call_sid]
        await eventually(lambda: bool(session.actor.state.ending), GRACE_S + 5)
        asked.set()
        reading = [asyncio.create_task(listening(raw)) for raw in (late, connecting)]
        async with asyncio.timeout(CLOSING_S + 5):
            await stop
            await asyncio.gather(*reading)
        talk.cancel()
        assert line.runtime.registry.expected == 0
        for phone in (silent, speaking):
            assert CLOSING in phone.heard, phone.call_sid
        for raw in (late, connecting):
            assert CLOSING in played(raw), raw.call_sid
        calls = (silent.call_sid, speaking.call_sid, promised, slow, uninvited)
        assert await reasons(*calls) == ["drain"] * 5
        turns = [turn.heard_text async for turn in (await Call.objects.aget(call_sid=silent.call_sid)).turns.all()]
        assert turns == [shipped_text("en", "closing")]


async def test_a_stop_while_redis_is_away_says_goodbye_and_comes_to_its_end(
    agent: Agent, calls_conf: CallsConf, own_redis: Valkey, unused_tcp_port: int, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.REDIS_URL = address = state.addresses(tmp_path / "own")["REDIS_URL"]
    async with AsyncExitStack() as stack:
        line = await open_line(stack, replace(calls_conf, redis_url=address), unused_tcp_port)
        quick(line)
        small_talk(line)
        phone = await answered(line)
        await asyncio.to_thread(own_redis.stop)
        hurry = asyncio.Event()
        stop = asyncio.create_task(line.runtime.drain(0, CLOSING_S, hurry))
        over = await phone.wait_until_over(CLOSING_S)
        assert over.by == "server"
        assert CLOSING in phone.heard
        await asyncio.to_thread(own_redis.ensure)
        await asyncio.wait_for(stop, CLOSING_S)
        assert (await line.archived_call(phone)).end_reason == "drain"
    await sync_to_async(connections.close_all)()

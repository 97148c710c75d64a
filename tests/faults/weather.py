"""Own dependencies that go away under calls: three calls at once, one that begins, one in its middle, one that ends.

What holds for each: the caller hears what they would have heard, in time; on the dependency's return nothing is missing in the
archive and nothing is there twice, whoever asks for it again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from django.conf import settings
from django.db import connections

from calls import surroundings
from calls.logkeys import DEAD_AFTER_MS, LIVE_KEY
from calls.models import Call, CallEvent, Recording
from calls.services import remembering
from calls.services.archive import archive_call
from calls.tasks import sweep
from memory.models import Utterance
from tests.faults.cells import MOMENTS
from tests.faults.play import NEXT, first_sound_ms, heard
from tests.faults.proxy import Proxy
from voiceagent.celery import app
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import pytest

    from calls.session import Session
    from tests.faults.cells import Own
    from tests.faults.stage import Line

SLOW_MS, UP_MS, DOWN_MS = 150.0, 250.0, 350.0
#: How long the dependency is away at the least.
HOLD_S = 1.0
#: How long the archive may take after its return, the sweeper's own pauses left out.
SETTLE_S = 15.0
#: Longer than a caller notices that the recording has more or less than the call had.
_RECORDING_MS = 400


@dataclass
class Kept:
    """What became of one call."""

    hears: tuple[str, ...] = ()
    waited_ms: float = 0.0
    end: str = ""
    turns: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def strike(proxy: Proxy, fault: str) -> None:
    """Let the fault begin."""
    {
        "none": lambda: None,
        "away": proxy.refuse,
        "silent": proxy.hang,
        "slow": lambda: proxy.slow(SLOW_MS),
        "flapping": lambda: proxy.flap(UP_MS, DOWN_MS),
    }[fault]()


def prepare(line: Line) -> None:
    """Quick vendors; a pressed key is answered."""
    line.cartesia.configure(tts={"ms_per_char": 30, "speed": 20}, stt={"eager_end_ms": 200, "end_ms": 300})
    line.openai.configure(llm={"first_token_ms": 50, "inter_token_ms": 2})
    line.answers(("keypad", Reply(text=NEXT)))


async def storm(line: Line, proxies: Sequence[Proxy], fault: str) -> dict[str, Kept]:
    """Three calls under the fault; what became of them when it is over."""
    kept = {moment: Kept() for moment in MOMENTS}
    phones = {
        moment: line.call(f"+1555{index}{time.monotonic_ns() % 10**6:06d}") for index, moment in enumerate(MOMENTS)
    }
    sessions: dict[str, Session] = {}

    async def begin(moment: str) -> None:
        phone = phones[moment] = line.call(f"+1555{time.monotonic_ns() // 1000 % 10**7:07d}")
        await phone.start()
        async with asyncio.timeout(5):
            while phone.call_sid not in line.runtime.registry.live:  # noqa: ASYNC110 - the stream's start is under way
                await asyncio.sleep(0.02)
        sessions[moment] = line.runtime.registry.live[phone.call_sid]
        await _sounded(phone, 0)
        kept[moment].turns.append("greeting")

    async def turn(moment: str) -> None:
        phone = phones[moment]
        after_ms = phone.timeline.now_ms()
        await phone.dtmf("#", gap_ms=0)
        began = await _sounded(phone, after_ms)
        kept[moment].waited_ms = max(kept[moment].waited_ms, began.at_ms - after_ms)
        kept[moment].turns.append("next")

    await asyncio.gather(begin("middle"), begin("end"))
    await asyncio.gather(turn("middle"), turn("end"))
    for proxy in proxies:
        strike(proxy, fault)
    holding = asyncio.create_task(asyncio.sleep(HOLD_S))
    await asyncio.gather(begin("start"), turn("middle"), turn("end"))
    await asyncio.gather(turn("start"), phones["end"].hang_up())
    await holding
    for proxy in proxies:
        proxy.heal()
    await asyncio.gather(turn("start"), turn("middle"))
    await asyncio.gather(*(phones[moment].hang_up() for moment in ("start", "middle")))
    kept["start"].waited_ms = max(kept["start"].waited_ms, first_sound_ms(phones["start"]))
    for moment in MOMENTS:
        kept[moment].hears = heard(phones[moment], 0)
    await _archived(phones.values())
    for moment, phone in phones.items():
        await sync_to_async(_compare, thread_sensitive=False)(phone, sessions[moment], kept[moment])
    return kept


async def _sounded(phone: PhoneCall, after_ms: float) -> AgentStarted:
    began = await phone.wait_for(AgentStarted, lambda it: it.at_ms > after_ms, timeout_s=10)
    await phone.wait_for_quiet()
    return began


async def _archived(phones: Iterator[PhoneCall] | Sequence[PhoneCall]) -> None:
    """Let the sweeper's time pass until every call is on record."""
    sids = [phone.call_sid for phone in phones]
    async with asyncio.timeout(SETTLE_S):
        while await sync_to_async(_swept, thread_sensitive=False)(sids) < len(sids):  # noqa: ASYNC110 - told by the database
            await asyncio.sleep(0.2)


def _swept(sids: Sequence[str]) -> int:
    try:
        with surroundings.redis_client() as client:
            for sid in client.zrange(LIVE_KEY, 0, -1):
                client.zincrby(LIVE_KEY, -DEAD_AFTER_MS, sid)
        sweep()
        done = Call.objects.filter(call_sid__in=sids, archived_at__isnull=False).count()
    finally:
        connections.close_all()
    return done


def _compare(phone: PhoneCall, session: Session, kept: Kept) -> None:
    """What stands on record with what happened; and once more after everything was asked for again."""
    try:
        first = _on_record(phone, session, kept)
        with surroundings.redis_client() as client:
            archive_call(phone.call_sid, client)
        Call.objects.filter(call_sid=phone.call_sid).update(remember_due_at=None)
        remembering.remember(phone.call_sid)
        if _on_record(phone, session, kept) != first:
            kept.missing.append("another archiving changed the record")
    finally:
        connections.close_all()


def _on_record(phone: PhoneCall, session: Session, kept: Kept) -> tuple[int, ...]:
    call = Call.objects.get(call_sid=phone.call_sid)
    remembering.remember(call.call_sid)
    seqs = list(CallEvent.objects.filter(call=call).order_by("seq").values_list("seq", flat=True))
    turns = list(call.turns.order_by("number"))
    lines = Utterance.objects.filter(conversation__name=call.call_sid).count()
    recording = Recording.objects.filter(call=call).first()
    kept.end = call.end_reason
    names = ["greeting" if turn.kind == "greeting" else "next" for turn in turns if turn.outcome == "answered"]
    spoken = sum(bool(turn.user_text.strip()) + bool(turn.heard_text.strip()) for turn in turns)
    heard_ms = len(phone.heard) / 8
    checks = {
        f"events: {len(seqs)} of {session._log._seq}": seqs == list(range(1, session._log._seq + 1)),
        f"broken entries: {call.broken_count}": call.broken_count == 0,
        f"turns: {names}, not {kept.turns}": names == kept.turns,
        f"lines in the memory: {lines} of {spoken}": lines == spoken,
        f"recording: {recording and recording.duration_ms} of {heard_ms:.0f} ms": recording is not None
        and abs(recording.duration_ms - heard_ms) < _RECORDING_MS,
        f"numbers: {call.from_number}, {call.to_number}": (call.from_number, call.to_number)
        == (phone.caller, phone.called),
        f"agent: {call.agent_version_id}": call.agent_version_id is not None,
        f"violations: {call.violations}": not call.violations,
        f"status: {call.status}": call.status == Call.Status.ENDED,
    }
    kept.missing += [text for text, holds in checks.items() if not holds and text not in kept.missing]
    return len(seqs), len(turns), lines


@asynccontextmanager
async def proxied(redis_url: str, patch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Proxy]]:
    """Proxies in front of Redis and PostgreSQL, and everything that connects from now on led through them."""
    database = connections.settings["default"]
    port = int(urlsplit(redis_url).port or 0)
    async with Proxy(port) as to_redis, Proxy(port) as to_broker, Proxy(int(database["PORT"])) as to_postgres:
        broker = redis_url.replace(f":{port}", f":{to_broker.port}")
        patch.setattr(settings, "REDIS_URL", redis_url.replace(f":{port}", f":{to_redis.port}"))
        patch.setitem(settings.CHANNEL_LAYERS["default"]["CONFIG"], "hosts", [broker])
        patch.setattr(channel_layers, "backends", {})  # a layer keeps the addresses that it was made with
        patch.setattr(app.conf, "broker_url", broker)
        patch.setattr(app, "_pool", None)  # as the layer: connections to the broker that this process keeps
        patch.setattr(app.amqp, "_producer_pool", None)
        patch.setitem(database, "PORT", str(to_postgres.port))
        yield {"Redis": to_redis, "PostgreSQL": to_postgres, "Celery broker": to_broker}


#: What each of the three calls hears, whatever befalls own dependencies: a greeting and all its answers, in full.
ANSWERS = {"start": 2, "middle": 3, "end": 2}
#: From dialling to the greeting, and from a key to the answer, on a machine that has other things to do.
GREETED_MS, ANSWERED_MS = 2000, 2000


def judge(cell: Own, moment: str, stormed: dict[str, Kept] | BaseException) -> None:
    """What must hold for a call under the fault."""
    if isinstance(stormed, BaseException):
        raise stormed
    kept = stormed[moment]
    assert kept.hears == ("greeting", *["next"] * ANSWERS[moment])
    assert kept.waited_ms < (GREETED_MS + cell.later_ms if moment == "start" else ANSWERED_MS)
    assert kept.end == "caller_hung_up"
    assert kept.missing == []

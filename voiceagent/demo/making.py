"""The demonstration in the database: its agents, its calls by the records' own way, what is remembered of its callers; and away again."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from redis.asyncio import Redis

from calls import surroundings
from calls.logkeys import events_key, meta_key
from calls.logwire import Wire
from calls.models import Agent, AgentNumber, AgentVersion, Booking, Call
from calls.services import archive, carrier, erasure, meanings, recordings, remembering
from memory import manager, people
from memory.db import erasing, scoped
from memory.keys import of_caller
from memory.models import Caller, Conversation
from memory.services import cards, distilling
from memory.services.embedding import embed_conversation, embed_facts
from memory.services.writing import write_conversation
from voiceagent.demo.agents import AGENTS, BY_KEY
from voiceagent.demo.call import PROCESS, House, hold
from voiceagent.demo.speech import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from voiceagent.demo.plan import Planned
    from voiceagent.demo.speech import Speak

#: From the end of a call to its archive, and to what was understood of it.
_ARCHIVED_AFTER, _DISTILLED_AFTER = timedelta(seconds=2), timedelta(seconds=9)
_RANG_FOR = timedelta(seconds=3)


def real_calls() -> int:
    """How many calls there are that are not of the demonstration."""
    return Call.objects.exclude(process=PROCESS).count()


def demo_calls() -> int:
    """How many calls of the demonstration there are."""
    return Call.objects.filter(process=PROCESS).count()


def job_of(one: Planned, jobs: int) -> int:
    """Which of so many processes makes this call: all calls of one caller are of one, in order."""
    return zlib.crc32(one.order.from_number.encode()) % jobs


def make(
    planned: Sequence[Planned],
    now: datetime,
    tell: Callable[[int], object] = lambda _: None,
    speak: Speak | None = None,
) -> int:
    """Make those of the calls that are not there yet, in the order of time. How many were made.

    ``tell`` is called with how many are done. Raises what the database, Redis and the file system raise: what is there
    then is whole, and the next attempt goes on behind it.
    """
    versions = agents(now)
    there = set(Call.objects.filter(process=PROCESS).values_list("call_sid", flat=True))
    made = 0
    with _house(speak) as house, surroundings.redis_client() as client:
        for done, one in enumerate(planned, 1):
            if one.order.call_sid not in there:
                if one.unanswered:
                    _unanswered(one, versions)
                else:
                    _answered(one, versions, house, client)
                made += 1
            tell(done)
    return made


def remove() -> int:
    """Take the demonstration away: calls, sound, what is remembered of its callers, bookings, agents. How many calls."""
    numbers = set(Call.objects.filter(process=PROCESS).values_list("from_number", flat=True))
    for number in numbers:
        _forget(number)
    sids = list(Call.objects.filter(process=PROCESS).values_list("call_sid", flat=True))
    Booking.objects.filter(call_sid__in=sids).delete()
    erasure.erase_calls(Call.objects.filter(process=PROCESS))
    names = [agent.name for agent in AGENTS]
    for agent in Agent.objects.filter(name__in=names):
        if not Call.objects.filter(agent_version__agent=agent).exists():
            agent.delete()
    return len(sids)


# --- one call


@contextmanager
def _house(speak: Speak | None) -> Iterator[House]:
    door = manager.current()
    with ThreadPoolExecutor(1, thread_name_prefix="demo") as threads:
        folder = surroundings.recordings_dir()
        yield House(door.embedder, door.l1, threads, speak or Kept(folder.parent / "demo-speech"), folder)
        threads.submit(connections.close_all).result()


def _answered(one: Planned, versions: dict[str, list[AgentVersion]], house: House, client: Any) -> None:
    order = one.order
    version = _version_at(versions[one.agent], order.began_at)
    shares = hold(order, version.as_profile(), version.pk, BY_KEY[one.agent].rules, house)
    asyncio.run(_send(shares))
    archive.archive_call(order.call_sid, client)
    client.delete(events_key(order.call_sid), meta_key(order.call_sid))
    recordings.drop_raw(house.recordings_dir, order.call_sid)
    call = Call.objects.get(call_sid=order.call_sid)
    ended_at = call.ended_at or order.began_at
    # What was written just now is said to have been written then.
    Call.objects.filter(pk=call.pk).update(
        started_at=order.began_at - _RANG_FOR,
        archived_at=ended_at + _ARCHIVED_AFTER,
        remember_due_at=None,
        carrier_status="completed",
        carrier_status_at=ended_at,
        carrier_duration_s=round((call.duration_ms or 0) / 1000),
    )
    meanings.embed_call(order.call_sid)
    if call.caller_key:
        _remember(call, ended_at + _DISTILLED_AFTER)


async def _send(shares: list[list[Any]]) -> None:
    """Into Redis, as the log's writer does it."""
    from django.conf import settings

    async with Redis.from_url(settings.REDIS_URL, socket_timeout=5) as redis:
        answers = await Wire(redis).send(shares, (), 0)
    if refusals := [answer for answer in answers if answer]:
        raise RuntimeError(f"Redis did not take the log: {refusals[0].decode(errors='replace')}")


def _unanswered(one: Planned, versions: dict[str, list[AgentVersion]]) -> None:
    """No stream came: no line was free, or the caller gave up while it rang."""
    order = one.order
    carrier.open_call(
        call_sid=order.call_sid,
        from_number=order.from_number,
        to_number=order.to_number,
        account_sid="AC" + "0" * 32,
        agent_version_id=_version_at(versions[one.agent], order.began_at).pk,
    )
    if one.unanswered == "carrier":
        carrier.record_carrier_status({"CallSid": order.call_sid, "CallStatus": "canceled"})
    else:
        carrier.refuse_call(call_sid=order.call_sid, reason=one.unanswered)
    ended_at = order.began_at + _RANG_FOR
    Call.objects.filter(call_sid=order.call_sid).update(
        process=PROCESS, started_at=order.began_at, ended_at=ended_at, archived_at=ended_at
    )


def _remember(call: Call, now: datetime) -> None:
    """The memory's own chain, step by step and at once, at the time at which it would have been."""
    began_at = call.answered_at or call.started_at
    lines = list(remembering.said_in(call, began_at))
    if not lines:
        return
    language = call.agent_version.as_profile().language if call.agent_version else "en"
    person = people.ensure(call.from_number, language)
    written = write_conversation(person, call.call_sid, lines, began_at=began_at, ended_at=call.ended_at)
    l1 = manager.current().l1
    embed_conversation(person, written.conversation_id)
    told = [(2 * item.turn, item.text) for item in l1.told(person, call.call_sid)]
    distilling.distil(person, written.conversation_id, now=now, told=told, by_rules_alone=True)
    l1.drop_told([call.call_sid])
    embed_facts(person)
    cards.build(person, now=now, lay=l1.put_card)
    with scoped(person.id):
        Conversation.objects.filter(pk=written.conversation_id).update(
            embedded_at=now, distilled_at=now, card_at=now, written_at=now, due_at=now
        )


def _forget(number: str) -> None:
    """All of a caller's memory, without a tombstone: nobody asked for it, and the demonstration may come again."""
    key_hash = people.hash_of(number)
    person = people.by_hash(key_hash) if key_hash else None
    if person is None:
        return
    with scoped(person.id):
        names = list(Conversation.objects.filter(caller_id=person.id).values_list("name", flat=True))
    with erasing():
        Caller.objects.filter(pk=person.id).delete()
    manager.current().l1.drop_card(key_hash)
    with surroundings.redis_client() as client:
        client.delete(*of_caller(key_hash, names))


# --- the agents


def agents(now: datetime) -> dict[str, list[AgentVersion]]:
    """Each agent's versions in order, made where they are missing."""
    return {agent.key: _versions(agent.key, now) for agent in AGENTS}


@transaction.atomic
def _versions(key: str, now: datetime) -> list[AgentVersion]:
    wanted = BY_KEY[key]
    agent = Agent.objects.filter(name=wanted.name).first()
    if agent is None:
        agent = Agent(name=wanted.name)
        for version in wanted.versions:
            for name, value in version.fields.items():
                setattr(agent, name, value)
            agent.full_clean()
            agent.save()
            made = agent.capture_version()
            AgentVersion.objects.filter(pk=made.pk).update(created_at=now - timedelta(days=version.days_ago, hours=1))
        AgentNumber.objects.get_or_create(number=wanted.number, defaults={"agent": agent, "note": "Demonstration"})
    return list(agent.versions.order_by("number"))


def _version_at(versions: list[AgentVersion], at: datetime) -> AgentVersion:
    """The version that was in force then; the first for what was before it."""
    return next((one for one in reversed(versions) if one.created_at <= at), versions[0])

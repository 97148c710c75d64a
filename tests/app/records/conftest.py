"""What the tests of records share: an event log in the real Redis, a folder for recordings, and a cast of people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from django.contrib.auth.models import Permission, User

from calls.agents import seed_demo_agent
from calls.eventlog import LogConf, LogWriter
from calls.models import AgentVersion, Call
from calls.services.archive import archive_call
from calls.services.carrier import open_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.app.records.conversation import Conversation


@pytest.fixture
def client_redis(redis_url: str) -> Iterator[redis.Redis]:
    """A client of this session's empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def recordings(tmp_path: Path, settings: Any) -> Path:
    """The folder of recordings, empty."""
    settings.DATA_DIR = str(tmp_path)
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


async def write_log(url: str, talk: Conversation, meta: dict[str, str], conf: LogConf | None = None) -> list[str]:
    """Write a conversation's log by the real writer. Gives the call ids that were handed to the archive."""
    sent: list[str] = []
    async with redis.asyncio.Redis.from_url(url, socket_timeout=2) as client:
        writer = LogWriter(client, sent.append, conf=conf or LogConf(flush_ms=1))
        running = asyncio.create_task(writer.run())
        log = writer.open(talk.call_sid, meta)
        for taken in talk.steps:
            log.on_step(taken)
        assert await log.aclose()
        assert await writer.aclose() == 0
        await running
    return sent


def meta_of(version: AgentVersion | None, **more: str) -> dict[str, str]:
    """The facts that stand in a call's meta."""
    return {
        "from_number": "+15551234567",
        "to_number": "+15005550006",
        "account_sid": "AC" + "0" * 32,
        "agent_version_id": str(version.pk) if version else "",
        "started_wall_ms": "1795000000000",
        "process": "host:1:boot",
        **more,
    }


@pytest.fixture
def version(db: None) -> AgentVersion:
    """The demonstration agent's first version."""
    made = seed_demo_agent()
    assert made is not None
    return made


@pytest.fixture
def log_call(redis_url: str, version: AgentVersion) -> Callable[[Conversation], None]:
    """Write a conversation into Redis as a call that has ended and is not archived."""

    def write(talk: Conversation) -> None:
        asyncio.run(write_log(redis_url, talk, meta_of(version)))

    return write


@pytest.fixture
def archived(
    log_call: Callable[[Conversation], None], client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> Callable[[Conversation], Call]:
    """Archive a conversation, with two seconds of sound on each side."""

    def make(talk: Conversation) -> Call:
        open_call(
            call_sid=talk.call_sid,
            from_number="+15551234567",
            to_number="+15005550006",
            agent_version_id=version.pk,
        )
        (recordings / f"{talk.call_sid}.in.ulaw").write_bytes(b"\x80" * 16000)
        (recordings / f"{talk.call_sid}.out.ulaw").write_bytes(b"\x00" * 12000)
        log_call(talk)
        archive_call(talk.call_sid, client_redis)
        return Call.objects.get(call_sid=talk.call_sid)

    return make


@dataclass(frozen=True, slots=True)
class Cast:
    """Who can come to the pages: ``alice`` may read and listen, ``bob`` may only read, ``charlie`` is staff without
    any permission, ``mallory`` is no staff, ``root`` may do everything."""

    alice: User
    bob: User
    charlie: User
    mallory: User
    root: User


@pytest.fixture
def cast(db: None) -> Cast:
    """The people."""
    people = {
        name: User.objects.create_user(name, is_staff=name != "mallory") for name in Cast.__slots__ if name != "root"
    }
    for name, codes in {
        "alice": ["view_call", "view_console", "hear_recording", "view_agent"],
        "bob": ["view_call", "view_console"],
        "mallory": ["view_call"],
    }.items():
        people[name].user_permissions.set(Permission.objects.filter(codename__in=codes))
    return Cast(root=User.objects.create_superuser("root"), **people)

"""Our own server with the scripted stand-ins, as a bot under test."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import override_settings

from calls.models import Agent, AgentNumber
from tests import database
from tests.conformance.target import LOCAL
from tests.line.conftest import make_agent, open_line, policy
from voiceagent import conf

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from tests.conformance.target import Target
    from tests.conftest import TestServers

#: The deadlines are those of a busy machine; the model and the voice are prompt.
POLICY: dict[str, Any] = {"first_audio_ms": 3000, "idle_ms": 20_000}


async def own_server(stack: AsyncExitStack, servers: TestServers, data_dir: Path) -> Target:
    """Start it; ``stack`` stops it and empties the database."""
    stack.enter_context(override_settings(DATA_DIR=str(data_dir), ALLOWED_HOSTS=["127.0.0.1"]))
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushdb()
    await sync_to_async(_employ)()
    stack.push_async_callback(sync_to_async(_dismiss))
    line = await open_line(stack, conf.current(), _free_port(), max_calls=LOCAL.capacity)
    addresses = {"server": line.url, "sandbox": line.sandbox.url}
    return replace(LOCAL, **addresses, cartesia_key=line.ears.key, openai_key=line.model.key)


def _employ() -> None:
    """An agent that waits to be spoken to, one with a notice and one without patience."""
    make_agent(greeting="", policy=policy(**POLICY))
    for number, fields in (
        (LOCAL.notice_to, {"greeting": LOCAL.notice_text, "policy": policy(**POLICY, greeting_interruptible=False)}),
        (LOCAL.idle_to, {"greeting": "", "policy": policy(**{**POLICY, "idle_ms": LOCAL.idle_ms})}),
    ):
        common = {"name": number, "instructions": "Be brief.", "voice": "f786b574-daa5-4673-aa0c-cbe3e8534c02"}
        agent = Agent.objects.create(**common, **fields)
        AgentNumber.objects.create(agent=agent, number=number)


def _dismiss() -> None:
    database.empty()
    connections.close_all()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

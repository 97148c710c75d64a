"""Single-use tickets: what ties a media stream to the signed webhook that asked for it.

The webhook stores what the stream will need under an unguessable token that travels in a ``<Parameter>``. The stream's
``start`` takes it, once, before it expires. Redis keeps tickets, so that webhook and stream may meet different
processes. This process keeps its own as well: Redis may go away between the two, and is waited for only ``PATIENCE_S``.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from calls.core.policy import AgentProfile
from calls.core.record import RecordError, build, payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

#: How long a caller waits for Redis where this process can do without it.
PATIENCE_S = 0.5
_TOKEN_BYTES = 24
_MOST_TOKEN_CHARS = 64


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the webhook knows and the stream needs. ``caller_number``: of the person we speak with, whoever called whom;
    ``trace``: the webhook's place in the call's trace, as ``calls.tracing.to_text`` has it; ``direction``: the carrier's word.

    ``is_test``: an operator calls from the console. ``reads_only``: nothing of the call is to be remembered.
    """

    call_sid: str
    account_sid: str
    from_number: str
    to_number: str
    agent_version_id: int
    agent: AgentProfile
    caller_number: str = ""
    trace: str = ""
    direction: str = "inbound"
    is_test: bool = False
    reads_only: bool = False


def _key(token: str) -> str:
    return f"ticket:{token}"


@dataclass(frozen=True, slots=True)
class _Own:
    """A ticket as this process keeps it. ``shared``: Redis has it too, so another process may have taken it.

    ``data`` is empty once it is spent: a Redis that was not waited for may have stored it after all.
    """

    until_s: float
    data: bytes
    shared: bool


class Tickets:
    """Issues and takes tickets. ``clock`` is monotonic seconds."""

    def __init__(self, redis: Redis, ttl_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._clock = clock
        self._own: dict[str, _Own] = {}

    async def issue(self, ticket: Ticket) -> str:
        """A fresh token for this ticket."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        data = json.dumps(payload(ticket)).encode()
        shared = False
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._redis.set(_key(token), data, ex=self._ttl_s)
            shared = True
        except (RedisError, OSError) as error:
            _log.warning("ticket.kept_in_process", error=type(error).__name__)
        self._expire()
        self._own[token] = _Own(self._clock() + self._ttl_s, data, shared)
        return token

    async def take(self, token: str) -> Ticket | None:
        """The ticket of this token, which is spent thereby; ``None`` for one unknown, spent or expired."""
        if not token or len(token) > _MOST_TOKEN_CHARS:
            return None
        self._expire()
        own = self._own.get(token)
        if own is not None:
            if not own.data:
                return None
            self._own[token] = replace(own, data=b"")
            if not own.shared:
                return self._read(own.data)
        data: bytes | None = None
        try:
            async with asyncio.timeout(None if own is None else PATIENCE_S):
                data = await self._take_shared(token)
        except (RedisError, OSError) as error:
            _log.warning("ticket.unreadable", error=type(error).__name__, kept_in_process=own is not None)
            data = own.data if own is not None else None
        return None if data is None else self._read(data)

    async def _take_shared(self, token: str) -> bytes | None:
        data: bytes | None = await self._redis.getdel(_key(token))  # type: ignore[assignment]  # the client decodes nothing
        return data

    @staticmethod
    def _read(data: bytes) -> Ticket | None:
        try:
            ticket: Ticket = build(Ticket, json.loads(data))
        except (RecordError, ValueError) as error:
            _log.error("ticket.broken", error=str(error))
            return None
        return ticket

    def _expire(self) -> None:
        now = self._clock()
        for token in [token for token, own in self._own.items() if own.until_s <= now]:
            del self._own[token]

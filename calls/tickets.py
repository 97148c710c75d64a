"""Single-use tickets: what ties a media stream to the signed webhook that asked for it.

The webhook stores what the stream will need under an unguessable token that travels in a ``<Parameter>``. The stream's
``start`` takes it, once, before it expires. Redis keeps tickets, so that webhook and stream may meet different
processes; while Redis is away this process keeps its own.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from calls.core.policy import AgentProfile
from calls.core.record import RecordError, build, payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

_TOKEN_BYTES = 24
_MOST_TOKEN_CHARS = 64


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the webhook knows and the stream needs. ``caller_number``: of the person we speak with, whoever called whom;
    ``trace``: the webhook's place in the call's trace, as ``calls.tracing.to_text`` has it."""

    call_sid: str
    account_sid: str
    from_number: str
    to_number: str
    agent_version_id: int
    agent: AgentProfile
    caller_number: str = ""
    trace: str = ""


def _key(token: str) -> str:
    return f"ticket:{token}"


class Tickets:
    """Issues and takes tickets. ``clock`` is monotonic seconds."""

    def __init__(self, redis: Redis, ttl_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._clock = clock
        self._own: dict[str, tuple[float, bytes]] = {}

    async def issue(self, ticket: Ticket) -> str:
        """A fresh token for this ticket."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        data = json.dumps(payload(ticket)).encode()
        try:
            await self._redis.set(_key(token), data, ex=self._ttl_s)
        except RedisError as error:
            _log.warning("ticket.kept_in_process", error=type(error).__name__)
            self._expire()
            self._own[token] = (self._clock() + self._ttl_s, data)
        return token

    async def take(self, token: str) -> Ticket | None:
        """The ticket of this token, which is spent thereby; ``None`` for one unknown, spent or expired."""
        if not token or len(token) > _MOST_TOKEN_CHARS:
            return None
        data: Any = None
        self._expire()
        if token in self._own:
            data = self._own.pop(token)[1]
        else:
            try:
                data = await self._redis.getdel(_key(token))
            except RedisError as error:
                _log.warning("ticket.unreadable", error=type(error).__name__)
        if data is None:
            return None
        try:
            ticket: Ticket = build(Ticket, json.loads(data))
        except (RecordError, ValueError) as error:
            _log.error("ticket.broken", error=str(error))
            return None
        return ticket

    def _expire(self) -> None:
        now = self._clock()
        for token in [token for token, (until, _) in self._own.items() if until <= now]:
            del self._own[token]

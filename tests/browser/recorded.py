"""Archived calls for pages to show: a conversation through the real log and archive, with sound where its record says it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import redis

from calls.agents import seed_demo_agent
from calls.codecs import mulaw
from calls.core.commands import Clear, TurnClosed
from calls.core.events import AudioSent, SpeechEnded, SpeechStarted
from calls.eventlog import LogConf
from calls.models import AgentVersion, Call
from calls.services.archive import archive_call
from tests.app.records.conftest import meta_of, write_log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.records.conversation import Conversation
    from tests.browser.console import Console

_RATE = 8000


def archived(console: Console, talk: Conversation, recordings: Path, redis_url: str, *, sound: bool = True) -> Call:
    """Archive it. Each side sounds exactly while the record says that it did."""
    version = seed_demo_agent() or AgentVersion.objects.get()
    if sound:
        write_sound(talk, recordings)
    # However long it is, its log is complete before it is archived.
    conf = LogConf(flush_ms=1, batch=5_000, close_ms=300_000)
    console.run(write_log(redis_url, talk, meta_of(version, sound_from_ms="0"), conf), timeout_s=300)
    with redis.Redis.from_url(redis_url) as client:
        archive_call(talk.call_sid, client)
    return Call.objects.select_related("recording").get(call_sid=talk.call_sid)


def write_sound(talk: Conversation, recordings: Path) -> None:
    """The two raw sides as the media recorder would have left them: a tone while somebody is heard."""
    for name, spans, step in (("in", caller_spans(talk), 0.31), ("out", agent_spans(talk), 0.17)):
        samples = np.zeros(talk.now * _RATE // 1000)
        for start, end in spans:
            at = np.arange(max(0, end - start) * _RATE // 1000)
            # Loud from its first sample to its last, and not of one loudness, so that it looks like something.
            tone = 9000 * np.cos(at * step) * (0.6 + 0.4 * np.cos(at * 0.002))
            samples[start * _RATE // 1000 :][: len(tone)] = tone
        (recordings / f"{talk.call_sid}.{name}.ulaw").write_bytes(mulaw.from_samples(samples))


def caller_spans(talk: Conversation) -> list[tuple[int, int]]:
    """When the caller was heard, in ms."""
    events = [taken.event for taken in talk.steps]
    begun = [event.voiced_at_ms for event in events if isinstance(event, SpeechStarted)]
    ended = [event.voiced_until_ms for event in events if isinstance(event, SpeechEnded)]
    return list(zip(begun, ended, strict=True))


def agent_spans(talk: Conversation) -> list[tuple[int, int]]:
    """When the agent was heard, in ms: what was sent queues behind what plays, and a clear cuts it."""
    spans: list[tuple[int, int]] = []
    for taken in talk.steps:
        at = taken.event.at_ms
        if isinstance(taken.event, AudioSent):
            start = max(at, spans[-1][1] if spans else 0)
            spans.append((start, start + taken.event.size_bytes // 8))
        if any(isinstance(command, Clear) for command in taken.commands):
            spans = [(start, min(end, at)) for start, end in spans if start < at]
    return spans


def closed(talk: Conversation) -> dict[int, TurnClosed]:
    """Its turns as the core closed them."""
    found = [command for taken in talk.steps for command in taken.commands if isinstance(command, TurnClosed)]
    return {command.turn: command for command in found}

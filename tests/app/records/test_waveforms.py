"""Waveforms: written with the recording, and made later for what was archived before there were any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django.core.management import call_command

from calls.models import Recording, Waveform
from calls.services.archive import _signed, archive_call
from calls.tasks import waveform
from tests.app.records.conftest import meta_of, write_log
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    import redis

    from calls.models import AgentVersion, Call


def test_it_is_archived_with_the_recording(archived: Callable[[Conversation], Call]) -> None:
    """Two seconds of full scale on the caller's side; a second and a half on the other, padded with silence."""
    shown = archived(booked_table()).recording.waveform
    assert (set(bytes(shown.caller)), len(shown.caller)) == ({251}, 100)
    assert bytes(shown.agent) == b"\xfb" * 75 + b"\x00" * 25
    assert shown.figures["agent"]["quiet_share"] == 0.25


def test_what_is_no_place_counts_as_the_calls_own_start() -> None:
    assert [_signed(text) for text in ("-15", "40", None, "", "--1", "1e3", "9" * 20)] == [-15, 40, 0, 0, 0, 0, 0]


def test_older_recordings_get_theirs(
    archived: Callable[[Conversation], Call], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [archived(booked_table(f"CA{number:032d}")) for number in (1, 2, 3)]
    before = bytes(calls[0].recording.waveform.agent)
    Waveform.objects.all().delete()
    (recordings / calls[2].recording.file).unlink()

    assert waveform(calls[0].call_sid)
    call_command("waveforms")

    assert capsys.readouterr().out == "1 made, 1 without a readable file\n"
    assert {bytes(row.agent) for row in Waveform.objects.all()} == {before}
    assert list(Recording.objects.filter(waveform=None)) == [calls[2].recording]
    assert not waveform(calls[0].call_sid), "it has one"


def test_the_archive_takes_the_place_of_the_sound_from_the_call(
    redis_url: str, client_redis: redis.Redis, recordings: Path, version: AgentVersion
) -> None:
    talk = booked_table()
    (recordings / f"{talk.call_sid}.in.ulaw").write_bytes(b"\x80" * 800)
    asyncio.run(write_log(redis_url, talk, meta_of(version, sound_from_ms="-17")))
    archive_call(talk.call_sid, client_redis)
    assert Recording.objects.get().starts_at_ms == -17

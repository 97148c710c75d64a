"""What an archived call is found by: the columns that the list of calls reads, and what its turns mean."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone
from pgvector.django import CosineDistance

from calls.core import events as e
from calls.core.state import END_REASONS
from calls.models import Call, TurnMeaning
from calls.models.outcomes import ENDS
from calls.services import erasure, findable, meanings, timeline
from calls.services.entries import Entry
from calls.timeline_page import _OUTER_REASONS
from calls.version import SOFTWARE
from memory import surroundings
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db


def test_the_archive_writes_what_a_call_is_found_by(archived: Callable[[Conversation], Call]) -> None:
    first = archived(booked_table())
    second = archived(booked_table("CA" + "1" * 32, wall_ms=1_795_000_900_000))

    assert (first.outcome, first.language, first.has_recording) == ("completed", "en", True)
    assert first.is_returning is False
    assert second.is_returning is True
    answers = sorted(turn.latency_ms for turn in first.turns.all() if turn.latency_ms is not None)
    assert first.latency_p95_ms == answers[-1] == first.latency_max_ms
    assert (first.error_kinds, first.fallbacks, first.has_operator) == ([], [], False)
    began = [turn.began_ms for turn in first.turns.order_by("number") if turn.user_text]
    assert began == sorted(began)
    assert all(turn.began_ms < turn.speech_ended_ms for turn in first.turns.exclude(user_text=""))


def _log(*events: e.Event) -> list[Entry]:
    return [
        Entry(seq, seq, "event", type(event).__name__, event.at_ms, 0, "", 0, {}, value=event)
        for seq, event in enumerate(events, 1)
    ]


def test_what_failed_and_what_stood_in_is_read_from_the_record() -> None:
    log = _log(
        e.ModelAttemptFailed(at_ms=1, turn=1, epoch=1, kind="timeout", endpoint="openai.reply"),
        e.ModelFinished(at_ms=2, turn=1, epoch=1, reason="stop"),
        e.EarFailed(at_ms=3, kind="cut"),
        e.EarReady(at_ms=4),
        e.ModelFinished(at_ms=5, turn=2, epoch=2, reason="stop"),
        e.HangUpAsked(at_ms=6, by="operator"),
    )
    found = findable.columns(log, timeline.fold(log))

    assert found["error_kinds"] == ["ear", "ear:cut", "model", "model:timeout"]
    assert found["fallbacks"] == ["ear", "model"]
    assert found["has_operator"] is True
    assert findable.columns([], timeline.fold([]))["has_operator"] is False
    voice = _log(e.VoiceFailed(at_ms=1, turn=1, epoch=1, kind="timeout"))
    assert findable.columns(voice, timeline.fold(voice))["fallbacks"] == ["voice"]


def test_the_95th_percentile_is_a_value_that_was_measured() -> None:
    assert findable.percentile(range(1, 101), 0.95) == 95
    assert findable.percentile([30, 10, 20], 0.95) == 30
    assert findable.percentile([], 0.95) is None


def test_every_end_has_its_outcome(db: None) -> None:
    listed = {end for ends in ENDS.values() for end in ends}
    assert listed <= {*END_REASONS, *_OUTER_REASONS}
    errors = {*END_REASONS, *_OUTER_REASONS} - listed
    assert errors == {
        "stream_lost", "media_silent", "protocol_error", "ear_failed", "model_failed", "voice_failed", "internal_error",
        "process_died", "carrier_failed", "handed_over",
    }  # fmt: skip
    now = timezone.now()
    for place, end in enumerate([*END_REASONS, "never_heard_of"]):
        Call.objects.create(call_sid=f"CA{place}", status="ended", end_reason=end, ended_at=now)
    Call.objects.create(call_sid="CAlive")
    assert Call.objects.get(call_sid="CAlive").outcome == "live"
    assert Call.objects.get(end_reason="never_heard_of").outcome == "error"
    assert Call.objects.get(end_reason="transferred").outcome == "transferred"


def test_turns_are_embedded_once_and_found_by_meaning(archived: Callable[[Conversation], Call]) -> None:
    call = archived(booked_table())
    assert call.meaning_due_at is not None

    said = call.turns.exclude(user_text="", heard_text="").count()
    assert meanings.embed_call(call.call_sid) == said == TurnMeaning.objects.count() > 1
    assert meanings.embed_call(call.call_sid) == 0
    call.refresh_from_db()
    assert call.meaning_due_at is None
    asked = surroundings.embedder().embed_query("reserve somewhere to eat for a few people")
    near = TurnMeaning.objects.order_by(CosineDistance("vector", asked.tolist())).first()
    assert near is not None
    assert "table" in near.turn.user_text


def test_the_sweeper_embeds_what_no_task_took_up(archived: Callable[[Conversation], Call]) -> None:
    call = archived(booked_table())
    assert meanings.embed_due() == 0, "its task may still come"
    Call.objects.update(meaning_due_at=timezone.now() - timedelta(minutes=2))
    assert meanings.embed_due() == call.turns.exclude(user_text="", heard_text="").count()


@pytest.mark.django_db(transaction=True)
def test_an_erased_call_loses_its_vectors(archived: Callable[[Conversation], Call]) -> None:
    call = archived(booked_table())
    meanings.embed_call(call.call_sid)
    erasure.erase_calls(Call.objects.filter(pk=call.pk))
    assert TurnMeaning.objects.count() == 0
    assert meanings.embed_call(call.call_sid) == 0


def test_the_software_s_version_is_the_project_s() -> None:
    from tests.conftest import ROOT

    assert f'version = "{SOFTWARE}"' in (ROOT / "pyproject.toml").read_text()

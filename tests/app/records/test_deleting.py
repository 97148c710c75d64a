"""Deleting for good, and what cannot be deleted: rows, sound, what Redis has; versions, entries, agents with calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission

from calls.logkeys import events_key, meta_key
from calls.models import Agent, AgentVersion, Booking, Call, CallEvent, Recording, Turn
from calls.services.archive import Archived, archive_call
from calls.services.remembering import Remembered, remember
from memory.models import Conversation as Remembering
from memory.models import ErasureRequest
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    import redis
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

    from tests.app.records.conftest import Cast

CALLS = "/admin/calls/call/"
AGENTS = "/admin/calls/agent/"
FIRST, SECOND = (f"CA{number:032d}" for number in (1, 2))


def test_a_call_is_deleted_with_its_sound_and_does_not_come_back(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    client_redis: redis.Redis,
    recordings: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    gone, kept = archived(booked_table(FIRST)), archived(booked_table(SECOND))
    Booking.objects.create(key="k", call_sid=FIRST, name="M", party_size=2, date="2026-11-28", time="19:00")
    client.force_login(cast.root)

    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{CALLS}{gone.pk}/delete/", {"post": "yes"}).status_code == 302

    assert set(Call.objects.all()) == {kept}
    for model in (Turn, CallEvent, Recording):
        assert set(model._default_manager.values_list("call", flat=True)) == {kept.pk}
    assert {path.name.split(".")[0] for path in recordings.iterdir()} == {SECOND}
    assert not client_redis.exists(events_key(FIRST), meta_key(FIRST))
    assert archive_call(FIRST, client_redis) is Archived.NOTHING
    assert Booking.objects.exists()


def test_a_deleted_call_is_not_remembered(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    calls = [archived(booked_table(FIRST)), archived(booked_table(SECOND))]
    for call in calls:
        assert remember(call.call_sid) is Remembered.REMEMBERED
    client.force_login(cast.root)

    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{CALLS}{calls[0].pk}/delete/", {"post": "yes"})

    assert set(Remembering.objects.values_list("name", flat=True)) == {SECOND}
    assert ErasureRequest.objects.get().by == "operator:root"
    assert ErasureRequest.objects.get().state == "verified"


def test_many_are_deleted_at_once_but_not_what_is_still_being_written(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    recordings: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    done = archived(booked_table(FIRST))
    live = Call.objects.create(call_sid=SECOND, status="in_progress")
    client.force_login(cast.root)
    chosen = {"action": "delete_selected", "_selected_action": [done.pk, live.pk]}

    page = client.post(CALLS, chosen).content.decode()
    assert f"{SECOND}, which is not archived yet" in page
    with django_capture_on_commit_callbacks(execute=True):
        client.post(CALLS, {**chosen, "post": "yes"})
        client.post(CALLS, {**chosen, "_selected_action": [done.pk], "post": "yes"})

    assert set(Call.objects.all()) == {live}
    assert not list(recordings.iterdir())


def test_the_question_counts_and_does_not_list_thousands_of_events(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    call = archived(booked_table(FIRST))
    client.force_login(cast.root)

    with django_assert_max_num_queries(12):
        page = client.get(f"{CALLS}{call.pk}/delete/").content.decode()

    assert f"Call events: {call.entry_count}" in page
    assert "AudioSent" not in page


def test_a_file_that_cannot_be_removed_is_told(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    recordings: Path,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    call = archived(booked_table(FIRST))
    (recordings / f"{FIRST}.wav").unlink()
    (recordings / f"{FIRST}.wav").mkdir()
    client.force_login(cast.root)

    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{CALLS}{call.pk}/delete/", {"post": "yes"})

    assert not Call.objects.exists()
    assert "recording.not_erased" in caplog.text


def test_neither_an_entry_nor_a_version_goes_by_itself(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    archived(booked_table(FIRST))
    client.force_login(cast.root)

    for model in (CallEvent, AgentVersion):
        row = model._default_manager.first()
        assert row
        base = f"/admin/calls/{model._meta.model_name}/"
        assert client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert "deletelink" not in client.get(f"{base}{row.pk}/change/").content.decode()
        client.post(base, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
        assert model._default_manager.filter(pk=row.pk).exists()


def test_an_agent_goes_with_its_versions_unless_it_has_answered(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    archived(booked_table(FIRST))
    busy = Agent.objects.get()
    idle = Agent.objects.create(name="Idle", instructions="x", voice="v")
    who_may = Permission.objects.filter(codename__in=["change_agent", "delete_agent", "delete_agentnumber"])
    cast.alice.user_permissions.add(*who_may)
    client.force_login(cast.alice)

    assert client.post(f"{AGENTS}{busy.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{AGENTS}{idle.pk}/delete/", {"post": "yes"}).status_code == 302
    client.post(AGENTS, {"action": "delete_selected", "_selected_action": [busy.pk], "post": "yes"})

    assert set(Agent.objects.all()) == {busy}
    assert set(AgentVersion.objects.values_list("agent", flat=True)) == {busy.pk}

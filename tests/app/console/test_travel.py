"""Time travel on the pages: who may see what, any moment, hostile words, broken and older records, the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from calls.models import Call, CallEvent
from calls.replay.callfile import read
from calls.services import transfer
from voiceagent.console import threads
from voiceagent.console.call import tracks
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    AsRole = Callable[[str], Client]

pytestmark = pytest.mark.django_db

FOLDER = Path(__file__).resolve().parents[2] / "calls"
FACTS = {"started_at": "2026-11-01T12:00:00Z", "from_number": "+12025550123", "to_number": "+12125550100"}
HOSTILE = "<script>alert(1)</script> \u202eevil " + "long " * 2000


@pytest.fixture(autouse=True)
def _in_the_tests_own_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held of another test, and the console's threads are the test's, whose rows they see."""
    tracks._held.clear()

    async def run[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)

    monkeypatch.setattr(threads, "run", run)


def kept(name: str) -> Call:
    """A kept call, archived here."""
    file = read((FOLDER / f"{name}.call.jsonl.gz").read_bytes())
    transfer.take_over(replace(file, record=replace(file.record, facts=FACTS)))
    return Call.objects.get(call_sid=file.record.call_sid)


@pytest.fixture
def call(settings: object, tmp_path: Path) -> Call:
    settings.DATA_DIR = str(tmp_path)  # type: ignore[attr-defined]
    return kept("booking-and-barge-in")


def page(client: Client, call: Call, query: str = "", what: str = "") -> str:
    answer = client.get(f"/console/calls/{call.call_sid}/travel/{what}{query}")
    assert answer.status_code == 200, answer.content[:500]
    return answer.content.decode()


def spoken(call: Call) -> CallEvent:
    return CallEvent.objects.filter(call=call, type="TurnEnded").order_by("seq")[0]


def test_the_page_opens_at_the_end_and_any_moment_has_an_address(as_role: AsRole, call: Call) -> None:
    client = as_role("reviewer")
    assert "The call has ended" in page(client, call)
    ended = spoken(call)
    by_step = page(client, call, f"?step={ended.step}&fragment=1")
    assert escape(ended.data["text"]) in by_step
    assert f'data-step="{ended.step}"' in by_step
    assert "<html" not in by_step
    by_time = page(client, call, f"?t={ended.at_ms / 1000 + 0.001}&fragment=1")
    assert f'data-at-ms="{ended.at_ms + 1}"' in by_time
    assert "The call is connecting" in page(client, call, "?t=0&step=0")


def test_nonsense_and_what_is_beyond_the_call_shows_its_end_or_its_beginning(as_role: AsRole, call: Call) -> None:
    client = as_role("viewer")
    for query in ("?step=999999999", "?t=1e12", "?t=nan", "?step=inf", "?t=", "?step=abc", "?t=%00"):
        assert "The call has ended" in page(client, call, query), query
    for query in ("?step=-4", "?t=-1e9"):
        assert "The call is connecting" in page(client, call, query), query


def test_viewers_read_what_was_said_without_numbers_and_have_no_tools(as_role: AsRole, call: Call) -> None:
    ended = spoken(call)
    ended.data = {**ended.data, "text": "My card is 4111 1111 1111 1111, and I'm called Ada."}
    ended.save()
    shown = page(as_role("viewer"), call, f"?step={ended.step}")
    assert "Who has the floor" in shown
    assert "called Ada" in shown
    assert "4111" not in shown
    assert "4111" in page(as_role("reviewer"), call, f"?step={ended.step}")
    assert "travel-replay" not in shown
    assert "data-travel-raw" not in shown


def test_the_raw_state_and_the_replay_are_for_engineers(as_role: AsRole, call: Call) -> None:
    for role in ("viewer", "reviewer", "operator", "memory steward"):
        client = as_role(role)
        assert client.get(f"/console/calls/{call.call_sid}/travel/raw/").status_code == 403
        assert client.post(f"/console/calls/{call.call_sid}/travel/replay/").status_code == 403
    assert not AuditEntry.objects.filter(action="call.replayed").exists()


def test_engineers_see_the_state_as_the_core_has_it(as_role: AsRole, call: Call) -> None:
    ended = spoken(call)
    shown = page(as_role("engineer"), call, f"?step={ended.step}", "raw/")
    assert "&quot;timers&quot;" in shown
    assert escape(json.dumps(ended.data["text"])) in shown


def test_the_replay_says_the_same_and_is_in_the_trail(as_role: AsRole, call: Call) -> None:
    client = as_role("engineer")
    assert client.get(f"/console/calls/{call.call_sid}/travel/replay/").status_code == 405
    answer = client.post(f"/console/calls/{call.call_sid}/travel/replay/").content.decode()
    assert "bit for bit" in answer
    assert AuditEntry.objects.get(action="call.replayed").call_sid == call.call_sid


def test_the_replay_names_the_first_difference_and_hostile_words_are_shown_as_words(
    as_role: AsRole, call: Call
) -> None:
    entry = CallEvent.objects.filter(call=call, type="Say").order_by("seq")[2]
    entry.data = {**entry.data, "text": HOSTILE}
    entry.save()
    answer = as_role("engineer").post(f"/console/calls/{call.call_sid}/travel/replay/").content.decode()
    assert "Differs" in answer
    assert f'data-step-to="{entry.step}"' in answer
    assert "<script>" not in answer
    ended = spoken(call)
    ended.data = {**ended.data, "text": HOSTILE}
    ended.save()
    for what in ("", "raw/"):
        shown = page(as_role("engineer"), call, f"?step={ended.step}", what)
        assert "&lt;script&gt;alert(1)" in shown
        assert "<script>alert(1)" not in shown


def test_a_record_with_a_broken_entry_is_followed_up_to_there(as_role: AsRole, call: Call) -> None:
    broken = CallEvent.objects.filter(call=call, kind="event").order_by("seq")[60]
    CallEvent.objects.filter(pk=broken.pk).update(
        kind="broken", error="unknown type '<b>X</b>'", data={"raw": "\u202e{"}
    )
    client = as_role("engineer")
    shown = page(client, call)
    assert f"up to step {broken.step - 1} only" in shown
    assert "unknown type &#x27;&lt;b&gt;X" in shown
    assert "Damaged" in client.post(f"/console/calls/{call.call_sid}/travel/replay/").content.decode()
    CallEvent.objects.filter(call=call, step=1).delete()
    tracks._held.clear()
    assert "cannot be read from its first entry on" in page(client, call)
    assert page(client, call, what="raw/")


def test_a_record_of_older_rules_is_visited_by_those(as_role: AsRole, settings: object, tmp_path: Path) -> None:
    settings.DATA_DIR = str(tmp_path)  # type: ignore[attr-defined]
    call = kept("older-rules")
    client = as_role("engineer")
    assert "The call has ended" in page(client, call)
    assert page(client, call, "?step=40", "raw/")
    assert "rules version 1" in client.post(f"/console/calls/{call.call_sid}/travel/replay/").content.decode()
    first = CallEvent.objects.get(call=call, type="CallStarted")
    first.data["agent"]["policy"]["version"] = 99
    first.save()
    tracks._held.clear()
    assert "not in this release" in page(client, call)
    assert "there is no core" in page(client, call, what="raw/")
    assert "there is no core" in client.post(f"/console/calls/{call.call_sid}/travel/replay/").content.decode()


def test_a_forged_id_is_not_found_and_a_call_without_a_record_says_so(as_role: AsRole) -> None:
    client = as_role("engineer")
    for sid in ("CAdoesnotexist", "x" * 300, "CA-_"):
        assert client.get(f"/console/calls/{sid}/travel/").status_code == 404
        assert client.get(f"/console/calls/{sid}/travel/raw/").status_code == 404
        assert client.post(f"/console/calls/{sid}/travel/replay/").status_code == 404
    going_on = Call.objects.create(call_sid="CAgoingon")
    assert "not been archived yet" in page(as_role("viewer"), going_on)
    never = Call.objects.create(
        call_sid="CAnever", archived_at=timezone.now(), ended_at=timezone.now(), end_reason="overload", status="ended"
    )
    assert "no stream came of it" in page(as_role("viewer"), never)


def test_a_first_look_tells_how_far_it_has_come_and_keeps_nobody_else_waiting(
    call: Call, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one call is run, another is looked at; who wants the same one gets the same."""
    slow, other = call, kept("four-barge-ins")
    client = as_role("viewer")
    address = f"/console/calls/{slow.call_sid}/travel/steps/{slow.entry_count}"
    assert client.get(address).json() == {"run": None}
    told: list[int | None] = []

    def look(count: int) -> None:
        if count == 40 and not told:
            told.append(tracks.steps_run(slow.call_sid, slow.entry_count))
            assert len(tracks.track_of(other)) > 0

    monkeypatch.setattr(tracks, "_yield_now_and_then", look)
    track = tracks.track_of(slow)
    assert told == [40]
    assert client.get(address).json() == {"run": None}
    assert tracks.track_of(slow) is track


def test_nothing_of_a_call_is_held_longer_than_somebody_looks(
    as_role: AsRole, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(as_role("viewer"), call)
    assert len(tracks._held) == 1
    monkeypatch.setattr(tracks, "_HELD_S", -1.0)
    tracks.track_of(call)
    assert len(tracks._held) == 1
    call.delete()
    assert as_role("viewer").get(f"/console/calls/{call.call_sid}/travel/").status_code == 404

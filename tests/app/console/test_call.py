"""The call page, its sound and its exports: who may see and hear what, what is written down of it, and what is missing."""

from __future__ import annotations

import csv
import io
import json
import re
import wave
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from calls.models import Call, CallEvent
from memory.models import Tombstone
from memory.services import tombstones
from tests.app.console.conftest import somebody
from tests.app.records import conftest as records
from tests.app.records.conversation import Conversation, booked_table
from voiceagent.console.models import AuditEntry, CallFlag, CallNote, CallStory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from django.http import HttpResponse
    from pytest_django import DjangoAssertNumQueries

client_redis, recordings, version = records.client_redis, records.recordings, records.version  # fixtures
log_call, archived = records.log_call, records.archived

SID = "CA" + "0" * 32
PAGE = f"/console/calls/{SID}/"
AUDIO = f"{PAGE}audio.wav"


@pytest.fixture
def call(archived: Callable[[Conversation], Call]) -> Call:
    return archived(booked_table())


@async_to_sync
async def collect(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def body(response: Any) -> bytes:
    """Whatever it is sent in."""
    if not response.streaming:
        return bytes(response.content)
    return collect(response.streaming_content) if response.is_async else b"".join(response.streaming_content)


def data_of(response: HttpResponse) -> dict[str, Any]:
    """What the page's scripts are given."""
    found = re.search(r'<script id="call-data" type="application/json">(.*?)</script>', response.text)
    assert found
    given: dict[str, Any] = json.loads(found[1])
    return given


#: Address below the page → who may have it, from which role on.
ROLES = ["viewer", "reviewer", "operator", "memory steward", "engineer", "admin"]
NEEDS = {
    "": "viewer",
    "turns/1/timing/": "viewer",
    "turns/1/memory/": "viewer",
    "turns/1/wording": "viewer",
    "turns/1/audio/": "viewer",
    "audio.wav": "reviewer",
    "peaks": "reviewer",
    "export/call.json": "reviewer",
    "export/transcript.vtt": "reviewer",
    "export/caller.wav": "reviewer",
    "export/events.jsonl": "engineer",
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_what_it_may_have(call: Call, as_role: Callable[[str], Client], role: str) -> None:
    client = as_role(role)
    for address, needed in NEEDS.items():
        status = 200 if ROLES.index(role) >= ROLES.index(needed) else 403
        assert client.get(PAGE + address).status_code == status, address
    for address in ("flag", "note"):
        assert client.get(PAGE + address).status_code == (405 if role != "viewer" else 403)
    assert client.post(PAGE).status_code == 405


def test_panels_that_need_more_say_so_and_give_nothing(call: Call, as_role: Callable[[str], Client]) -> None:
    for tab, permission, secret in (("model", "see_prompts", "receptionist"), ("events", "see_raw", "TurnClosed")):
        refused = as_role("operator").get(f"{PAGE}turns/1/{tab}/")
        assert f"console.{permission}" in refused.text
        assert secret not in refused.text
        assert secret in as_role("engineer").get(f"{PAGE}turns/1/{tab}/").text
        assert secret not in as_role("operator").get(f"{PAGE}?turn=1&tab={tab}").text


def test_a_stranger_is_sent_to_the_login(call: Call) -> None:
    for address in NEEDS:
        assert Client().get(PAGE + address).status_code == 302, address


def test_old_addresses_lead_here(call: Call, as_role: Callable[[str], Client]) -> None:
    client = as_role("viewer")
    assert client.get(f"/calls/{SID}/?turn=2").headers["Location"] == f"{PAGE}?turn=2"
    assert client.get(f"/calls/{SID}/audio.wav").headers["Location"] == AUDIO


def test_what_was_said_and_heard_stands_there_without_scripts(call: Call, as_role: Callable[[str], Client]) -> None:
    page = as_role("reviewer").get(f"{PAGE}?turn=2").text
    assert "At seven, for four people." in page
    assert re.search(r"<del>the evening, and the terrace is open too. At what time\?</del>", page)
    assert "1,390 ms" in page
    assert "the agent said goodbye and ended the call" in page
    assert 'data-ms="1390"' in page
    assert "+15551234567" not in page
    assert "+1 •••• ••4567" in page


def test_nothing_inline_and_nothing_cached(call: Call, as_role: Callable[[str], Client]) -> None:
    response = as_role("engineer").get(PAGE)
    assert "no-store" in response.headers["Cache-Control"]
    assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))|<style|\sstyle=|\son\w+=", response.text)


def test_viewers_read_it_redacted(archived: Callable[[Conversation], Call], as_role: Callable[[str], Client]) -> None:
    """In the words, the marks, the panels and the exports; whoever may see it sees it."""
    talk = Conversation()
    talk.begin()
    talk.agent_speaks()
    talk.caller_says("My card is 4111 1111 1111 1111, mail me at maria@example.com.")
    talk.model_says("Thank you, I have noted 4111 1111 1111 1111.")
    talk.agent_speaks()
    talk.hang_up()
    archived(talk)
    viewer, reviewer = as_role("viewer"), as_role("reviewer")
    for address in ("", "turns/1/memory/", "turns/1/timing/"):
        shown = viewer.get(PAGE + address).text
        assert "4111" not in shown, address
        assert "maria@" not in shown, address
    assert "[card number]" in viewer.get(PAGE).text
    assert "4111 1111 1111 1111" in reviewer.get(PAGE).text
    assert "maria@example.com" in body(reviewer.get(f"{PAGE}export/transcript.txt")).decode()


def test_that_it_was_played_is_written_once_for_each_visit(call: Call, as_role: Callable[[str], Client]) -> None:
    client = as_role("reviewer")
    played = AuditEntry.objects.filter(action="recording.played", call_sid=SID)
    first, second = (data_of(client.get(PAGE))["audio"] for _ in range(2))
    assert played.count() == 0, "opening the page plays nothing"
    for header in ("", "bytes=0-", "bytes=100-"):
        client.get(first, headers={"Range": header} if header else {})
    assert played.count() == 1
    client.get(second)
    assert played.count() == 2
    other = Client()
    other.force_login(somebody("reviewer", "ben"))
    other.get(first)
    other.get(AUDIO)
    client.get(f"{AUDIO}?visit=made:up:x")
    assert [entry.username for entry in played.order_by("id")] == ["reviewer", "reviewer", "ben", "ben", "reviewer"]
    assert "played a recording" in client.get(PAGE).text


RANGES = {
    "": (200, 0, None),
    "bytes=0-": (206, 0, None),
    "bytes=44-143": (206, 44, 143),
    "bytes=-10": (206, -10, None),
    "bytes=5-4": (200, 0, None),
    "bytes=0-1,4-5": (200, 0, None),
}


def test_ranges(call: Call, as_role: Callable[[str], Client], recordings: Path) -> None:
    client, whole = as_role("reviewer"), (recordings / f"{SID}.wav").read_bytes()
    for header, (status, first, last) in RANGES.items():
        response = client.get(AUDIO, headers={"Range": header} if header else {})
        assert response.status_code == status, header
        assert body(response) == whole[first : None if last is None else last + 1], header
        assert response.headers["Accept-Ranges"] == "bytes"
    assert client.get(AUDIO, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_only_files_of_the_folder_are_served(call: Call, as_role: Callable[[str], Client], recordings: Path) -> None:
    (recordings.parent / "secret.txt").write_text("secret")
    client = as_role("reviewer")
    for file in ("../secret.txt", "/etc/passwd", "gone.wav", "."):
        call.recording.file = file
        call.recording.save()
        assert client.get(AUDIO).status_code == 404, file
        assert client.get(f"{PAGE}export/stereo.wav").status_code == 404, file
    assert "is no longer in the recordings folder" in client.get(PAGE).text


def test_the_waveform_is_a_byte_for_20_ms(call: Call, as_role: Callable[[str], Client]) -> None:
    shown = as_role("reviewer").get(f"{PAGE}peaks").content
    assert len(shown) == 200
    assert set(shown[:100]) == {251}


def test_an_older_recording_asks_for_its_waveform(
    call: Call, as_role: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("voiceagent.console.call.views.send_waveform", asked.append)
    call.recording.waveform.delete()
    given = data_of(as_role("reviewer").get(PAGE))
    assert asked == [SID]
    assert "peaks" not in given
    assert "audio" in given


def test_exports_are_whole_and_written_down(call: Call, as_role: Callable[[str], Client], recordings: Path) -> None:
    client = as_role("engineer")
    got = {what: body(client.get(f"{PAGE}export/{what}")) for what in (
        "call.json", "events.jsonl", "transcript.txt", "transcript.vtt", "transcript.csv", "stereo.wav", "caller.wav", "assistant.wav",
    )}  # fmt: skip
    whole = json.loads(got["call.json"])
    assert len(whole["events"]) == call.entry_count
    assert [turn["number"] for turn in whole["turns"]] == [0, 1, 2, 3, 4]
    assert whole["turns"][1]["not_heard"].startswith("the evening")
    lines = [json.loads(line) for line in got["events.jsonl"].splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, call.entry_count + 1))
    assert "] Caller: At seven, for four people.\n" in got["transcript.txt"].decode()
    assert got["transcript.vtt"].startswith(b"WEBVTT\n\n00:00:")
    rows = list(csv.DictReader(io.StringIO(got["transcript.csv"].decode())))
    assert {row["who"] for row in rows} == {"Caller", "Assistant"}
    assert got["stereo.wav"] == (recordings / f"{SID}.wav").read_bytes()
    with wave.open(io.BytesIO(got["stereo.wav"])) as stereo:
        frames = stereo.readframes(stereo.getnframes())
    for side, name in enumerate(("caller.wav", "assistant.wav")):
        with wave.open(io.BytesIO(got[name])) as mono:
            assert (mono.getnchannels(), mono.getframerate(), mono.getnframes()) == (1, 8000, 16000)
            assert mono.readframes(3) == b"".join(frames[at + side * 2 : at + side * 2 + 2] for at in (0, 4, 8))
    entries = AuditEntry.objects.filter(action="call.exported", call_sid=SID)
    assert sorted(entry.entry for entry in entries) == sorted(got)
    assert client.get(f"{PAGE}export/passwd").status_code == 404


def test_a_formula_is_no_formula_in_a_spreadsheet(
    archived: Callable[[Conversation], Call], as_role: Callable[[str], Client]
) -> None:
    talk = Conversation()
    talk.begin()
    talk.caller_says('=HYPERLINK("http://evil","x") <b> --> & more')
    talk.hang_up()
    archived(talk)
    client = as_role("reviewer")
    assert "'=HYPERLINK" in body(client.get(f"{PAGE}export/transcript.csv")).decode()
    assert "&lt;b&gt; --&gt; &amp; more" in body(client.get(f"{PAGE}export/transcript.vtt")).decode()


def test_flag_and_notes(call: Call, as_role: Callable[[str], Client]) -> None:
    client = as_role("reviewer")
    client.post(f"{PAGE}flag", {"reason": "<b>rude</b>", "query": "turn=2"})
    client.post(f"{PAGE}flag", {"reason": "again"})
    assert [flag.reason for flag in CallFlag.objects.all()] == ["<b>rude</b>"]
    back = client.post(f"{PAGE}note", {"text": "Look here\x00", "at_ms": "8830", "query": "turn=2"})
    assert back.headers["Location"] == f"{PAGE}?turn=2"
    client.post(f"{PAGE}note", {"text": "   "})
    (note,) = CallNote.objects.all()
    assert (note.text, note.at_ms, str(note.author)) == ("Look here", 8830, "reviewer")
    page = client.get(PAGE).text
    assert "&lt;b&gt;rude&lt;/b&gt;" in page
    assert "Look here" in page
    client.post(f"{PAGE}flag", {"lower": "1"})
    assert not CallFlag.objects.exists()
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["call.flagged", "call.noted", "call.unflagged"]
    assert as_role("viewer").post(f"{PAGE}note", {"text": "no"}).status_code == 403


def test_events_can_be_filtered_and_paged(call: Call, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    panel = f"{PAGE}turns/1/events/"

    def numbers(query: str) -> list[int]:
        return [int(seq) for seq in re.findall(r'<tr><td class="number">(\d+)</td>', client.get(panel + query).text)]

    whole = list(call.events.order_by("seq").values_list("seq", flat=True))
    assert numbers("?whole=on&detail=on") == whole[:200]
    assert numbers(f"?whole=on&detail=on&after={whole[199]}") == whole[200:400]
    tools = call.events.filter(type__in=("RunTool", "ToolSettled")).values_list("seq", flat=True)
    assert set(tools) <= set(numbers("?whole=on&text=book_table")) | set(numbers("?whole=on&text=ToolSettled"))
    assert numbers("?whole=on&kind=broken") == []
    assert numbers("?text=%00") == numbers("")
    of_turn = numbers("")
    first = call.events.filter(type="SpeechStarted").order_by("seq").first()
    assert first
    assert first.seq in of_turn, "a turn begins with the caller's first sound"


def test_queries_do_not_grow_with_the_call(
    call: Call, as_role: Callable[[str], Client], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = as_role("engineer")
    with django_assert_max_num_queries(30):
        client.get(PAGE)


def test_the_story_is_made_at_the_first_look_and_anew_when_the_record_has_grown(
    call: Call, as_role: Callable[[str], Client]
) -> None:
    client = as_role("engineer")
    with CaptureQueriesContext(connection) as first:
        before = data_of(client.get(PAGE))
    with CaptureQueriesContext(connection) as second:
        after = data_of(client.get(PAGE))
    for given in (before, after):
        given.pop("audio")
    assert before == after
    looks = [sum("lag(" in query["sql"] for query in asked.captured_queries) for asked in (first, second)]
    assert looks == [2, 0], "the log is looked through once"
    CallStory.objects.update(told={})
    Call.objects.update(entry_count=call.entry_count + 1)
    assert data_of(client.get(PAGE))["states"] == before["states"]
    Call.objects.all().delete()
    assert not CallStory.objects.exists()


def test_what_was_understood_on_the_way(
    archived: Callable[[Conversation], Call], as_role: Callable[[str], Client]
) -> None:
    """Words that were taken back are marked; the wordings are there on demand, and hide what the words do."""
    talk = Conversation()
    talk.begin()
    talk.agent_speaks()
    talk.caller_says("A table for two <b>people</b>.", mistaken_for="A table for to <i>peep</i>")
    talk.model_says("Gladly.")
    talk.agent_speaks()
    talk.caller_says("My card is 4111 1111 1111 1111.", mistaken_for="My cart is 4111 1111 1111 1117.")
    talk.model_says("Thank you.")
    talk.agent_speaks()
    talk.hang_up()
    archived(talk)
    viewer, reviewer = as_role("viewer"), as_role("reviewer")
    page = viewer.get(PAGE).text
    assert '<span class="unsteady" title="First understood as: to &lt;i&gt;peep&lt;/i&gt;">two</span>' in page
    assert '<span class="unsteady">card</span>' in page, "what stood there is not told where something is hidden"
    assert '<span class="unsteady" title="First understood as: cart">card</span>' in reviewer.get(PAGE).text
    told = viewer.get(f"{PAGE}turns/1/wording").text
    assert re.findall(r'<span class="said" dir="auto">(.*?)</span>', told)[-2:] == [
        "A table for to &lt;i&gt;peep&lt;/i&gt;",
        "A table for two &lt;b&gt;people&lt;/b&gt;.",
    ]
    assert "console.see_unredacted" in viewer.get(f"{PAGE}turns/2/wording").text
    for address in ("", "?wording=1", "?wording=2", "turns/2/wording"):
        assert not re.search("4111|1117|cart", viewer.get(PAGE + address).text), address
    assert "4111 1111 1111 1117" in reviewer.get(f"{PAGE}turns/2/wording").text
    assert "A table for to &lt;i&gt;" in viewer.get(f"{PAGE}?wording=1").text, "without scripts it is a page"
    assert "Nothing is on record" in viewer.get(f"{PAGE}turns/77/wording").text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "Nothing has been said yet"),
        ({"status": "ended", "end_reason": "stream_lost", "ended_at": "2026-11-23T10:00Z"}, "is being archived"),
        (
            {"status": "ended", "end_reason": "x", "ended_at": "2026-11-23T10:00Z", "archived_at": "2026-11-23T10:00Z"},
            "No recording",
        ),
    ],
)
def test_a_call_with_nothing_to_show_says_why(
    as_role: Callable[[str], Client], redis_url: str, recordings: Path, state: dict[str, str], message: str
) -> None:
    Call.objects.create(call_sid=SID, **state)
    assert message in as_role("viewer").get(PAGE).text


@pytest.mark.django_db
def test_no_such_call_and_one_that_was_erased(as_role: Callable[[str], Client], recordings: Path) -> None:
    client = as_role("reviewer")
    missing = client.get(PAGE)
    assert missing.status_code == 404
    assert "No such call" in missing.text
    assert client.get(AUDIO).status_code == 404
    subject = tombstones.conversation_subject(SID)
    Tombstone.objects.create(scope="conversation", caller_hash="h", subject=subject, at="2026-11-23T10:00Z")
    erased = client.get(PAGE)
    assert erased.status_code == 404
    assert "This call was erased" in erased.text


def test_a_broken_record_is_shown_as_far_as_it_goes(call: Call, as_role: Callable[[str], Client]) -> None:
    CallEvent.objects.filter(call=call, type="TurnClosed").update(kind="broken", data={"raw": "{"})
    Call.objects.update(broken_count=5)
    page = as_role("engineer").get(f"{PAGE}?turn=2")
    assert "The record is incomplete" in page.text
    assert "has no response time" in page.text


def test_neighbours_are_those_of_the_list(
    archived: Callable[[Conversation], Call], as_role: Callable[[str], Client]
) -> None:
    """In its order; query and order go along. Without a list the calls are newest first; nonsense finds as in the list."""
    sids = [f"CA{number:032d}" for number in range(4)]
    for number, sid in enumerate(sids):
        archived(booked_table(sid, wall_ms=1_795_000_000_000 + number * 3_600_000))
    Call.objects.filter(call_sid=sids[2]).update(error_count=3, latency_p95_ms=None)
    for number, ms in ((0, 900), (1, 500), (3, 700)):
        Call.objects.filter(call_sid=sids[number]).update(latency_p95_ms=ms)
    client = as_role("reviewer")

    def around(number: int, query: str) -> list[tuple[str, int, str]]:
        page = client.get(f"/console/calls/{sids[number]}/{query}").text
        links = re.findall(r'rel="(prev|next)" aria-keyshortcuts="." href="/console/calls/(\w+)/([^"]*)"', page)
        return [(rel, sids.index(sid), passed) for rel, sid, passed in links]

    assert around(1, "") == [("prev", 2, ""), ("next", 0, "")]
    kept = "?q=errors%3A0"
    assert around(1, kept) == [("prev", 3, kept), ("next", 0, kept)]
    assert around(2, kept) == [("prev", 3, kept), ("next", 1, kept)], "it need not be in the list itself"
    slowest = "?q=&amp;sort=slowest"
    walked = [around(number, "?q=&sort=slowest") for number in (0, 3, 1, 2)]
    assert walked[0] == [("next", 3, slowest)]
    assert walked[1] == [("prev", 0, slowest), ("next", 1, slowest)]
    assert walked[2] == [("prev", 3, slowest), ("next", 2, slowest)], "what has no value is last"
    assert walked[3] == [("prev", 1, slowest)]
    Call.objects.filter(call_sid=sids[0]).update(is_test=True)
    assert around(1, "?q=") == [("prev", 2, "?q=")], "a list leaves out test calls where it is not asked for them"

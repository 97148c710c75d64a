"""The timeline page and the recording behind it: who may see them, what they show, and what hostile text does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Q

from calls.core.commands import Clear
from calls.core.events import HangUpAsked
from calls.models import Call, Turn
from calls.selectors import DETAIL
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from tests.app.records.conftest import Cast

SID = "CA" + "0" * 32
PAGE = f"/calls/{SID}/"
AUDIO = f"/calls/{SID}/audio.wav"


@pytest.fixture
def call(archived: Callable[[Conversation], Call]) -> Call:
    return archived(booked_table())


def page(client: Client, query: str = "") -> str:
    response = client.get(PAGE + query)
    assert response.status_code == 200
    return str(response.content.decode())


def test_who_may_see_what(call: Call, client: Client, cast: Cast) -> None:
    expected = {"": (302, 302), "alice": (200, 200), "bob": (200, 403), "charlie": (403, 403), "mallory": (302, 302)}
    for name, (timeline, audio) in {**expected, "root": (200, 200)}.items():
        client.logout()
        if name:
            client.force_login(getattr(cast, name))
        assert (client.get(PAGE).status_code, client.get(AUDIO).status_code) == (timeline, audio), name
    assert client.post(PAGE).status_code == 405


def test_a_stranger_is_sent_to_the_login(call: Call, client: Client) -> None:
    assert client.get(PAGE).headers["Location"].startswith("/admin/login/?next=")


def test_what_was_recalled_stands_with_its_turn(call: Call, client: Client, cast: Cast) -> None:
    source = "CA" + "9" * 32
    item = {
        "id": "m1", "level": "L2", "kind": "preference", "text": "likes <b>the</b> window", "score_milli": 812,
        "said_at": "2026-11-02", "conversation": source, "audio_ms": 21_400, "quote": "the window one", "in_prompt": True,
    }  # fmt: skip
    late = {**item, "id": "m2", "in_prompt": False, "why_not": "floor"}
    call.turns.filter(number=1).update(recalled={"outcome": "full", "took_ms": 12, "items": [item, late]})
    client.force_login(cast.alice)
    html = page(client)
    assert "Recalled 1 of 2 found, 12 ms" in html
    assert "likes &lt;b&gt;the&lt;/b&gt; window" in html
    assert "left out: fits too little" in html
    assert f'href="/calls/{source}/audio.wav#t=21.40"' in html
    client.force_login(cast.bob)
    html = page(client)
    assert f'href="/calls/{source}/"' in html
    assert "audio.wav#t=21.40" not in html


def test_words_times_and_what_was_not_heard(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)

    html = page(client)

    assert "+15551234567" in html
    assert "At seven, for four people." in html
    assert "1,390 ms" in html
    assert "slow" not in html
    assert re.search(r"Gladly! We are open from noon to ten in\s*<span class=\"unheard\">", html)
    assert "<del>the evening, and the terrace is open too. At what time?</del>" in html
    assert "Tool book_table started. name: Maria Jensen, party size: 4" in html
    assert "the agent said goodbye and ended the call" in html
    assert 'class="mode-speaking"' in html
    assert 'class="mode-stop"' in html
    assert f'src="{AUDIO}"' in html


def test_only_the_caller_stops_the_agent(archived: Callable[[Conversation], Call], client: Client, cast: Cast) -> None:
    """What the end of a call clears is no barge-in: here the agent is cleared once by each."""
    talk = Conversation()
    talk.begin()
    talk.agent_speaks(words=2)
    talk.barge_in("Do you have a table?")
    talk.model_says("We do, for two or for four people, outside or inside.")
    talk.agent_speaks(words=3)
    talk.post(HangUpAsked(by="operator"))
    talk.post(HangUpAsked(by="operator"))
    talk.hang_up()
    call = archived(talk)
    client.force_login(cast.alice)

    html = page(client)

    assert len(talk.commands(Clear)) == call.events.filter(type="Clear").count() == 2
    assert html.count('class="mode-stop"') == 1


def test_who_may_not_listen_is_told_so(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.bob)

    html = page(client)

    assert "<audio" not in html
    assert AUDIO not in html
    assert "may not listen to recordings" in html


def test_nothing_inline_and_nothing_cached(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)

    response = client.get(PAGE)
    html = response.content.decode()

    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "no-store" in response.headers["Cache-Control"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", html)


def test_hostile_words_are_shown_and_not_run(call: Call, client: Client, cast: Cast) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    Turn.objects.filter(number=1).update(user_text=bad, generated_text=bad, heard_text="")
    Call.objects.update(from_number=bad, carrier_status="<b>")
    call.events.filter(type="RunTool").update(data={"type": "RunTool", "name": bad, "arguments": bad})
    client.force_login(cast.alice)

    html = page(client)

    assert "<script>alert" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html


#: Address and the rows it must show, as a condition on the log.
FILTERS: dict[str, Q] = {
    "": ~Q(type__in=DETAIL),
    "?detail=1": Q(),
    "?detail=1&after=200": Q(seq__gt=200),
    "?kind=command": Q(kind="command") & ~Q(type__in=DETAIL),
    "?type=MarkReturned&turn=3": Q(type="MarkReturned", turn=3),
    "?type=TurnClosed": Q(type="TurnClosed"),
    "?text=Maria%20Jensen&type=TurnEnded": Q(type="TurnEnded", data__text="Maria Jensen."),
    "?text=100%25_": Q(pk=None),
    "?text=%00": ~Q(type__in=DETAIL),
    "?turn=x&after=-1&kind=%27%3B--&type=%00": Q(pk=None),
    "?after=99999999999999999999": ~Q(type__in=DETAIL),
}


def test_filters(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)

    for query, condition in FILTERS.items():
        expected = list(call.events.filter(condition).order_by("seq").values_list("seq", flat=True)[:200])
        html = page(client, query)
        assert shown_numbers(html) == expected, query
        assert ("No event fits this filter" in html) == (not expected), query


def shown_numbers(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr class="kind-[^>]*>\s*<td class="num">(\d+)<', html)]


def test_what_is_left_out_can_be_shown_and_hidden_again(call: Call, client: Client, cast: Cast) -> None:
    """By plain links that keep the filter: no script is asked."""
    client.force_login(cast.alice)
    left_out = call.events.filter(type__in=DETAIL).count()
    assert {"StaleDropped", "MarkReturned"} <= set(DETAIL)

    html = page(client, "?turn=2&kind=event")
    assert f"Without {left_out} entries" in html
    show = re.search(r'href="(\?[^"#]*)#events">Show them<', html)
    assert show
    html = page(client, show[1].replace("&amp;", "&"))
    shown = call.events.filter(turn=2, kind="event").order_by("seq").values_list("seq", flat=True)[:200]
    assert shown_numbers(html) == list(shown)
    hide = re.search(r'href="(\?[^"#]*)#events">Hide them<', html)
    assert hide
    assert shown_numbers(page(client, hide[1].replace("&amp;", "&"))) == list(
        call.events.filter(turn=2, kind="event").exclude(type__in=DETAIL).order_by("seq").values_list("seq", flat=True)
    )


def test_times_play_from_where_each_of_the_two_began(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)
    turn = call.turns.get(number=2)
    began_ms = call.events.filter(type="SpeechStarted", at_ms__lt=turn.speech_ended_ms).last()
    assert began_ms

    part = page(client).split('id="turn-2"')[1].split("</li>")[0]

    seeks = [float(second) for second in re.findall(r'data-seek="([\d.]+)"', part)]
    assert seeks == [began_ms.data["voiced_at_ms"] / 1000, turn.first_audio_ms / 1000]  # type: ignore[operator]
    client.force_login(cast.bob)
    assert "data-seek" not in page(client)


def test_pages_of_events_cover_all_of_them(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)
    seen: list[int] = []
    query = "?turn=&kind=&detail=1"
    while True:
        html = page(client, query)
        seen += shown_numbers(html)
        following = re.search(r'href="(\?[^"]*)#events" rel="next"', html)
        if not following:
            break
        query = following[1].replace("&amp;", "&")

    assert seen == list(range(1, call.entry_count + 1))


def test_queries_do_not_grow_with_the_call(
    call: Call, client: Client, cast: Cast, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(cast.alice)

    with django_assert_max_num_queries(12):
        page(client)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "The call is not over"),
        ({"status": "in_progress"}, "The call is not over"),
        ({"status": "ended", "end_reason": "stream_lost", "ended_at": "2026-11-23T10:00Z"}, "being archived"),
        (
            {"status": "ended", "end_reason": "x", "ended_at": "2026-11-23T10:00Z", "archived_at": "2026-11-23T10:00Z"},
            "No audio was recorded",
        ),
    ],
)
def test_a_call_with_nothing_to_show_says_why(client: Client, cast: Cast, state: dict[str, str], message: str) -> None:
    Call.objects.create(call_sid=SID, **state)
    client.force_login(cast.alice)

    assert message in page(client)


def test_no_such_call(client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)

    assert client.get("/calls/CAnone/").status_code == 404
    assert client.get("/calls/CAnone/audio.wav").status_code == 404


# --- the recording ------------------------------------------------------------------------------------------------

SIZE = 44 + 16000 * 4
RANGES = {
    "": (200, 0, SIZE - 1),
    "bytes=0-": (206, 0, SIZE - 1),
    "bytes=44-143": (206, 44, 143),
    "bytes=63000-999999": (206, 63000, SIZE - 1),
    "bytes=-10": (206, SIZE - 10, SIZE - 1),
    "bytes=-999999": (206, 0, SIZE - 1),
    "bytes=5-4": (200, 0, SIZE - 1),
    "bytes=0-1,4-5": (200, 0, SIZE - 1),
    "lines=1-2": (200, 0, SIZE - 1),
    "bytes=-": (200, 0, SIZE - 1),
    "bytes=" + "9" * 50 + "-": (200, 0, SIZE - 1),
}


@async_to_sync
async def collect(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def test_ranges(call: Call, client: Client, cast: Cast, recordings: Path) -> None:
    client.force_login(cast.alice)
    whole = (recordings / f"{SID}.wav").read_bytes()
    assert len(whole) == SIZE

    for header, (status, first, last) in RANGES.items():
        response = client.get(AUDIO, headers={"Range": header} if header else {})
        assert response.status_code == status, header
        assert collect(response.streaming_content) == whole[first : last + 1], header
        assert response.headers["Content-Length"] == str(last + 1 - first)
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers.get("Content-Range") == (f"bytes {first}-{last}/{SIZE}" if status == 206 else None)
        assert response.headers["Content-Type"] == "audio/wav"


def test_a_range_outside_the_file(call: Call, client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)

    for header in (f"bytes={SIZE}-", "bytes=999999-1000000", "bytes=-0"):
        response = client.get(AUDIO, headers={"Range": header})
        assert (response.status_code, response.headers["Content-Range"]) == (416, f"bytes */{SIZE}"), header


def test_a_recording_whose_file_is_gone_is_told(call: Call, client: Client, cast: Cast, recordings: Path) -> None:
    client.force_login(cast.alice)
    assert "<audio" in page(client)
    (recordings / f"{SID}.wav").unlink()

    html = page(client)

    assert "is no longer in the recordings folder" in html
    assert "<audio" not in html
    assert "data-seek" not in html


def test_only_files_of_the_folder_are_served(call: Call, client: Client, cast: Cast, recordings: Path) -> None:
    (recordings.parent / "secret.txt").write_text("secret")
    client.force_login(cast.alice)

    for file in ("../secret.txt", "/etc/passwd", "gone.wav", "."):
        call.recording.file = file
        call.recording.save()
        assert client.get(AUDIO).status_code == 404, file

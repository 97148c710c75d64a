"""The list of calls as an operator uses it: empty, searched, filtered, long; and the same figures on every page."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.conf import settings as django_settings

from calls.models import Agent, Booking, Call, CallEvent, Turn
from memory.callers import caller_key
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from calls.models import AgentVersion
    from tests.app.records.conftest import Cast

pytestmark = pytest.mark.django_db

CALLS = "/admin/calls/call/"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def html(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, address
    return str(response.content.decode())


def test_an_empty_list_says_how_to_place_a_call(client: Client, cast: Cast, version: AgentVersion) -> None:
    client.force_login(cast.root)

    page = html(client, CALLS)

    assert "<pre>make call</pre>" in page
    assert "+15005550006 by Bella Vista" in page
    Agent.objects.update(is_active=False)
    assert "No active agent answers a number yet" in html(client, CALLS)


def test_a_search_that_finds_nothing_offers_all_calls(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    archived(booked_table())
    client.force_login(cast.root)

    page = html(client, f"{CALLS}?q=lobster")

    assert "No call fits" in page
    assert "make call" not in page


def test_found_by_whatever_the_operator_has(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    call = archived(booked_table("CA" + "0a" * 16))
    Call.objects.create(call_sid="CA" + "1" * 32, from_number="+442079460000", caller_key="f" * 64)
    key = caller_key("+15551234567", django_settings.CALLER_HASH_KEY)
    assert call.caller_key == key
    client.force_login(cast.root)

    for words in ("4567", "+1 (555) 123-4567", "555.123", key, key[:10], key[:10].upper(), "CA0a0A", call.call_sid):
        found = client.get(CALLS, {"q": words}).context["cl"].result_list
        assert [row.call_sid for row in found] == [call.call_sid], words


ATTENTION = {"errors": 1, "slow": 2, "barge_ins": 3, "broken": 4, "unanswered": 5, "no such": 6}


def test_filtered_by_what_happened(client: Client, cast: Cast) -> None:
    fine = {"turn_count": 3, "latency_max_ms": 1500}
    odd: list[dict[str, int]] = [
        {"error_count": 1}, {"latency_max_ms": 1501}, {"barge_in_count": 1}, {"broken_count": 1}, {"turn_count": 0}, {},
    ]  # fmt: skip
    for number, values in enumerate(odd, 1):
        Call.objects.create(call_sid=f"CA{number}", **{**fine, **values})
    client.force_login(cast.root)

    for name, number in ATTENTION.items():
        found = client.get(CALLS, {"with": name}).context["cl"].result_list
        expected = {f"CA{number}"} if number < 6 else {f"CA{n}" for n in range(1, 7)}
        assert {call.call_sid for call in found} == expected, name


def test_bookings_are_found_by_when_they_are(client: Client, cast: Cast) -> None:
    today = datetime.now(UTC).date()
    for days in (-1, 0, 6, 7):
        Booking.objects.create(
            key=f"k{days}", name=f"d{days}", party_size=2, date=today + timedelta(days=days), time="19:00"
        )
    client.force_login(cast.root)

    found = {
        when: {row.name for row in client.get("/admin/calls/booking/", {"when": when}).context["cl"].result_list}
        for when in ("today", "week", "upcoming", "past", "")
    }

    assert found == {
        "today": {"d0"},
        "week": {"d0", "d6"},
        "upcoming": {"d0", "d6", "d7"},
        "past": {"d-1"},
        "": {"d-1", "d0", "d6", "d7"},
    }


def test_every_page_counts_the_same_turns(archived: Callable[[Conversation], Call], client: Client, cast: Cast) -> None:
    call = archived(booked_table())
    client.force_login(cast.root)

    page = html(client, f"/console/calls/{call.call_sid}/")
    record = html(client, f"{CALLS}{call.pk}/change/")

    assert '<span class="stack">4</span>' in html(client, CALLS)
    assert re.search(r"<dt>Turns</dt><dd>4<", page)
    titles = re.findall(r'class="card-title"[^>]*>(.*?)<', page)
    assert titles == ["Greeting", "Turn 1", "Turn 2", "Turn 3", "Turn 4"]
    assert re.search(r'field-turn_count.*?class="readonly">4<', record, re.DOTALL)
    assert re.findall(r'<th scope="row">(.*?)<', record) == ["Greeting", "Turn 1", "Turn 2", "Turn 3", "Turn 4"]


def test_times_can_become_the_readers_and_lengths_are_minutes(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    call = archived(booked_table())
    Call.objects.update(started_at=NOON, duration_ms=67_400)
    client.force_login(cast.root)

    for address in (CALLS, f"{CALLS}{call.pk}/change/"):
        page = html(client, address)
        assert 'datetime="2026-11-23T12:00:00+00:00"' in page, address
        assert "12:00:00 UTC" in page, address
        assert "console/js/times.js" in page, address
        assert ">1:07<" in page, address


def test_the_record_leads_to_the_timeline_and_plays_for_whoever_may_listen(
    archived: Callable[[Conversation], Call], client: Client, cast: Cast
) -> None:
    call = archived(booked_table())
    for person, may_listen in ((cast.alice, True), (cast.bob, False)):
        client.force_login(person)
        page = html(client, f"{CALLS}{call.pk}/change/")
        assert f'class="timeline-link" href="/console/calls/{call.call_sid}/"' in page
        assert (
            f'<audio controls preload="metadata" src="/console/calls/{call.call_sid}/audio.wav"' in page
        ) == may_listen
        assert "audio" not in html(client, CALLS)


def test_the_admin_leads_to_the_console(client: Client, cast: Cast) -> None:
    client.force_login(cast.root)

    assert '<a href="/console/">View site</a>' in html(client, "/admin/")


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(version: AgentVersion) -> None:
    """10,000 calls over seven months, each of one turn."""
    calls = Call.objects.bulk_create(
        Call(
            call_sid=f"CA{number:032x}",
            from_number=f"+1555{number:07d}",
            caller_key=f"{number:064x}",
            agent_version=version,
            status="ended",
            end_reason="agent_hung_up" if number % 3 else "caller_hung_up",
            started_at=NOON - timedelta(minutes=30 * number),
            ended_at=NOON,
            archived_at=NOON,
            duration_ms=number,
            turn_count=1,
        )
        for number in range(10_000)
    )
    Turn.objects.bulk_create(
        Turn(
            call=call, number=1, kind="answer", outcome="answered", user_text=f"word{n % 50} please", heard_text="Yes."
        )
        for n, call in enumerate(calls)
    )


SEEN = {
    "": 10_000,
    "?p=150": 10_000,
    "?q=word7": 200,
    "?q=lobster": 0,
    "?q=0001234": 1,
    "?q=CA" + "0" * 28 + "04d2": 1,
    "?end=caller_hung_up": 3_334,
    "?started_at__year=2026&started_at__month=11&started_at__day=20": 48,
    "?o=-4": 10_000,
}


@pytest.mark.long
def test_ten_thousand_calls_are_found_in_time(
    many: None, client: Client, cast: Cast, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """Under 200 ms of the server's own time, the best of three: what else runs on the machine is not the page's doing."""
    client.force_login(cast.root)
    for query, count in SEEN.items():
        with django_assert_max_num_queries(12):
            assert client.get(CALLS + query).context["cl"].result_count == count, query
        assert min(_seconds(client, CALLS + query) for _ in range(3)) < 0.2, query


def _seconds(client: Client, address: str) -> float:
    began = time.process_time()
    client.get(address)
    return time.process_time() - began


def test_a_call_of_many_turns_and_events(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    """Five hundred turns and what belongs to them are read in as many queries as four; the rest is said to be missing."""
    call = archived(booked_table())
    events = [*call.events.filter(turn=2).order_by("seq")]
    Turn.objects.bulk_create(
        Turn(call=call, number=number, kind="answer", outcome="answered", user_text="More", heard_text="Yes.")
        for number in range(100, 600)
    )
    CallEvent.objects.bulk_create(
        CallEvent(call=call, seq=10_000 + place, step=1, kind=e.kind, type=e.type, at_ms=e.at_ms, at=e.at, data=e.data)
        for place, e in enumerate(events * 100)
    )
    client.force_login(cast.root)

    with django_assert_max_num_queries(30):
        assert html(client, f"/console/calls/{call.call_sid}/").count('class="card-title"') == 505
    with django_assert_max_num_queries(7):
        assert "The first 500 turns are shown" in html(client, f"{CALLS}{call.pk}/change/")

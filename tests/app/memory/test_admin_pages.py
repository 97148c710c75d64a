"""What the memory's pages show an operator: callers, facts with their sources, conversations; and that no text is markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls.models import Call, Recording
from memory import people
from memory.models import Caller, Conversation
from memory.services import correcting, tokens
from tests.app.memory.operators import (
    CALLERS,
    FACTS,
    RECEIPTS,
    SAID,
    SCRIPT,
    TOKENS,
    Cast,
    accesses,
    account,
    conversation,
    html,
    url,
)
from tests.app.memory.people import DAY, MARIA, MONDAY, john, maria
from tests.app.memory.talks import FIRST, heard, talk

if TYPE_CHECKING:
    from django.test import Client

    from memory.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


def test_a_caller_is_found_by_number_name_id_and_conversation(known: Person, cast: Cast, client: Client) -> None:
    talk(john(), "CA9")
    client.force_login(cast.root)
    found = {
        text: client.get(CALLERS, {"q": text}).context["cl"].result_count
        for text in (
            MARIA,
            "+1 555 010-0001",
            "rossi",
            known.key_hash,
            "Maria Rossi",
            "maria bianchi",
            str(known.id),
            FIRST,
            "0001",
            "\x00",
            "'; --",
        )
    }
    assert found == {
        MARIA: 1, "+1 555 010-0001": 1, "rossi": 1, known.key_hash: 1, "Maria Rossi": 1, "maria bianchi": 0, str(known.id): 1, FIRST: 1,
        "0001": 1, "\x00": 2, "'; --": 0,
    }  # fmt: skip
    client.force_login(cast.viewer)
    assert client.get(CALLERS, {"q": "rossi"}).context["cl"].result_count == 0


def test_a_callers_page_shows_card_facts_sources_and_history(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    page = html(client, url(known))

    for shown in (
        "Name: Maria Rossi",
        "Greeted as “Maria”",
        "identity.account",
        "Customer number: 4711X",
        '<q class="words">4711 X</q>',
        "at 0:01.0",
        f"{url(known, 'conversation', conversation(known).pk)}?line=1#line-1",
        "entered by operator:ann",
        "added by rules",
    ):
        assert shown in page, shown


def test_states_of_facts_are_told_apart_and_chosen(known: Person, cast: Cast, client: Client) -> None:
    old = account(known)
    correcting.supersede(known, old, "4712X", by="operator:ann", now=MONDAY + DAY)
    gone = correcting.store(known, "fact", "Plays the cello", by="operator:ann", now=MONDAY + DAY)
    correcting.retract(known, gone.id, by="operator:ann", now=MONDAY + 2 * DAY)
    wrong = correcting.store(known, "", "", slot="home.place", value="Berlin", by="operator:ann", now=MONDAY + DAY)
    correcting.supersede(known, wrong.id, "Bonn", by="operator:ann", now=MONDAY + 2 * DAY, was_wrong=True)
    client.force_login(cast.root)

    def texts(state: str) -> set[str]:
        groups = client.get(url(known), {"state": state}).context["groups"]
        assert all(view.state == state for group in groups for view in group.facts)
        return {view.fact.text for group in groups for view in group.facts}

    assert texts("superseded") == {"Customer number: 4711X"}
    assert texts("retracted") == {"Plays the cello"}
    assert texts("corrected") == {"Lives in Berlin"}
    assert texts("current") == {"Name: Maria Rossi", "Customer number: 4712X", "Lives in Bonn"}
    assert "No fact is disputed." in html(client, f"{url(known)}?state=disputed")


def test_a_conversation_shows_what_was_said_and_what_came_of_it(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    page = html(client, url(known, "conversation", conversation(known).pk))

    for shown in ("Hello, how can I help you?", "only before ten in the morning", "0:03.0", "Customer number: 4711X"):
        assert shown in page, shown


def test_no_page_shows_what_is_sealed_or_lets_a_text_be_markup(known: Person, cast: Cast, client: Client) -> None:
    talk(known, "CA<b>", ("Yes?", f"I say {SCRIPT} and <img src=x onerror=alert(1)>"))
    correcting.store(known, "fact", f"Says {SCRIPT}", by="operator:ann", now=MONDAY)
    client.force_login(cast.root)
    other = Conversation.objects.get(caller_id=known.id, name="CA<b>")

    pages = [
        html(client, address)
        for address in (
            url(known), url(known, "conversation", other.pk), FACTS, SAID, f"{FACTS}?q=script", f"{SAID}?q={SCRIPT}",
            f"{CALLERS}?q={SCRIPT}", url(known, "conversation", other.pk, "forget"),
        )
    ]  # fmt: skip

    assert any("&lt;script&gt;alert(1)" in page for page in pages)
    for page in pages:
        assert SCRIPT not in page
        assert "<img src=x" not in page
        assert "CA<b>" not in page
        assert not re.search(r"<(script|style)(?![^>]*(nonce|src)=)[^>]*>", page)
        assert " style=" not in page


def test_a_caller_who_is_gone_and_one_whose_key_does_not_open(
    known: Person, cast: Cast, client: Client, settings: Any
) -> None:
    client.force_login(cast.root)
    gone = client.get(f"{CALLERS}{conversation(known).pk}/change/", follow=True)
    assert "There is no such caller: erased, or never there." in gone.content.decode()

    settings.MEMORY_KEYS = ["another-key-of-no-value-0123456789-0123456789"]
    assert "cannot be opened: MEMORY_KEY was changed" in html(client, CALLERS)
    sealed = client.get(url(known), follow=True).content.decode()
    assert "MEMORY_KEY does not open this caller&#x27;s key" in sealed
    assert "MEMORY_KEY does not open" in html(client, f"{SAID}?q=window")
    assert ("operator:root", "see caller", "sealed") in accesses()


def test_empty_pages_say_what_to_do(cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    person = maria()
    assert "Nothing is known yet" in html(client, url(person))
    Caller.objects.all().delete()
    assert "Nobody is remembered yet." in html(client, CALLERS)
    assert "No fact is known yet" in html(client, FACTS)
    assert "Nothing was said yet" in html(client, SAID)
    assert "Nothing fits." in html(client, f"{FACTS}?q=lobster")


def test_sources_lead_to_the_call_and_its_second_for_whoever_may_go_there(
    known: Person, cast: Cast, client: Client
) -> None:
    call = Call.objects.create(call_sid=FIRST, from_number=MARIA, to_number="+15005550006", started_at=MONDAY)
    Recording.objects.create(call=call, file="x.wav", duration_ms=9000, size_bytes=1, sha256="0" * 64)
    timeline, second = f'href="/console/calls/{FIRST}/"', f'href="/console/calls/{FIRST}/audio.wav#t=1.00"'
    for codes, leads_to in (
        ((), ()),
        (("view_console",), (timeline,)),
        (("view_console", "hear_recording"), (timeline, second)),
    ):
        cast.reader.user_permissions.add(*Permission.objects.filter(codename__in=codes))
        client.force_login(cast.reader)
        for page in (html(client, url(known)), html(client, FACTS)):
            assert [link for link in (timeline, second) if link in page] == list(leads_to)


def test_pages_ask_as_many_questions_for_many_rows_as_for_few(cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    row, _ = tokens.issue("crm", ["read"], None, timezone.now() + DAY)

    def grow(callers: range, talks: range) -> list[Person]:
        made = [people.ensure(f"+1555020{number:04d}") for number in callers]
        for person in made:
            for name in (f"{FIRST}-{person.id}-{number}" for number in talks):
                talk(person, name)
                heard(person, f"Heard in {name}", (name, "4711 X"), slot="likes")
                correcting.store(person, "fact", f"Entered after {name}", by="operator:ann", now=MONDAY)
        row.callers.set(Caller.objects.all())
        return made

    def asked() -> dict[str, int]:
        counts = {}
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                html(client, address)
            counts[address] = len(queries)
        return counts

    (person,) = grow(range(1), range(2))
    addresses = (
        CALLERS, url(person), FACTS, f"{FACTS}?q=entered", SAID, f"{SAID}?q=window", TOKENS, f"{TOKENS}{row.pk}/change/",
        RECEIPTS, "/admin/memory/access/", "/admin/memory/tombstone/",
    )  # fmt: skip
    asked()  # what a process looks up once
    few = asked()
    grow(range(5), range(2, 5))

    assert asked() == few
    assert max(few.values()) < 60


def test_long_memories_come_in_pages_and_links_lead_to_the_right_one(known: Person, cast: Cast, client: Client) -> None:
    lines = tuple(f"Line {number} of a long talk" for number in range(450))
    talk(known, "CA9", lines)
    for number in range(120):
        correcting.store(known, "fact", f"Owns violin {number}", by="operator:ann", now=MONDAY)
    client.force_login(cast.root)
    long = Conversation.objects.get(caller_id=known.id, name="CA9")
    address = url(known, "conversation", long.pk)

    assert "Line 433 of" in html(client, f"{address}?line=433")
    assert "Line 433 of" not in html(client, address)
    assert [client.get(address, {"line": line}).context["lines"].number for line in ("199", "200", "9999", "x")] == [
        1,
        2,
        3,
        1,
    ]
    first, last = (client.get(url(known), {"facts": page, "state": "current"}) for page in ("1", "99"))
    assert "state=current&amp;facts=2#facts" in first.content.decode()
    assert [group.slot for group in first.context["groups"]] == ["identity.account", "identity.name", ""]
    shown = [view.fact.id for page in (first, last) for group in page.context["groups"] for view in group.facts]
    assert len(shown) == len(set(shown)) == 122
    seen = client.get(FACTS)
    more = client.get(f"{FACTS}?{seen.context['next_query']}")
    pages = [[line.mention.id for line in page.context["lines"]] for page in (seen, more)]
    assert (len(pages[0]), len(set(pages[0]) & set(pages[1]))) == (50, 0)
    ranked = client.get(SAID, {"q": "long"})
    after = client.get(f"{SAID}?{ranked.context['next_query']}")
    ids = [line.mention.id for page in (ranked, after) for line in page.context["lines"]]
    assert len(ids) == len(set(ids)) == 100

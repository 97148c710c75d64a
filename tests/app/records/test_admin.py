"""The admin: pages that stay fast, records that stay as they are, and finding a call by what was said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission

from calls.forms import PREFIX
from calls.models import Agent, AgentVersion, Booking, Call, CallEvent
from tests.app.records.conversation import Conversation, booked_table
from tests.app.records.test_agents import form_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from tests.app.records.conftest import Cast

SID = "CA" + "0" * 32
CALLS = "/admin/calls/call/"
AGENTS = "/admin/calls/agent/"


@pytest.fixture
def calls(archived: Callable[[Conversation], Call]) -> list[Call]:
    return [archived(booked_table(f"CA{number:032d}")) for number in range(3)]


def html(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, address
    return str(response.content.decode())


def test_every_page_renders(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.root)
    Booking.objects.create(
        key="k", call_sid=SID, reference="ABCDE", name="M", party_size=2, date="2026-11-28", time="19:00"
    )
    addresses = ["/admin/", f"{AGENTS}add/"]
    for model in (Agent, AgentVersion, Call, CallEvent, Booking):
        base = f"/admin/calls/{model._meta.model_name}/"
        row = model.objects.first()
        assert row
        addresses += [base, f"{base}{row.pk}/change/"]

    for address in addresses:
        response = client.get(address)
        assert response.status_code == 200, address
        assert "Content-Security-Policy" in response.headers


def test_the_list_shows_what_matters(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.root)

    page = html(client, CALLS)

    for shown in (
        "+15551234567",
        "Bella Vista v1",
        "920 ms",
        "at most 1,390 ms",
        "agent hung up",
        f"/calls/{calls[0].call_sid}/",
    ):
        assert shown in page


def test_lists_stay_at_so_many_queries(
    archived: Callable[[Conversation], Call],
    client: Client,
    cast: Cast,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(5):
        archived(booked_table(f"CA{number:032d}"))
        agent = Agent.objects.create(name=f"Agent {number}", instructions="x", voice="v")
        agent.numbers.create(number=f"+1500555010{number}")
    client.force_login(cast.root)

    most = {
        CALLS: 12,
        f"{CALLS}?q=goodbye": 12,
        "/admin/calls/callevent/": 9,
        AGENTS: 9,
        "/admin/calls/agentversion/": 9,
    }
    for address, queries in most.items():
        with django_assert_max_num_queries(queries):
            html(client, address)


SEARCHES = {
    f"CA{1:032d}": 1,
    f"ca{1:032d}": 1,
    "5551234567": 3,
    "+15005550006": 3,
    "goodbye": 3,
    "GOODBYE maria": 3,
    "terrace": 0,
    "lobster": 0,
    '"seven for four"': 3,
    "'; DROP TABLE": 0,
    "%": 0,
    "&|!():*": 0,
    "\x00": 3,
}


def test_search(calls: list[Call], client: Client, cast: Cast) -> None:
    """By id, number, or words that were said and heard: the terrace was generated and never heard."""
    client.force_login(cast.root)

    found = {words: client.get(CALLS, {"q": words}).context["cl"].result_count for words in SEARCHES}

    assert found == SEARCHES


FILTERS = {
    "status__exact=ended": 3,
    "status__exact=ringing": 0,
    "end=agent_hung_up": 3,
    "end=process_died": 0,
    "agent=none": 0,
    "agent=x": 3,
}


def test_filters(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.root)

    found = {query: client.get(f"{CALLS}?{query}").context["cl"].result_count for query in FILTERS}

    assert found == FILTERS


def test_links_between_lists_work(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.root)
    version = AgentVersion.objects.get()

    for address in (
        f"/admin/calls/callevent/?call__id__exact={calls[0].pk}",
        f"{CALLS}?agent_version__id__exact={version.pk}",
        f"/admin/calls/agentversion/?agent__id__exact={version.agent_id}",
    ):
        assert "e=1" not in client.get(address).headers.get("Location", ""), address
        html(client, address)


def test_records_cannot_be_added_or_changed(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.root)

    for model in (Call, CallEvent, AgentVersion):
        base = f"/admin/calls/{model._meta.model_name}/"
        row = model.objects.first()
        assert row
        assert client.get(f"{base}add/").status_code == 403
        assert client.post(f"{base}{row.pk}/change/", {}).status_code == 403
        assert 'name="_save"' not in html(client, f"{base}{row.pk}/change/")


def test_deleting_a_call_needs_its_permission(calls: list[Call], client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)
    address = f"{CALLS}{calls[0].pk}/delete/"
    assert client.post(address, {"post": "yes"}).status_code == 403

    codes = [f"delete_{name}" for name in ("call", "turn", "callevent", "recording")]
    cast.alice.user_permissions.add(*Permission.objects.filter(codename__in=codes))
    assert client.post(address, {"post": "yes"}).status_code == 302
    assert not Call.objects.filter(pk=calls[0].pk).exists()


def test_numbers_and_words_are_for_staff_with_permission_only(calls: list[Call], client: Client, cast: Cast) -> None:
    for person, status in ((cast.charlie, 403), (cast.mallory, 302), (cast.bob, 200)):
        client.force_login(person)
        assert client.get(CALLS).status_code == status
        assert client.get(f"{CALLS}{calls[0].pk}/change/").status_code == status
        assert client.get("/admin/calls/callevent/").status_code in (302, 403)


@pytest.mark.django_db
def test_an_agent_is_made_and_versioned_by_hand(client: Client, cast: Cast) -> None:
    client.force_login(cast.root)
    numbers = {
        "numbers-TOTAL_FORMS": "1",
        "numbers-INITIAL_FORMS": "0",
        "numbers-0-number": "+15005550009",
    }

    response = client.post(f"{AGENTS}add/", {**form_data(policy_idle_ms="5000"), **numbers})

    assert response.status_code == 302, response.context["errors"]
    agent = Agent.objects.get()
    version = agent.versions.get()
    assert (version.created_by, version.as_profile().policy.idle_ms) == (cast.root, 5000)
    assert agent.numbers.get().number == "+15005550009"
    assert "This is version 1: the next call runs with it" in html(client, AGENTS)
    page = html(client, f"{AGENTS}{agent.pk}/change/")
    assert "first version" in page
    assert f'name="{PREFIX}idle_ms" value="5000"' in page


@pytest.mark.django_db
def test_a_policy_mistake_comes_back_at_its_field(client: Client, cast: Cast) -> None:
    client.force_login(cast.root)
    numbers = {"numbers-TOTAL_FORMS": "0", "numbers-INITIAL_FORMS": "0"}

    response = client.post(f"{AGENTS}add/", {**form_data(policy_verdict_ms="0"), **numbers})

    assert response.status_code == 200
    assert response.context["adminform"].form.errors.keys() == {"policy_verdict_ms"}
    assert not Agent.objects.exists()


@pytest.mark.django_db
def test_saving_an_agent_names_the_version_that_calls_get(client: Client, cast: Cast) -> None:
    agent = Agent.objects.create(name="Bella Vista", instructions="Be kind.", voice="v")
    client.force_login(cast.root)
    numbers = {"numbers-TOTAL_FORMS": "0", "numbers-INITIAL_FORMS": "0"}
    address = f"{AGENTS}{agent.pk}/change/"

    changed = client.post(address, {**form_data(greeting="Hi!"), **numbers}, follow=True).content.decode()
    same = client.post(address, {**form_data(greeting="Hi!"), **numbers}, follow=True).content.decode()

    assert "This is version 2: the next call runs with it, calls in progress keep theirs." in changed
    assert "Nothing that a call is made of has changed: calls run with version 2, as before." in same


@pytest.mark.django_db
def test_a_number_may_be_written_as_people_write_it(client: Client, cast: Cast) -> None:
    client.force_login(cast.root)
    numbers = {
        "numbers-TOTAL_FORMS": "1",
        "numbers-INITIAL_FORMS": "0",
        "numbers-0-number": "+1 (500) 555-0009",
    }

    for wrong in ("555 0001", "me", "+0 1"):
        form = client.post(f"{AGENTS}add/", {**form_data(transfer_to=wrong), **numbers}).context["adminform"].form
        assert form.errors.keys() == {"transfer_to"}, wrong
    client.post(f"{AGENTS}add/", {**form_data(transfer_to="+44 20 7946 0000"), **numbers})

    agent = Agent.objects.get()
    assert (agent.transfer_to, agent.numbers.get().number) == ("+442079460000", "+15005550009")


def test_a_version_shows_its_values_and_what_it_changed(calls: list[Call], client: Client, cast: Cast) -> None:
    agent = Agent.objects.get()
    agent.instructions = agent.instructions.replace("Dogs are welcome", "<b>Cats</b> are welcome")
    agent.policy = {"verdict_ms": 800}
    agent.save()
    client.force_login(cast.root)

    page = html(client, f"/admin/calls/agentversion/{agent.versions.get(number=2).pk}/change/")

    went, came = re.findall(r"<(?:del|ins)>([^<]*(?:Dogs|Cats)[^<]*)</", page)
    assert "Dogs" in went
    assert "&lt;b&gt;Cats" in came
    assert "<del>1,500</del><ins>800 (usually 1,500)</ins>" in page
    assert "<dt>Silence prompts</dt>" in page


def test_history_says_what_changed(calls: list[Call], client: Client, cast: Cast) -> None:
    agent = Agent.objects.get()
    agent.greeting, agent.policy = "Hi!", {"verdict_ms": 800}
    agent.save()
    client.force_login(cast.root)

    page = html(client, f"{AGENTS}{agent.pk}/change/")

    assert "Greeting, Interruptions: Wait for words after stopping (ms)" in page
    assert ">v2</a>" in page

"""Agents in the console: who may edit them, what saving does, what one version changed against another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from calls.models import Agent
from tests.line.conftest import make_agent
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def bella() -> Agent:
    """An agent with one number and one version."""
    return make_agent(greeting="Good day!", instructions="Be brief.\nBe kind.", idle_texts=["Hello?", "Still there?"])


def form_of(client: Client, agent: Agent, **changes: Any) -> dict[str, Any]:
    """What a browser would send: every control as the page shows it, with these changes."""
    page = client.get(f"/console/agents/{agent.pk}/")
    form, numbers = page.context["form"], page.context["numbers"]
    bound = [*form, *(field for row in [numbers.management_form, *numbers] for field in row)]
    sent = {field.html_name: field.value() for field in bound} | {"seen": page.context["seen"]}
    return {name: value for name, value in (sent | changes).items() if value is not None and value is not False}


def test_the_list_leads_to_each(bella: Agent, as_role: Callable[[str], Client]) -> None:
    page = as_role("viewer").get("/console/agents/").text
    assert f"/console/agents/{bella.pk}/" in page
    assert bella.numbers.get().number in page
    assert "New agent" not in page


def test_whoever_may_not_edit_sees_what_calls_get(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("operator")
    page = client.get(f"/console/agents/{bella.pk}/")
    assert "Good day!" in page.text
    assert "save/" not in page.text
    assert client.post(f"/console/agents/{bella.pk}/save/", {}).status_code == 403
    assert client.get("/console/agents/new/").status_code == 403
    assert client.get("/console/agents/999999/").status_code == 404


def test_saving_makes_a_version_and_says_so_on_record(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    address = f"/console/agents/{bella.pk}/save/"
    answer = client.post(address, form_of(client, bella, greeting=f"Hello {HOSTILE}"), follow=True)
    assert answer.status_code == 200, [answer.context["form"].errors, [row.errors for row in answer.context["numbers"]]]
    assert "This is version 2" in answer.text
    bella.refresh_from_db()
    assert (bella.greeting, bella.versions.count()) == (f"Hello {HOSTILE}", 2)
    assert str(bella.versions.get(number=2).created_by) == "engineer"
    entry = AuditEntry.objects.get(action="agent.changed")
    assert (entry.entry, entry.before, entry.after) == (
        f"agent {bella.pk}",
        {"version": 1},
        {"changed": ["greeting"]},
    )
    unchanged = {
        name: str(value).replace("\n", "\r\n") for name, value in form_of(client, bella).items() if name != "tools"
    }
    sent = form_of(client, bella) | unchanged  # as a browser ends lines
    assert "Nothing that a call is made of" in client.post(address, sent, follow=True).text
    assert bella.versions.count() == 2
    page = client.get(f"/console/agents/{bella.pk}/versions/?from=1&to=2").text
    assert "<del>Good day!</del>" in page
    assert HOSTILE not in page


def test_what_is_wrong_is_marked_and_nothing_is_saved(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    answer = client.post(f"/console/agents/{bella.pk}/save/", form_of(client, bella, name="", idle_texts="x"))
    assert answer.status_code == 422
    assert "Nothing was saved" in answer.text
    wrong = client.post(
        f"/console/agents/{bella.pk}/save/", form_of(client, bella, **{"numbers-1-number": "not a number"})
    )
    assert "Write the number with +" in wrong.text
    bella.refresh_from_db()
    assert bella.versions.count() == 1
    assert not AuditEntry.objects.exists()


def test_a_stale_edit_is_refused_and_shows_both(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    address = f"/console/agents/{bella.pk}/save/"
    late = form_of(client, bella, greeting="Mine", voice="mine", **{"numbers-1-number": "+15005550009"})
    client.post(address, form_of(client, bella, greeting="Theirs", tools=["end_call"], is_active=False))
    answer = client.post(address, late)
    assert answer.status_code == 409
    assert {one.name: (one.now, one.typed, one.here, one.there) for one in answer.context["conflict"]} == {
        "greeting": ("Theirs", "Mine", True, True),
        "voice": (bella.voice, "mine", True, False),
        "tools": ("end_call", "book_table\nend_call", False, True),
        "is_active": ("no", "yes", False, True),
        "numbers": ("+15005550006", "+15005550006\n+15005550009", True, False),
    }
    assert "<h1><bdi" in answer.text
    bella.refresh_from_db()
    assert (bella.greeting, bella.versions.count(), bella.numbers.count()) == ("Theirs", 2, 1)
    assert AuditEntry.objects.count() == 1

    form, numbers = answer.context["form"], answer.context["numbers"]
    bound = [*form, *(field for row in [numbers.management_form, *numbers] for field in row)]
    again = {field.html_name: field.value() for field in bound} | {"seen": answer.context["seen"]}
    client.post(address, {name: value for name, value in again.items() if value is not None and value is not False})
    bella.refresh_from_db()
    assert (bella.greeting, bella.voice, bella.tools, bella.is_active) == ("Mine", "mine", ["end_call"], False)
    assert set(bella.numbers.values_list("number", flat=True)) == {"+15005550006", "+15005550009"}


@pytest.mark.parametrize("seen", ["", "x", "[1]", '{"greeting": "x"}'])
def test_a_form_that_says_nothing_of_what_it_showed_is_stale(
    bella: Agent, as_role: Callable[[str], Client], seen: str
) -> None:
    client = as_role("engineer")
    answer = client.post(f"/console/agents/{bella.pk}/save/", form_of(client, bella, greeting="Mine", seen=seen))
    assert answer.status_code == 409
    bella.refresh_from_db()
    assert bella.greeting == "Good day!"


def test_what_both_changed_alike_is_no_conflict(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    sent = form_of(client, bella, greeting="Two\r\nlines")
    for told in ("This is version 2", "Nothing that a call is made of"):
        assert told in client.post(f"/console/agents/{bella.pk}/save/", sent, follow=True).text


def test_a_new_agent_with_a_number(bella: Agent, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    sent = form_of(client, bella, name="Second") | {"numbers-INITIAL_FORMS": "0"}
    sent = {name: value for name, value in sent.items() if not name.startswith(("numbers-0", "numbers-1"))}
    answer = client.post("/console/agents/new/", sent | {"numbers-0-number": "+1 500 555 0009"}, follow=True)
    assert "This is version 1" in answer.text
    assert Agent.objects.get(name="Second").numbers.get().number == "+15005550009"


@pytest.mark.parametrize("query", ["?from=9&to=x", "?to=0", "", "?from=1&to=1"])
def test_versions_that_are_none_are_the_newest(bella: Agent, as_role: Callable[[str], Client], query: str) -> None:
    page = as_role("viewer").get(f"/console/agents/{bella.pk}/versions/{query}")
    assert page.status_code == 200
    assert "ersion 1" in page.text

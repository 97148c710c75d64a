"""Agents: found by number, versioned by saving, edited in a form that says what is wrong."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError
from django.db.models import ProtectedError

from calls.agents import DEMO_NUMBER, BusyAnswer, agent_for_number, seed_demo_agent
from calls.core.policy import AgentProfile, TurnPolicy
from calls.core.record import payload
from calls.forms import PREFIX, AgentForm
from calls.models import Agent, AgentNumber, AgentVersion, Call
from calls.policy_fields import HIDDEN, NAMES, POLICY_FIELDS
from calls.tools import SPECS

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent() -> Agent:
    seed_demo_agent()
    return Agent.objects.get()


def test_the_demonstration_agent_answers_its_number() -> None:
    call_command("seed_agent", verbosity=0)
    call_command("seed_agent", verbosity=0)

    found = agent_for_number(DEMO_NUMBER)

    assert found
    profile, version_id, busy = found
    assert busy == BusyAnswer("tone", "")
    assert (profile.name, profile.version, profile.policy) == ("Bella Vista", 1, TurnPolicy())
    assert [tool.name for tool in profile.tools] == ["book_table", "recall", "remember", "forget", "end_call"]
    assert profile.tools[0] == SPECS["book_table"]
    assert version_id == AgentVersion.objects.get().pk


def test_an_existing_agent_keeps_the_demonstration_away() -> None:
    Agent.objects.create(name="Mine", instructions="x", voice="v")

    assert seed_demo_agent() is None
    assert Agent.objects.count() == 1


@pytest.mark.parametrize("number", ["+15005550007", "", "anonymous", "15005550006", "+15005550006 ", "\ud800"])
def test_a_number_without_an_agent(agent: Agent, number: str) -> None:
    assert agent_for_number(number) is None


def test_an_inactive_agent_does_not_answer(agent: Agent) -> None:
    agent.is_active = False
    agent.save()

    assert agent_for_number(DEMO_NUMBER) is None
    assert agent.versions.count() == 1


def test_saving_a_change_makes_a_version_and_saving_none_does_not(agent: Agent) -> None:
    agent.save()
    agent.greeting = "Hello!"
    agent.save()
    agent.save()
    agent.policy = {"verdict_ms": 900}
    agent.save()

    versions = list(agent.versions.order_by("number"))
    assert [version.number for version in versions] == [1, 2, 3]
    assert [version.as_profile().greeting for version in versions[1:]] == ["Hello!"] * 2
    assert [version.as_profile().policy.verdict_ms for version in versions] == [1500, 1500, 900]
    assert [version.as_profile().version for version in versions] == [1, 2, 3]


def test_a_version_holds_the_whole_profile(agent: Agent) -> None:
    version = agent.versions.get()

    assert payload(version.as_profile()) == version.profile
    assert set(version.profile) == {field.name for field in fields(AgentProfile)}


def test_a_version_is_never_changed(agent: Agent) -> None:
    version = agent.versions.get()
    version.profile = {}

    with pytest.raises(TypeError, match="never changed"):
        version.save()


def test_an_agent_that_took_calls_cannot_be_deleted(agent: Agent) -> None:
    Call.objects.create(call_sid="CA1", agent_version=agent.versions.get())

    with pytest.raises(ProtectedError):
        agent.delete()


def test_a_version_that_this_release_cannot_read_is_replaced(agent: Agent) -> None:
    AgentVersion.objects.update(profile={"name": "old", "mood": "sunny"})

    found = agent_for_number(DEMO_NUMBER)

    assert found
    assert (found[0].name, found[0].version) == ("Bella Vista", 2)


def test_numbers_are_unique_and_e164(agent: Agent) -> None:
    with pytest.raises(ValidationError):
        AgentNumber(agent=agent, number="0500-5550006").full_clean()
    with pytest.raises(IntegrityError):
        AgentNumber.objects.create(agent=agent, number="0500-5550006")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("policy", {"verdict_ms": 0}, "verdict_ms must be above 0"),
        ("policy", {"verdict_ms": "soon"}, "verdict_ms must be of kind int"),
        ("policy", {"speculative": 1}, "speculative must be of kind bool"),
        ("policy", [], "must be an object"),
        ("tools", ["fly"], "no tool 'fly'"),
        ("tools", "end_call", "list of names"),
        ("idle_texts", [1], "list of sentences"),
    ],
)
def test_a_row_that_makes_no_sense(agent: Agent, field: str, value: Any, message: str) -> None:
    setattr(agent, field, value)

    with pytest.raises(ValidationError) as refused:
        agent.full_clean()

    assert message in str(refused.value.message_dict[field])


# --- the form -----------------------------------------------------------------------------------------------------


def form_data(**changes: Any) -> dict[str, Any]:
    shown = {PREFIX + field.name: getattr(TurnPolicy(), field.name) for field in POLICY_FIELDS}
    return {
        "name": "Bella Vista",
        "is_active": "on",
        "instructions": "Be kind.",
        "greeting": "Hello",
        "voice": "v",
        "language": "en",
        "tools": ["end_call"],
        "idle_texts": "Are you there?\r\n\r\n  Still there?  ",
        "goodbye_text": "Bye",
        "busy_answer": "tone",
        **shown,
        **changes,
    }


def test_every_policy_value_can_be_edited_or_is_hidden_on_purpose() -> None:
    assert NAMES | HIDDEN == {field.name for field in fields(TurnPolicy)}
    assert HIDDEN == {"version"}
    assert {PREFIX + name for name in NAMES} <= set(AgentForm.base_fields)


def test_only_what_differs_from_the_defaults_is_stored() -> None:
    form = AgentForm(form_data(policy_verdict_ms="900", policy_chunking="words"))

    assert form.is_valid(), form.errors
    agent = form.save()

    assert agent.policy == {"verdict_ms": 900, "chunking": "words", "speculative": True} or agent.policy == {
        "verdict_ms": 900,
        "chunking": "words",
    }
    assert agent.idle_texts == ["Are you there?", "Still there?"]
    assert agent.tools == ["end_call"]
    assert agent.versions.get().as_profile().policy.verdict_ms == 900


def test_a_box_that_is_not_ticked_is_off() -> None:
    data = form_data()
    del data["policy_speculative"]

    form = AgentForm(data)

    assert form.is_valid(), form.errors
    assert form.save().policy == {"speculative": False}


def test_the_form_shows_what_is_stored(agent: Agent) -> None:
    agent.policy = {"verdict_ms": 901}
    agent.save()

    form = AgentForm(instance=agent)

    assert form["policy_verdict_ms"].value() == 901
    assert form["policy_idle_ms"].value() == TurnPolicy().idle_ms
    assert form["idle_texts"].value() == "\n".join(agent.idle_texts)
    assert 'value="end_call" id="id_tools_1" checked' in str(form["tools"])


def test_saving_the_form_unchanged_changes_nothing(agent: Agent) -> None:
    shown = AgentForm(instance=agent)
    data = {name: shown[name].value() for name in shown.fields}

    form = AgentForm(data, instance=agent)

    assert form.is_valid(), form.errors
    assert form.changed_data == []
    form.save()
    assert agent.versions.count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"policy_verdict_ms": "0"}, "policy_verdict_ms", "This value must be above 0, not 0"),
        ({"policy_tail_words": "-1"}, "policy_tail_words", "This value must not be negative, not -1"),
        ({"policy_idle_ms": "soon"}, "policy_idle_ms", "Enter a whole number"),
        ({"policy_idle_ms": ""}, "policy_idle_ms", "required"),
        ({"policy_idle_ms": "9" * 30}, "policy_idle_ms", "less than or equal"),
        ({"policy_chunking": "letters"}, "policy_chunking", "Select a valid choice"),
        ({"tools": ["fly"]}, "tools", "Select a valid choice"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_a_mistake_is_shown_at_its_field(changes: dict[str, Any], field: str, message: str) -> None:
    form = AgentForm(form_data(**changes))

    assert not form.is_valid()
    assert message in str(form.errors[field])
    assert set(form.errors) == {field}


def test_looking_an_agent_up_is_two_queries(agent: Agent, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):
        agent_for_number(DEMO_NUMBER)

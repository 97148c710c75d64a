"""What operators, tokens and callers enter: it stands at once, is firmer than what was distilled, and says who it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from memory import keys, selectors, tasks
from memory.core import rules
from memory.core.values import Said
from memory.models import Caller, Card, Memory
from memory.services import chain, correcting, merging
from memory.services.checking import Bad
from memory.services.correcting import NoSuchFact
from memory.services.writing import Erased, write_conversation
from tests.app.memory.changes import changes_of
from tests.app.memory.people import DAY, MONDAY, john, maria

if TYPE_CHECKING:
    from pytest_django import DjangoCaptureOnCommitCallbacks

    from memory.people import Person

pytestmark = pytest.mark.django_db

NOW = MONDAY + 10 * DAY


def hear(person: Person, text: str, *, on: int = 0, name: str = "CA1") -> None:
    """The caller says this, and the rules read it."""
    said = [Said(0, "user", text, MONDAY + on * DAY)]
    written = write_conversation(person, name, said, began_at=MONDAY + on * DAY)
    merging.apply(person, written.conversation_id, rules.extract_all(said).candidates, by="rules", now=NOW + on * DAY)


def standing(person: Person, slot: str) -> list[tuple[str, str]]:
    return [(one.value, one.status) for one in selectors.facts(person, slot=slot) if one.retired_at is None]


def test_what_is_entered_is_a_fact_with_its_author_for_a_source() -> None:
    person = maria()

    fact = correcting.store(person, "fact", "", slot="health.allergy", value="the peanuts", by="operator:ann", now=NOW)

    assert (fact.kind, fact.slot, fact.value, fact.text) == ("fact", "health.allergy", "peanut", "Allergic to peanuts")
    assert [(source.by, source.quote) for source in fact.sources] == [("operator:ann", "")]
    assert [(event.what, event.by) for event in fact.history] == [("added", "operator:ann")]
    assert (fact.valid_from, fact.status) == (NOW, "active")


def test_what_is_entered_twice_stands_once() -> None:
    person = maria()
    first = correcting.store(person, "fact", "Plays the cello", by="operator:ann", now=NOW)

    second = correcting.store(person, "fact", "plays the Cello.", by="token:crm", now=NOW + DAY)

    assert first.id == second.id
    assert [event.what for event in second.history] == ["added", "reinforced"]
    assert {source.by for source in second.sources} == {"operator:ann", "token:crm"}


def test_an_operators_word_supersedes_and_is_not_disputed_by_what_is_said_after(redis_url: str) -> None:
    person = maria()
    hear(person, "Please call me before ten.")

    correcting.store(person, "preference", "", slot="contact.time", value="evenings", by="operator:ann", now=NOW)
    hear(person, "Please call me after noon.", on=20, name="CA2")

    assert standing(person, "contact.time")[:2] in (
        [("after 12:00", "disputed"), ("evening", "active")],
        [("evening", "active"), ("after 12:00", "disputed")],
    )
    correcting.store(person, "", "", slot="contact.time", value="after noon", by="operator:ann", now=NOW + 30 * DAY)
    assert set(standing(person, "contact.time")) == {
        ("after 12:00", "active"),
        ("after 12:00", "retracted"),
        ("evening", "superseded"),
        ("before 10:00", "superseded"),
    }


def test_a_new_value_ends_the_old_one_and_as_of_gives_both() -> None:
    person = maria()
    old = correcting.store(person, "", "", slot="home.place", value="Berlin", by="operator:ann", now=NOW)

    new = correcting.supersede(person, old.id, "", "Bonn", by="token:crm", now=NOW + DAY)

    assert [one.value for one in selectors.facts(person, as_of=NOW)] == ["Berlin"]
    assert [one.value for one in selectors.facts(person, as_of=NOW + DAY)] == ["Bonn"]
    assert selectors.facts(person, slot="home.place")[1].superseded_by == new.id


def test_what_was_wrong_never_was_true() -> None:
    person = maria()
    old = correcting.store(person, "", "", slot="home.place", value="Berlin", by="operator:ann", now=NOW)

    new = correcting.supersede(person, old.id, "", "Bonn", by="operator:bob", now=NOW + DAY, was_wrong=True)

    assert [one.value for one in selectors.facts(person, as_of=NOW)] == ["Bonn"]
    assert [one.value for one in selectors.facts(person, as_of=NOW, known_at=NOW)] == ["Berlin"]
    assert (new.valid_from, selectors.facts(person)[1].history[-1].what) == (NOW, "corrected")


def test_one_of_many_values_is_replaced_and_the_others_stay() -> None:
    person = maria()
    for value in ("peanuts", "eggs"):
        correcting.store(person, "", "", slot="health.allergy", value=value, by="operator:ann", now=NOW)
    wrong = next(one for one in selectors.facts(person) if one.value == "egg")

    correcting.supersede(person, wrong.id, "", "shellfish", by="operator:ann", now=NOW + DAY)

    assert {one.value for one in selectors.facts(person, as_of=NOW + DAY)} == {"peanut", "shellfish"}
    again = next(one for one in selectors.facts(person) if one.value == "shellfish")
    correcting.supersede(person, again.id, "", "peanuts", by="operator:ann", now=NOW + 2 * DAY)
    assert {one.value for one in selectors.facts(person, as_of=NOW + 2 * DAY)} == {"peanut"}


def test_a_free_fact_is_reworded() -> None:
    person = maria()
    old = correcting.store(person, "event", "Comes on Friday", by="operator:ann", now=NOW)

    new = correcting.supersede(person, old.id, "Comes on Saturday", by="operator:ann", now=NOW + DAY)

    assert (new.kind, new.text) == ("event", "Comes on Saturday")
    assert [one.text for one in selectors.facts(person, as_of=NOW + DAY)] == ["Comes on Saturday"]


def test_what_is_retracted_does_not_come_back_from_the_call_it_was_heard_in() -> None:
    person = maria()
    hear(person, "I am allergic to peanuts.")
    (fact,) = selectors.facts(person)

    gone = correcting.retract(person, fact.id, by="operator:ann", now=NOW + DAY)
    hear(person, "I am allergic to peanuts.")

    assert (gone.status, gone.valid_to, gone.history[-1].by) == ("retracted", NOW + DAY, "operator:ann")
    assert standing(person, "health.allergy") == [("peanut", "retracted")]
    with pytest.raises(NoSuchFact):
        correcting.retract(person, fact.id, by="operator:ann", now=NOW + DAY)


def test_a_change_is_told_when_it_is_committed(
    redis_url: str, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    person = maria()
    Card.objects.create(caller_id=person.id, name_sealed=b"", text_sealed=b"", built_at=MONDAY)
    with redis.Redis.from_url(redis_url) as client, changes_of(client, person.id) as next_change:
        client.hset(keys.card_key(person.key_hash), "text", "old")
        with django_capture_on_commit_callbacks(execute=True):
            correcting.store(person, "fact", "Plays the cello", by="operator:ann", now=NOW)
            assert client.exists(keys.card_key(person.key_hash))
        assert next_change() == keys.What.CHANGED
        assert not client.exists(keys.card_key(person.key_hash))
    card = selectors.card(person)
    assert card is not None
    assert "Plays the cello" in card.text
    assert tasks_of(redis_url) == [chain.FACTS]


def tasks_of(redis_url: str) -> list[str]:
    """What is queued."""
    with redis.Redis.from_url(redis_url) as client:
        return [json.loads(raw)["headers"]["task"] for raw in client.lrange("celery", 0, -1)]  # type: ignore[union-attr]


def test_what_was_entered_is_embedded_by_a_task(redis_url: str) -> None:
    person = maria()
    correcting.store(person, "fact", "Plays the cello", by="operator:ann", now=NOW)

    tasks.embed_entered(str(person.id))

    assert Memory.objects.get().vector_model


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text": " \n"}, "the text is empty"),
        ({"text": "x" * 100_000}, "has 100000 characters; at most 2000"),
        ({"text": "a\x00b"}, "NUL character at place 2"),
        ({"text": "ab\ud800"}, "half of a surrogate pair at place 3"),
        ({"kind": "utterance"}, "the kind must be one of commitment, event"),
        ({"kind": ""}, "the kind must be one of"),
        ({"value": "x"}, "a value needs a slot"),
        ({"slot": "shoe.size", "value": "44"}, "no slot 'shoe.size'"),
        ({"slot": "contact.email", "value": "nobody"}, "no value that contact.email can take"),
    ],
)
def test_nonsense_is_refused_in_words(wrong: dict[str, Any], message: str) -> None:
    entry: dict[str, Any] = {"kind": "fact", "text": "Plays the cello", **wrong}

    with pytest.raises(Bad, match=message) as caught:
        correcting.store(maria(), entry.pop("kind"), entry.pop("text"), **entry, by="operator:ann", now=NOW)
    assert "nobody" not in str(caught.value)
    assert not Memory.objects.exists()


@pytest.mark.parametrize("wanted", ["", "no id", "another caller's"])
def test_a_fact_that_is_not_there_is_an_error(wanted: str) -> None:
    theirs = correcting.store(john(), "fact", "Plays the cello", by="operator:ann", now=NOW)
    wanted = theirs.id if wanted.startswith("another") else wanted

    with pytest.raises(NoSuchFact):
        correcting.supersede(maria(), wanted, "Plays the viola", by="operator:ann", now=NOW)
    with pytest.raises(NoSuchFact):
        correcting.retract(maria(), wanted, by="operator:ann", now=NOW)
    with pytest.raises(Bad, match="known already"):
        correcting.supersede(john(), theirs.id, "plays the cello", by="operator:ann", now=NOW)


def test_nothing_is_entered_for_somebody_who_was_erased() -> None:
    person = maria()
    Caller.objects.all().delete()

    with pytest.raises(Erased):
        correcting.store(person, "fact", "Plays the cello", by="operator:ann", now=NOW)

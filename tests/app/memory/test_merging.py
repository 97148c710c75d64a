"""The lives of facts in the real database: every decision carried out, within its constraints, once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections

from memory import selectors
from memory.core import rules
from memory.core.decisions import Ask, Verdict
from memory.core.values import Candidate, Kind, Said, Status
from memory.db import erasing
from memory.models import Caller, Memory, MemoryEvent, Source, Tombstone
from memory.services import merging, tombstones
from memory.services.writing import Erased, write_conversation
from tests.app.memory.people import DAY, MONDAY, john, maria

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from memory.core.values import Known
    from memory.people import Person
    from memory.services.merging import Applied

pytestmark = pytest.mark.django_db

NOW = MONDAY + 1000 * DAY


def talk(person: Person, name: str, *texts: str, on: int = 0, role: str = "user") -> UUID:
    """A conversation in which the caller says this, one text a minute."""
    said = [
        Said(seq, role, text, MONDAY + on * DAY + seq * DAY / 1440, audio_ms=1000 * seq)
        for seq, text in enumerate(texts)
    ]
    return write_conversation(person, name, said, began_at=MONDAY + on * DAY).conversation_id


def hear(person: Person, name: str, *texts: str, on: int = 0) -> list[Applied]:
    """A conversation, read by the rules and merged."""
    conversation = talk(person, name, *texts, on=on)
    lines = [Said(line.seq, line.role, line.text, line.said_at) for line in selectors.lines(person, conversation=name)]
    return merging.apply(person, conversation, rules.extract_all(lines).candidates, by="rules", now=NOW)


def free(text: str, seq: int = 0) -> Candidate:
    """A free fact as the model words it."""
    return Candidate(Kind.FACT, text, seq, "garden", extractor="model:test")


def facts(person: Person, slot: str, on: int | None = None) -> list[tuple[str, str]]:
    as_of: datetime | None = None if on is None else MONDAY + on * DAY
    found = selectors.facts(person, slot=slot, as_of=as_of)
    return [(fact.value, fact.status) for fact in found if fact.status != Status.DISPUTED.value]


def everything() -> dict[str, list[object]]:
    return {
        model.__name__: list(model._default_manager.order_by("pk").values()) for model in (Memory, Source, MemoryEvent)
    }


def test_what_a_caller_says_becomes_a_fact_with_its_sentence_and_its_second() -> None:
    person = maria()
    hear(person, "CA1", "Hello.", "I am allergic to peanuts, by the way.")

    (fact,) = selectors.facts(person)
    (source,) = fact.sources
    assert (fact.slot, fact.value, fact.status, fact.valid_from) == (
        "health.allergy", "peanut", "active", MONDAY + DAY / 1440,
    )  # fmt: skip
    assert (source.conversation, source.seq, source.audio_ms, source.by) == ("CA1", 1, 1000, "caller")
    assert source.quote == "I am allergic to peanuts"
    assert [(event.what, event.by) for event in fact.history] == [("added", "rules")]
    row = Memory.objects.get()
    assert b"peanut" not in bytes(row.text_sealed) + bytes(row.value_sealed)
    assert (row.single, len(row.value_hash), len(row.content_hash)) == (False, 64, 64)


def test_the_same_conversation_again_changes_nothing() -> None:
    person = maria()
    hear(person, "CA1", "My name is Maria Jensen.", "I am vegetarian.", "Actually I am vegan.")
    before = everything()

    again = hear(person, "CA1", "My name is Maria Jensen.", "I am vegetarian.", "Actually I am vegan.")

    assert {(one.what, one.why) for one in again} == {("ignored", "already")}
    assert everything() == before


def test_ten_rewordings_leave_one_fact() -> None:
    person = maria()
    ways = (
        "I'm allergic to peanuts.", "I am allergic to peanuts.", "I have a peanut allergy.", "I've got a peanut allergy.",
        "I have an allergy to peanuts.", "I'm very allergic to peanuts.", "I am severely allergic to peanuts.",
        "Remember that I'm allergic to peanuts.", "As I said, I am allergic to peanuts.", "I can't eat peanuts, I'm allergic to peanuts.",
    )  # fmt: skip
    for day, way in enumerate(ways):
        hear(person, f"CA{day}", way, on=day)

    allergies = [fact for fact in selectors.facts(person, slot="health.allergy")]
    assert [fact.value for fact in allergies] == ["peanut"]
    assert [event.what for event in allergies[0].history].count("reinforced") >= 8
    assert len({source.conversation for source in allergies[0].sources}) == len(allergies[0].sources) >= 9
    assert allergies[0].confidence > 0.95


def test_a_contradiction_leaves_one_current_and_one_superseded_and_a_day_before_gives_the_old_one() -> None:
    person = maria()
    hear(person, "CA1", "I am vegetarian.", on=0)
    hear(person, "CA2", "I am vegan.", on=10)

    assert facts(person, "diet.preference") == [("vegan", "active"), ("vegetarian", "superseded")]
    assert facts(person, "diet.preference", on=5) == [("vegetarian", "superseded")]
    assert facts(person, "diet.preference", on=15) == [("vegan", "active")]
    new, old = selectors.facts(person, slot="diet.preference")
    assert (old.superseded_by, old.valid_to) == (new.id, new.valid_from)
    assert [event.what for event in old.history] == ["added", "superseded"]


def test_a_call_that_is_archived_late_goes_into_the_history() -> None:
    person = maria()
    hear(person, "CA2", "I am vegan.", on=10)
    hear(person, "CA1", "I am vegetarian.", on=0)

    assert facts(person, "diet.preference") == [("vegan", "active"), ("vegetarian", "superseded")]
    assert facts(person, "diet.preference", on=5) == [("vegetarian", "superseded")]


STATEMENTS = (
    "I am vegetarian.", "I am vegan.", "I'm not vegan anymore.", "I live in Leeds.", "I live in York.", "My name is Maria.",
    "My name is Anna.", "I am allergic to peanuts.", "I'm not allergic to peanuts anymore.", "I think I am vegan.",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_in_whatever_order_calls_come_the_database_admits_what_was_decided(seed: int) -> None:
    chance = random.Random(seed)
    person = maria()
    calls = [(f"CA{day}", day, chance.choices(STATEMENTS, k=2)) for day in range(8)]
    chance.shuffle(calls)
    for name, day, texts in calls:
        hear(person, name, *texts, on=day)
    before = everything()
    for name, day, texts in calls:
        hear(person, name, *texts, on=day)

    assert everything() == before
    for slot in ("diet.preference", "home.place", "identity.name"):
        for day in range(9):
            assert len(facts(person, slot, on=day)) <= 1
        assert len([fact for fact in facts(person, slot) if fact[1] == "active"]) <= 1


def test_only_the_callers_own_words_are_a_source() -> None:
    person = maria()
    said = [
        Said(0, "assistant", "You are allergic to peanuts, is that right?", MONDAY),
        Said(1, "user", "Let me think.", MONDAY),
    ]
    conversation = write_conversation(person, "CA1", said, began_at=MONDAY).conversation_id

    def candidate(seq: int, quote: str) -> Candidate:
        return Candidate(Kind.FACT, "Allergic to peanuts", seq, quote, slot="health.allergy", value="peanut")

    refused = merging.apply(
        person, conversation, [candidate(0, "allergic to peanuts"), candidate(1, "allergic"), candidate(1, " "), candidate(7, "x")],
        by="model", now=NOW,
    )  # fmt: skip

    assert [(one.what, one.why) for one in refused] == [
        ("refused", "not_said_by_the_caller"), ("refused", "quote_not_found"), ("refused", "no_quote"), ("refused", "no_such_utterance"),
    ]  # fmt: skip
    assert not Memory.objects.exists()


def test_a_wrong_place_of_a_quote_is_put_right() -> None:
    person = maria()
    conversation = talk(person, "CA1", "Well, the garden is big.")

    merging.apply(
        person, conversation, [Candidate(Kind.FACT, "Big garden", 0, "garden", start=2, end=8)], by="model", now=NOW
    )

    assert selectors.facts(person)[0].sources[0].quote == "garden"


def test_what_was_forgotten_does_not_come_back_unless_it_is_said_again() -> None:
    person = maria()
    hear(person, "CA1", "I am vegan.")
    with erasing():
        Memory.objects.all().delete()
    subject = tombstones.fact_subject("preference", "diet.preference", "vegan", "Is vegan")
    tombstones.lay(Tombstone.Scope.FACT, person.key_hash, [subject], MONDAY + DAY)

    assert {one.why for one in hear(person, "CA1", "I am vegan.")} == {"forgotten"}
    assert not Memory.objects.exists()
    hear(person, "CA2", "I am vegan.", on=2)
    assert facts(person, "diet.preference") == [("vegan", "active")]


def test_near_facts_are_put_to_a_judge_outside_the_lock_and_its_verdict_counts() -> None:
    person = maria()
    first = talk(person, "CA1", "The garden is full of roses.")
    merging.apply(person, first, [free("The garden has many roses")], by="model", now=NOW)
    second = talk(person, "CA2", "The garden has lots of roses in it.", on=1)
    asked: list[tuple[str, list[str]]] = []
    outside = len(connection.savepoint_ids)

    def judge(asks: Sequence[Ask], known: Sequence[Known]) -> list[dict[str, Verdict]]:
        assert len(connection.savepoint_ids) == outside, "asked inside the transaction of the merge"
        texts = {fact.id: fact.text for fact in known}
        asked.extend((ask.candidate.text, [texts[fact] for fact, _ in ask.pairs]) for ask in asks)
        return [{fact: Verdict.SAME for fact, _ in ask.pairs} for ask in asks]

    (done,) = merging.apply(
        person, second, [free("There are many roses in the garden")], by="model", now=NOW, judge=judge
    )

    assert asked == [("There are many roses in the garden", ["The garden has many roses"])]
    assert done.what == "reinforced"
    assert [fact.text for fact in selectors.facts(person)] == ["The garden has many roses"]


def test_without_a_judge_near_facts_stay_two_and_the_same_words_one() -> None:
    person = maria()
    texts = ["The garden has many roses", "There are many roses in the garden", "There are many roses in the garden!"]
    conversation = talk(person, "CA1", *["The garden is full of roses."] * 3)

    merging.apply(person, conversation, [free(text, seq) for seq, text in enumerate(texts)], by="model", now=NOW)

    assert sorted(fact.text for fact in selectors.facts(person)) == sorted(texts[:2])
    assert MemoryEvent.objects.filter(what="reinforced").count() == 1


def test_a_stranger_to_the_slot_table_is_ignored() -> None:
    person = maria()
    conversation = talk(person, "CA1", "garden")
    odd = Candidate(Kind.FACT, "x", 0, "garden", slot="no.such.slot", value="x")

    assert [one.why for one in merging.apply(person, conversation, [odd], by="model", now=NOW)] == ["unknown_slot"]


def test_another_callers_conversation_is_no_source() -> None:
    conversation = talk(john(), "CA1", "I am vegan.")
    candidate = Candidate(Kind.PREFERENCE, "Is vegan", 0, "I am vegan", slot="diet.preference", value="vegan")

    (done,) = merging.apply(maria(), conversation, [candidate], by="model", now=NOW)

    assert (done.what, done.why) == ("refused", "no_such_utterance")


def test_a_caller_erased_meanwhile_gets_no_fact() -> None:
    person = maria()
    conversation = talk(person, "CA1", "I am vegan.")
    with erasing():
        Caller.objects.all().delete()

    with pytest.raises(Erased):
        merging.apply(person, conversation, [free("x")], by="model", now=NOW)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_come_to_what_one_comes_to() -> None:
    person = maria()
    texts = ("My name is Maria Jensen.", "I am vegetarian.", "I am allergic to peanuts.", "I live in Leeds.")
    conversation = talk(person, "CA1", *texts)
    found = rules.extract_all([Said(seq, "user", text, MONDAY) for seq, text in enumerate(texts)]).candidates
    start = threading.Barrier(4)
    results: list[Iterable[Applied]] = []

    def work() -> None:
        try:
            start.wait()
            results.append(merging.apply(person, conversation, found, by="rules", now=NOW))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(one.what for done in results for one in done) == ["added"] * 4 + ["ignored"] * 12
    assert {fact.status for fact in selectors.facts(person)} == {Status.ACTIVE.value}
    assert (Memory.objects.count(), Source.objects.count(), MemoryEvent.objects.count()) == (4, 4, 4)

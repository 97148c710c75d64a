"""What the database refuses by itself, whatever the code in front of it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction

from memory.db import erasing, scoped
from memory.ids import new_id
from memory.models import Caller, Conversation, Memory, MemoryEvent, Source, Utterance
from tests.app.memory.people import DAY, MONDAY, fact, john, maria

if TYPE_CHECKING:
    from memory.people import Person

pytestmark = pytest.mark.django_db

SCOPED = (Conversation, Utterance, Memory, Source, MemoryEvent)


def conversation(person: Person, name: str = "CA1") -> Conversation:
    return Conversation.objects.create(caller_id=person.id, name=name, began_at=MONDAY)


def utterance(person: Person, within: Conversation, seq: int = 0) -> Utterance:
    row = new_id()
    return Utterance.objects.create(
        id=row,
        caller_id=person.id,
        conversation=within,
        seq=seq,
        role="user",
        text_sealed=person.seal("hello", "utterance", row, "text"),
        said_at=MONDAY,
    )


def remember_all_kinds(person: Person) -> None:
    said = utterance(person, conversation(person))
    kept = fact(person)
    kept.save(force_insert=True)
    Source.objects.create(caller_id=person.id, memory=kept, utterance=said, start=0, end=5)
    MemoryEvent.objects.create(caller_id=person.id, memory=kept, what="added", by="caller")


def test_inside_a_scope_only_one_caller_exists() -> None:
    owner, other = maria(), john()
    for person in (owner, other):
        remember_all_kinds(person)

    with scoped(owner.id):
        for model in SCOPED:
            assert set(model.objects.values_list("caller_id", flat=True)) == {owner.id}, model
        assert set(Caller.objects.values_list("pk", flat=True)) == {owner.id}
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM memory_utterance WHERE caller_id = %s", [other.id])
            assert cursor.fetchone() == (0,)
    assert Memory.objects.count() == 2


def test_inside_a_scope_another_callers_row_is_neither_written_nor_changed_nor_deleted() -> None:
    owner, other = maria(), john()
    remember_all_kinds(other)

    with scoped(owner.id):
        assert Memory.objects.update(importance=0.9) == 0
        assert Utterance.objects.all().delete()[0] == 0
    with pytest.raises(ProgrammingError, match="row-level security"), scoped(owner.id):
        fact(other, "is not mine").save(force_insert=True)
    assert Memory.objects.get().importance == 0.5


def test_a_scope_ends_with_its_block_inside_a_transaction_too() -> None:
    owner, other = maria(), john()
    for person in (owner, other):
        remember_all_kinds(person)

    with transaction.atomic():
        with scoped(owner.id):
            assert Memory.objects.count() == 1
        assert Memory.objects.count() == 2
        with pytest.raises(ZeroDivisionError), scoped(owner.id):
            raise ZeroDivisionError
        assert Memory.objects.count() == 2
        with scoped(other.id), scoped(other.id):
            assert Memory.objects.count() == 1
        assert Memory.objects.count() == 2


def test_a_scope_does_not_open_another_callers() -> None:
    owner, other = maria(), john()

    with pytest.raises(RuntimeError, match="another caller"), scoped(owner.id), scoped(other.id):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "utterance"},
        {"status": "gone"},
        {"importance": 1.5},
        {"confidence": -0.1},
        {"valid_to": MONDAY - DAY},
        {"single": True},
        {"vector": [0.0] * 384},
        {"openai_vector": [0.0] * 1536},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_a_fact_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        fact(maria(), **wrong).save(force_insert=True)


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(DatabaseError, match="384 dimensions"):
        fact(maria(), vector=[0.0] * 10, vector_model="m").save(force_insert=True)


def test_a_single_valued_slot_has_one_value_at_a_time() -> None:
    person = maria()
    slot = {"slot": "contact.time", "single": True}
    fact(person, "mornings", status="superseded", valid_to=MONDAY + DAY, **slot).save(force_insert=True)
    fact(person, "evenings", valid_from=MONDAY + DAY, **slot).save(force_insert=True)
    fact(john(), "noon", **slot).save(force_insert=True)
    fact(person, "noon", status="disputed", **slot).save(force_insert=True)
    fact(person, "never was", retired_at=MONDAY + DAY, **slot).save(force_insert=True)

    with pytest.raises(IntegrityError, match="memory_slot_has_one_value"):
        fact(person, "at night", valid_from=MONDAY + DAY / 2, **slot).save(force_insert=True)


def test_the_same_fact_is_active_once() -> None:
    person = maria()
    fact(person).save(force_insert=True)

    with pytest.raises(IntegrityError, match="memory_active_once"):
        fact(person).save(force_insert=True)


def test_rows_of_two_callers_are_never_joined() -> None:
    said = utterance(maria(), conversation(maria()))
    kept = fact(john())
    kept.save(force_insert=True)

    with pytest.raises(IntegrityError, match="source_in_own_utterance"), transaction.atomic():
        Source.objects.create(caller_id=john().id, memory=kept, utterance=said, start=0, end=5)
        connection.check_constraints()
    with pytest.raises(IntegrityError, match="utterance_in_own_conversation"), transaction.atomic():
        utterance(john(), said.conversation, seq=1)
        connection.check_constraints()


def test_the_history_is_only_added_to() -> None:
    remember_all_kinds(maria())

    with pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        MemoryEvent.objects.update(by="somebody else")
    with pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        Caller.objects.all().delete()
    with erasing():
        Caller.objects.all().delete()
    assert not MemoryEvent.objects.exists()
    with erasing(), pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        remember_all_kinds(maria())
        MemoryEvent.objects.update(by="somebody else")

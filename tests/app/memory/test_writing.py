"""A conversation is written once, sealed, and read back as the index needs it; what was erased stays away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.utils import timezone

from memory import people, search, selectors
from memory.core.values import Kind, Said
from memory.db import erasing
from memory.models import Caller, Conversation, Tombstone, Utterance
from memory.services.writing import Erased, write_conversation
from tests.app.memory.people import DAY, MARIA, MONDAY, fact, john, maria

if TYPE_CHECKING:
    from memory.people import Person
    from memory.services.writing import Written

pytestmark = pytest.mark.django_db

TALK = [
    Said(0, "assistant", "When may we call you back?", MONDAY, audio_ms=500),
    Said(1, "user", "Only before ten.", MONDAY, audio_ms=2500, confidence=0.8),
    Said(2, "assistant", "Thank you, and goodbye.", MONDAY, heard_text="Thank you"),
]


def write(person: Person, said: list[Said] = TALK, name: str = "CA1") -> Written:
    return write_conversation(person, name, said, began_at=MONDAY, ended_at=MONDAY + DAY / 24)


def test_what_was_said_comes_back_with_what_was_said_before_it() -> None:
    person = maria()
    write(person)

    held = selectors.held(person, "m")

    assert held.is_whole
    rows = held.rows
    assert [row.text for row in rows] == [line.text for line in TALK]
    assert "call you back" in rows[1].before
    assert (rows[1].kind, rows[1].role, rows[1].origin.conversation, rows[1].origin.audio_ms) == (
        Kind.UTTERANCE, "user", "CA1", 2500,
    )  # fmt: skip
    assert [line.heard_text for line in selectors.lines(person, conversation="CA1")] == ["", "", "Thank you"]


def test_no_column_says_what_was_said() -> None:
    write(maria())

    with connection.cursor() as cursor:
        cursor.execute("SELECT text_sealed, heard_sealed FROM memory_utterance")
        assert not any(b"call" in bytes(cell) or b"Thank" in bytes(cell) for row in cursor for cell in row)
        cursor.execute("SELECT number_sealed, data_key_sealed, key_hash FROM memory_caller")
        assert MARIA.strip("+") not in repr(cursor.fetchall())


def test_writing_again_adds_nothing_and_new_lines_only() -> None:
    person = maria()
    assert write(person, TALK[:2]).added == 2
    Conversation.objects.update(distilled_at=MONDAY, embedded_at=MONDAY, card_at=MONDAY)

    assert write(person, TALK[:2]).added == 0
    assert Conversation.objects.get().distilled_at == MONDAY
    assert (write(person).added, write(person).total) == (1, 3)
    assert Conversation.objects.get().distilled_at is None
    assert Utterance.objects.count() == 3
    assert Caller.objects.get().last_seen_at == MONDAY + DAY / 24


def test_an_older_conversation_does_not_make_its_caller_seen_earlier() -> None:
    person = maria()
    write(person)
    write_conversation(person, "CA0", TALK, began_at=MONDAY - 9 * DAY)

    assert Caller.objects.get().last_seen_at == MONDAY + DAY / 24


def test_the_same_name_of_two_callers_are_two_conversations() -> None:
    write(maria())
    write(john(), TALK[:1])

    assert [len(selectors.held(person, "m").rows) for person in (maria(), john())] == [3, 1]


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 alone", "x" * 150_000, "'; DROP TABLE", "word " * 30_000])
def test_any_text_is_written_and_searched(text: str) -> None:
    person = maria()
    write(person, [Said(0, "user", text, MONDAY)])

    assert selectors.lines(person)[0].text == text[:100_000]
    selectors.legs(person, text, b"", "")
    search.by_words(text, False, search.Narrowed())


def test_what_was_erased_is_not_written_again() -> None:
    person = maria()
    Tombstone.objects.create(
        scope="conversation", caller_hash=person.key_hash, subject=people.keyed("conversation", "CA1")
    )
    with pytest.raises(Erased):
        write(person)
    write(person, name="CA2")

    Tombstone.objects.create(scope="caller", caller_hash=person.key_hash, at=MONDAY)
    with pytest.raises(Erased):
        write(person, name="CA3")
    write_conversation(person, "CA4", TALK, began_at=MONDAY + DAY)


def test_a_caller_erased_meanwhile_is_not_written_for() -> None:
    person = maria()
    with erasing():
        Caller.objects.all().delete()

    with pytest.raises(Erased):
        write(person)


def test_a_withheld_number_has_no_memory() -> None:
    assert people.find("anonymous") is None
    with pytest.raises(ValueError, match="withheld"):
        people.ensure("anonymous")


def test_a_caller_is_found_by_any_spelling_of_the_number_and_made_once() -> None:
    person = maria()

    assert people.ensure("+1 (555) 010-0001") == person
    assert people.find("+1 555 010 0001") == person == people.by_id(person.id) == people.by_id(str(person.id))
    assert people.by_id("no id") is None
    assert people.number_of(person) == MARIA


def test_too_many_rows_are_found_by_two_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MOST_ROWS", 2)
    person = maria()
    write(person)
    fact(person, "is called Maria").save(force_insert=True)
    fact(person, "was called Mary", status="superseded", valid_to=MONDAY).save(force_insert=True)

    held = selectors.held(person, "m")
    assert not held.is_whole
    assert [row.text for row in held.rows] == ["is called Maria", "was called Mary", TALK[1].text, TALK[2].text]
    found = selectors.legs(person, "tomorrow at ten", b"", "")
    assert [row.text for row in found] == ["Only before ten.", "Thank you, and goodbye."]  # said just after it
    assert "call you back" in found[0].before


def test_facts_are_read_as_of_a_day() -> None:
    person = maria()
    now = timezone.now()
    fact(person, "mornings", slot="contact.time", status="superseded", valid_to=MONDAY + DAY).save(force_insert=True)
    fact(person, "evenings", slot="contact.time", valid_from=MONDAY + DAY).save(force_insert=True)
    fact(person, "wrong", retired_at=now, slot="contact.time").save(force_insert=True)
    fact(john(), "noon", slot="contact.time").save(force_insert=True)

    def texts(**when: object) -> list[str]:
        return [one.text for one in selectors.facts(person, slot="contact.time", **when)]  # type: ignore[arg-type]

    assert texts(as_of=MONDAY) == ["mornings"]
    assert texts(as_of=MONDAY + 2 * DAY) == ["evenings"]
    assert texts(as_of=MONDAY - DAY) == []
    assert texts(known_at=now - DAY) == []
    assert set(texts()) == {"mornings", "evenings", "wrong"}

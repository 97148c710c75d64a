"""A correction counts from the moment it is said."""

from __future__ import annotations

from datetime import UTC, datetime

from memory.core.learning import learned
from memory.core.values import Kind, Origin, Row, Status

AT = datetime(2026, 3, 2, tzinfo=UTC)
BRUNO = Row("1", Kind.RELATION, "The caller's dog is called Bruno", AT, slot="relation.dog.name")
NUTS = Row("2", Kind.FACT, "Allergic to nuts", AT, slot="health.allergy")
CAT = Row("3", Kind.RELATION, "The caller's cat is called Minka", AT, slot="relation.cat.name")
FREE = Row("4", Kind.FACT, "Parking is behind the house", AT)
KNOWN = [BRUNO, NUTS, CAT, FREE]


def say(text: str, before: str = "", known: list[Row] | None = None) -> tuple[list[str], list[str]]:
    """The ids that stand no more, and the texts that are new."""
    line = Row("CA1:4", Kind.UTTERANCE, text, AT, origin=Origin("CA1", 4, audio_ms=900))
    found = learned(line, before, KNOWN if known is None else known)
    return (
        [row.id for row in found if row.status is Status.SUPERSEDED],
        [row.text for row in found if row.status is Status.ACTIVE],
    )


def test_another_value_of_a_slot_that_holds_one_ends_the_old_one() -> None:
    assert say("My dog is called Rex.") == (["1"], ["The caller's dog is called Rex"])


def test_the_same_value_ends_nothing() -> None:
    assert say("My dog is called Bruno.") == ([], [BRUNO.text])


def test_a_slot_that_holds_many_keeps_what_it_has() -> None:
    assert say("I am allergic to shellfish.") == ([], ["Allergic to shellfish"])


def test_what_is_taken_back_stands_no_more() -> None:
    assert say("I'm not allergic to nuts any more.") == (["2"], [])


def test_what_the_agent_asked_gives_an_answer_its_meaning() -> None:
    assert say("Maria Keller.", "What name shall I book it under?")[1] == ["Name: Maria Keller"]


def test_what_is_no_statement_changes_nothing() -> None:
    assert say("Is my dog called Rex?") == ([], [])
    assert say("Remember that the side gate is green.") == ([], [])


def test_a_new_row_says_where_it_was_said() -> None:
    line = Row("CA1:4", Kind.UTTERANCE, "Well, my dog is called Rex.", AT, origin=Origin("CA1", 4, audio_ms=900))
    (row,) = learned(line, "", [])

    assert (row.id, row.origin.conversation, row.origin.seq, row.origin.audio_ms) == ("CA1:4:0", "CA1", 4, 900)
    assert row.origin.quote == line.text[row.origin.start : row.origin.end] == "my dog is called Rex"

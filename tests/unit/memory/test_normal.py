"""Spoken forms and the one value they share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.core import normal, slots
from memory.core.values import Kind

SUNDAY = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24", 24), ("twenty-four", 24), ("a hundred and five", 105), ("two thousand and ten", 2010), ("three hundred", 300),
        ("thousand", 1000), ("", None), ("a", None), ("and", None), ("four people", None), ("²", None),
    ],
)  # fmt: skip
def test_number(text: str, value: int | None) -> None:
    assert normal.number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("five five five", "555"), ("oh one double two", "0122"), ("triple seven", "777"), ("twenty three", "23"),
        ("twenty oh three", "2003"), ("twenty twelve", "2012"), ("twenty", "20"), ("twenty thirty", "2030"), ("twenty double four", "2044"),
        ("(020) 79.46/00-18", "0207946001" + "8"), ("five people", ""), ("", ""), ("double", ""),
    ],
)  # fmt: skip
def test_digits(text: str, value: str) -> None:
    assert normal.digits(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("555 0142", "5550142"), ("plus four four twenty 7946 0018", "+442079460018"), ("+1 (500) 555-0006", "+15005550006"),
        ("double oh four nine one seven one two three", "+49171" + "23"), ("0049 171 5550100", "+491715550100"), ("555", ""), ("1" * 16, ""), ("none", ""),
    ],
)  # fmt: skip
def test_phone(text: str, value: str) -> None:
    assert normal.phone(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("four seven one one", "4711"), ("AB 12 three", "AB123"), ("a b one two", "AB12"), ("four people", ""), ("ABC", ""),
        ("12", ""), ("", ""), ("K-77.1", "K771"),
    ],
)  # fmt: skip
def test_code(text: str, value: str) -> None:
    assert normal.code(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Maria.Rossi@Example.com.", "maria.rossi@example.com"), ("maria dot rossi at example dot com", "maria.rossi@example.com"),
        ("j underscore doe dash x at mail point example dot org", "j_doe-x@mail.example.org"), ("maria at home", ""),
    ],
)  # fmt: skip
def test_email(text: str, value: str) -> None:
    assert normal.email(text) == value


@pytest.mark.parametrize(
    ("text", "value", "evening"),
    [
        ("half past seven", "07:30", "19:30"), ("quarter to eight", "07:45", "19:45"), ("a quarter past six", "06:15", "18:15"),
        ("ten minutes to six", "05:50", "17:50"), ("7:30", "07:30", "19:30"), ("seven thirty p.m.", "19:30", "19:30"),
        ("seven oh five", "07:05", "19:05"), ("ten in the morning", "10:00", "10:00"), ("12 am", "00:00", "00:00"),
        ("noon", "12:00", "12:00"), ("midnight", "00:00", "00:00"), ("eight o’clock", "08:00", "20:00"), ("18h15", "18:15", "18:15"),
        ("25:00", "", ""), ("ten sixty", "", ""), ("banana", "", ""), ("half past", "", ""),
    ],
)  # fmt: skip
def test_clock(text: str, value: str, evening: str) -> None:
    assert normal.clock(text) == value
    assert normal.clock(text, evening=True) == evening


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("today", "2026-11-29"), ("tomorrow", "2026-11-30"), ("the day after tomorrow", "2026-12-01"), ("on Friday", "2026-12-04"),
        ("sunday", "2026-12-06"), ("the fourth of May", "2027-05-04"), ("December 24th", "2026-12-24"), ("thirty first of december", "2026-12-31"),
        ("2027-01-02", "2027-01-02"), ("2020-01-02", ""), ("31 february", ""), ("29 february", ""), ("soon", ""),
        ("May 4th, 2028", "2028-05-04"),
    ],
)  # fmt: skip
def test_day(text: str, value: str) -> None:
    assert normal.day(text, SUNDAY) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the fourth of May nineteen eighty", "1980-05-04"), ("May 4th, 1980", "1980-05-04"), ("june 3rd", "--06-03"),
        ("may 2nd two thousand and five", "2005-05-02"), ("29 february", "--02-29"), ("29 february 1981", ""), ("next week", ""),
        ("first of may nineteen people", "--05-01"),
    ],
)  # fmt: skip
def test_birthday(text: str, value: str) -> None:
    assert normal.birthday(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("twenty euros", "20.00 EUR"), ("$15.50", "15.50 USD"), ("15 €", "15.00 EUR"), ("1,200 pounds", "1200.00 GBP"),
        ("some dollars", ""), ("fifteen", ""), ("", ""),
    ],
)  # fmt: skip
def test_amount(text: str, value: str) -> None:
    assert normal.amount(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("M-A-R-T-A", "Marta"), ("m. a. r. t. a.", "Marta"), ("maria rossi", "Maria Rossi"), ("MARIA", "Maria"), ("McDonald", "McDonald"),
        ("doctor patel", "Dr Patel"), ("jean-luc PICARD", "Jean-Luc Picard"), ("Ludwig van Beethoven", "Ludwig van Beethoven"), ("…", "…"), (" , ", ""),
    ],
)  # fmt: skip
def test_person(text: str, value: str) -> None:
    assert normal.person(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the Peanuts", "peanut"), ("any kind of berries", "berry"), ("dishes, please", "dish"), ("gluten", "gluten"), ("bus", "bus"),
        ("boss", "boss"), ("tomatoes", "tomato"), ("bees", "bee"), ("window seats though", "window seat"), ("the", "the"), ("", ""),
    ],
)  # fmt: skip
def test_thing(text: str, value: str) -> None:
    assert normal.thing(text) == value


def test_things_are_the_parts_of_a_list() -> None:
    assert normal.things("nuts, shellfish, and eggs or milk") == ("nuts", "shellfish", "eggs", "milk")
    assert normal.things(" , ") == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("only before ten in the morning", "before 10:00"), ("between nine and eleven", "09:00-11:00"), ("from 9 to noon", "09:00-12:00"),
        ("on weekends after six p.m.", "after 18:00, weekend"), ("mornings and Fridays", "morning, friday"), ("after work", "outside work"),
        ("during office hours", "office hours"), ("around lunchtime", "noon"), ("after five", "after 17:00"), ("between nine and 5", "09:00-17:00"), ("before five a.m.", "before 05:00"), ("by half past seven", "before 07:30"), ("whenever", ""),
    ],
)  # fmt: skip
def test_hours(text: str, value: str) -> None:
    assert normal.hours(text) == value


@pytest.mark.parametrize(("text", "value"), [("four", "4"), ("a hundred", ""), ("zero", ""), ("many", "")])
def test_count(text: str, value: str) -> None:
    assert normal.count(text) == value


_words = st.lists(
    st.sampled_from(
        "five twenty double oh plus at dot before half past to the a of may 4th $ 12 7:30 nine euros and".split()
    ),
    max_size=8,
).map(" ".join)


@given(st.one_of(st.text(max_size=60), _words))
def test_every_reader_takes_any_text_and_its_value_is_stable(text: str) -> None:
    for slot in slots.SLOTS:
        value = slot.normalise(text)
        assert isinstance(value, str)
        if slot.normalise in (normal.thing, normal.person):
            assert slot.normalise(value) == value
    for read in (normal.day,):
        read(text, SUNDAY)
    for reader in (normal.clock, normal.amount, normal.email):
        assert isinstance(reader(text), str)


# The table of slots.


def test_every_slot_is_documented_as_it_is() -> None:
    text = (Path(__file__).parents[3] / "docs/memory.md").read_text()
    for slot in slots.SLOTS:
        many, days = "many" if slot.many else "one", slot.expires_days or "–"
        sensitive = "yes" if slot.sensitive else ""
        assert f"| `{slot.name}` | {slot.kind} | {many} | {days} | {sensitive} | {slot.section} |" in text, slot.name


def test_the_table_is_sound() -> None:
    names = [slot.name for slot in slots.SLOTS]
    assert len(set(names)) == len(names)
    for slot in slots.SLOTS:
        assert 0 < slot.importance <= 1
        assert slot.kind not in (Kind.UTTERANCE, Kind.SUMMARY)
        assert slot.reads.format(value="x", one="y", two="z")
        assert slot.reads.count("{one}") + slot.reads.count("{two}") == slot.name.split(".").count("*")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("contact.time", "contact.time"), ("relation.brother.allergy", "relation.*.allergy"), ("relation.mother-in-law.name", "relation.*.name"),
        ("favourite.wine", "favourite.*"), ("relation.*.name", None), ("relation.brother", None), ("relation..name", None), ("favourite.*", None),
        ("relation.a b.name", None), ("", None), ("nope", None),
    ],
)  # fmt: skip
def test_a_slot_is_found_by_its_name_or_its_shape(name: str, found: str | None) -> None:
    slot = slots.find(name)
    assert (slot.name if slot else None) == found


def test_what_a_slot_reads_and_what_it_cannot() -> None:
    assert slots.reads("relation.brother.favourite.wine", "the Barolo") == (
        "barolo",
        "The favourite wine of the caller's brother: Barolo",
    )
    assert slots.reads("contact.phone", "five five five oh one four two") == ("5550142", "Telephone: 5550142")
    assert slots.reads("contact.phone", "never mind") == ("", "")
    assert slots.reads("nope", "x") == ("", "")
    assert slots.order("health.allergy") < slots.order("identity.name") < slots.order("nope")

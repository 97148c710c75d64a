"""Who is called how, and questions put in the first person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memory.core.index import CallerIndex
from memory.core.speakers import Speakers
from memory.core.values import Kind, Row

NOW = datetime(2026, 11, 3, tzinfo=UTC)
TALK = [
    ("user", "Hey Ana, how was Rex at the vet?"),
    ("assistant", "Rex was brave. And thanks for asking, Ben!"),
    ("user", "Well, Rex is always brave. See you on Sunday, Ana!"),
    ("assistant", "Ben, wait! I forgot to say that I planted six apple trees."),
    ("user", "Sure. Sure thing. I can only come after ten."),
]


def row(place: int, role: str, said: str) -> Row:
    return Row(id=str(place), kind=Kind.UTTERANCE, text=said, role=role, said_at=NOW)


@pytest.fixture
def speakers() -> Speakers:
    found = Speakers()
    for place, (role, said) in enumerate(TALK):
        found.add(row(place, role, said))
    return found


def test_speakers_are_known_by_how_they_are_called(speakers):
    assert speakers.role_of("Ana") == "assistant"
    assert speakers.role_of("Ben") == "user"
    assert speakers.role_of("Rex") is None
    assert speakers.role_of("Sure") is None
    assert speakers.role_of("Nobody") is None


def test_what_is_forgotten_counts_no_longer(speakers):
    for place, (role, said) in enumerate(TALK):
        speakers.remove(row(place, role, said))
    assert speakers.role_of("Ana") is None


def test_where_all_turns_have_one_role_the_names_are_known_all_the_same():
    found = Speakers()
    for place, (_, said) in enumerate(TALK):
        found.add(row(place, "user", said))
    assert found.role_of("Ana") == "user"


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("What did Ana plant?", "What did I plant?"),
        ("What did Ana tell Ben?", "What did I tell you?"),
        ("What is Ana's job?", "What is my job?"),
        ("Does Ana have Ben's key?", "do I have your key?"),
        ("How is Rex?", "How is Rex?"),
        ("Which trees does she have?", "Which trees do I have?"),
        ("What's the caller's number?", "What's my number?"),
        ("Is the customer happy with his car?", "am I happy with my car?"),
        ("When do they leave for their holiday?", "When do we leave for our holiday?"),
        ("Has he hurt himself?", "have I hurt myself?"),
        ("What is Yuki's address?", "What is my address?"),
        ("Where did Yuki study?", "Where did I study?"),
        ("Who is Yuki?", "Who am I?"),
    ],
)
def test_a_question_is_put_as_the_one_it_is_about_would_put_it(speakers, asked, first):
    assert speakers.in_first_person(asked) == first


def test_what_is_asked_of_a_speaker_was_said_by_that_speaker():
    index = CallerIndex(
        [
            *(row(place, role, said) for place, (role, said) in enumerate(TALK)),
            row(10, "user", "I bought a green bicycle."),
            row(11, "assistant", "I bought a green bicycle."),
        ]
    )
    assert [index.search(f"What did {name} buy?", None, NOW)[0].row.id for name in ("Ben", "Ana")] == ["10", "11"]
    assert index.search("What did I buy?", None, NOW)[0].row.id == "10"
    both = {hit.row.id: hit.score for hit in index.search("What did Ana and Ben buy?", None, NOW)}
    assert both["10"] == both["11"]
    assert index.in_first_person("What did Ben buy?") == "What did I buy?"

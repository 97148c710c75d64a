"""The card: built from what is known now, sealed, laid ready in Redis, and the same however often it is built."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
import redis
from django.db import connections

from memory import manager, selectors
from memory.core.values import Said
from memory.db import erasing
from memory.models import Caller, Card, Memory
from memory.services import cards
from memory.services.cards import build
from memory.services.distilling import distil
from memory.services.writing import Erased, write_conversation
from memory.stores.l1 import L1
from tests.app.memory.people import DAY, MONDAY, john, maria

if TYPE_CHECKING:
    from memory.people import Person

pytestmark = pytest.mark.django_db

NOW = MONDAY + 20 * DAY


def call(person: Person, *texts: str, name: str = "CA1", on: int = 0) -> None:
    at = MONDAY + on * DAY
    said = [Said(seq, "user", text, at) for seq, text in enumerate(texts)]
    distil(person, write_conversation(person, name, said, began_at=at).conversation_id, now=NOW)


def test_a_card_says_who_calls_what_must_never_be_done_and_what_the_last_call_was_about() -> None:
    person = maria()
    call(person, "My name is Maria Jensen.", "I am allergic to peanuts.")
    call(person, "I would like a table by the window for Saturday evening.", name="CA2", on=3)
    call(john(), "I am allergic to strawberries.")

    card = build(person, now=NOW)

    assert card.name == "Maria"
    assert "Allergic to peanuts" in card.text
    assert "Saturday evening" in card.text
    assert "strawberries" not in card.text
    assert all(json.loads(line) for line in card.text.splitlines())
    assert selectors.card(person) == card
    row = Card.objects.get(caller_id=person.id)
    assert b"Maria" not in bytes(row.name_sealed) + bytes(row.text_sealed)


def test_what_was_superseded_is_off_the_card_and_what_expired_too() -> None:
    person = maria()
    call(person, "I am vegetarian.")
    call(person, "I am vegan.", name="CA2", on=1)
    text = build(person, now=NOW).text
    assert ("vegan" in text, "Is vegetarian" in text) == (True, False)

    Memory.objects.filter(slot="diet.preference").update(expires_at=NOW - DAY)
    assert "Is vegan" not in build(person, now=NOW).text


def test_built_again_it_is_the_same() -> None:
    person = maria()
    call(person, "My name is Maria Jensen.")

    assert build(person, now=NOW) == build(person, now=NOW + DAY)
    assert Card.objects.count() == 1


def test_it_is_laid_ready_and_opens_for_its_caller(redis_url: str) -> None:
    person = maria()
    call(person, "My name is Maria Jensen.")
    with redis.Redis.from_url(redis_url) as client:
        l1 = L1(client)

        card = build(person, now=NOW, lay=l1.put_card)

        laid = L1(client).card(person.key_hash)
        assert laid is not None
        assert (laid.card, laid.person) == (card, person)
        assert not any(b"Maria" in value for key in client.keys("*") for value in client.hgetall(key).values())  # type: ignore[union-attr]


def test_a_caller_who_said_nothing_has_an_empty_card() -> None:
    assert build(maria(), now=NOW).text == ""


def test_no_card_for_an_erased_caller() -> None:
    person = maria()
    with erasing():
        Caller.objects.all().delete()
    with pytest.raises(Erased):
        build(person, now=NOW)


@pytest.mark.django_db(transaction=True)
def test_of_two_builders_the_one_who_saw_more_comes_last() -> None:
    person = maria()
    call(person, "My name is Maria Jensen.")
    laid: list[str] = []
    inside, more = threading.Event(), threading.Event()

    def slow(*args: object) -> None:
        inside.set()
        assert more.wait(20)
        laid.append("first")

    def first() -> None:
        try:
            build(person, now=NOW, lay=slow)
        finally:
            connections.close_all()

    def second() -> None:
        try:
            build(person, now=NOW, lay=lambda *_: laid.append("second"))
        finally:
            connections.close_all()

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    assert inside.wait(20)
    two.start()
    more.set()
    one.join()
    two.join()

    assert laid == ["first", "second"]
    assert manager.current().profile(person).name == "Maria"
    assert cards.build(person, now=NOW).facts == Card.objects.get().facts

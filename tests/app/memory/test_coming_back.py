"""Nothing that was forgotten comes back: not by distilling again, not by a late archive, not by a race with a writer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections

from memory import people, selectors
from memory.core.values import Said
from memory.models import Caller, Conversation, ErasureRequest, Memory, Tombstone, Utterance
from memory.services import correcting, distilling, erasure
from memory.services.writing import Erased, write_conversation
from tests.app.memory.people import DAY, MARIA, MONDAY, maria

if TYPE_CHECKING:
    from uuid import UUID

    from memory.people import Person

pytestmark = pytest.mark.usefixtures("redis_url")

NOW = MONDAY + 10 * DAY


def said(person: Person, name: str, *texts: str, on: int = 0) -> UUID:
    """A conversation, agent and caller in turn, the agent first."""
    began_at = MONDAY + on * DAY
    lines = [Said(seq, "user" if seq % 2 else "assistant", text, began_at) for seq, text in enumerate(texts)]
    return write_conversation(person, name, lines, began_at=began_at).conversation_id


def distil(person: Person, conversation: UUID, on: int = 11) -> None:
    """As the chain does it, by rules alone."""
    distilling.distil(person, conversation, now=MONDAY + on * DAY)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("agent", "caller", "slot"),
    [
        ("How can I help?", "I am allergic to peanuts, by the way.", "health.allergy"),
        ("What name shall I put it under?", "Maria Jensen.", "identity.name"),
        ("How may we reach you?", "My phone number is five five five oh one four two.", "contact.phone"),
        ("Anything else?", "Please call me before ten in the morning.", "contact.time"),
        ("Anything else?", "My brother's favourite wine is Barolo.", "relation.brother.favourite.wine"),
        ("Where do you live?", "I live in Hamburg.", "home.place"),
        ("Anything else?", "Remember that the gate code is 4711.", ""),
    ],
)
def test_a_forgotten_fact_is_not_distilled_again_until_it_is_said_again(agent: str, caller: str, slot: str) -> None:
    person = maria()
    first = said(person, "CA1", agent, caller, "Very well.")
    distil(person, first)
    fact = next(one for one in selectors.facts(person) if one.slot == slot and one.kind != "summary")

    request = erasure.forget_fact(person, fact.id, by="caller", now=NOW)
    assert request.state == "verified", request.receipt
    assert Conversation.objects.get(pk=first).distilled_at is None
    distil(person, first)

    left = [(one.slot, one.value, one.text) for one in selectors.facts(person) if one.kind != "summary"]
    assert left == []
    for line in selectors.lines(person):
        assert not fact.value or fact.value.casefold() not in line.text.casefold()
    for one in selectors.facts(person):
        assert not fact.value or fact.value.casefold() not in one.text.casefold()

    again = said(person, "CA2", agent, caller, on=12)
    distil(person, again, on=13)
    assert [one.value for one in selectors.facts(person) if one.slot == slot and one.kind != "summary"] == [fact.value]


@pytest.mark.django_db
def test_a_late_call_from_before_does_not_bring_a_forgotten_fact_back() -> None:
    person = maria()
    distil(person, said(person, "CA1", "Hello", "I am allergic to peanuts."))
    (fact,) = (one for one in selectors.facts(person) if one.slot)
    erasure.forget_fact(person, fact.id, by="caller", now=NOW)

    distil(person, said(person, "CA0", "Hello", "I am allergic to peanuts.", on=5))

    assert not [one for one in selectors.facts(person) if one.slot]


@pytest.mark.django_db
def test_what_an_erased_conversation_had_replaced_is_distilled_no_more() -> None:
    person = maria()
    distil(person, said(person, "CA1", "Hello", "I live in Hamburg."))
    second = said(person, "CA2", "Hello", "I live in Berlin.", on=1)
    distil(person, second)
    assert [one.value for one in selectors.facts(person, as_of=NOW) if one.slot] == ["Berlin"]

    erasure.forget_conversation(person, "CA2", by="operator:ann", now=NOW)
    with pytest.raises(Erased):
        said(person, "CA2", "Hello", "I live in Berlin.", on=1)

    assert [one.value for one in selectors.facts(person, as_of=NOW) if one.slot] == ["Hamburg"]


# --- with real transactions -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_leave_nothing_behind() -> None:
    """Many writers, distillers and correctors of one caller while the caller is erased: whoever is late is refused."""
    person = maria()
    distil(person, said(person, "CA0", "Hello", "I live in Hamburg."))
    start, refused = threading.Barrier(7), []

    def write(place: int) -> None:
        try:
            start.wait(timeout=10)
            for turn in range(5):
                conversation = said(person, f"CA{place}{turn}", "Hello", f"My phone number is 5550{place}{turn}99.")
                distil(person, conversation)
                correcting.store(person, "fact", f"Knows {place} {turn}", by="operator:ann", now=MONDAY)
        except (Erased, Caller.DoesNotExist) as error:
            refused.append(type(error))
        finally:
            connections.close_all()

    def erase() -> None:
        try:
            start.wait(timeout=10)
            erasure.erase_caller(person, by="caller", now=NOW)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(place,)) for place in range(6)] + [threading.Thread(target=erase)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert not any(thread.is_alive() for thread in threads)
    assert len(refused) == 6
    assert ErasureRequest.objects.get().state == "verified"
    for model in (Caller, Conversation, Utterance, Memory):
        assert not model._default_manager.exists(), model
    assert Tombstone.objects.filter(scope="caller").count() == 1
    assert people.find(MARIA) is None
    connection.close()

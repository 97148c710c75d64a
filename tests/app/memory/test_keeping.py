"""What an operator decides about facts: set aside and brought back, pinned, let expire, merged; and who is not remembered."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from memory import overview, people, selectors
from memory.core.values import Said
from memory.models import Caller, Memory, Tombstone
from memory.services import (
    cards,
    correcting,
    erasure,
    exporting,
    forgetting,
    housekeeping,
    joining,
    keeping,
    tombstones,
)
from memory.services.checking import Bad
from memory.services.correcting import NoSuchFact, Stale, Unwanted
from memory.services.embedding import embed_caller
from memory.services.writing import Erased
from tests.app.memory.operators import account
from tests.app.memory.people import DAY, MARIA, MONDAY, maria
from tests.app.memory.talks import FIRST, LINES, SECOND, heard, said_by, talk

if TYPE_CHECKING:
    from memory.manager import MCPMemoryManager
    from memory.people import Person

pytestmark = pytest.mark.django_db

NOW = MONDAY + 10 * DAY
ANN, BOB = "operator:ann", "operator:bob"
QUESTION = "What is my customer number?"


def recalled(manager: MCPMemoryManager, person: Person, asked: str = QUESTION) -> list[str]:
    return [hit.row.text for hit in manager.probe(person, asked).recollection.hits]


def states(person: Person) -> dict[str, str]:
    every = selectors.facts(person, forgotten=True)
    return {fact.text: overview.state_of(fact, timezone.now()) for fact in every}


# --- forgetting for a while -------------------------------------------------------------------------------------------


def test_what_is_set_aside_is_told_to_nobody_and_comes_back_as_it_was(known: Person, manager: MCPMemoryManager) -> None:
    heard(known, "Said: my customer number is 4711 X", (FIRST, LINES[1]), kind="summary")
    fact = account(known)
    assert len([text for text in recalled(manager, known) if "4711" in text]) == 4  # fact, summary, both lines

    forgetting.set_aside(known, fact, by=ANN, now=NOW)

    assert [text for text in recalled(manager, known) if "4711" in text] == []
    assert recalled(manager, known, "Before ten?"), "what has nothing to do with it is found"
    assert "4711" not in manager.profile(known).text
    assert manager.get(known, fact) is None
    assert [one for one in manager.timeline(known) if "4711" in one.text] == []
    assert manager.summaries(known) == []
    assert Tombstone.objects.filter(scope="fact", caller_hash=known.key_hash).count() == 1
    assert states(known)["Customer number: 4711X"] == "forgotten"
    assert any("4711" in line.get("text", "") for line in exporting.export(known)), "it is kept still, and said to be"
    with pytest.raises(NoSuchFact):
        forgetting.set_aside(known, fact, by=ANN, now=NOW)

    back = forgetting.bring_back(known, fact, by=BOB, now=NOW + DAY)

    assert (back.status, back.retired_at, back.forgotten_at) == ("active", None, None)
    assert sorted(event.what for event in back.history) == ["added", "forgotten", "restored"]
    assert len([text for text in recalled(manager, known) if "4711" in text]) == 4
    assert "4711" in manager.profile(known).text
    assert not Tombstone.objects.filter(scope="fact", caller_hash=known.key_hash).exists()
    with pytest.raises(NoSuchFact):
        forgetting.bring_back(known, fact, by=BOB, now=NOW)


def test_it_takes_the_older_values_along_and_only_those(known: Person) -> None:
    first = correcting.store(known, "", "", slot="seating", value="window", by=ANN, now=MONDAY)
    second = correcting.supersede(known, first.id, "terrace", by=ANN, now=MONDAY + DAY)
    wrong = correcting.supersede(known, second.id, "bar", by=ANN, now=MONDAY + 2 * DAY, was_wrong=True)
    assert selectors.facts(known, slot="seating")[-1].id == first.id
    before = states(known)

    forgetting.set_aside(known, wrong.id, by=ANN, now=NOW)
    assert selectors.facts(known, slot="seating") == []

    forgetting.bring_back(known, wrong.id, by=ANN, now=NOW)
    assert states(known) == before


def test_what_is_said_again_is_news_and_stands_in_the_way_of_bringing_back(
    known: Person, manager: MCPMemoryManager
) -> None:
    fact = account(known)
    Memory.objects.filter(pk=fact).update(single=True)  # as the services write it
    forgetting.set_aside(known, fact, by=ANN, now=NOW)
    talk(known, SECOND, ("Yes?", "My customer number is 4711 X."), NOW + DAY)
    again = correcting.store(known, "", "", slot="identity.account", value="4711X", by="token:crm", now=NOW + DAY)

    assert "My customer number is 4711 X." in recalled(manager, known)
    with pytest.raises(Bad, match="known in its place"):
        forgetting.bring_back(known, fact, by=ANN, now=NOW + DAY)

    gone = forgetting.erase_overdue(NOW + forgetting.KEPT)

    assert gone == 1
    assert [one.id for one in selectors.facts(known, slot="identity.account", forgotten=True)] == [again.id]
    assert said_by(known)[1] == "My customer number is [forgotten] and I like the window."
    assert said_by(known, SECOND)[1] == "My customer number is 4711 X.", "said since, it is news"
    assert forgetting.erase_overdue(NOW + forgetting.KEPT) == 0


# --- pinned, expired, merged ------------------------------------------------------------------------------------------


def test_what_is_pinned_comes_first_and_does_not_grow_old(known: Person) -> None:
    plays = correcting.store(known, "fact", "Plays the cello", by=ANN, now=NOW)
    party = correcting.store(known, "", "", slot="identity.job", value="a nurse", by=ANN, now=NOW)
    assert party.expires_at is not None
    for number in range(60):
        heard(known, f"Likes the long and winding road number {number} very much indeed", slot="likes", importance=0.9)
    assert plays.id not in cards.on_card(known, now=NOW), "the card is full before it"

    pinned = keeping.pin(known, plays.id, by=BOB, now=NOW, seen=plays.version)

    assert pinned.pinned_at == NOW
    assert plays.id in cards.on_card(known, now=NOW)
    job = keeping.pin(known, party.id, by=BOB, now=NOW)
    assert job.expires_at is None
    correcting.store(known, "", "", slot="identity.job", value="a nurse", by=ANN, now=NOW + DAY)
    assert selectors.facts(known, slot="identity.job")[0].expires_at is None, "said again it stays pinned"
    assert keeping.unpin(known, party.id, by=BOB, now=NOW).expires_at == NOW + timedelta(days=1095)

    moved = correcting.supersede(known, plays.id, "Plays the viola", by=BOB, now=NOW)
    assert moved.pinned_at is not None


def test_what_is_let_expire_is_not_told_unasked(known: Person, manager: MCPMemoryManager) -> None:
    name = selectors.facts(known, slot="identity.name")[0]
    assert name.id in cards.on_card(known, now=NOW)

    keeping.let_expire(known, name.id, by=ANN, now=NOW, seen=name.version)

    assert name.id not in cards.on_card(known, now=NOW)
    assert states(known)[name.text] == "expired"
    assert name.text in recalled(manager, known, "What is my name?")


def test_near_facts_are_suggested_and_one_stands_for_both(known: Person) -> None:
    one = correcting.store(known, "fact", "Plays the cello in an orchestra", by=ANN, now=MONDAY)
    other = heard(known, "She plays cello in the orchestra", (FIRST, "I like the window"))
    heard(known, "Parks in the yard")
    embed_caller(known)
    (pair,) = joining.suggestions(known)
    assert {pair.first.id, pair.second.id} == {one.id, str(other.pk)}
    assert pair.cosine is not None
    assert pair.cosine > 0.75

    stays = joining.merge(known, one.id, other.pk, by=BOB, now=NOW)

    assert [source.quote for source in stays.sources] == ["", "I like the window"]
    gone = next(fact for fact in selectors.facts(known) if fact.id == str(other.pk))
    assert (gone.status, gone.superseded_by, gone.valid_to) == ("superseded", one.id, NOW)
    assert joining.suggestions(known) == []
    with pytest.raises(NoSuchFact):
        joining.merge(known, one.id, other.pk, by=BOB, now=NOW)
    with pytest.raises(Bad):
        joining.merge(known, one.id, one.id, by=BOB, now=NOW)


def test_what_was_kept_apart_is_not_suggested_again(known: Person) -> None:
    one = correcting.store(known, "fact", "Plays the cello in an orchestra", by=ANN, now=MONDAY)
    other = correcting.store(known, "fact", "Plays cello in the orchestra", by=ANN, now=MONDAY)
    embed_caller(known)
    assert len(joining.suggestions(known)) == 1

    joining.keep_apart(known, one.id, other.id, by=BOB, now=NOW)

    assert joining.suggestions(known) == []


@pytest.mark.parametrize("stays_disputed", [True, False])
def test_a_dispute_is_settled_for_either(known: Person, stays_disputed: bool) -> None:
    firm = correcting.store(known, "", "", slot="contact.time", value="before ten", by=ANN, now=MONDAY)
    heard(known, "Best reached: after 18:00", slot="contact.time", status="disputed", value="after 18:00", single=True)
    (pair,) = joining.suggestions(known)
    assert pair.cosine is None
    assert pair.first.id == firm.id
    stays, goes = (pair.second, pair.first) if stays_disputed else (pair.first, pair.second)

    done = joining.merge(known, stays.id, goes.id, by=BOB, now=NOW, seen=(stays.version, goes.version))

    assert done.status == "active"
    assert [fact.text for fact in selectors.facts(known, slot="contact.time", as_of=NOW + DAY)] == [stays.text]
    assert joining.suggestions(known) == []


def test_whoever_saw_another_version_changes_nothing(known: Person) -> None:
    name = selectors.facts(known, slot="identity.name")[0]
    keeping.pin(known, name.id, by=ANN, now=NOW)
    for change in (keeping.pin, keeping.unpin, keeping.let_expire, correcting.retract, forgetting.set_aside):
        with pytest.raises(Stale) as stale:
            change(known, name.id, by=BOB, now=NOW, seen=name.version)
        assert stale.value.fact.pinned_at == NOW
    with pytest.raises(Stale):
        correcting.supersede(known, name.id, "Mary", by=BOB, now=NOW, seen=name.version)
    now = selectors.facts(known, ids=[people.as_id(name.id)])[0]  # type: ignore[list-item]
    assert [event.what for event in now.history] == ["added", "pinned"]
    assert correcting.supersede(known, name.id, "Mary", by=BOB, now=NOW, seen=now.version).text == "Name: Mary"


# --- not to be remembered ---------------------------------------------------------------------------------------------


def test_nothing_is_kept_of_a_caller_who_is_not_to_be_remembered(known: Person, manager: MCPMemoryManager) -> None:
    housekeeping.remember(known, False, now=NOW)
    said = [Said(0, "user", "I moved to Rome.", NOW + DAY)]

    assert manager.write_call(MARIA, SECOND, said, began_at=NOW + DAY) is None
    with pytest.raises(Erased):
        talk(known, SECOND)
    with pytest.raises(Unwanted):
        manager.store(known, kind="fact", text="Lives in Rome", by="token:crm")
    cards.build(known, now=NOW, lay=manager.l1.put_card)
    assert manager.l1.card(known.key_hash) is None

    erasure.erase_caller(known, by=ANN, now=NOW + DAY)
    assert tombstones.never(known.key_hash), "it outlives the erasure"
    assert manager.write_call(MARIA, SECOND, said, began_at=NOW + 2 * DAY) is None
    assert people.find(MARIA) is None

    again = maria()
    housekeeping.remember(again, True, now=NOW + 3 * DAY)
    assert manager.write_call(MARIA, SECOND, said, began_at=NOW + 4 * DAY) is not None


def test_callers_are_found_by_last_digits_once_those_are_known(known: Person) -> None:
    assert Caller.objects.get(pk=known.id).tail_hash == people.tail_hash("0001") != ""
    Caller.objects.filter(pk=known.id).update(tail_hash="")
    assert housekeeping.note_tails() == 1
    assert Caller.objects.get(pk=known.id).tail_hash == people.tail_hash("0001")
    assert people.tail_hash("anonymous") == ""
    assert not Memory.objects.filter(forgotten_at__isnull=False).exists()

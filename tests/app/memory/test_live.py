"""One call's memory on real parts: the card, recall within its deadline, what is told, and what others change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError
from django.utils import timezone

from memory import live, people, selectors
from memory.core.values import Card, Kind, Level, Said
from memory.embedding import registry
from memory.embedding.vectors import vectors_for
from memory.keys import What, announce
from memory.live import Outcome
from memory.models import Card as CardRow
from memory.models import Memory, Utterance
from memory.services import erasure, housekeeping
from memory.services.writing import write_conversation
from tests.app.memory.people import JOHN, MARIA, MONDAY, fact, john, maria

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory.live import CallMemory, Recollection
    from memory.manager import MCPMemoryManager
    from memory.people import Person
    from memory.ringing import CallMemories

pytestmark = pytest.mark.django_db(transaction=True)

LONG_MS = 5000
PARKING = "Parking is always behind the house."
TALK = [
    "Hello, my name is Maria Keller.",
    "Penicillin makes me break out in hives.",
    "We always sit by the window.",
    "My dog is called Bruno.",
]


def in_database[**P, R](function: Callable[P, R]) -> Callable[P, Any]:
    return database_sync_to_async(function)


@in_database
def remember(person_of: Callable[[], Person] = maria, *, with_card: bool = True) -> Person:
    person = person_of()
    write_conversation(person, "CA1", [Said(n, "user", text, MONDAY) for n, text in enumerate(TALK)], began_at=MONDAY)
    fact(person, "Her favourite dish is gnocchi.").save(force_insert=True)
    embedder = registry.local()
    rows = selectors.held(person, embedder.name).rows
    for row, vector in zip(rows, vectors_for(rows, embedder), strict=True):
        for model in (Utterance, Memory):
            model.objects.filter(pk=row.id).update(vector=selectors.floats(vector), vector_model=embedder.name)
    if with_card:
        CardRow.objects.create(
            caller_id=person.id,
            name_sealed=person.seal("Maria", "card", person.id, "name"),
            text_sealed=person.seal("Allergic to penicillin.", "card", person.id, "text"),
            facts=1,
            built_at=MONDAY,
        )
    return person


def shown(found: Recollection) -> list[str]:
    return [hit.row.text for hit in found.hits if hit.in_prompt]


async def opened(calls: CallMemories, number: str = MARIA, call_sid: str = "CA9") -> CallMemory:
    memory = calls.open(call_sid, number)
    await memory.loaded()
    return memory


async def test_a_question_in_other_words_finds_what_was_said(calls: CallMemories) -> None:
    await remember()
    memory = await opened(calls)

    found = await memory.recall("Which antibiotics must be avoided?", LONG_MS)

    assert found.outcome is Outcome.FULL
    assert shown(found)[0] == TALK[1]
    assert found.hits[0].level is Level.L2
    assert found.hits[0].row.origin.conversation == "CA1"


async def test_the_card_comes_from_the_database_once_and_from_redis_after_that(
    calls: CallMemories, manager: MCPMemoryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember()
    assert await (await opened(calls)).card() == Card("Maria", "Allergic to penicillin.", 1)

    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(people, "by_hash", away)
    memory = await opened(calls, call_sid="CA10")
    assert (await memory.card()).name == "Maria"
    assert (await memory.recall("the window", LONG_MS)).outcome is Outcome.LATE


async def test_with_redis_away_the_process_knows_the_cards_it_saw(
    calls: CallMemories, manager: MCPMemoryManager
) -> None:
    await remember()
    await (await opened(calls)).card()
    manager.l1.client.connection_pool.disconnect()
    manager.l1.client.connection_pool.connection_kwargs.update(port=9, host="127.0.0.1")

    key_hash = (await in_database(people.ensure)(MARIA)).key_hash
    prepared = await asyncio.to_thread(manager.l1.card, key_hash)

    assert prepared is not None
    assert prepared.card.name == "Maria"


@pytest.mark.parametrize("number", [JOHN, "anonymous", "", "+" + "9" * 300, "\x00\ud800"])
async def test_a_stranger_has_an_empty_card_and_an_empty_memory(calls: CallMemories, number: str) -> None:
    await remember()
    memory = await opened(calls, number)

    assert await memory.card() == Card()
    assert (await memory.recall("What is my dog called?", LONG_MS)).outcome is Outcome.EMPTY


async def test_a_late_embedding_leaves_the_words(calls: CallMemories, monkeypatch: pytest.MonkeyPatch) -> None:
    await remember()
    memory = await opened(calls)

    found = await memory.recall("my dog", 4)

    assert found.outcome is Outcome.WORDS
    assert shown(found)[0] == TALK[3]


async def test_interim_words_give_the_meaning_in_time(calls: CallMemories) -> None:
    await remember()
    memory = await opened(calls)
    memory.hear("Does penicillin agree with")
    await memory._meaning.of("Does penicillin agree with", 5)

    found = await memory.recall("Does penicillin agree with me?", 4)

    assert found.outcome is Outcome.FULL
    assert shown(found)[0] == TALK[1]


async def test_a_recall_that_fails_is_an_outcome(calls: CallMemories, monkeypatch: pytest.MonkeyPatch) -> None:
    await remember()
    memory = await opened(calls)
    monkeypatch.setattr(live, "question", lambda *_: 1 / 0)

    assert (await memory.recall("my dog", LONG_MS)).outcome is Outcome.FAILED


async def test_what_is_said_in_this_call_is_history_and_not_recalled_again(calls: CallMemories) -> None:
    await remember()
    memory = await opened(calls)
    memory.note("user", "My cat is called Minka.", 1)

    found = await memory.recall("What is my cat called?", LONG_MS)

    own = [hit for hit in found.hits if hit.row.text.startswith("My cat")]
    assert [(hit.level, hit.why_not) for hit in own] == [(Level.L1, "history")]


async def test_a_correction_counts_within_the_call(calls: CallMemories, manager: MCPMemoryManager) -> None:
    person = await remember(with_card=False)
    bruno: dict[str, Any] = {"slot": "relation.dog.name", "kind": "relation", "single": True}
    await in_database(fact(person, "The caller's dog is called Bruno", **bruno).save)(force_insert=True)
    await asyncio.to_thread(
        calls_card, manager, person, '{"people": ["The caller\'s dog is called Bruno", "Has a cat"]}'
    )
    memory = await opened(calls)
    cards: list[Card] = []
    memory.on_card = cards.append
    memory.note("user", "My dog is called Rex now.", 1, 4200)

    assert [card.text for card in cards] == ['{"people": ["Has a cat"]}']
    found = await memory.recall("What is my dog called?", LONG_MS)

    assert "The caller's dog is called Rex" in shown(found)
    assert not [text for text in shown(found) if "called Bruno" in text and "caller" in text]
    rex = next(hit for hit in found.hits if hit.row.text.endswith("Rex"))
    assert (rex.level, rex.row.origin.audio_ms) == (Level.L1, 4200)


async def test_for_a_stranger_nothing_is_embedded(calls: CallMemories, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = await opened(calls, JOHN)
    memory.note("user", "Are you open on Sunday?", 1)
    monkeypatch.setattr(memory._meaning, "expect", lambda _: pytest.fail("nothing can be found"))

    memory.hear("And on Monday?")

    assert (await memory.recall("And on Monday?", LONG_MS)).outcome is Outcome.EMPTY


async def test_the_agents_question_gives_a_short_answer_its_meaning(calls: CallMemories) -> None:
    await remember()
    memory = await opened(calls)
    memory.note("assistant", "Is there any antibiotic that you must avoid?", 1)

    assert TALK[1] in shown(await memory.recall("Yes.", LONG_MS))


async def test_what_is_told_is_found_at_once_and_kept_for_the_chain(
    calls: CallMemories, manager: MCPMemoryManager
) -> None:
    memory = await opened(calls, JOHN)

    assert await memory.remember(PARKING, "key-1", 2, PARKING)
    assert await memory.remember(PARKING, "key-1", 2, PARKING)

    found = await memory.recall("Where do I park?", LONG_MS)
    assert shown(found)[0] == PARKING
    assert found.hits[0].level is Level.L1
    person = await in_database(john)()
    told = await asyncio.to_thread(manager.l1.told, person, "CA9")
    assert [(one.key, one.turn, one.text) for one in told] == [("key-1", 2, PARKING)]


async def test_what_is_told_lies_sealed_in_redis(calls: CallMemories, manager: MCPMemoryManager) -> None:
    await remember()
    memory = await opened(calls)
    await memory.remember(PARKING, "key-1", 2, PARKING)

    client = manager.l1.client
    for key in client.keys("*"):
        kind = client.type(key)
        content = client.hgetall(key) if kind == b"hash" else client.lrange(key, 0, -1)
        assert not any(word in repr(content) for word in ("Parking", "Maria", "penicillin", MARIA[1:]))


async def test_for_a_withheld_number_nothing_is_kept(calls: CallMemories) -> None:
    memory = await opened(calls, "anonymous")

    assert not await memory.remember(PARKING, "key-1", 2, PARKING)


async def test_a_call_that_reads_only_leaves_the_memory_as_it_was(
    calls: CallMemories, manager: MCPMemoryManager
) -> None:
    person = await remember()
    before = await in_database(lambda: [list(model.objects.values()) for model in (Memory, Utterance)])()
    memory = calls.open("CA9", MARIA, reads_only=True)
    await memory.loaded()

    assert TALK[3] in shown(await memory.recall("What is my dog called?", LONG_MS))
    assert not await memory.remember(PARKING, "key-1", 2, PARKING)
    assert PARKING in shown(await memory.recall("Where do I park?", LONG_MS)), "in this call it counts"
    await memory.forget("my dog")
    await memory.aclose()

    assert await in_database(lambda: [list(model.objects.values()) for model in (Memory, Utterance)])() == before
    assert not await asyncio.to_thread(manager.l1.told, person, "CA9")


async def test_an_erasure_reaches_a_running_call_at_once(calls: CallMemories) -> None:
    person = await remember()
    memory = await opened(calls)
    cards: list[Card] = []
    memory.on_card = cards.append

    await asyncio.to_thread(announce, person.key_hash, person.id, What.ERASED)
    await until(lambda: bool(cards))

    assert cards == [Card()] == [await memory.card()]
    assert (await memory.recall("my dog", LONG_MS)).outcome is Outcome.EMPTY
    assert not await memory.remember(PARKING, "key-2", 2, PARKING)
    memory.note("user", "more", 5)
    assert (await memory.recall("my dog", LONG_MS)).outcome is Outcome.EMPTY


async def test_after_an_erasure_no_call_holds_anything(calls: CallMemories, manager: MCPMemoryManager) -> None:
    await remember()
    running = await opened(calls)
    loading = calls.open("CA12", MARIA)  # knows nothing yet: nobody to be told of

    request = await in_database(erasure.erase_number)(MARIA, by="operator:ann", now=timezone.now())
    await until(lambda: running._is_erased)
    await loading.loaded()

    assert request.state == "verified"
    for memory in (running, loading):
        recalled = await memory.recall("What is my dog called?", LONG_MS)
        assert (recalled.outcome, recalled.hits) == (Outcome.EMPTY, ())
    assert await running.card() == Card()
    assert not manager.l1._cards


async def test_a_correction_reaches_a_running_call(calls: CallMemories) -> None:
    person = await remember(with_card=False)
    memory = await opened(calls)
    await memory.remember(PARKING, "key-1", 2, PARKING)
    await in_database(Utterance.objects.filter(seq=3).delete)()

    await asyncio.to_thread(announce, person.key_hash, person.id, What.CHANGED)
    await until(lambda: memory._changes == 1)
    await memory.loaded()

    assert TALK[3] not in shown(await memory.recall("What is my dog called?", LONG_MS))
    assert PARKING in shown(await memory.recall("Where is parking?", LONG_MS))


async def test_a_caller_who_is_not_to_be_remembered_is_a_stranger_at_once(calls: CallMemories) -> None:
    person = await remember()
    memory = await opened(calls)
    assert TALK[3] in shown(await memory.recall("What is my dog called?", LONG_MS))

    await in_database(housekeeping.remember)(person, False, now=MONDAY)
    await until(lambda: memory._changes == 1)
    await memory.loaded()

    assert await memory.card() == Card()
    assert (await memory.recall("What is my dog called?", LONG_MS)).outcome is Outcome.EMPTY
    assert not await memory.remember(PARKING, "key-1", 2, PARKING), "for this call only"

    await in_database(housekeeping.remember)(person, True, now=MONDAY)
    await until(lambda: memory._changes == 2)
    await memory.loaded()
    assert TALK[3] in shown(await memory.recall("What is my dog called?", LONG_MS))


async def test_another_callers_change_changes_nothing(calls: CallMemories) -> None:
    await remember()
    other = await in_database(john)()
    memory = await opened(calls)
    seen = await opened(calls, JOHN, "CA11")

    await asyncio.to_thread(announce, other.key_hash, other.id, What.ERASED)
    await until(lambda: seen._is_erased)

    assert (await memory.card()).name == "Maria"


async def test_what_began_when_it_rang_is_taken_over(calls: CallMemories) -> None:
    await remember()
    calls.ring("CA9", MARIA)
    ringing = calls._ringing["CA9"][0]
    calls.ring("CA9", MARIA)

    assert calls.open("CA9", MARIA) is ringing
    assert not calls._ringing


async def test_a_call_of_another_number_gets_a_memory_of_its_own(calls: CallMemories) -> None:
    await remember()
    calls.ring("CA9", MARIA)

    memory = await opened(calls, JOHN)

    assert await memory.card() == Card()


async def test_closing_counts_the_facts_that_were_of_use(calls: CallMemories) -> None:
    await remember()
    memory = await opened(calls)
    assert "Her favourite dish is gnocchi." in shown(await memory.recall("my favourite dish gnocchi", LONG_MS))

    await memory.aclose()

    assert await in_database(lambda: Memory.objects.get().uses)() == 1
    assert not calls._open


async def test_more_rows_than_are_held_are_found_by_the_database(
    calls: CallMemories, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remember()
    monkeypatch.setattr(selectors, "MOST_ROWS", 2)
    memory = await opened(calls)

    found = await memory.recall("Which antibiotics must be avoided?", LONG_MS)

    assert shown(found)[0] == TALK[1]
    assert found.hits[0].row.kind is Kind.UTTERANCE


def calls_card(manager: MCPMemoryManager, person: Person, text: str) -> None:
    manager.l1.put_card(person, people.sealed_key(person), Card("Maria", text, 2))


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what another thread or Redis brings, turn by turn of the loop."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)

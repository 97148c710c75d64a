"""Every row gets its vectors, once for each model; what fails costs a vector, never a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memory import people, selectors, surroundings
from memory.core.values import Said
from memory.db import erasing
from memory.embedding.port import EmbeddingError
from memory.models import Caller, Memory, Utterance
from memory.services import embedding
from memory.services.embedding import Embedded, embed_caller, embed_conversation, embed_facts, reembed
from memory.services.writing import write_conversation
from tests.app.memory.people import MONDAY, fact, john, maria

if TYPE_CHECKING:
    from uuid import UUID

    from memory.manager import MCPMemoryManager
    from memory.people import Person
    from voiceagent.sandbox.control import Handle

pytestmark = pytest.mark.django_db

TALK = [
    Said(0, "assistant", "When may we call you back?", MONDAY),
    Said(1, "user", "Only before ten.", MONDAY),
    Said(2, "user", "Penicillin makes me break out in hives.", MONDAY),
    Said(3, "user", "", MONDAY),
]
MODEL = "all-MiniLM-L6-v2-int8"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_LONGEST_WAIT_S", 0)


@pytest.fixture
def second(openai_at: Handle, settings: Any) -> Handle:
    """OpenAI's embedding beside the local one."""
    settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-small"
    return openai_at


def written(person: Person, said: list[Said] = TALK, name: str = "CA1") -> UUID:
    return write_conversation(person, name, said, began_at=MONDAY).conversation_id


def test_a_line_is_found_by_what_it_means_and_by_what_was_asked_before_it() -> None:
    person = maria()
    conversation = written(person)

    assert embed_conversation(person, conversation) == Embedded(local=4)

    vectors = {row.text: row.vector for row in selectors.held(person, MODEL).rows}
    embedder = surroundings.embedder()

    def nearest(question: str) -> str:
        asked = embedder.embed_query(question)
        return max(vectors, key=lambda text: float(np.frombuffer(vectors[text], dtype=np.float32) @ asked))

    assert nearest("Which antibiotics must be avoided?") == TALK[2].text
    assert nearest("When does she want to be phoned?") in (TALK[0].text, TALK[1].text)
    asked = embedder.embed_query("call back")
    (alone,) = embedder.embed_many([TALK[1].text])
    assert np.frombuffer(vectors[TALK[1].text], dtype=np.float32) @ asked > alone @ asked + 0.1


def test_embedding_again_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    person = maria()
    embed_conversation(person, written(person))
    monkeypatch.setattr(embedding, "vectors_for", lambda *_: pytest.fail("embedded again"))

    assert embed_conversation(person, written(person)) == embed_caller(person) == Embedded()


def test_facts_are_embedded_and_another_callers_rows_are_not() -> None:
    fact(maria(), "Allergic to peanuts").save(force_insert=True)
    fact(john(), "Likes tea").save(force_insert=True)
    written(john())

    assert embed_facts(maria()) == Embedded(local=1)

    assert Memory.objects.exclude(vector=None).get().caller_id == maria().id
    assert not Utterance.objects.exclude(vector=None).exists()


def test_the_second_vector_stands_beside_the_first(second: Handle) -> None:
    person = maria()

    assert embed_conversation(person, written(person)) == Embedded(local=4, second=4)

    rows = list(Utterance.objects.order_by("seq"))
    assert {(row.vector_model, row.openai_model) for row in rows} == {(MODEL, "text-embedding-3-small")}
    assert {len(row.openai_vector) for row in rows} == {1536}


def test_a_vendor_that_is_away_for_a_moment_is_asked_again(second: Handle) -> None:
    second.fault("openai.embeddings", "refuse", status=503, times=2)
    person = maria()

    assert embed_conversation(person, written(person)) == Embedded(local=4, second=4)


def test_a_search_may_compare_by_the_second_vectors(second: Handle, manager: MCPMemoryManager) -> None:
    person = maria()
    embed_conversation(person, written(person))

    by_local, by_second = (manager.search(person, "penicillin", meaning=meaning) for meaning in ("local", "openai"))
    assert by_second[0].row.text == by_local[0].row.text == TALK[2].text
    assert len(by_second[0].row.vector) == 4 * 1536
    second.fault("openai.embeddings", "refuse", status=503, times=0)
    with pytest.raises(EmbeddingError):
        manager.search(person, "penicillin", meaning="openai")
    assert manager.search(person, "penicillin")


def test_a_search_by_a_meaning_that_is_not_there_is_refused(manager: MCPMemoryManager) -> None:
    with pytest.raises(ValueError, match="OPENAI_EMBEDDING_MODEL"):
        manager.search(maria(), "penicillin", meaning="openai")
    with pytest.raises(ValueError, match="no meaning 'other'"):
        manager.search(maria(), "penicillin", meaning="other")


@pytest.mark.parametrize("status", [401, 503])
def test_a_vendor_that_stays_away_costs_its_vector_alone(second: Handle, status: int) -> None:
    second.fault("openai.embeddings", "refuse", status=status, times=0)
    person = maria()

    told = embed_conversation(person, written(person))

    assert (told.local, told.second, str(status) in told.failed) == (4, 0, True)
    assert not Utterance.objects.filter(vector=None).exists()
    second.clear_faults()
    assert embed_conversation(person, written(person)) == Embedded(second=4)


def test_a_local_embedding_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise EmbeddingError("the model is missing")

    person = maria()
    conversation = written(person)
    with monkeypatch.context() as patch, pytest.raises(EmbeddingError):
        patch.setattr(embedding, "vectors_for", broken)
        embed_conversation(person, conversation)

    assert [row.text for row in selectors.held(person, MODEL).rows] == [line.text for line in TALK]
    assert embed_conversation(person, conversation) == Embedded(local=4)


def test_after_a_change_of_model_all_rows_are_embedded_anew_and_found_by_words_until_then() -> None:
    person = maria()
    written(person)
    written(john())
    fact(person).save(force_insert=True)
    embed_caller(john())
    Utterance.objects.filter(caller=person.id).update(vector=[1.0] * 384, vector_model="older")

    steps = reembed()
    assert next(steps).total == 1, "John's rows are of the model that is asked for"
    assert {row.vector for row in selectors.held(person, MODEL).rows} == {b""}
    assert selectors.legs(person, "penicillin", b"", MODEL)[0].text == TALK[2].text

    assert [(step.done, step.written) for step in steps] == [(1, Embedded(local=5))]
    assert all(row.vector for row in selectors.held(person, MODEL).rows)
    assert [step.total for step in reembed()] == [0]


def test_a_stopped_reembedding_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_BATCH", 2)
    for person in (maria(), john()):
        written(person)
    real, calls = embedding.vectors_for, []

    def dies(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(embedding, "vectors_for", dies)
    with pytest.raises(KeyboardInterrupt):
        list(reembed())
    assert Utterance.objects.filter(vector=None).count() == 2

    assert list(reembed())[-1].written == Embedded(local=2)


def test_a_caller_erased_meanwhile_is_passed_over() -> None:
    for person in (maria(), john()):
        written(person)
    steps = reembed()
    next(steps)
    with erasing():
        Caller.objects.filter(pk=john().id).delete()

    assert list(steps)[-1].written == Embedded(local=4)
    assert people.find("+15550100002") is None

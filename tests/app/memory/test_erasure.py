"""Forgetting a fact, a conversation, a caller: what goes, what stays, what does not come back, and what the receipt says."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
import redis
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError

from memory import keys, people, selectors
from memory.models import (
    Caller,
    Card,
    Conversation,
    ErasureRequest,
    Memory,
    MemoryEvent,
    Source,
    Tombstone,
    Utterance,
)
from memory.services import erasure, removing, removing_redis, tombstones, traces
from memory.services.writing import Erased
from tests.app.memory.changes import changes_of
from tests.app.memory.people import DAY, JOHN, MARIA, MONDAY, john, maria
from tests.app.memory.talks import FIRST, LINES, SECOND, heard, said_by, talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from memory.people import Person
    from memory.services.subjects import Subject

pytestmark = pytest.mark.django_db

NOW = MONDAY + 10 * DAY
MINUTE = DAY / 1440
OF_CALLER = (Conversation, Utterance, Memory, Source, MemoryEvent, Card)
State = ErasureRequest.State


@pytest.fixture
def client_redis(redis_url: str) -> Iterator[redis.Redis]:
    """This session's empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def card(person: Person) -> None:
    Card.objects.create(
        caller_id=person.id,
        name_sealed=person.seal("Maria", "card", person.id, "name"),
        text_sealed=person.seal("Name: Maria", "card", person.id, "text"),
        built_at=MONDAY,
    )


def known(person: Person, first: str = FIRST, second: str = SECOND) -> Memory:
    """A caller with two conversations, a card, and a fact from each."""
    talk(person, first)
    talk(person, second, ("Yes?", "I moved to Berlin."), MONDAY + DAY)
    heard(person, "Lives in Berlin", (second, "I moved to Berlin"), value="Berlin", slot="home.place")
    card(person)
    return heard(person, "Customer number: 4711X", (first, "4711 X"), value="4711X", slot="identity.account")


def task(client: redis.Redis, *arguments: str) -> None:
    """A task in the queue, as Celery's Redis transport puts it there."""
    body = base64.b64encode(json.dumps([list(arguments), {}, {}]).encode()).decode()
    client.rpush("celery", json.dumps({"body": body, "headers": {"task": "memory.tasks.distil"}}))


# --- a caller ---------------------------------------------------------------------------------------------------------


def test_a_caller_is_erased_everywhere_and_others_stay(client_redis: redis.Redis) -> None:
    person, other = maria(), john()
    known(person)
    known(other, *(f"CA{number:032d}" for number in (3, 4)))
    client_redis.hset(keys.card_key(person.key_hash), "text", "sealed")
    client_redis.hset(keys.card_key(other.key_hash), "text", "sealed")
    client_redis.rpush(keys.told_key(FIRST), "sealed")
    task(client_redis, str(person.id))
    task(client_redis, str(other.id))
    before = {model: model._default_manager.filter(caller_id=other.id).count() for model in OF_CALLER}

    request = erasure.erase_caller(person, by="operator:ann", now=NOW)

    assert request.state == State.VERIFIED
    assert people.find(MARIA) is None
    for model in OF_CALLER:
        assert not model._default_manager.filter(caller_id=person.id).exists(), model
        assert model._default_manager.filter(caller_id=other.id).count() == before[model], model
    assert client_redis.keys("memory:*") == [keys.card_key(other.key_hash).encode()]
    assert client_redis.llen("celery") == 1
    removed = request.receipt["removed"]
    assert removed["memory"] == {
        "callers": 1,
        "cards": 1,
        "conversations": 2,
        "utterances": 6,
        "facts": 2,
        "sources": 2,
        "history": 2,
    }
    assert removed["redis"] == {"keys": 1, "queued tasks": 1}, "the card goes with the first word"
    assert request.receipt["found"] == {}
    assert request.receipt["searched"]["tables"] > 20
    assert any("backups" in line for line in request.receipt["kept"])
    assert request.done_at == NOW


def test_a_receipt_names_nobody() -> None:
    person = maria()
    known(person)

    request = erasure.erase_caller(person, by="operator:ann", now=NOW)

    text = json.dumps(request.receipt) + str(request) + request.caller_hash
    for private in (MARIA, MARIA[1:], "Berlin", "4711", str(person.id), FIRST):
        assert private not in text
    assert "plan" not in request.receipt


def test_calls_in_progress_are_told_before_anything_is_removed(client_redis: redis.Redis) -> None:
    person = maria()
    known(person)
    with changes_of(client_redis, person.id) as next_change:
        erasure.erase_caller(person, by="caller", now=NOW)

        assert next_change() == keys.What.ERASED


def test_what_was_said_before_is_not_written_again_and_what_is_said_later_is(client_redis: redis.Redis) -> None:
    person = maria()
    known(person)
    erasure.erase_caller(person, by="caller", now=NOW)

    with pytest.raises(Erased):
        talk(person)
    again = maria()
    assert again.id != person.id
    for name, began_at in ((FIRST, NOW + DAY), ("CA3", MONDAY), ("CA3", NOW)):
        with pytest.raises(Erased):
            talk(again, name, began_at=began_at)
    talk(again, "CA4", began_at=NOW + DAY)
    assert said_by(again, "CA4") == list(LINES)


def test_erasing_twice_is_harmless(client_redis: redis.Redis) -> None:
    person = maria()
    known(person)
    first = erasure.erase_caller(person, by="caller", now=NOW)

    second = erasure.erase_caller(person, by="caller", now=NOW + DAY)
    third = erasure.erase_number(MARIA, by="caller", now=NOW + DAY)

    assert (second.state, third.state) == (State.VERIFIED, State.VERIFIED)
    assert second.receipt["removed"] == third.receipt["removed"] == {}
    assert erasure.finish(first, now=NOW + DAY).receipt == first.receipt
    assert Tombstone.objects.filter(scope="caller").count() == 1


def test_a_withheld_number_cannot_be_erased() -> None:
    with pytest.raises(ValueError, match="withheld"):
        erasure.erase_number("anonymous", by="operator:ann", now=NOW)


@pytest.mark.parametrize("broken", [removing.Tables, removing_redis.Keys])
@pytest.mark.parametrize("method", ["remove", "find"])
def test_an_erasure_that_was_cut_off_is_finished_later(
    broken: type, method: str, client_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = maria()
    known(person)

    def fail(self: object, subject: Subject) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(broken, method, fail)
        erasure.erase_caller(person, by="caller", now=NOW)
    cut_off = ErasureRequest.objects.get()
    assert cut_off.state in (State.ASKED, State.REMOVED)
    assert MARIA not in json.dumps(cut_off.receipt)
    with pytest.raises(Erased):
        talk(person, "CA9")

    assert erasure.finish_open(now=NOW + DAY) == {"verified": 1}

    done = ErasureRequest.objects.get()
    assert done.receipt["removed"]["memory"]["utterances"] == 6
    assert done.done_at == NOW + DAY
    assert "plan" not in done.receipt
    assert not Caller.objects.exists()
    assert erasure.finish_open(now=NOW + DAY) == {}


def test_a_store_that_fails_is_named_and_tried_again(
    client_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    person = maria()
    known(person)

    def fail(self: object, subject: Subject) -> None:
        raise OperationalError(f"a message with {MARIA}")

    with monkeypatch.context() as patch:
        patch.setattr(removing_redis.Keys, "remove", fail)
        request = erasure.erase_caller(person, by="caller", now=NOW)

    assert request.state == State.FAILED
    assert request.receipt["failed"] == {"redis": "OperationalError"}
    assert MARIA not in json.dumps(request.receipt)
    assert erasure.finish_open(now=NOW + DAY) == {"verified": 1}


def test_what_is_left_anywhere_is_found(client_redis: redis.Redis, admin_user: User) -> None:
    person = maria()
    known(person)
    client_redis.set("somebody:elses", f"called from {MARIA[1:]}")
    admin_user.first_name = MARIA
    admin_user.save()

    request = erasure.erase_caller(person, by="caller", now=NOW)

    assert request.state == State.FAILED
    assert request.receipt["found"] == {"auth_user": 1, "redis somebody": 1}
    assert erasure.finish_open(now=NOW + MINUTE) == {}, "each try reads everything"
    assert erasure.finish_open(now=NOW + 2 * MINUTE) == {"failed": 1}
    assert erasure.finish_open(now=NOW + 5 * MINUTE) == {}
    client_redis.delete("somebody:elses")
    admin_user.first_name = ""
    admin_user.save()
    assert erasure.finish_open(now=NOW + DAY) == {"verified": 1}


def test_a_caller_who_comes_again_meanwhile_keeps_the_new_memory(
    client_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = maria()
    known(person)
    with monkeypatch.context() as patch:
        patch.setattr(removing_redis.Keys, "remove", lambda self, subject: [][0])
        with pytest.raises(IndexError):
            erasure.erase_caller(person, by="caller", now=NOW)
    again = maria()
    talk(again, "CA4", began_at=NOW + DAY)

    assert erasure.finish_open(now=NOW + DAY) == {"verified": 1}

    assert said_by(again, "CA4") == list(LINES)
    assert ErasureRequest.objects.get().receipt["newer"] == 1


def test_the_admin_keeps_who_did_what_without_of_whom(client_redis: redis.Redis, admin_user: User) -> None:
    person = maria()
    known(person)
    kind = ContentType.objects.get_for_model(Caller)
    LogEntry.objects.create(
        user=admin_user,
        content_type=kind,
        object_id=str(person.id),
        object_repr=f"caller {person.id}",
        action_flag=CHANGE,
    )

    request = erasure.erase_caller(person, by="operator:ann", now=NOW)

    assert request.state == State.VERIFIED
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr, entry.user) == (None, "erased", admin_user)


# --- a conversation ---------------------------------------------------------------------------------------------------


def test_a_conversation_goes_with_the_facts_heard_nowhere_else(client_redis: redis.Redis) -> None:
    person = maria()
    known(person)
    twice = heard(person, "Likes the window", (FIRST, "I like the window"), value="window", slot="seating")
    last = Utterance.objects.get(conversation__name=SECOND, role="user")
    Source.objects.create(caller_id=person.id, memory=twice, utterance=last, start=0, end=7)
    MemoryEvent.objects.create(
        caller_id=person.id, memory=twice, what="reinforced", by="rules", data={"conversation": FIRST}
    )

    request = erasure.forget_conversation(person, FIRST, by="operator:ann", now=NOW)

    assert request.state == State.VERIFIED
    assert set(Conversation.objects.values_list("name", flat=True)) == {SECOND}
    assert {person.open(row.text_sealed, "memory", row.pk, "text") for row in Memory.objects.all()} == {
        "Lives in Berlin",
        "Likes the window",
    }
    assert set(Source.objects.filter(memory=twice).values_list("utterance__conversation__name", flat=True)) == {SECOND}
    assert set(twice.events.values_list("what", flat=True)) == {"added"}
    shown = selectors.card(person)
    assert shown is not None
    assert "window" in shown.text
    assert "4711" not in shown.text
    assert request.receipt["removed"]["memory"]["utterances"] == 4
    with pytest.raises(Erased):
        talk(person)
    with pytest.raises(erasure.NothingThere):
        erasure.forget_conversation(person, FIRST, by="operator:ann", now=NOW)


def test_a_fact_that_was_replaced_by_an_erased_conversation_is_valid_again(client_redis: redis.Redis) -> None:
    person = maria()
    talk(person)
    talk(person, SECOND, ("Yes?", "I moved to Berlin.", "And?", "I mean Bonn."), MONDAY + DAY)
    slot = {"slot": "home.place", "single": True}
    old = heard(person, "Lives in Ulm", (FIRST, "please"), status="superseded", valid_to=MONDAY + DAY, **slot)
    new = heard(person, "Lives in Berlin", (SECOND, "I moved to Berlin"), valid_from=MONDAY + DAY, **slot)
    Memory.objects.filter(pk=old.pk).update(superseded_by=new)

    erasure.forget_conversation(person, SECOND, by="operator:ann", now=NOW)

    left = Memory.objects.get()
    assert (left.pk, left.status, left.valid_to, left.superseded_by) == (old.pk, "active", None, None)
    assert MemoryEvent.objects.filter(memory=left, what="restored").exists()


def test_a_conversation_of_another_caller_is_none(client_redis: redis.Redis) -> None:
    known(maria())

    with pytest.raises(erasure.NothingThere):
        erasure.forget_conversation(john(), FIRST, by="operator:ann", now=NOW)


# --- a fact -----------------------------------------------------------------------------------------------------------


def test_a_fact_goes_with_the_words_it_was_heard_in(client_redis: redis.Redis) -> None:
    person = maria()
    account = known(person)
    beside = heard(person, "Likes the window", (FIRST, "I like the window"), value="window", slot="seating")
    summary = heard(person, "Gave a customer number", (FIRST, "before ten"), kind="summary")
    for data in ({"against": str(account.pk)}, {"conversation": FIRST}):
        MemoryEvent.objects.create(caller_id=person.id, memory=beside, what="disputed", by="rules", data=data)
    Utterance.objects.update(vector=[0.1] * 384, vector_model="m")

    request = erasure.forget_fact(person, account.pk, by="caller", now=NOW)

    assert request.state == State.VERIFIED
    assert said_by(person) == [
        LINES[0],
        "My customer number is [forgotten] and I like the window.",
        "Noted, customer number [forgotten].",
        LINES[3],
    ]
    assert said_by(person, SECOND) == ["Yes?", "I moved to Berlin."]
    assert not Memory.objects.filter(pk__in=[account.pk, summary.pk]).exists()
    moved = Source.objects.get(memory=beside)
    assert said_by(person)[1][moved.start : moved.end] == "I like the window"
    embedded = Utterance.objects.filter(conversation__name=FIRST, vector__isnull=False)
    assert set(embedded.values_list("seq", flat=True)) == {0}
    assert not Utterance.objects.filter(words="4711").exists()
    assert Utterance.objects.filter(words="window").count() == 3
    again = Conversation.objects.get(name=FIRST)
    assert (again.embedded_at, again.distilled_at, again.card_at) == (None, None, None)
    assert again.due_at is not None, "what is left of it is embedded and distilled again"
    assert request.receipt["removed"]["memory"] == {
        "facts": 2,
        "sources": 2,
        "history": 3,
        "utterances blanked": 2,
        "cards built anew": 1,
    }
    assert any("record of the call" in line for line in request.receipt["kept"])


def test_what_the_agent_told_again_of_a_forgotten_fact_goes_too(client_redis: redis.Redis) -> None:
    person = maria()
    account = known(person)
    talk(person, "CA7", ("What is my customer number?", "You told me that it is 4711X."), MONDAY + 2 * DAY)
    Utterance.objects.filter(conversation__name="CA7", seq=1).update(role="assistant")

    request = erasure.forget_fact(person, account.pk, by="caller", now=NOW)

    assert request.state == State.VERIFIED, request.receipt
    assert said_by(person, "CA7") == ["What is my customer number?", "You told me that it is [forgotten]."]
    assert said_by(person, SECOND) == ["Yes?", "I moved to Berlin."]


def test_a_forgotten_fact_comes_back_only_when_it_is_said_again(client_redis: redis.Redis) -> None:
    person = maria()
    account = known(person)

    erasure.forget_fact(person, str(account.pk), by="caller", now=NOW)

    held = tombstones.forgotten(person.key_hash)
    assert held.covers("identity", "identity.account", "4711X", "", MONDAY)
    assert not held.covers("identity", "identity.account", "4711X", "", NOW + DAY)


def test_older_values_of_a_forgotten_fact_are_forgotten_too(client_redis: redis.Redis) -> None:
    person = maria()
    talk(person)
    slot = {"slot": "contact.time", "single": True}
    old = heard(person, "Best at noon", value="12:00", status="superseded", valid_to=MONDAY + DAY, **slot)
    new = heard(person, "Best before ten", (FIRST, "before ten"), valid_from=MONDAY + DAY, value="before 10:00", **slot)
    Memory.objects.filter(pk=old.pk).update(superseded_by=new)

    erasure.forget_fact(person, new.pk, by="caller", now=NOW)

    assert not Memory.objects.exists()
    held = tombstones.forgotten(person.key_hash)
    for value in ("12:00", "before 10:00"):
        assert held.covers("preference", "contact.time", value, "", MONDAY)


@pytest.mark.parametrize("wanted", ["", "no id", "0190b3d4-7c5e-7cc3-8f1a-000000000000", "another caller's"])
def test_a_fact_that_is_not_there_is_an_error(wanted: str, client_redis: redis.Redis) -> None:
    theirs = known(john())

    with pytest.raises(erasure.NothingThere):
        erasure.forget_fact(maria(), str(theirs.pk) if wanted.startswith("another") else wanted, by="caller", now=NOW)
    assert not ErasureRequest.objects.exists()
    assert JOHN


# --- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needle", "text", "stands"),
    [
        (MARIA, f"from {MARIA}.", True),
        (MARIA, MARIA[1:], True),
        (MARIA, f"9{MARIA[1:]}", False),
        (MARIA, f"{MARIA}0", False),
        ("+1234", "1234", False),
        ("client:alice.b", "CLIENT:ALICE.B", True),
        ("client:alice.b", "client:alicexb", False),
    ],
)
def test_a_number_is_found_alone_and_not_in_longer_ones(needle: str, text: str, stands: bool, admin_user: User) -> None:
    admin_user.last_name = text
    admin_user.save()

    found = traces.in_tables(traces.pattern([needle])).found

    assert found == ({"auth_user": 1} if stands else {})


def test_every_kind_of_redis_value_is_looked_into(client_redis: redis.Redis) -> None:
    client_redis.set("a:string", MARIA)
    client_redis.rpush("a:list", "x", MARIA)
    client_redis.hset("a:hash", "from", MARIA)
    client_redis.sadd("a:set", MARIA)
    client_redis.zadd("a:zset", {MARIA: 1})
    client_redis.xadd("a:stream", {"data": MARIA})
    client_redis.set(f"a:{MARIA}", "")
    task(client_redis, MARIA)
    client_redis.set("another", JOHN)

    result = traces.in_redis(client_redis, traces.pattern([MARIA]))

    assert result.found == {"redis a": 7, "redis celery": 1}
    assert result.searched == {"redis keys": 9}

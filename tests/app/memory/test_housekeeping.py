"""What time does: facts expire, old conversations go with their calls, and keys move to a newer secret."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from memory import keys, people, selectors, surroundings
from memory.crypto import SealBroken
from memory.models import Caller, Conversation, ErasureRequest, Memory, MemoryEvent, Source
from memory.services import correcting, erasure, housekeeping, removing_redis
from memory.tasks import finish_erasures, keep_house
from tests.app.memory.people import DAY, MARIA, MONDAY, john, maria
from tests.app.memory.talks import FIRST, SECOND, heard, talk

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]

NOW = MONDAY + 100 * DAY
OLD, NEW = "an-old-secret-of-at-least-32-characters", "a-new-secret-of-at-least-32-characters-"


# --- facts expire -----------------------------------------------------------------------------------------------------


def test_a_fact_past_its_time_leaves_the_card_and_stays_findable() -> None:
    person = maria()
    for slot, value in (("commitment", "send the photos"), ("seating", "window")):
        correcting.store(person, "", "", slot=slot, value=value, by="operator:ann", now=MONDAY)
    correcting.store(john(), "", "", slot="commitment", value="call back", by="operator:ann", now=NOW)
    with surroundings.redis_client() as client:
        client.hset(keys.card_key(person.key_hash), "text", "old")
        assert housekeeping.expire(MONDAY + 31 * DAY) == 1
        assert not client.exists(keys.card_key(person.key_hash))

    card = selectors.card(person)
    assert card is not None
    assert "photos" not in card.text
    assert "window" in card.text
    fact = next(one for one in selectors.facts(person) if one.slot == "commitment")
    assert (fact.status, fact.history[-1].what, fact.history[-1].by) == ("active", "expired", "expiry")
    assert housekeeping.expire(MONDAY + 31 * DAY) == 0


def test_a_fact_that_was_said_again_expires_again() -> None:
    person = maria()
    for day in (0, 40):
        correcting.store(person, "", "", slot="commitment", value="send it", by="operator:ann", now=MONDAY + day * DAY)
        assert housekeeping.expire(MONDAY + (day + 31) * DAY) == 1

    assert MemoryEvent.objects.filter(what="expired").count() == 2


# --- what was said is let go of ---------------------------------------------------------------------------------------


def test_conversations_older_than_the_caller_wants_go_and_facts_stay() -> None:
    person, other = maria(), john()
    talk(person)
    talk(person, SECOND, began_at=NOW - 10 * DAY)
    talk(other, "CA" + "9" * 32)
    Caller.objects.filter(pk=person.id).update(retention_days=30)
    kept = heard(person, "Likes the window", (FIRST, "I like the window"), value="window", slot="seating")
    heard(person, "Gave a customer number", (FIRST, "4711 X"), kind="summary")

    assert housekeeping.let_go(NOW) == 1

    assert set(Conversation.objects.values_list("name", flat=True)) == {SECOND, "CA" + "9" * 32}
    assert [fact.pk for fact in Memory.objects.all()] == [kept.pk]
    source = Source.objects.get()
    assert (source.memory_id, source.utterance, source.by) == (kept.pk, None, "caller")
    request = ErasureRequest.objects.get()
    assert (request.by, request.state, request.scope) == ("retention", "verified", "conversation")
    assert housekeeping.let_go(NOW) == 0
    assert housekeeping.let_go(MONDAY + 29 * DAY) == 0


def test_nobody_asked_for_it_nothing_goes() -> None:
    talk(maria())

    assert housekeeping.let_go(NOW + 10_000 * DAY) == 0
    assert Conversation.objects.count() == 1


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(settings: Settings) -> Any:
    """The settings, with an old secret only."""
    settings.MEMORY_KEYS = (OLD,)
    return settings


def test_keys_move_to_the_first_secret_and_the_old_one_can_go(secrets: Any) -> None:
    person = maria()
    talk(person)
    secrets.MEMORY_KEYS = (NEW, OLD)
    assert people.find(MARIA) is not None
    john()

    out = io.StringIO()
    call_command("memory_rewrap", stdout=out)

    assert out.getvalue() == "1 keys moved, 1 were there already, 0 cannot be opened\n"
    secrets.MEMORY_KEYS = (NEW,)
    again = people.find(MARIA)
    assert again is not None
    assert selectors.lines(again)[1].text.startswith("My customer number")
    secrets.MEMORY_KEYS = (OLD,)
    with pytest.raises(SealBroken, match="MEMORY_KEY"):
        people.find(MARIA)


def test_a_key_that_no_secret_opens_is_told(secrets: Any) -> None:
    maria()
    secrets.MEMORY_KEYS = (NEW,)
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("memory_rewrap", stdout=out)

    assert (ended.value.code, "1 cannot be opened" in out.getvalue()) == (1, True)


def test_an_erasure_that_waits_survives_a_new_secret(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    person = maria()
    talk(person)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(removing_redis.Keys, "remove", _interrupted)
        erasure.erase_caller(person, by="caller", now=NOW)
    secrets.MEMORY_KEYS = (NEW, OLD)
    list(housekeeping.rewrap())
    secrets.MEMORY_KEYS = (NEW,)

    assert finish_erasures() == {"verified": 1}


def test_an_erasure_whose_secret_is_lost_says_so(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    person = maria()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(removing_redis.Keys, "remove", _interrupted)
        erasure.erase_caller(person, by="caller", now=NOW)
    secrets.MEMORY_KEYS = (NEW,)

    assert finish_erasures() == {"failed": 1}
    assert "MEMORY_KEY" in json.dumps(ErasureRequest.objects.get().receipt["failed"])


def _interrupted(self: object, subject: object) -> None:
    raise KeyboardInterrupt


def test_the_house_is_kept_in_one_task() -> None:
    person = maria()
    talk(person)
    Caller.objects.filter(pk=person.id).update(retention_days=1)

    assert keep_house() == {"expired": 0, "let_go": 1, "forgotten": 0, "tails": 0, "keys_moved": 0}

"""Searches across callers in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memory import people
from memory.models import Access
from memory.services import correcting
from memory.services.embedding import embed_caller
from tests.app.memory.operators import (
    FACTS,
    SAID,
    Cast,
    accesses,
    html,
)
from tests.app.memory.people import JOHN, MARIA, MONDAY, john
from tests.app.memory.talks import talk

if TYPE_CHECKING:
    from django.test import Client

    from memory.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


def found(client: Client, address: str, **query: str) -> list[tuple[str, str]]:
    lines = client.get(address, query).context["lines"]
    return [(line.number[-4:], line.mention.text) for line in lines]


def test_facts_are_found_by_words_and_by_meaning_across_callers(known: Person, cast: Cast, client: Client) -> None:
    other = john()
    correcting.store(other, "", "", slot="health.allergy", value="penicillin", by="operator:ann", now=MONDAY)
    correcting.store(other, "fact", "Plays the cello", by="operator:ann", now=MONDAY)
    for person in (known, other):
        embed_caller(person)
    client.force_login(cast.root)

    assert found(client, FACTS, q="penicillin") == [("0002", "Allergic to penicillin")]
    by_meaning = client.get(FACTS, {"q": "Which antibiotics are dangerous?", "by": "meaning"}).context["lines"]
    assert by_meaning[0].mention.text == "Allergic to penicillin"
    assert float(by_meaning[0].score) > float(by_meaning[1].score)
    assert found(client, FACTS, slot="identity", state="current")[0][0] == "0001"
    assert found(client, FACTS, slot="health.allergy", state="superseded") == []
    assert found(client, FACTS, kind="identity", slot="identity.name") == [("0001", "Name: Maria Rossi")]
    assert len(found(client, FACTS)) == 4


def test_what_was_said_is_found_with_call_day_and_speaker(known: Person, cast: Cast, client: Client) -> None:
    talk(john(), "CA9", ("Do you like the window?", "No window for me."))
    client.force_login(cast.root)

    both = found(client, SAID, q="window")

    assert {last for last, _ in both} == {"0001", "0002"}
    assert [text for _, text in found(client, SAID, q="window", role="assistant")] == ["Do you like the window?"]
    by = {(by, action) for by, action, _ in accesses()}
    assert ("operator:root", "search utterances") in by
    hashes = Access.objects.filter(action="search utterances").values_list("caller_hash", flat=True)
    assert {people.hash_of(number) for number in (MARIA, JOHN)} <= set(hashes)


def test_search_by_openais_meaning_where_it_is_configured(
    known: Person, cast: Cast, client: Client, openai_at: Any, settings: Any
) -> None:
    client.force_login(cast.root)
    assert "openai" not in dict(client.get(FACTS).context["ways"])
    settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-small"
    embed_caller(known)

    answer = client.get(FACTS, {"q": "Maria Rossi", "by": "openai"})

    assert "by meaning, text-embedding-3-small" in answer.content.decode()
    assert answer.context["lines"][0].mention.text == "Name: Maria Rossi"
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    failed = html(client, f"{FACTS}?q=Maria&by=openai")
    assert "This could not be searched: text-embedding-3-small cannot be reached." in failed
    assert accesses()[-1] == ("operator:root", "search facts", "failed")

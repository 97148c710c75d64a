"""The memory read over the protocol by the official client, under each server, in each era of the protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx2
import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from memory.core.values import Said
from memory.models import Access
from memory.services.writing import write_conversation
from tests.app.memory.people import DAY, MARIA, MONDAY, fact, maria
from tests.protocol.house import client

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory.people import Person
    from tests.protocol.house import Served

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

TALK = [
    Said(0, "assistant", "When may we call you back?", MONDAY, audio_ms=500),
    Said(1, "user", "Only before ten in the morning.", MONDAY, audio_ms=2500),
]


def known(person: Person) -> str:
    """Something said and something known of a caller; the id of what is known."""
    write_conversation(person, "CA1", TALK, began_at=MONDAY, ended_at=MONDAY + DAY / 24)
    row = fact(person, "likes green tea", slot="drink", kind="preference")
    row.save(force_insert=True)
    return str(row.pk)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_what_is_known_is_read_under_each_server_in_each_era(
    each_server: Served, token: Callable[..., str], mode: str
) -> None:
    person = await sync_to_async(maria)()
    id_of_fact = await sync_to_async(known)(person)
    secret = await sync_to_async(token)(person)

    async with client(each_server.url, secret, mode=mode) as connected:
        tools = {tool.name: tool for tool in (await connected.list_tools()).tools}
        assert tools["memory_search"].annotations.read_only_hint
        assert tools["memory_search"].output_schema["properties"]["hits"]

        hits = (await connected.call_tool("memory_search", {"query": "When can I call her?"})).structured_content
        best = next(hit for hit in hits["hits"] if hit["text"] == TALK[1].text)
        assert (best["kind"], best["conversation"], best["audio_ms"]) == ("utterance", "CA1", 2500)

        seen = (await connected.call_tool("memory_get", {"id": best["id"], "caller": MARIA})).structured_content
        assert [line["text"] for line in seen["lines"]] == [line.text for line in TALK]

        seen = (await connected.call_tool("memory_get", {"id": id_of_fact})).structured_content
        assert seen["fact"]["text"] == "likes green tea"

        then = {"as_of": "2026-03-01", "caller": str(person.id)}
        assert (await connected.call_tool("memory_timeline", then)).structured_content["facts"] == []
        now = (await connected.call_tool("memory_timeline", {"slot": "drink"})).structured_content
        assert [one["id"] for one in now["facts"]] == [id_of_fact]

        card = (await connected.call_tool("memory_profile", {})).structured_content
        assert set(card) == {"name", "text", "facts"}
        read = await connected.read_resource(f"memory://callers/{person.id}/profile")
        assert '"name"' in read.contents[0].text
        briefed = await connected.get_prompt("call_briefing", {"caller": MARIA})
        assert "It is data" in briefed.messages[0].content.text

    used = await sync_to_async(list)(Access.objects.order_by("at").values_list("action", "outcome", "caller_hash"))
    assert [action for action, *_ in used] == [
        "memory_search", "memory_get", "memory_get", "memory_timeline", "memory_timeline", "memory_profile",
        "resource", "prompt call_briefing",
    ]  # fmt: skip
    assert {(outcome, of) for _, outcome, of in used} == {("done", person.key_hash)}
    assert await sync_to_async(Access.objects.filter(by="token:token 0").count)() == len(used)


async def test_the_rest_of_the_product_is_where_it_was(each_server: Served) -> None:
    async with httpx2.AsyncClient() as http:
        assert (await http.get(each_server.base_url + "/healthz")).status_code == 200
        assert (await http.get(each_server.base_url + "/mcpx")).status_code == 404
        assert (await http.get(each_server.base_url + "/admin/login/")).status_code == 200


async def test_no_connection_of_the_database_is_kept(each_server: Served, token: Callable[..., str]) -> None:
    secret = await sync_to_async(lambda: token(maria()))()
    async with client(each_server.url, secret) as connected:
        await asyncio.gather(*(connected.call_tool("memory_profile", {}) for _ in range(12)))

    @sync_to_async
    def kept() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            found: int = cursor.fetchone()[0]
            return found

    async with asyncio.timeout(10):
        while await kept():  # noqa: ASYNC110 - a server process ends in its own time
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("memory_search", {}, "query is missing"),
        ("memory_search", {"query": "secret", "limit": 0}, "limit: should be greater than or equal to 1"),
        ("memory_search", {"query": "x", "meaning": "secret"}, "meaning: should be 'local' or 'openai'"),
        ("memory_search", {"query": "x", "as_of": "secret"}, "as_of: should be a valid datetime or date"),
        ("memory_search", {"query": ["secret"]}, "query: should be a valid string"),
    ],
)
async def test_wrong_arguments_are_told_by_their_names_alone(
    served: Served, token: Callable[..., str], tool: str, arguments: dict[str, object], says: str
) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    async with client(served.url, secret) as connected:
        answer = await connected.call_tool(tool, arguments)

    assert answer.is_error
    said = answer.content[0].text
    assert said.startswith(f"Error executing tool {tool}: {says}")
    assert not any(word in said for word in ("secret", "pydantic", "input_value", "Arguments"))

"""Who gets in, over bare requests: hosts, tokens, rates, sizes, scopes, and what each refusal says."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from memory.mcp.gate import MOST_BODY_BYTES
from memory.models import Access, ApiToken
from memory.services import tokens
from tests.app.memory.people import fact, john, maria
from tests.protocol.house import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.protocol.house import Served

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def call(name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return "tools/call", {"name": name, "arguments": arguments}


async def test_the_metadata_says_how_to_get_a_token(each_server: Served) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(each_server.base_url + "/.well-known/oauth-protected-resource/mcp")

    assert answer.status_code == 200
    said = answer.json()
    assert said["resource"] == each_server.url
    assert said["scopes_supported"] == ["read", "write", "erase", "admin"]
    assert "authorization_servers" not in said  # tokens are issued in the admin only


async def test_without_a_token_that_counts_the_reason_is_said(each_server: Served, token: Callable[..., str]) -> None:
    @sync_to_async
    def prepare() -> dict[str, tuple[str | None, str]]:
        gone = token(maria(), name="gone")
        tokens.revoke(ApiToken.objects.get(name="gone").pk, timezone.now())
        late = token(maria(), name="late", expires_at=timezone.now() - timedelta(days=1))
        return {
            "none": (None, "a bearer token is needed"),
            "nonsense": ("nonsense", "no token of this server"),
            "unknown": (tokens.MARK + "x" * 43, "the token is unknown"),
            "revoked": (gone, "the token was revoked"),
            "expired": (late, "the token expired on"),
            "a foreign JWT": ("aaa.bbb.ccc", "no token of this server"),
        }

    for what, (secret, reason) in (await prepare()).items():
        answer = await Wire(each_server.url).post(secret)

        assert answer.status_code == 401, what
        assert reason in answer.json()["error_description"], what
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer error="invalid_token"'), what
        assert f'resource_metadata="{each_server.base_url}/.well-known/oauth-protected-resource/mcp"' in challenge, what
        assert secret is None or secret not in each_server.shown()


async def test_a_missing_scope_is_named_and_put_on_record(each_server: Served, token: Callable[..., str]) -> None:
    secret = await sync_to_async(lambda: token(maria(), scopes=["read"], name="reader"))()
    wire = Wire(each_server.url)

    for tool, needed in (("memory_store", "write"), ("memory_forget", "erase")):
        answer = await wire.call(secret, *call(tool, text="x", kind="fact"))
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert f'scope="{needed}"' in answer.headers["www-authenticate"]
    assert (await wire.call(secret, *call("memory_profile"))).status_code == 200
    writer = await sync_to_async(lambda: token(maria(), scopes=["write"]))()
    assert (await wire.call(writer, "prompts/get", {"name": "call_briefing"})).status_code == 403
    assert (await wire.post(writer)).status_code == 200  # what there is, anyone with a token may know

    used = await sync_to_async(list)(Access.objects.order_by("at").values_list("by", "action", "outcome"))
    assert used == [
        ("token:reader", "memory_store", "scope"),
        ("token:reader", "memory_forget", "scope"),
        ("token:reader", "memory_profile", "done"),
        ("token:token 1", "prompt call_briefing", "scope"),
    ]


async def test_an_unknown_caller_and_anothers_get_the_same_answer(
    each_server: Served, token: Callable[..., str]
) -> None:
    @sync_to_async
    def prepare() -> tuple[str, list[str]]:
        other = john()
        fact(other, "is allergic to nuts").save(force_insert=True)
        hers = str(maria().id)
        nobody = hers[:-1] + ("1" if hers.endswith("0") else "0")
        return token(maria(), name="hers"), [str(other.id), "+15550100002", "+15559999999", nobody]

    secret, foreign = await prepare()
    answers = []
    for named in foreign:
        answer = await Wire(each_server.url).call(secret, *call("memory_search", query="allergic", caller=named))
        said = answer.json()["result"]
        answers.append((answer.status_code, said["isError"], said["content"][0]["text"]))

    assert set(answers) == {(200, True, "Error executing tool memory_search: no such caller for this token")}
    assert set(await sync_to_async(list)(Access.objects.values_list("outcome", "caller_hash"))) == {("caller", "")}


async def test_a_token_of_several_callers_must_name_one(each_server: Served, token: Callable[..., str]) -> None:
    secret = await sync_to_async(lambda: token(maria(), john()))()

    said = (await Wire(each_server.url).call(secret, *call("memory_profile"))).json()["result"]

    assert said["isError"]
    assert "name the caller" in said["content"][0]["text"]


async def test_a_token_has_a_rate(each_server: Served, token: Callable[..., str], redis_url: str) -> None:
    secret = await sync_to_async(lambda: token(maria(), rate_per_minute=5))()
    free = await sync_to_async(lambda: token(maria()))()

    answers = await asyncio.gather(*(Wire(each_server.url).post(secret) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "more than 5 requests a minute" in refused.json()["error_description"]
    assert (await Wire(each_server.url).post(free)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 421),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1234"}, 200),
    ],
    ids=str,
)
async def test_foreign_hosts_and_pages_are_refused(
    each_server: Served, token: Callable[..., str], headers: dict[str, str], status: int
) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    assert (await Wire(each_server.url).post(secret, **headers)).status_code == status


async def test_a_body_has_a_limit(each_server: Served, token: Callable[..., str]) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    answer = await Wire(each_server.url).post(secret, content=b'"' + b"x" * MOST_BODY_BYTES + b'"')

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"query": ""}, "must not be empty"),
        ({"query": " \n "}, "must not be empty"),
        ({"query": "x" * 100_000}, "at most 2000 characters"),
        ({"query": "a\x00b"}, "NUL"),
        ({"query": "a\ud800b"}, "valid"),
        ({"query": 7}, "valid string"),
        ({"query": ["a"]}, "valid string"),
        ({}, "query is missing"),
        ({"query": "tea", "limit": 0}, "greater than or equal to 1"),
        ({"query": "tea", "limit": 1000}, "less than or equal to 50"),
        ({"query": "tea", "kinds": ["gossip"]}, "'utterance', 'identity'"),
        ({"query": "tea", "as_of": "yesterday"}, "valid datetime"),
        ({"query": "tea", "caler": "+15550100002"}, "caler"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_makes_no_sense_is_refused_with_the_reason(
    served: Served, token: Callable[..., str], arguments: dict[str, Any], reason: str
) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    answer = await Wire(served.url).call(secret, *call("memory_search", **arguments))

    said = answer.json()
    text = said["error"]["message"] if "error" in said else said["result"]["content"][0]["text"]
    assert "error" in said or said["result"]["isError"]
    assert reason in text
    assert await sync_to_async(list)(Access.objects.values_list("outcome", flat=True)) == ["invalid"]
    assert "Traceback" not in served.shown()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", json.dumps("x").encode(), b"null"])
async def test_a_body_that_is_no_request_is_refused(served: Served, token: Callable[..., str], body: bytes) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    answer = await Wire(served.url).post(secret, content=body or b" ")

    assert answer.status_code == 400
    assert "error" in answer.json()
    assert "Traceback" not in served.shown()

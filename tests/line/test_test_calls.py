"""Test calls from the console: who is let in, with what, and what becomes of the call and of a caller's memory."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from asgiref.sync import sync_to_async
from django.core import signing
from prometheus_client import REGISTRY
from websockets.exceptions import ConnectionClosed, InvalidStatus

from calls.consumers import CLOSE_CODES
from calls.models import Call
from memory import people
from memory.models import Caller, Conversation
from tests.app.console.conftest import somebody
from tests.line.pages import page_socket, signed_in
from voiceagent.console.models import AuditEntry
from voiceagent.console.phone import stream

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.line.conftest import Line

PATH = "/console/phone/stream"
FRAME = base64.b64encode(b"\xff" * 160).decode()


async def begin(house: Line, role: str = "operator", **wishes: str) -> tuple[int, dict[str, Any]]:
    """What the page asks for before its stream begins."""
    cookie = await sync_to_async(signed_in)(role)
    headers = {"Cookie": cookie + "; csrftoken=" + "c" * 32, "X-CSRFToken": "c" * 32, "Origin": house.url}
    body = {"line": "+15005550006", "who": "anonymous", **wishes}
    async with httpx.AsyncClient(base_url=house.url, headers=headers) as client:
        answer = await client.post("/console/phone/begin", json=body)
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json() if is_json else {}


async def start(socket: ClientConnection, begun: dict[str, Any], **changes: str) -> str:
    """The beginning of a stream, as the page sends it. Its id."""
    sid = f"MZ{begun['call_sid'][2:]}"
    told = {**begun, **changes}
    await socket.send(orjson.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}).decode())
    await socket.send(
        orjson.dumps(
            {
                "event": "start",
                "sequenceNumber": "1",
                "streamSid": sid,
                "start": {
                    "streamSid": sid,
                    "accountSid": told["account_sid"],
                    "callSid": told["call_sid"],
                    "tracks": ["inbound"],
                    "customParameters": {"token": told["token"]},
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                },
            }
        ).decode()
    )
    return sid


async def until_media(socket: ClientConnection) -> None:
    async for data in socket:
        if orjson.loads(data)["event"] == "media":
            return
    pytest.fail(f"closed with {socket.close_code}")


async def refusal(socket: ClientConnection) -> int | None:
    await socket.wait_closed()
    return socket.close_code


async def make_call(line: Line, begun: dict[str, Any]) -> Call:
    async with page_socket(line, PATH) as socket:
        sid = await start(socket, begun)
        await until_media(socket)
        for chunk in range(1, 6):
            media = {"track": "inbound", "chunk": str(chunk), "timestamp": str(chunk * 20), "payload": FRAME}
            await socket.send(orjson.dumps({"event": "media", "streamSid": sid, "media": media}).decode())
        await socket.send(orjson.dumps({"event": "stop", "streamSid": sid, "stop": {}}).decode())

    class Ended:
        call_sid = begun["call_sid"]

    return await line.archived_call(Ended())  # type: ignore[arg-type]


async def test_a_test_call_is_marked_and_counts_in_no_metric(line: Line) -> None:
    before = REGISTRY.get_sample_value("calls_answered_total"), REGISTRY.get_sample_value("frame_lateness_ms_count")
    _, begun = await begin(line)
    row = await make_call(line, begun)

    assert (row.is_test, row.from_number, row.end_reason) == (True, "anonymous", "caller_hung_up")
    assert row.agent_version is not None
    after = REGISTRY.get_sample_value("calls_answered_total"), REGISTRY.get_sample_value("frame_lateness_ms_count")
    assert after == before
    entry = await AuditEntry.objects.aget(action="call.tested")
    assert (entry.call_sid, entry.after) == (row.call_sid, {"line": "+15005550006", "as": "anonymous"})


async def test_a_known_callers_memory_is_read_and_not_written(line: Line) -> None:
    known = await sync_to_async(people.ensure)("+15557654321")
    before = await sync_to_async(lambda: list(Caller.objects.values()))()
    status, begun = await begin(line, who="caller", caller=str(known.id))
    assert status == 200, begun
    assert "7654321" not in orjson.dumps(begun).decode(), "the page need not know the number"
    row = await make_call(line, begun)

    assert row.from_number == "+15557654321"
    assert row.remember_due_at is None
    assert not await Conversation.objects.aexists()
    assert await sync_to_async(lambda: list(Caller.objects.values()))() == before


async def test_a_ticket_works_once_for_its_user_and_call_alone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    _, begun = await begin(line)
    bad = CLOSE_CODES["bad_ticket"]
    async with page_socket(line, PATH, username="bob") as socket:
        await start(socket, begun)
        assert await refusal(socket) == bad, "another's"
    async with page_socket(line, PATH) as socket:
        await start(socket, begun, token=begun["token"][:-2] + "xx")
        assert await refusal(socket) == bad, "forged"
    async with page_socket(line, PATH) as socket:
        await start(socket, begun, call_sid="CA" + "1" * 32)
        assert await refusal(socket) == CLOSE_CODES["wrong_call"], "another call, and spent thereby"
    async with page_socket(line, PATH) as socket:
        await start(socket, begun)
        assert await refusal(socket) == bad, "used"
    monkeypatch.setattr(stream, "TICKET_S", -1)
    _, begun = await begin(line)
    async with page_socket(line, PATH) as socket:
        await start(socket, begun)
        assert await refusal(socket) == bad, "too old"
    assert not line.runtime.registry.live


async def test_a_ticket_of_a_real_call_opens_no_test_call(line: Line) -> None:
    """Its token is secret; were it known, this door would not take it."""
    phone = line.call()
    tokens: list[str] = []
    issue = line.runtime.tickets.issue

    async def overheard(ticket: Any) -> str:
        tokens.append(await issue(ticket))
        return tokens[-1]

    line.runtime.tickets.issue = overheard  # type: ignore[method-assign]
    await phone.start()
    await phone.hang_up()
    _, begun = await begin(line)
    user = await sync_to_async(somebody)("operator")
    async with page_socket(line, PATH) as socket:
        await start(socket, begun, token=signing.dumps([tokens[0], user.pk], salt=stream._SALT))
        assert await refusal(socket) == CLOSE_CODES["bad_ticket"]


async def test_who_may_not_make_test_calls_is_refused_everywhere(line: Line) -> None:
    assert (await begin(line, "reviewer"))[0] == 403
    for role in ("reviewer", None):
        async with page_socket(line, PATH, role) as socket:
            assert await refusal(socket) == CLOSE_CODES["not_allowed"]
    with pytest.raises(InvalidStatus):
        async with page_socket(line, PATH, origin="https://elsewhere.example"):
            pass


async def test_a_permission_that_is_taken_away_ends_the_call(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RECHECK_S", 0.1)
    _, begun = await begin(line)
    async with page_socket(line, PATH) as socket:
        await start(socket, begun)
        await until_media(socket)
        user = await sync_to_async(somebody)("operator")
        await sync_to_async(user.groups.clear)()
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass
        assert socket.close_code == CLOSE_CODES["not_allowed"]


async def test_known_callers_are_found_with_their_numbers_masked(line: Line) -> None:
    known = await sync_to_async(people.ensure)("+15557654321")
    cookie = await sync_to_async(signed_in)("operator")
    async with httpx.AsyncClient(base_url=line.url, headers={"Cookie": cookie}) as client:
        found = await client.get("/console/phone/callers", params={"q": "4321"})
        none = await client.get("/console/phone/callers", params={"q": "<b>" * 5000})
    assert found.json() == {"callers": [{"id": str(known.id), "name": "", "number": "+1 •••• ••4321"}]}
    assert none.json() == {"callers": []}


async def test_what_cannot_be_is_told(line: Line) -> None:
    for wishes, why in (
        ({"line": "+19995550000"}, "No active agent answers this number."),
        ({"line": "v999999"}, "There is no such version of an agent."),
        ({"line": "v1'; --"}, "There is no such version of an agent."),
        ({"who": "somebody"}, "Say who is calling."),
        ({"who": "caller", "caller": "00000000-0000-0000-0000-000000000000"}, "Choose a caller from the list."),
        ({"who": "caller", "caller": "<script>"}, "Choose a caller from the list."),
    ):
        assert await begin(line, **wishes) == (400, {"why": why})
    assert not await Call.objects.aexists()

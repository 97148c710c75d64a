"""Who is let in at the carrier's addresses, and how often: accounts, pages of browsers, floods; with Redis and without."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import redis
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.urls import path

from calls.models import Call
from memory import limits
from tests.line.conftest import make_agent, open_line
from tests.line.hostile import TOKEN, Counts, Wire, counted, sid, wire
from tests.protocol.house import free_port
from voiceagent import asgi
from voiceagent.sandbox.carrier.signing import HEADER, signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.conf import CallsConf
    from calls.models import Agent

VOICE = "/twilio/voice"


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="")


@pytest.fixture
async def strict(agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any) -> AsyncIterator[Wire]:
    """A line with low limits."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    limits._at.cache_clear()
    async with AsyncExitStack() as stack:
        made = await open_line(stack, calls_conf, unused_tcp_port, calls_per_number=2, unsigned_per_minute=3)
        yield await stack.enter_async_context(wire(made))
    limits._at.cache_clear()
    await sync_to_async(connections.close_all)()


async def _rings(http: Wire, number: str) -> str:
    answer = await http.post(VOICE, http.fields(sid(), From=number))
    return answer.verbs[0]


async def test_a_number_that_rings_too_often_hears_busy_and_others_are_answered(strict: Wire) -> None:
    refused = Counts("calls_refused", "why")
    assert [await _rings(strict, "+15550001111") for _ in range(4)] == ["Connect", "Connect", "Reject", "Reject"]
    assert await _rings(strict, "+1 (555) 000-1111") == "Reject"  # the same line, spelt otherwise
    assert await _rings(strict, "+15550002222") == "Connect"
    # Who withholds the number is many people.
    assert [await _rings(strict, "anonymous") for _ in range(3)] == ["Connect"] * 3
    assert refused.moved() == {"rate": 3}


async def test_what_is_not_signed_is_soon_refused_unread_and_the_carrier_never_notices(
    strict: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("unsigned_requests")
    answers = [await strict.post(VOICE, strict.fields(sid()), token="forged") for _ in range(6)]
    assert [answer.status for answer in answers] == [403, 403, 403, 429, 429, 429]
    assert counted("unsigned_requests") == before + 6
    assert sum("webhook.refused" in str(record.msg) for record in caplog.records) == 3
    # The carrier comes from the same address here, as it does through a proxy that does not say for whom it speaks.
    assert await _rings(strict, "+15550001111") == "Connect"
    with pytest.raises(aiohttp.WSServerHandshakeError) as failed:
        await strict.open(signed="forged")
    assert failed.value.status == 403
    raw = await strict.stream()
    await raw.stop()


async def test_without_redis_nobody_is_kept_out_and_the_limits_hold_in_the_process(strict: Wire, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert [await _rings(strict, "+15550001111") for _ in range(3)] == ["Connect", "Connect", "Reject"]


async def test_webhooks_of_another_account_are_refused_though_they_are_signed(strict: Wire) -> None:
    for place in (VOICE, "/twilio/status", "/twilio/stream-ended", "/twilio/stream-status", "/twilio/recording"):
        answer = await strict.post(place, strict.fields(sid(), AccountSid="AC" + "9" * 32))
        assert (answer.status, answer.text) == (403, "the account is another one\n"), place


async def test_an_address_in_a_webhook_is_never_fetched(strict: Wire) -> None:
    """Whoever names an address cannot have us ask it."""
    asked: list[object] = []
    server = await asyncio.start_server(lambda *streams: asked.append(streams), "127.0.0.1", 0)
    async with server:
        there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        names = ("RecordingUrl", "StreamUrl", "Url", "CallbackSource", "TranscriptionUrl", "FallbackUrl")
        fields = strict.fields(sid(), CallStatus="completed", RecordingSid="RE1", **dict.fromkeys(names, there))
        for place in (VOICE, "/twilio/status", "/twilio/stream-ended", "/twilio/stream-status", "/twilio/recording"):
            assert (await strict.post(place, fields)).status in (200, 204), place
        await _rows_are_written(fields["CallSid"])
    assert asked == []


async def _rows_are_written(call_sid: str) -> None:
    """What a webhook leaves to the background is done."""
    async with asyncio.timeout(5):
        while not await Call.objects.filter(call_sid=call_sid).aexists():  # noqa: ASYNC110 - written in a thread
            await asyncio.sleep(0.02)


async def test_a_ticket_of_one_account_is_worth_nothing_in_anothers_stream(strict: Wire) -> None:
    call_sid = sid()
    token = await strict.ring(call_sid)
    raw = await strict.open()
    await raw.begin(call_sid, token, accountSid="AC" + "9" * 32)
    assert await raw.closed() == 4403


async def test_a_page_of_a_browser_may_not_open_the_carriers_stream(strict: Wire) -> None:
    refused = Counts("streams_refused", "why")
    url = strict.line.url.replace("http", "ws", 1) + "/twilio/stream"
    signed = {HEADER: signature(url, {}, TOKEN)}
    for origin in ("https://evil.example.com", "null", "http://["):
        with pytest.raises(aiohttp.WSServerHandshakeError) as failed:
            await strict.session.ws_connect(url, headers={**signed, "Origin": origin})
        assert failed.value.status == 403
    assert refused.moved() == {"origin": 3}
    await (await strict.session.ws_connect(url, headers={**signed, "Origin": strict.line.url})).close()


async def test_what_is_signed_is_the_whole_address_however_it_is_written(strict: Wire) -> None:
    """A signature of one address counts for no other spelling, query or path."""
    fields = strict.fields(sid())
    right = {HEADER: signature(strict.line.url + VOICE, fields, TOKEN)}
    for place in (
        VOICE + "?a=b",
        VOICE + "?CallSid=CA1",
        "/twilio//voice",
        VOICE + "/",
        VOICE + "%00",
        "/twilio/status",
    ):
        assert (await strict.send("POST", place, right, data=fields)).status in (403, 404, 429), place
    assert (await strict.send("POST", VOICE, right, data=fields)).status == 200


async def test_sockets_of_pages_are_for_our_own_pages_alone(settings: Any) -> None:
    """Whatever such a socket will be: it stands behind the check."""

    async def page(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    settings.ALLOWED_HOSTS = ["voice.example.com"]
    asgi.PAGES_SOCKETS.insert(0, path("console/live", page))  # type: ignore[arg-type]
    try:
        for origin, accepted in (
            ("https://voice.example.com", True),
            ("https://voice.example.com:8443", True),
            ("https://evil.example.com", False),
            ("https://voice.example.com.evil.example", False),
            ("null", False),
            ("http://[", False),
            (None, False),
        ):
            headers = [] if origin is None else [(b"origin", origin.encode())]
            communicator = WebsocketCommunicator(asgi.application, "/console/live", headers=headers)
            assert (await communicator.connect())[0] is accepted, origin
    finally:
        asgi.PAGES_SOCKETS.pop(0)


async def test_no_number_stands_in_redis_for_being_counted(strict: Wire) -> None:
    await _rings(strict, "+15550001111")
    with redis.Redis.from_url(strict.line.runtime.conf.redis_url) as client:
        keys = [key.decode() for key in client.scan_iter("limits*")]
    assert keys
    assert not any("15550001111" in key for key in keys)

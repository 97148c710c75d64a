"""The carrier keeps Twilio's protocol: against a server that checks signatures with the vendor's own library."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from tests.contract.sandbox.callee import ACCOUNT, TOKEN, Callee, mark, media
from voiceagent.sandbox import sound
from voiceagent.sandbox.carrier import (
    ActionRequested,
    AgentStarted,
    AgentStopped,
    CallFailedError,
    Carrier,
    CarrierFaults,
    Cleared,
    Dialed,
    DtmfSent,
    HungUp,
    LinkError,
    MarkReturned,
    ProtocolFault,
    Said,
    StreamClosed,
    StreamOpened,
    Updated,
)
from voiceagent.sandbox.carrier.endings import why
from voiceagent.sandbox.control import SandboxServer

if TYPE_CHECKING:
    from aiohttp import web

LOUD = sound.mulaw_tone()
KEY = ConnectionKey("voice.example", 443, True, True, None, None, None)
# twilio 9.13 uses what aiohttp is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .auth. parameter is deprecated:DeprecationWarning"),
]


def carrier_to(callee: Callee, rest_url: str | None = None, **options: Any) -> Carrier:
    return Carrier(callee.url, account_sid=ACCOUNT, auth_token=TOKEN, rest_url=rest_url, **options)


async def test_stream_messages_have_the_documented_shape() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        call = carrier.call(caller="+14155550111")
        await call.start()
        await call.speak(LOUD[:3200], "hello")
        await call.dtmf("1#")
        await call.hang_up()
    voice = callee.posts("/twilio/voice")[0]
    assert (voice["CallSid"], voice["From"], voice["CallStatus"]) == (call.call_sid, "+14155550111", "ringing")
    connected, start = callee.messages[:2]
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["sequenceNumber"] == "1"
    assert start["start"]["customParameters"] == {"token": "t1"}
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    frames = callee.of("media")
    assert [frame["media"]["chunk"] for frame in frames] == [str(n + 1) for n in range(len(frames))]
    assert [int(frame["media"]["timestamp"]) for frame in frames] == [20 * n for n in range(len(frames))]
    assert LOUD[:3200] in callee.received_audio()
    assert callee.received_audio().strip(b"\xff") == LOUD[:3200].strip(b"\xff")
    assert [key["dtmf"] for key in callee.of("dtmf")] == [
        {"track": "inbound_track", "digit": "1"},
        {"track": "inbound_track", "digit": "#"},
    ]
    sequence = [int(message["sequenceNumber"]) for message in callee.messages[1:]]
    assert sequence == list(range(1, len(sequence) + 1))
    assert callee.messages[-1]["event"] == "stop"
    final = callee.posts("/twilio/status")[-1]
    assert (final["CallStatus"], final["SequenceNumber"]) == ("completed", "0")
    assert not callee.refused


async def test_frames_keep_pace_without_drift() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        calls = [carrier.call() for _ in range(10)]
        await asyncio.gather(*(call.start() for call in calls))
        await asyncio.sleep(2.0)
        counts = [len(call.said) // 160 for call in calls]
        await asyncio.gather(*(call.hang_up() for call in calls))
    assert min(counts) >= 97
    assert max(counts) <= 105


async def test_audio_is_played_in_real_time_and_marks_return_in_order() -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            sid = message["streamSid"]
            await socket.send_json(mark(sid, "empty"))
            await socket.send_json(media(sid, LOUD[:2400]))
            await socket.send_json(mark(sid, "first"))
            await socket.send_json(media(sid, LOUD[2400:4000]))
            await socket.send_json(mark(sid, "second"))

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = answer
        call = carrier.call()
        await call.start()
        await call.wait_for(MarkReturned, lambda event: event.name == "second")
        started = await call.wait_for(AgentStarted)
        stopped = await call.wait_for(AgentStopped)
        returned = {event.name: event for event in call.timeline.all(MarkReturned)}
        heard = call.heard
        await call.hang_up()
    assert list(returned) == ["empty", "first", "second"]
    assert all(event.by == "played" for event in returned.values())
    assert 250 <= returned["first"].at_ms - started.at_ms <= 380
    assert 450 <= returned["second"].at_ms - started.at_ms <= 580
    assert 430 <= stopped.at_ms - started.at_ms <= 560
    assert LOUD[:4000] in heard
    assert [message["mark"]["name"] for message in callee.of("mark")] == ["empty", "first", "second"]


async def test_clear_drops_audio_and_returns_every_mark_at_once() -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        sid = message.get("streamSid", "")
        if message["event"] == "start":
            await socket.send_json(media(sid, LOUD[:16000]))
            await socket.send_json(mark(sid, "one"))
            await socket.send_json(mark(sid, "two"))
        if message["event"] == "media" and message["media"]["chunk"] == "20":
            await socket.send_json({"event": "clear", "streamSid": sid})
            await socket.send_json(media(sid, LOUD[:800]))

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = answer
        call = carrier.call()
        await call.start()
        cleared = await call.wait_for(Cleared)
        await call.wait_for(MarkReturned, lambda event: event.name == "two")
        await call.wait_for_quiet()
        heard = call.heard
        await call.hang_up()
    assert 1400 <= cleared.dropped_ms <= 1700
    assert [(event.name, event.by) for event in call.timeline.all(MarkReturned)] == [("one", "clear"), ("two", "clear")]
    assert 2400 + 800 <= len(heard.replace(b"\xff", b"")) <= 5600


@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        '{"event":"mystery","streamSid":"%s"}',
        '{"event":"media","streamSid":"MZwrong","media":{"payload":"////"}}',
        '{"event":"media","streamSid":"%s","media":{"payload":"@@"}}',
        '{"event":"mark","streamSid":"%s","mark":{}}',
    ],
)
async def test_a_server_that_breaks_the_protocol_is_disconnected(bad: str) -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            await socket.send_str(bad.replace("%s", message["streamSid"]))

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = answer
        call = carrier.call()
        await call.start()
        over = await call.wait_until_over()
    assert 31924 in [fault.code for fault in call.timeline.all(ProtocolFault)]
    assert over.by == "server"


async def answer_keys(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """A server that answers every key with a clear and a tone."""
    if message["event"] == "dtmf":
        await socket.send_json({"event": "clear", "streamSid": message["streamSid"]})
        await socket.send_json(media(message["streamSid"], LOUD[:1600]))


async def test_an_answer_to_a_key_is_counted_from_the_key() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = answer_keys
        call = carrier.call()
        await call.start()
        await call.speak(LOUD[:1600] + sound.MULAW_SILENCE * 4000, "hello")
        await call.dtmf("1")
        began = await call.wait_for(AgentStarted)
        await call.wait_for(AgentStopped)
        await call.hang_up()
    (cleared,) = call.timeline.all(Cleared)
    for event in (began, cleared):
        assert event.after_caller_ms is None
        assert event.after_key_ms is not None
        assert event.after_key_ms < 250


async def test_only_the_first_sound_of_an_answer_has_waited() -> None:
    async def answer_in_two(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "media" and message["media"]["chunk"] in ("30", "100"):
            await socket.send_json(media(message["streamSid"], LOUD[:1600]))
            await socket.send_json({"event": "clear", "streamSid": message["streamSid"]})
            await socket.send_json(media(message["streamSid"], LOUD[:1600]))

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = answer_in_two
        call = carrier.call()
        await call.start()
        await call.speak(LOUD[:1600], "one")
        for _ in range(2):
            await call.wait_for(AgentStopped, after=len(call.timeline.events))
        await call.hang_up()
    first, second = call.timeline.all(AgentStarted)
    assert first.after_caller_ms is not None
    assert second.after_caller_ms is None
    assert call.timeline.all(Cleared)[-1].after_caller_ms is None


async def test_a_w_among_the_keys_is_half_a_second() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        call = carrier.call()
        await call.start()
        await call.dtmf("1w2", gap_ms=0)
        await call.hang_up()
    first, second = call.timeline.all(DtmfSent)
    assert (first.digit, second.digit) == ("1", "2")
    assert 490 < second.at_ms - first.at_ms < 900
    assert [message["dtmf"]["digit"] for message in callee.of("dtmf")] == ["1", "2"]


async def test_an_agent_that_begins_while_the_caller_speaks_has_not_waited() -> None:
    async def interrupt(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "media" and message["media"]["chunk"] in ("30", "100"):
            await socket.send_json(media(message["streamSid"], LOUD[:1600]))

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.on_message = interrupt
        call = carrier.call()
        await call.start()
        await call.speak(LOUD[:1600], "one")
        await call.wait_for(AgentStopped)
        await call.speak(LOUD[:16000], "two")
        await call.hang_up()
    first, second = call.timeline.all(AgentStarted)
    assert first.after_caller_ms is not None
    assert second.after_caller_ms is None


async def test_words_for_a_stream_that_is_over_are_not_waited_for() -> None:
    twiml = '<Response><Connect><Stream url="{}"/></Connect><Pause length="3"/></Response>'

    async def close(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            await socket.close()

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.twiml = twiml.format(callee.stream_url)
        callee.on_message = close
        call = carrier.call()
        await call.start()
        await call.wait_for(StreamClosed)
        async with asyncio.timeout(1):
            await call.speak(LOUD[:8000])
        assert call.is_up


async def test_a_rest_api_that_does_not_answer_is_named_in_words(unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(LinkError, match=f"^{address} cannot be reached: Connection refused$"):
        async with Carrier(address, account_sid=ACCOUNT, auth_token=TOKEN, rest_url=address):
            pass


async def test_a_server_that_is_not_there_is_named_in_words(unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    async with Carrier(address, account_sid=ACCOUNT, auth_token=TOKEN) as carrier:
        with pytest.raises(
            CallFailedError, match=f"11205: {address}/twilio/voice could not be reached: Connection refused"
        ):
            await carrier.call().start()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")), "Name or service not known"),
        (aiohttp.ClientConnectorError(KEY, OSError(113, "Connect call failed ('10.0.0.1', 80)")), "No route to host"),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "expired")), "TLS failed: .*expired"),
        (aiohttp.ServerDisconnectedError(), "the connection was closed without an answer"),
        (aiohttp.ConnectionTimeoutError("Connection timeout to host"), "no answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
    ],
)  # fmt: skip
def test_errors_are_told_without_the_clients_internals(error: Exception, words: str) -> None:
    assert re.fullmatch(words, why(error))
    assert "ssl:default" not in why(error)


async def test_a_closed_stream_asks_the_action_and_hangs_up() -> None:
    async def answer(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            await socket.close()

    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.twiml = callee.connect(action="/twilio/stream-ended")
        callee.on_message = answer
        call = carrier.call()
        await call.start()
        over = await call.wait_until_over()
    assert (over.by, over.reason) == ("server", "<Hangup>")
    assert call.timeline.last(ActionRequested) is not None
    assert call.timeline.all(StreamClosed)[0].by == "server"
    assert callee.posts("/twilio/stream-ended")[0]["CallStatus"] == "in-progress"


async def test_refusals_say_why() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        callee.voice_status = 500
        with pytest.raises(CallFailedError, match="11200"):
            await carrier.call().start()
        callee.voice_status, callee.voice_type = 200, "application/json"
        with pytest.raises(CallFailedError, match="12300"):
            await carrier.call().start()
        callee.voice_type = "text/xml"
        callee.twiml = f'<Response><Connect><Stream url="{callee.stream_url}?a=1"/></Connect></Response>'
        with pytest.raises(CallFailedError, match="31920"):
            await carrier.call().start()
        callee.twiml = '<Response><Reject reason="busy"/></Response>'
        call = carrier.call()
        with pytest.raises(CallFailedError, match="busy"):
            await call.start()
        assert call.status == "busy"


async def test_forged_requests_are_what_a_checking_server_refuses() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        with pytest.raises(CallFailedError, match="403"):
            await carrier.call(faults=CarrierFaults(forged_webhook=True)).start()
        with pytest.raises(CallFailedError):
            await carrier.call(faults=CarrierFaults(forged_upgrade=True)).start()
    assert callee.refused[0] == "/twilio/voice"
    assert "/twilio/stream" in callee.refused


async def test_faults_of_the_network() -> None:
    async with Callee() as callee, carrier_to(callee) as carrier:
        call = carrier.call(faults=CarrierFaults(no_stop=True, drop_every=5, duplicate_status=True))
        await call.start()
        await call.speak(LOUD[:3200])
        await call.hang_up()
        chunks = [int(frame["media"]["chunk"]) for frame in callee.of("media")]
        assert chunks
        assert not [chunk for chunk in chunks if chunk % 5 == 0]
        assert not callee.of("stop")
        assert len(callee.posts("/twilio/status")) == 2
        callee.messages.clear()
        stalled = carrier.call(faults=CarrierFaults(stall_after_ms=100))
        await stalled.start()
        await asyncio.sleep(0.4)
        assert len(callee.of("media")) == 5
        await stalled.hang_up()


async def test_hang_up_and_redirect_over_rest_reach_the_call() -> None:
    async with SandboxServer() as sandbox, Callee() as callee, carrier_to(callee, sandbox.url) as carrier:
        client = Client(ACCOUNT, TOKEN, http_client=AsyncTwilioHttpClient())
        client.api.base_url = sandbox.url
        try:
            first = carrier.call()
            await first.start()
            assert (await client.calls(first.call_sid).fetch_async()).status == "in-progress"
            recording = await client.calls(first.call_sid).recordings.create_async(recording_channels="dual")
            await client.calls(first.call_sid).update_async(status="completed")
            over = await first.wait_until_over()
            assert (over.by, over.reason) == ("server", "REST Status=completed")
            ended = await client.calls(first.call_sid).fetch_async()
            assert (ended.status, ended.duration) == ("completed", "0")
            assert (await client.recordings(recording.sid).fetch_async()).status == "completed"
            with pytest.raises(TwilioRestException) as again:
                await client.calls(first.call_sid).update_async(status="completed")
            assert (again.value.status, again.value.code) == (400, 21220)
            with pytest.raises(TwilioRestException) as unknown:
                await client.calls("CA" + "0" * 32).update_async(status="completed")
            assert (unknown.value.status, unknown.value.code) == (404, 20404)

            second = carrier.call()
            await second.start()
            document = "<Response><Say>One moment.</Say><Dial><Number>+14155550199</Number></Dial></Response>"
            await client.calls(second.call_sid).update_async(twiml=document)
            await second.wait_until_over()
            assert second.timeline.all(Updated)[0].what == "twiml"
            assert second.timeline.all(Said)[0].text == "One moment."
            assert second.timeline.all(Dialed)[0].number == "+14155550199"
            assert callee.messages[-1]["event"] == "stop"
            with pytest.raises(TwilioRestException) as relative:
                third = carrier.call()
                await third.start()
                await client.calls(third.call_sid).update_async(twiml='<Response><Dial action="/x">1</Dial></Response>')
            assert relative.value.code == 15004
        finally:
            await client.http_client.session.close()


async def test_outbound_calls_are_answered_by_a_carrier_that_takes_them() -> None:
    async with (
        SandboxServer() as sandbox,
        Callee() as callee,
        carrier_to(callee, sandbox.url, takes_outbound=True) as carrier,
    ):
        await asyncio.sleep(0.05)
        client = Client(ACCOUNT, TOKEN, http_client=AsyncTwilioHttpClient())
        client.api.base_url = sandbox.url
        try:
            created = await client.calls.create_async(
                to="+14155550100",
                from_="+15005550006",
                url=callee.url + "/twilio/voice",
                status_callback=callee.url + "/leg",
                status_callback_event=["initiated", "ringing", "answered", "completed"],
            )
            assert created.status == "queued"
            call = await asyncio.wait_for(carrier.incoming.get(), 5)
            assert call.call_sid == created.sid
            await call.wait_for(StreamOpened, timeout_s=5)
            await call.hang_up()
        finally:
            await client.http_client.session.close()
    assert callee.posts("/twilio/voice")[0]["Direction"] == "outbound-api"
    statuses = [(post["CallStatus"], post["SequenceNumber"]) for post in callee.posts("/leg")]
    assert statuses == [("initiated", "0"), ("ringing", "1"), ("in-progress", "2"), ("completed", "3")]
    assert call.timeline.all(HungUp)[0].by == "caller"

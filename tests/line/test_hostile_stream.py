"""The media stream's socket in the hands of somebody who is not the carrier, or of a carrier that has gone mad.

Every case says what is recorded of it: the close code, the counter, the end reason.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from asgiref.sync import sync_to_async
from django.db import connections

from calls.models import Agent, Call
from tests.line.conftest import ACCOUNT, Line, make_agent, open_line, policy, speech
from tests.line.hostile import (
    MEDIA_FORMAT,
    TOKEN,
    Counts,
    Wire,
    answered,
    ended,
    events_of,
    eventually,
    exchange,
    keyed,
    listening,
    quick,
    sid,
    small_talk,
    wire,
)
from tests.line.mutations import mutants
from voiceagent.asgi import application
from voiceagent.sandbox.carrier import CarrierFaults, ProtocolFault
from voiceagent.sandbox.carrier.signing import signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.conf import CallsConf


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="", policy=policy(playback_slack_ms=300, dtmf_pause_ms=300, hangup_grace_ms=500))


@pytest.fixture
async def evil(line: Line) -> AsyncIterator[Wire]:
    """Sockets to the line."""
    quick(line)
    small_talk(line)
    async with wire(line) as made:
        yield made


@pytest.fixture
async def impatient(
    agent: Agent, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Any
) -> AsyncIterator[Wire]:
    """Sockets to a line whose deadlines are short."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    conf = replace(calls_conf, twilio=replace(calls_conf.twilio, token_ttl_s=1))
    async with AsyncExitStack() as stack:
        line = await open_line(stack, conf, unused_tcp_port, start_deadline_ms=400, media_silence_ms=500)
        quick(line)
        yield await stack.enter_async_context(wire(line))
    await sync_to_async(connections.close_all)()


# --- the upgrade ---------------------------------------------------------------------------------------------------


async def test_only_a_signed_upgrade_is_accepted(evil: Wire) -> None:
    refused = Counts("streams_refused", "why")
    public = evil.line.url.replace("http", "ws", 1) + "/twilio/stream"
    for signed, signed_url in (
        (None, ""),
        ("forged", ""),
        (TOKEN, evil.line.url + "/twilio/stream"),  # as if it were a webhook
        (TOKEN, public + "?a=b"),
    ):
        for path in ("/twilio/stream", "/twilio/stream/"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as failed:
                await evil.open(path, signed, signed_url)
            assert failed.value.status == 403
    assert refused.moved() == {"signature_missing": 2, "signature_mismatch": 6}
    with pytest.raises(aiohttp.WSServerHandshakeError) as lost:
        await evil.open("/twilio/elsewhere")
    assert lost.value.status == 403


async def test_the_path_may_end_in_a_slash_and_the_signature_may_not_know(evil: Wire) -> None:
    public = evil.line.url.replace("http", "ws", 1) + "/twilio/stream"
    for path, signed_url in (
        ("/twilio/stream/", public),
        ("/twilio/stream/", public + "/"),
        ("/twilio/stream", public + "/"),
    ):
        call_sid = sid()
        token = await evil.ring(call_sid)
        raw = await evil.open(path, signed_url=signed_url)
        await raw.begin(call_sid, token)
        await eventually(lambda call_sid=call_sid: call_sid in evil.line.runtime.registry.live)
        await raw.stop()
        assert (await ended(evil.line, call_sid)).end_reason == "caller_hung_up"


# --- the start -----------------------------------------------------------------------------------------------------


async def test_a_start_that_shows_no_good_ticket_is_closed_with_its_reason(evil: Wire) -> None:
    refused = Counts("streams_refused", "why")
    ours, other = sid(), sid()
    spent, fresh, others = await evil.ring(ours), await evil.ring(ours), await evil.ring(other)
    first = await evil.open()
    await first.begin(ours, spent)
    await eventually(lambda: ours in evil.line.runtime.registry.live)
    cases: list[tuple[str, str, str | None, dict[str, Any], int]] = [
        ("replayed", ours, spent, {}, 4401),
        ("unknown", sid(), "made-up", {}, 4401),
        ("none", sid(), None, {}, 4401),
        ("no parameters", sid(), None, {"customParameters": None}, 4401),
        ("empty", sid(), "", {}, 4401),
        ("overlong", sid(), "A" * 5000, {}, 4401),
        ("key of something else", sid(), "../calls:live", {}, 4401),
        ("odd", sid(), "\u0000\ud7ff*", {}, 4401),
        ("of another call", sid(), others, {}, 4403),
        ("of another call, spent by the attempt", other, others, {}, 4401),
        ("second stream", ours, fresh, {}, 4409),
    ]
    for name, call_sid, token, start, code in cases:
        raw = await evil.open()
        await raw.begin(call_sid, token, **start)
        assert await raw.closed() == code, name
    for changed in ({"encoding": "audio/l16"}, {"sampleRate": 16000}, {"channels": 2}, {"sampleRate": "44100"}):
        call_sid = sid()
        raw = await evil.open()
        await raw.begin(call_sid, await evil.ring(call_sid), mediaFormat={**MEDIA_FORMAT, **changed})
        assert await raw.closed() == 4415, changed
    assert refused.moved() == {"bad_ticket": 9, "wrong_call": 1, "already_streaming": 1, "wrong_format": 4}
    # The first stream never noticed.
    assert list(evil.line.runtime.registry.live) == [ours]
    await first.stop()
    done = await ended(evil.line, ours)
    assert done.end_reason == "caller_hung_up"
    # A call that is over does not begin again: its record is complete.
    again = await evil.open()
    await again.begin(ours, await evil.ring(ours))
    assert await again.closed() == 4410


async def test_a_wrong_first_message_is_closed_and_noise_before_the_start_is_not(evil: Wire) -> None:
    refused = Counts("streams_refused", "why")
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    for firsts in ([None], [connected, None], [connected, connected]):
        raw = await evil.open()
        for message in firsts:
            await raw.say(raw.media() if message is None else message)
        assert await raw.closed() == 4400
    for name in ("mark", "dtmf", "stop"):
        raw = await evil.open()
        await raw.say({"event": name, "streamSid": "MZ1", "mark": {"name": "x"}, "dtmf": {"digit": "1"}, "stop": {}})
        assert await raw.closed() == 4400, name
    assert refused.moved() == {"wrong_first_message": 6}
    bad = Counts("stream_messages_bad", "cause")
    call_sid = sid()
    raw = await evil.open()
    for text in (
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"event":5}',
        '{"event":"start"}',
        '{"event":"start","start":7}',
        '{"event":"fax"}',
    ):
        await raw.text(text)
    await raw.begin(call_sid, await evil.ring(call_sid))
    await eventually(lambda: call_sid in evil.line.runtime.registry.live)
    assert bad.moved() == {
        "not_json": 2,
        "not_an_object": 3,
        "no_event": 1,
        "missing_field": 1,
        "wrong_type": 1,
        "unknown_event": 1,
    }
    await raw.stop()
    await ended(evil.line, call_sid)


async def test_deadlines_hold_a_missing_start_an_old_ticket_and_a_silent_stream(impatient: Wire) -> None:
    refused = Counts("streams_refused", "why")
    call_sid, late = sid(), sid()
    old = await impatient.ring(late)

    async def never(*messages: Any) -> int:
        raw = await impatient.open()
        for message in messages:
            await raw.say(message)
        return await raw.closed(2)

    async def chatters() -> int:
        """Unknown events are ignored, but they do not count as a start."""
        raw = await impatient.open()
        reading = asyncio.create_task(raw.closed(2))
        while not reading.done():
            await raw.say({"event": "weather", "streamSid": "MZ1"})
            await asyncio.sleep(0.05)
        return reading.result()

    async def falls_silent() -> None:
        raw = await impatient.stream(call_sid)
        for _ in range(20):
            await raw.say(raw.media())
            await asyncio.sleep(0.02)
        reading = asyncio.create_task(raw.read())
        done = await ended(impatient.line, call_sid, 5)
        assert done.end_reason == "media_silent"
        assert 800 <= (done.duration_ms or 0) < 2500
        assert await asyncio.wait_for(reading, 2) == 1000

    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    codes = await asyncio.gather(never(), never(connected), chatters(), falls_silent())
    assert codes[:3] == [4408, 4408, 4408]
    await asyncio.sleep(0.4)
    raw = await impatient.open()
    await raw.begin(late, old)
    assert await raw.closed() == 4401
    assert refused.moved() == {"no_start": 3, "bad_ticket": 1}


async def test_a_carrier_that_stalls_has_lost_the_call(impatient: Wire) -> None:
    phone = impatient.line.call(faults=CarrierFaults(stall_after_ms=300))
    await phone.start()
    over = await phone.wait_until_over(5)
    assert over.by == "server"
    assert (await impatient.line.archived_call(phone)).end_reason == "media_silent"


# --- during the call -----------------------------------------------------------------------------------------------


async def test_what_cannot_be_used_is_counted_and_the_call_goes_on(evil: Wire) -> None:
    raw = await evil.stream()
    bad, stale = Counts("stream_messages_bad", "cause"), Counts("stale_events_dropped", "event")
    await raw.frame(b"\x00\x01\x02", WSMsgType.BINARY)
    for payload in ("!", "####", "AAA", "\u00e9" * 8, "QUJD\n", " QUJD"):
        await raw.say(raw.media(payload=payload))
    for number in ("-1", "", "1.5", "9" * 19, "0x10", None, -5, 1.5, [], "NaN", True):
        await raw.say(raw.media(timestamp=number))
    await raw.say(raw.media(streamSid="MZ" + "0" * 32))
    await raw.say(raw.media(track="outbound"))
    for name in ("t1.e1.p1", "t999999999.e999999999.p999999999", "t0.e0.p0"):
        await raw.say({"event": "mark", "streamSid": raw.stream_sid, "mark": {"name": name}})
    for name in ("", "x" * 5000, "t1.e1", "t1.e1.p" + "9" * 10, "t\u0661.e1.p1"):
        await raw.say({"event": "mark", "streamSid": raw.stream_sid, "mark": {"name": name}})
    for digit in ("", "12", "X", "\u0661", None):
        await raw.say({"event": "dtmf", "streamSid": raw.stream_sid, "dtmf": {"digit": digit}})
    await raw.begin(raw.call_sid, "again")
    await raw.say({"event": "stop", "streamSid": "MZ1", "stop": {}})
    await raw.say({"event": "weather", "streamSid": raw.stream_sid})
    await raw.text("x" * 65000)
    await eventually(lambda: bad.moved().get("not_json") == 1)
    assert bad.moved() == {
        "binary": 1, "not_base64": 6, "not_a_number": 6, "wrong_type": 4, "missing_field": 2, "wrong_stream": 3,
        "foreign_mark": 5, "bad_digit": 4, "out_of_place": 2, "unknown_event": 1, "not_json": 1,
    }  # fmt: skip
    await raw.stop()
    done = await ended(evil.line, raw.call_sid)
    assert done.end_reason == "caller_hung_up"
    assert stale.moved() == {"MarkReturned": 3}
    assert len(await events_of(done, "MarkReturned")) == 3


async def test_too_much_of_it_ends_the_call_as_a_protocol_error(evil: Wire) -> None:
    raw, refused = await evil.stream(), Counts("streams_refused", "why")
    for _ in range(101):
        await raw.say(raw.media(payload="?"))
    assert await raw.closed() == 4422
    assert (await ended(evil.line, raw.call_sid)).end_reason == "protocol_error"
    assert refused.moved() == {"too_many_bad_messages": 1}


async def test_the_close_is_not_lost_where_a_reply_is_cleared_with_it(evil: Wire) -> None:
    raw = await evil.stream()
    reading = asyncio.create_task(raw.closed())
    await raw.say({"event": "dtmf", "streamSid": raw.stream_sid, "dtmf": {"digit": "#"}})
    await eventually(lambda: any(message["event"] == "media" for message in raw.heard))
    for _ in range(101):
        await raw.say(raw.media(payload="?"))
    assert await reading == 4422
    assert raw.heard[-1]["event"] != "clear"
    done = await ended(evil.line, raw.call_sid)
    assert (done.end_reason, len(await events_of(done, "Clear"))) == ("protocol_error", 1)


async def test_a_megabyte_in_one_message_costs_only_its_own_call(evil: Wire) -> None:
    other = await answered(evil.line)
    raw = await evil.stream()
    await raw.say(raw.media(payload=base64.b64encode(bytes(1 << 20)).decode()))
    assert await raw.closed() == 1009
    assert (await ended(evil.line, raw.call_sid)).end_reason == "stream_lost"
    await exchange(other, speech(600))
    await other.hang_up()
    assert (await evil.line.archived_call(other)).end_reason == "caller_hung_up"


async def test_frames_that_break_the_socket_protocol_lose_the_stream(evil: Wire) -> None:
    calls = [await evil.stream() for _ in range(3)]
    await calls[0].frame(b"\xff\xfe", WSMsgType.TEXT)
    await calls[1].frame(b"x", WSMsgType.CONTINUATION)
    await calls[2].cut()
    assert await calls[0].closed() == 1007
    assert await calls[1].closed() == 1002
    for raw in calls:
        assert (await ended(evil.line, raw.call_sid)).end_reason == "stream_lost"
    assert not evil.line.runtime.registry.live


async def test_a_socket_that_closes_without_a_stop_is_a_lost_stream(evil: Wire) -> None:
    raw = await evil.stream()
    await raw.socket.close()
    assert (await ended(evil.line, raw.call_sid)).end_reason == "stream_lost"
    phone = evil.line.call(faults=CarrierFaults(no_stop=True))
    await phone.start()
    await phone.hang_up()
    assert (await evil.line.archived_call(phone)).end_reason == "stream_lost"


async def test_a_socket_that_the_server_gives_up_is_a_lost_stream(evil: Wire) -> None:
    """An ASGI server may cancel the application, or raise where it should have reported a disconnect."""
    for failure in (asyncio.CancelledError(), ConnectionResetError()):
        call_sid = sid()
        token = await evil.ring(call_sid)
        url = evil.line.url.replace("http", "ws", 1) + "/twilio/stream"
        headers = [(b"x-twilio-signature", signature(url, {}, TOKEN).encode())]
        inbox: asyncio.Queue[Any] = asyncio.Queue()

        async def receive(inbox: asyncio.Queue[Any] = inbox) -> Any:
            message = await inbox.get()
            if isinstance(message, BaseException):
                raise message
            return message

        async def send(_message: Any) -> None:
            """Nobody reads."""

        scope = {"type": "websocket", "path": "/twilio/stream", "headers": headers, "query_string": b""}
        serving = asyncio.create_task(application(scope, receive, send))
        start = {"streamSid": "MZ1", "callSid": call_sid, "accountSid": ACCOUNT, "mediaFormat": MEDIA_FORMAT}
        first = {"event": "start", "streamSid": "MZ1", "start": {**start, "customParameters": {"token": token}}}
        inbox.put_nowait({"type": "websocket.connect"})
        inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(first)})
        await eventually(lambda call_sid=call_sid: call_sid in evil.line.runtime.registry.live)
        inbox.put_nowait(failure)
        await asyncio.wait([serving])
        assert (await ended(evil.line, call_sid)).end_reason == "stream_lost"


async def test_what_follows_the_stop_changes_nothing(evil: Wire) -> None:
    raw = await evil.stream()
    await raw.say(raw.media())
    await raw.stop()
    for _ in range(50):
        await raw.say(raw.media(payload=base64.b64encode(speech(20)).decode()))
        await raw.say({"event": "dtmf", "streamSid": raw.stream_sid, "dtmf": {"digit": "5"}})
    await raw.stop()
    assert await raw.closed() == 1000
    done = await ended(evil.line, raw.call_sid)
    assert done.end_reason == "caller_hung_up"
    assert [gone["how"] for gone in await events_of(done, "CarrierGone")] == ["stop"]
    assert done.turn_count == 0


async def test_timestamps_from_another_world_harm_neither_the_call_nor_its_recording(evil: Wire) -> None:
    async def talks(first: str) -> None:
        raw = await evil.stream()
        await listening(evil.line, raw.call_sid)
        reading = asyncio.create_task(raw.read())
        audio = speech(600) + b"\xff" * 12000
        stamps = [first, "99999999999999999", "59000", "118000", "177000", "0", "86400000"]
        for at in range(0, len(audio), 160):
            stamp = stamps[at // 160] if at // 160 < len(stamps) else str(at // 8)
            await raw.say(raw.media(payload=base64.b64encode(audio[at : at + 160]).decode(), timestamp=stamp))
            await asyncio.sleep(0.02)
        await eventually(lambda: any(message["event"] == "media" for message in raw.heard))
        await raw.stop()
        await reading
        done = await ended(evil.line, raw.call_sid)
        assert (done.end_reason, done.error_count) == ("caller_hung_up", 0), first
        turn = await done.turns.aget(kind="answer")
        assert turn.user_text == "How are you?"
        recording = (await Call.objects.select_related("recording").aget(pk=done.pk)).recording
        assert 1500 < recording.duration_ms < (done.duration_ms or 0) + 6000, first

    await asyncio.gather(*(talks(first) for first in ("0", "86400000", "99999999999999999")))


async def test_speech_of_many_seconds_in_the_first_message_can_be_archived(evil: Wire) -> None:
    raw = await evil.stream()
    await raw.say(raw.media(payload=base64.b64encode(speech(1400) * 4 + b"\xff" * 160).decode()))
    await raw.say(raw.media(payload=base64.b64encode(b"\xff" * 8000).decode(), timestamp="0"))
    await asyncio.sleep(0.3)
    await raw.stop()
    done = await ended(evil.line, raw.call_sid)
    assert done.end_reason == "caller_hung_up"
    assert await events_of(done, "SpeechStarted")


async def test_marks_that_never_come_back_do_not_hold_up_the_call(evil: Wire, agent: Agent) -> None:
    agent.policy = policy(playback_slack_ms=300, first_token_ms=1500, first_audio_ms=1500)
    await agent.asave()
    phone = await answered(evil.line, faults=CarrierFaults(late_marks_ms=60_000))
    for _ in range(2):
        await keyed(phone)
        await asyncio.sleep(0.8)
    await phone.hang_up()
    row = await evil.line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert [(turn.outcome, turn.heard_text) for turn in turns] == [("answered", "Fine, thank you.")] * 2
    assert not await events_of(row, "MarkReturned")


async def test_five_hundred_keys_are_one_turn_of_bounded_length(evil: Wire) -> None:
    raw = await evil.stream()
    for number in range(500):
        await raw.say({"event": "dtmf", "streamSid": raw.stream_sid, "dtmf": {"digit": str(number % 10)}})
    await evil.line.model.wait_for("openai.chat")
    await raw.stop()
    done = await ended(evil.line, raw.call_sid)
    assert done.end_reason == "caller_hung_up"
    turns = [turn async for turn in done.turns.all()]
    assert len(turns) == 1
    assert turns[0].user_text.startswith("(pressed on the keypad: 0123456789")


async def test_a_flood_of_tiny_messages_ends_its_call_and_no_other(evil: Wire) -> None:
    """More keys than a mailbox holds. Whether it overflows depends on how the system hands them over; either is an end."""
    other = await answered(evil.line)
    raw = await evil.stream()
    for _ in range(6_000):
        await raw.say({"event": "dtmf", "streamSid": raw.stream_sid, "dtmf": {"digit": "1"}})
    await raw.stop()
    done = await ended(evil.line, raw.call_sid, 20)
    assert done.end_reason in ("overload", "caller_hung_up")
    await exchange(other, speech(600))
    await other.hang_up()
    assert (await evil.line.archived_call(other)).end_reason == "caller_hung_up"
    assert not evil.line.runtime.registry.live


# --- everything at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_thousands_of_random_messages_leave_the_other_call_alone(evil: Wire, count: int) -> None:
    """Valid messages, mutated ones and noise, on sockets that are replaced when the server has had enough of them."""
    chance = random.Random(1)
    line, bad, refused = evil.line, Counts("stream_messages_bad", "cause"), Counts("streams_refused", "why")
    other = await answered(line)
    line.carrier.pacer.worst_late_ms = 0.0
    sids: list[str] = []
    sent = 0

    async def rampage() -> None:
        nonlocal sent
        while sent < count:
            raw = await evil.stream()
            sids.append(raw.call_sid)
            reading = asyncio.create_task(raw.read())
            for kind, data in mutants(chance, raw.stream_sid, raw.call_sid):
                if reading.done() or sent >= count:
                    break
                await raw.frame(data, kind)
                sent += 1
                if sent % 20 == 0:
                    await asyncio.sleep(0.006)  # no faster than it is read: all of them are to be judged
            await raw.socket.close()
            await reading

    raging = asyncio.create_task(rampage())
    waits_ms = []
    while not raging.done():
        waits_ms.append(await exchange(other, speech(600), timeout_s=20))
    await raging
    await other.hang_up()
    row = await line.archived_call(other)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert row.end_reason == "caller_hung_up"
    assert [turn.outcome for turn in turns] == ["answered"] * len(waits_ms)
    assert other.stream is not None
    assert other.stream.queue.underruns == 0
    assert not other.timeline.all(ProtocolFault)
    # Sender, carrier, stand-ins and archive share this loop and its core with the server: 130 ms where nothing else runs.
    assert line.carrier.pacer.worst_late_ms < 1000
    assert max(waits_ms) < 3000
    reasons = {(await ended(line, call_sid, 20)).end_reason for call_sid in sids}
    assert reasons <= {"protocol_error", "stream_lost", "caller_hung_up"}
    assert sum(bad.moved().values()) > count * 0.07
    assert set(refused.moved()) == {"too_many_bad_messages"}
    assert not line.runtime.registry.live
    assert (await evil.send("GET", "/healthz", {})).status == 200

"""The webhooks over a real socket, asked by everybody but the carrier, and by a carrier on a bad day."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from calls.models import Agent, Call
from tests.line.conftest import ACCOUNT, NUMBER, Line, line, make_agent, unused_tcp_port
from tests.line.hostile import TOKEN, Counts, Wire, counted, ended, eventually, sid, wire
from voiceagent.sandbox.carrier.signing import HEADER, signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["line", "unused_tcp_port"]  # fixtures of the line, which a conftest further down has

VOICE, STATUS = "/twilio/voice", "/twilio/status"


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="")


@pytest.fixture
async def http(line: Line) -> AsyncIterator[Wire]:
    """Requests to the line."""
    async with wire(line) as made:
        yield made


async def row(call_sid: str, **wanted: Any) -> Call:
    """A call's row once it has these values."""
    await rows(1, call_sid=call_sid, **wanted)
    return await Call.objects.aget(call_sid=call_sid)


async def rows(count: int, **wanted: Any) -> None:
    """Wait for so many rows with these values."""
    async with asyncio.timeout(5):
        while await Call.objects.filter(**wanted).acount() < count:  # noqa: ASYNC110 - written in a thread
            await asyncio.sleep(0.02)


# --- who asks ----------------------------------------------------------------------------------------------------


async def test_nobody_but_the_carrier_is_admitted(http: Wire) -> None:
    path = VOICE
    fields = http.fields(sid())
    url = http.line.url + path
    right = signature(url, fields, TOKEN)
    forged = {
        "none": {},
        "empty": {HEADER: ""},
        "of another token": {HEADER: signature(url, fields, "u" * 32)},
        "of another address": {HEADER: signature(url + "/", fields, TOKEN)},
        "of other fields": {HEADER: signature(url, {**fields, "From": "+15550009999"}, TOKEN)},
        "altered": {HEADER: ("B" if right[0] == "A" else "A") + right[1:]},
        "overlong": {HEADER: right * 40},
        "not ASCII": {HEADER: "\u00e9" * 28},
        "of an algorithm of its own": {HEADER: right, "X-Twilio-Webhooks-Signature-Settings": "key=x,algorithm=NONE"},
    }
    for name, headers in forged.items():
        answer = await http.send("POST", path, headers, data=fields)
        assert (answer.status, answer.text.startswith("the signature is")) == (403, True), name
    assert (await http.send("GET", path, {})).status == 403
    assert (await http.send("PUT", path, {HEADER: right}, data=fields)).status == 405
    assert not await Call.objects.aexists()
    assert not http.line.runtime.registry.live


async def test_every_address_of_the_carrier_asks_for_a_signature(http: Wire) -> None:
    fields = http.fields(sid(), CallStatus="completed")
    for path in (STATUS, "/twilio/stream-ended", "/twilio/stream-status", "/twilio/recording"):
        assert (await http.post(path, fields, token=None)).status == 403, path
        assert (await http.post(path, fields, token="forged")).status == 403, path
        assert (await http.send("GET", f"{path}?CallSid=CA1", {})).status == 403, path
    assert not await Call.objects.aexists()


async def test_a_signed_get_is_as_good_as_a_post(http: Wire) -> None:
    call_sid = sid()
    query = f"?CallSid={call_sid}&From=%2B15550001111&To=%2B15005550006&AccountSid={ACCOUNT}"
    headers = {HEADER: signature(http.line.url + VOICE + query, {}, TOKEN)}
    answer = await http.send("GET", VOICE + query, headers)
    assert answer.verbs == ["Connect", "Hangup"]
    assert (await row(call_sid)).to_number == NUMBER
    moved = await http.send("GET", VOICE + query.replace("1111", "2222"), headers)
    assert moved.status == 403


async def test_a_call_that_we_placed_has_its_agent_by_the_number_it_comes_from(http: Wire) -> None:
    placed = http.fields(sid(), Direction="outbound-api", From=NUMBER, To="+15550009999")
    assert (await http.post(VOICE, placed)).verbs == ["Connect", "Hangup"]


async def test_bodies_that_are_no_form_are_refused_and_reserve_nothing(http: Wire) -> None:
    url = http.line.url + VOICE
    signed = {HEADER: signature(url, {}, TOKEN)}
    body = json.dumps(http.fields(sid()))
    form = "application/x-www-form-urlencoded"
    cases: list[tuple[str, dict[str, str], str | bytes, int]] = [
        ("JSON, unsigned", {"Content-Type": "application/json"}, body, 403),
        ("JSON, address signed", {**signed, "Content-Type": "application/json"}, body, 400),
        ("3 MB form", {**signed, "Content-Type": form}, "CallSid=" + "A" * 3_000_000, 413),
        ("5,000 fields", {**signed, "Content-Type": form}, "&".join(f"f{n}=1" for n in range(5000)), 400),
        ("form in UTF-16", {**signed, "Content-Type": f"{form}; charset=utf-16"}, "CallSid=CA1", 400),
        ("form in no encoding", {**signed, "Content-Type": f"{form}; charset=nonsense"}, "CallSid=CA1", 403),
        ("bytes", {**signed, "Content-Type": form}, b"\xff\xfe\x00%%%&&&==%zz", 403),
        ("multipart, no boundary", {**signed, "Content-Type": "multipart/form-data"}, "x", 400),
        ("multipart, torn", {**signed, "Content-Type": "multipart/form-data; boundary=b"}, "--b\r\nContent-Di", 400),
    ]
    for name, headers, data, status in cases:
        answer = await http.send(
            "POST", VOICE, headers, data=io.BytesIO(data.encode() if isinstance(data, str) else data)
        )
        assert answer.status == status, name
    assert not await Call.objects.aexists()
    assert http.line.runtime.registry.reserve("another") is True


async def test_a_call_id_that_is_none_is_refused(http: Wire) -> None:
    for call_sid in ("", "A", "CA/../../etc/passwd", "CA 1", "C" * 65, "CA\u0661", "CA1\n"):
        answer = await http.post(VOICE, http.fields(call_sid))
        assert answer.status == 400, call_sid
        assert "CallSid" in answer.text
    fields = http.fields(sid())
    del fields["CallSid"]
    assert (await http.post(VOICE, fields)).status == 400
    assert not await Call.objects.aexists()


# --- what is answered --------------------------------------------------------------------------------------------


async def test_a_withheld_or_odd_caller_is_answered(http: Wire) -> None:
    odd = ("anonymous", "", "Restricted", "client:bob", "sip:a@b.example", "+\u0661\x00\ud7ff<&>", "1" * 900)
    for caller in odd:
        call_sid = sid()
        answer = await http.post(VOICE, http.fields(call_sid, From=caller))
        assert answer.verbs == ["Connect", "Hangup"], caller
        found = await row(call_sid)
        assert found.from_number == caller.replace("\x00", "\ufffd")[:255]


async def test_a_number_without_an_agent_gets_a_spoken_refusal_and_a_row(http: Wire) -> None:
    http.line.runtime.registry.max_calls = 1
    refused = Counts("calls_refused", "why")
    nobodys = ("+15005559999", "", "anonymous", "sip:x@y.example", "+1500555000\x006", NUMBER + "\n")
    for called in nobodys:
        call_sid = sid()
        answer = await http.post(VOICE, http.fields(call_sid, To=called))
        assert (answer.status, answer.content_type) == (200, "text/xml")
        assert answer.verbs == ["Say", "Hangup"], called
        assert "this number is not in service" in answer.text
        assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "no_agent"
    assert refused.moved() == {"no_agent": len(nobodys)}
    assert http.line.runtime.registry.reserve("another")


async def test_the_same_call_rung_again_keeps_one_row_one_slot_and_one_session(http: Wire) -> None:
    registry = http.line.runtime.registry
    registry.max_calls = 1
    call_sid, duplicates = sid(), Counts("streams_refused", "why")
    first, second = await asyncio.gather(http.ring(call_sid), http.ring(call_sid))
    assert first != second
    begun = await http.open()
    await begun.begin(call_sid, first)
    await eventually(lambda: call_sid in registry.live)
    late = await http.open()
    await late.begin(call_sid, second)
    assert await late.closed() == 4409
    assert duplicates.moved() == {"already_streaming": 1}
    # Once more, while the call is up: it must not take a second slot, and none when the call is over.
    await http.ring(call_sid)
    await begun.stop()
    await ended(http.line, call_sid)
    await eventually(lambda: not registry.live)
    assert await Call.objects.filter(call_sid=call_sid).acount() == 1
    assert (await http.post(VOICE, http.fields(sid()))).verbs == ["Connect", "Hangup"]


async def test_two_calls_at_one_free_slot_get_one_stream_and_one_busy(http: Wire) -> None:
    http.line.runtime.registry.max_calls = 1
    sids, refused = [sid(), sid()], Counts("calls_refused", "why")
    answers = await asyncio.gather(*(http.post(VOICE, http.fields(call_sid)) for call_sid in sids))
    assert sorted(answer.verbs[0] for answer in answers) == ["Connect", "Reject"]
    busy = next(answer for answer in answers if answer.verbs == ["Reject"])
    assert re.search(r'reason="busy"', busy.text)
    loser = sids[answers.index(busy)]
    assert (await row(loser, status=Call.Status.ENDED)).end_reason == "overload"
    assert refused.moved() == {"overload": 1}
    # Who gave up before the stream frees the slot.
    winner = sids[1 - answers.index(busy)]
    assert (await http.post(STATUS, http.fields(winner, CallStatus="completed", SequenceNumber="1"))).status == 204
    assert (await http.post(VOICE, http.fields(sid()))).verbs == ["Connect", "Hangup"]
    assert (await row(winner, status=Call.Status.ENDED)).end_reason == "not_connected"


async def test_a_stream_whose_slot_was_given_away_is_refused_and_leaves_nothing(http: Wire) -> None:
    registry = http.line.runtime.registry
    registry.max_calls = 1
    loser, winner, refused = sid(), sid(), Counts("streams_refused", "why")
    token = await http.ring(loser)
    await http.post(STATUS, http.fields(loser, CallStatus="completed"))
    kept = await http.stream(winner)
    late = await http.open()
    await late.begin(loser, token)
    assert await late.closed() == 4429
    assert refused.moved() == {"no_slot": 1}
    assert list(registry.live) == [winner]
    await kept.stop()
    assert (await ended(http.line, winner)).end_reason == "caller_hung_up"
    # No log was opened for it: one that nobody closes would report the call as alive for ever.
    assert await http.line.runtime.redis.zscore("calls:live", loser) is None
    assert not await http.line.runtime.redis.exists(f"call:{loser}:meta")


async def test_a_draining_process_takes_no_new_call(http: Wire) -> None:
    http.line.runtime.registry.draining = True
    call_sid, refused = sid(), Counts("calls_refused", "why")
    assert (await http.post(VOICE, http.fields(call_sid))).verbs == ["Reject"]
    assert (await row(call_sid, status=Call.Status.ENDED)).end_reason == "drain"
    assert refused.moved() == {"drain": 1}


# --- what the carrier tells ----------------------------------------------------------------------------------------


async def test_status_callbacks_twice_and_out_of_order_leave_the_latest(http: Wire) -> None:
    call_sid = sid()

    async def tell(status: str, number: int, **more: str) -> None:
        fields = http.fields(call_sid, CallStatus=status, SequenceNumber=str(number), **more)
        assert (await http.post(STATUS, fields)).status == 204

    await tell("in-progress", 2)
    await row(call_sid, carrier_status="in-progress")
    await tell("ringing", 1)
    await tell("completed", 3, CallDuration="17", SipResponseCode="200")
    await row(call_sid, carrier_status="completed")
    await asyncio.gather(tell("completed", 3, CallDuration="99"), tell("initiated", 0), tell("failed", 9))
    for odd in ("", "exploded", "completed\x00"):
        await tell(odd, 4)
    await asyncio.sleep(0.2)
    found = await row(call_sid)
    assert (found.carrier_status, found.carrier_sequence, found.carrier_duration_s) == ("completed", 3, 17)
    assert (found.status, found.end_reason) == (Call.Status.ENDED, "not_connected")
    assert await Call.objects.acount() == 1


async def test_odd_status_callbacks_are_taken_and_change_nothing(http: Wire) -> None:
    for changes in (
        {"CallSid": ""},
        {"CallSid": "../x", "CallStatus": "completed"},
        {"CallStatus": "completed", "SequenceNumber": "-1", "CallDuration": "1e9", "Timestamp": "yesterday"},
        {"CallStatus": "completed", "SequenceNumber": "9" * 40, "CallDuration": "\u0663", "SipResponseCode": "200 OK"},
    ):
        assert (await http.post(STATUS, http.fields(sid(), **changes))).status == 204, changes
    await rows(2, carrier_status="completed")
    assert await Call.objects.acount() == 2
    assert [call async for call in Call.objects.exclude(carrier_duration_s=None)] == []


async def test_the_other_callbacks_are_answered_and_change_nothing(http: Wire) -> None:
    call_sid = sid()
    ended_answer = await http.post("/twilio/stream-ended", http.fields(call_sid))
    assert ended_answer.verbs == ["Hangup"]
    for event in ("stream-started", "stream-stopped", "stream-error", "stream-mystery", "\x1b[2J"):
        fields = {"CallSid": call_sid, "StreamSid": "MZ1", "StreamEvent": event, "StreamError": "31920\n{}"}
        assert (await http.post("/twilio/stream-status", fields)).status == 204
    for state in ("completed", "absent", ""):
        fields = {"CallSid": call_sid, "RecordingSid": "RE1", "RecordingStatus": state, "RecordingUrl": "http://x"}
        assert (await http.post("/twilio/recording", fields)).status == 204
    assert not await Call.objects.aexists()


# --- PostgreSQL is away --------------------------------------------------------------------------------------------


@asynccontextmanager
async def database_at(port: int) -> AsyncIterator[None]:
    """New connections go to this port of the loopback interface."""
    where = connections["default"].settings_dict
    await sync_to_async(connections.close_all)()
    before = where["PORT"]
    where["PORT"] = str(port)
    try:
        yield
    finally:
        where["PORT"] = before


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_without_the_database_a_known_agent_still_answers(http: Wire, agent: Agent, how: str) -> None:
    known = sid()
    await http.ring(known)
    await row(known)
    refused = Counts("calls_refused", "why")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if how == "hangs":
            silent.listen(50)
        async with database_at(silent.getsockname()[1]):
            call_sid = sid()
            async with asyncio.timeout(5):
                stream = await http.stream(call_sid)
            async with asyncio.timeout(5):
                unknown = await http.post(VOICE, http.fields(sid(), To="+15005551234"))
            assert unknown.verbs == ["Say", "Hangup"]
            assert "try again in a few minutes" in unknown.text
            assert refused.moved() == {"no_database": 1}
            await stream.say(stream.media())
    await stream.stop()
    done = await ended(http.line, call_sid)
    assert (done.end_reason, done.agent_version_id) == ("caller_hung_up", (await row(known)).agent_version_id)


async def test_what_is_counted_stands_in_the_metrics(http: Wire) -> None:
    before = counted("calls_refused", why="no_agent")
    await http.post(VOICE, http.fields(sid(), To="+15005559999"))
    page = (await http.send("GET", "/metrics", {})).text
    assert f'calls_refused_total{{why="no_agent"}} {before + 1}' in page

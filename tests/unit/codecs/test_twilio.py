"""Every message of the media stream as the carrier writes it, and everything it should never write."""

import base64
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.codecs import twilio
from calls.codecs.twilio import BadMessage

SID = "MZ0123456789abcdef0123456789abcdef"
AUDIO = bytes(range(160))
PAYLOAD = base64.b64encode(AUDIO).decode()

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = (
    '{"event":"start","sequenceNumber":"1","streamSid":"MZ0123456789abcdef0123456789abcdef",'
    '"start":{"accountSid":"AC1","streamSid":"MZ0123456789abcdef0123456789abcdef","callSid":"CA1",'
    '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
    '"customParameters":{"token":"opaque-per-call","line_id":"42"}}}'
)
DTMF = '{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"1"}}'
MARK = '{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"turn-7-end"}}'
STOP = '{"event":"stop","sequenceNumber":"57","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}'


def media(**changes: Any) -> dict[str, Any]:
    body = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": PAYLOAD} | changes
    return {
        "event": "media",
        "sequenceNumber": "3",
        "streamSid": SID,
        "media": {key: value for key, value in body.items() if value is not ...},
    }


def test_connected() -> None:
    assert twilio.decode(CONNECTED) == twilio.Connected("Call", "1.0.0")


def test_start() -> None:
    start = twilio.decode(START)
    assert isinstance(start, twilio.Start)
    assert start.is_phone_audio
    assert start == twilio.Start(
        stream_sid=SID,
        call_sid="CA1",
        account_sid="AC1",
        encoding="audio/x-mulaw",
        sample_rate=8000,
        channels=1,
        tracks=("inbound",),
        parameters={"token": "opaque-per-call", "line_id": "42"},
    )


def test_start_without_parameters_or_tracks_is_a_start() -> None:
    data = json.loads(START)
    del data["start"]["customParameters"], data["start"]["tracks"]
    start = twilio.decode(json.dumps(data))
    assert isinstance(start, twilio.Start)
    assert (start.parameters, start.tracks) == ({}, ())


def test_start_with_other_audio_says_so() -> None:
    start = twilio.decode(START.replace("8000", "16000"))
    assert isinstance(start, twilio.Start)
    assert not start.is_phone_audio


def test_media_strings_become_numbers_and_bytes() -> None:
    assert twilio.decode(json.dumps(media())) == twilio.Media(SID, 1, 5, AUDIO, "inbound")


def test_media_in_bytes_is_the_same() -> None:
    assert twilio.decode(json.dumps(media()).encode()) == twilio.Media(SID, 1, 5, AUDIO, "inbound")


def test_media_of_any_length_numbers_as_numbers_and_no_track() -> None:
    message = twilio.decode(json.dumps(media(chunk=7, timestamp=140, payload="/w==", track=...)))
    assert message == twilio.Media(SID, 7, 140, b"\xff", "")


def test_dtmf_mark_stop() -> None:
    assert twilio.decode(DTMF) == twilio.Dtmf("MZ1", "1")
    assert twilio.decode(MARK) == twilio.Mark("MZ1", "turn-7-end")
    assert twilio.decode(STOP) == twilio.Stop("MZ1", "CA1")
    assert twilio.decode('{"event":"stop","streamSid":"MZ1"}') == twilio.Stop("MZ1", "")


def test_an_event_of_the_future_is_unknown_not_wrong() -> None:
    assert twilio.decode('{"event":"transcription","streamSid":7}') == twilio.Unknown("transcription")


def start_with(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(START)
    data["start"] |= changes
    return data


BAD: list[tuple[str | bytes, str, str]] = [
    ("", "not_json", ""),
    ("{", "not_json", ""),
    (b"\xff\xfe", "not_json", ""),
    ("[1]", "not_an_object", ""),
    ('"media"', "not_an_object", ""),
    ("{}", "no_event", ""),
    ('{"event":7}', "no_event", ""),
    ('{"event":"media"}', "missing_field", "media"),
    ('{"event":"media","media":[]}', "wrong_type", "media"),
    (json.dumps(media(payload="not base64!")), "not_base64", "payload"),
    (json.dumps(media(payload="/w==\n")), "not_base64", "payload"),
    (json.dumps(media(payload="/w=")), "not_base64", "payload"),
    (json.dumps(media(payload="ñandú")), "not_base64", "payload"),
    (json.dumps(media(payload=5)), "wrong_type", "payload"),
    (json.dumps(media(payload=...)), "missing_field", "payload"),
    (json.dumps(media(chunk="-1")), "not_a_number", "chunk"),
    (json.dumps(media(chunk="1.5")), "not_a_number", "chunk"),
    (json.dumps(media(chunk="")), "not_a_number", "chunk"),
    (json.dumps(media(chunk="9" * 5000)), "not_a_number", "chunk"),
    (json.dumps(media(chunk=...)), "missing_field", "chunk"),
    (json.dumps(media(timestamp=[])), "wrong_type", "timestamp"),
    (json.dumps(media(timestamp=-5)), "wrong_type", "timestamp"),
    (json.dumps(media(timestamp=True)), "wrong_type", "timestamp"),
    (json.dumps(media(track=3)), "wrong_type", "track"),
    (json.dumps(media() | {"streamSid": None}), "missing_field", "streamSid"),
    (json.dumps(media() | {"streamSid": 3}), "wrong_type", "streamSid"),
    (DTMF.replace('"digit":"1"', '"digit":"12"'), "bad_digit", "digit"),
    (DTMF.replace('"digit":"1"', '"digit":"e"'), "bad_digit", "digit"),
    ('{"event":"dtmf","streamSid":"MZ1"}', "missing_field", "dtmf"),
    (MARK.replace('"turn-7-end"', "7"), "wrong_type", "name"),
    ('{"event":"mark","mark":{"name":"x"}}', "missing_field", "streamSid"),
    ('{"event":"stop"}', "missing_field", "streamSid"),
    ('{"event":"stop","streamSid":"MZ1","stop":"now"}', "wrong_type", "stop"),
    ('{"event":"connected","protocol":1}', "wrong_type", "protocol"),
    ('{"event":"start","streamSid":"MZ1"}', "missing_field", "start"),
    (json.dumps(start_with(callSid=None)), "missing_field", "callSid"),
    (json.dumps(start_with(mediaFormat=None)), "missing_field", "mediaFormat"),
    (json.dumps(start_with(tracks="inbound")), "wrong_type", "tracks"),
    (json.dumps(start_with(tracks=[1])), "wrong_type", "tracks"),
    (json.dumps(start_with(customParameters=[])), "wrong_type", "customParameters"),
    (json.dumps(start_with(customParameters={"token": 5})), "wrong_type", "customParameters"),
    (json.dumps(media(payload=base64.b64encode(bytes(1_000_000)).decode())), "too_large", "1333506 bytes"),
]


@pytest.mark.parametrize(("text", "cause", "where"), BAD, ids=[f"{c}-{w}-{i}" for i, (_, c, w) in enumerate(BAD)])
def test_what_is_malformed_has_a_name(text: str | bytes, cause: str, where: str) -> None:
    with pytest.raises(BadMessage) as raised:
        twilio.decode(text)
    assert (raised.value.cause, raised.value.where) == (cause, where)
    assert cause in str(raised.value)


def test_the_size_limit_is_a_setting() -> None:
    text = json.dumps(media(payload=base64.b64encode(bytes(100_000)).decode()))
    message = twilio.decode(text, max_bytes=200_000)
    assert isinstance(message, twilio.Media)
    assert len(message.payload) == 100_000


SAMPLES = [CONNECTED, START, json.dumps(media()), DTMF, MARK, STOP]
#: Each a copy: what is put in may be changed itself, and even put into itself.
VALUES = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**30, "", "x", "1", "é" * 9, [], [[]], {}, {"a": 1}, [None], "1e5"]
).map(deepcopy)


def paths(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every field of a message."""
    if not isinstance(value, dict):
        return [at]
    return [at, *(path for key, inner in value.items() for path in paths(inner, (*at, key)))]


@given(sample=st.sampled_from(SAMPLES), change=st.data())
def test_a_message_with_any_field_replaced_or_gone_is_read_or_named(sample: str, change: st.DataObject) -> None:
    data = json.loads(sample)
    for path in change.draw(st.lists(st.sampled_from(paths(data)[1:]), min_size=1, max_size=3, unique=True)):
        holder = data
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder[path[-1]] = change.draw(VALUES)
            if change.draw(st.booleans()):
                del holder[path[-1]]
    try:
        message = twilio.decode(json.dumps(data))
    except BadMessage as error:
        assert error.cause
    else:
        assert isinstance(message, twilio.Inbound)


@given(st.text() | st.binary())
def test_noise_is_a_bad_message(noise: str | bytes) -> None:
    with pytest.raises(BadMessage):
        twilio.decode(noise)


def test_outbound_messages_are_those_of_the_protocol() -> None:
    out = twilio.Outbound("MZ1")
    assert json.loads(out.media(b"\xff" * 160)) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": base64.b64encode(b"\xff" * 160).decode()},
    }
    assert json.loads(out.mark("turn-7-end")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "turn-7-end"}}
    assert json.loads(out.clear()) == {"event": "clear", "streamSid": "MZ1"}


@given(sid=st.text(), audio=st.binary(), name=st.text())
def test_outbound_messages_are_json_whatever_is_in_them(sid: str, audio: bytes, name: str) -> None:
    out = twilio.Outbound(sid)
    said = json.loads(out.media(audio))
    assert (said["streamSid"], base64.b64decode(said["media"]["payload"])) == (sid, audio)
    assert json.loads(out.mark(name))["mark"]["name"] == name
    assert json.loads(out.clear())["streamSid"] == sid


@given(turn=st.integers(0, 10**9 - 1), epoch=st.integers(0, 10**9 - 1), piece=st.integers(0, 10**9 - 1))
def test_mark_names_come_back_as_their_numbers(turn: int, epoch: int, piece: int) -> None:
    name = twilio.mark_name(turn, epoch, piece)
    assert name == f"t{turn}.e{epoch}.p{piece}"
    assert twilio.parse_mark_name(name) == twilio.MarkName(turn, epoch, piece)


@pytest.mark.parametrize(
    "name",
    ["", "turn-7-end", "t1.e2", "t1.e2.p3 ", "t1.e2.p3\n", "t-1.e2.p3", "t1xe2.p3", "t١.e2.p3", "t1.e2.p" + "9" * 10],
)
def test_foreign_mark_names_are_none(name: str) -> None:
    assert twilio.parse_mark_name(name) is None

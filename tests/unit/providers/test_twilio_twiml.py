"""The documents the carrier is answered with."""

import xml.etree.ElementTree as ET

import pytest

from calls.providers.twilio import twiml


def shape(text: str) -> list[tuple[str, dict[str, str], str | None]]:
    return [(element.tag, element.attrib, element.text) for element in ET.fromstring(text).iter()]  # noqa: S314


def test_connecting_a_stream() -> None:
    text = twiml.connect_stream(
        "wss://voice.example.com/twilio/stream",
        {"token": "opaque", "line": "4&2"},
        "https://voice.example.com/twilio/stream-ended",
        "https://voice.example.com/twilio/stream-status",
    )
    assert shape(text) == [
        ("Response", {}, None),
        ("Connect", {"action": "https://voice.example.com/twilio/stream-ended"}, None),
        (
            "Stream",
            {
                "url": "wss://voice.example.com/twilio/stream",
                "statusCallback": "https://voice.example.com/twilio/stream-status",
            },
            None,
        ),
        ("Parameter", {"name": "token", "value": "opaque"}, None),
        ("Parameter", {"name": "line", "value": "4&2"}, None),
        ("Hangup", {}, None),
    ]


def test_a_stream_address_with_a_query_is_refused() -> None:
    with pytest.raises(ValueError, match="no query"):
        twiml.connect_stream("wss://a/b?token=1", {}, "", "")


def test_parameters_beyond_the_carriers_limit_are_refused() -> None:
    twiml.connect_stream("wss://a/b", {"t": "x" * 498}, "", "")
    with pytest.raises(ValueError, match="500 characters"):
        twiml.connect_stream("wss://a/b", {"t": "x" * 499}, "", "")


def test_a_spoken_refusal() -> None:
    assert shape(twiml.say_and_hang_up("Sorry, <nobody> \x00is & here.", "en-GB")) == [
        ("Response", {}, None),
        ("Say", {"language": "en-GB"}, "Sorry, <nobody> is & here."),
        ("Hangup", {}, None),
    ]


def test_busy_and_hang_up() -> None:
    assert shape(twiml.busy()) == [("Response", {}, None), ("Reject", {"reason": "busy"}, None)]
    assert shape(twiml.hang_up()) == [("Response", {}, None), ("Hangup", {}, None)]


def test_a_transfer() -> None:
    text = twiml.dial("+15550003333", "https://voice.example.com/after", "+15550002222", timeout_s=20)
    assert shape(text) == [
        ("Response", {}, None),
        (
            "Dial",
            {"timeout": "20", "action": "https://voice.example.com/after", "callerId": "+15550002222"},
            None,
        ),
        ("Number", {}, "+15550003333"),
    ]
    assert shape(twiml.dial("+1"))[1] == ("Dial", {"timeout": "25"}, None)

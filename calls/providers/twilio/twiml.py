"""The documents the carrier is answered with, made by the official library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from twilio.twiml.voice_response import VoiceResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "text/xml"
#: The carrier's limit on all names and values of a stream's parameters together.
MAX_PARAMETERS_CHARS: Final = 500
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def connect_stream(stream_url: str, parameters: Mapping[str, str], action: str, status_callback: str) -> str:
    """Connect the call to a two-way stream; ``action`` is asked what to do when it has ended.

    Raises ``ValueError`` where the carrier would refuse or silently drop something: a query in the stream's address,
    or parameters that are too long together.
    """
    if "?" in stream_url:
        raise ValueError("a <Stream> address has no query: pass values as parameters")
    size = sum(len(name) + len(value) for name, value in parameters.items())
    if size >= MAX_PARAMETERS_CHARS:
        raise ValueError(f"stream parameters have {size} characters, allowed are less than {MAX_PARAMETERS_CHARS}")
    response = VoiceResponse()
    stream = response.connect(action=action).stream(url=stream_url, status_callback=status_callback)
    for name, value in parameters.items():
        stream.parameter(name=name, value=_clean(value))
    response.hangup()
    return _text(response)


def say_and_hang_up(sentence: str, language: str = "en-US") -> str:
    """A spoken refusal or apology in the carrier's voice, then the end."""
    response = VoiceResponse()
    response.say(_clean(sentence), language=language)
    response.hangup()
    return _text(response)


def play_and_hang_up(url: str) -> str:
    """A recording of ours, then the end."""
    response = VoiceResponse()
    response.play(url)
    response.hangup()
    return _text(response)


def busy() -> str:
    """The busy signal: the call is not answered and costs nothing. Only in the answer to the voice webhook."""
    response = VoiceResponse()
    response.reject(reason="busy")
    return _text(response)


def hang_up() -> str:
    """The end."""
    response = VoiceResponse()
    response.hangup()
    return _text(response)


def dial(number: str, action: str = "", caller_id: str = "", timeout_s: int = 25) -> str:
    """Transfer to a number. ``action`` (absolute, as live calls need it) hears how it went."""
    response = VoiceResponse()
    options: dict[str, str | int] = {"timeout": timeout_s}
    if action:
        options["action"] = action
    if caller_id:
        options["caller_id"] = caller_id
    response.dial(**options).number(_clean(number))
    return _text(response)


def _text(response: VoiceResponse) -> str:
    return cast("str", response.to_xml())


def _clean(text: str) -> str:
    """Without characters that no XML document may hold."""
    return _NOT_XML.sub("", text)

"""Random messages of a media stream: valid ones, mutated ones and noise. The same seed gives the same messages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType

from tests.line.conftest import speech

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**30, "", "x", "-1", "\x00", "\ud800", "9" * 17, "9" * 40, [], {}, [[[]]], {"a": {}},
    "media", "////", "A" * 4000, "t1.e1.p1", "\u202e", "NaN",
)  # fmt: skip


def mutants(chance: random.Random, stream_sid: str, call_sid: str) -> Iterator[tuple[WSMsgType, bytes]]:
    """Frames without end for one socket. About one in ten is beyond use."""
    while True:
        dice = chance.random()
        if dice < 0.01:
            yield WSMsgType.BINARY, chance.randbytes(chance.randrange(200))
        elif dice < 0.03:
            yield WSMsgType.TEXT, _noise(chance)
        else:
            message = _valid(chance, stream_sid, call_sid)
            if dice < 0.13:
                _mutate(chance, message)
            text = json.dumps(message)
            if dice < 0.04:
                text = text[: chance.randrange(len(text))]
            yield WSMsgType.TEXT, text.encode()


def _noise(chance: random.Random) -> bytes:
    return "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(80))).encode()


def _valid(chance: random.Random, stream_sid: str, call_sid: str) -> dict[str, Any]:
    event = chance.choice(("media",) * 12 + ("mark", "mark", "dtmf", "weather", "start", "connected"))
    body: Any = {
        "media": lambda: _media(chance),
        "mark": lambda: {"name": f"t{chance.randrange(5)}.e{chance.randrange(5)}.p{chance.randrange(9)}"},
        "dtmf": lambda: {"track": "inbound_track", "digit": chance.choice("0123456789*#")},
        "start": lambda: {"callSid": call_sid, "customParameters": {"token": "x"}},
    }.get(event, dict)()
    return {"event": event, "sequenceNumber": str(chance.randrange(10**6)), "streamSid": stream_sid, event: body}


def _media(chance: random.Random) -> dict[str, Any]:
    size = 2000 if chance.random() < 0.02 else chance.choice((0, 1, 20, 80, 160))
    audio = chance.choice((b"\xff" * size, speech(1000)[:size], chance.randbytes(size)))
    return {
        "track": "inbound",
        "chunk": str(chance.randrange(10**6)),
        "timestamp": str(chance.choice((0, 20, chance.randrange(10**6), 10**16))),
        "payload": base64.b64encode(audio).decode(),
    }


def _mutate(chance: random.Random, message: dict[str, Any]) -> None:
    """Replace, remove or rename something, anywhere."""
    target = message
    inner = [value for value in message.values() if isinstance(value, dict) and value]
    if inner and chance.random() < 0.6:
        target = inner[0]
    name = chance.choice(sorted(target))
    act = chance.randrange(3)
    if act == 0:
        target[name] = chance.choice(_ODD)
    elif act == 1:
        del target[name]
    else:
        target[name.upper()] = target.pop(name)

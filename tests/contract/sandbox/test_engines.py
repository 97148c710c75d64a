"""The local engines really speak and really hear: over the same sockets, in real time.

One server for the module: its models take seconds to load.
"""

from __future__ import annotations

import asyncio
import base64
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="the local engines are an optional set of requirements")
pytest.importorskip("piper", reason="the local engines are an optional set of requirements")

from cartesia import AsyncCartesia

from voiceagent.sandbox import sound
from voiceagent.sandbox.call.conversation import plain
from voiceagent.sandbox.call.lines import bundled
from voiceagent.sandbox.control import SandboxServer, SandboxThread
from voiceagent.sandbox.engines import piper_voice, whisper
from voiceagent.sandbox.engines.local import LocalEngines
from voiceagent.sandbox.engines.turns import agreed, extend, first_words
from voiceagent.sandbox.engines.vad import Vad
from voiceagent.sandbox.engines.whisper import without_echo

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxThread(LocalEngines()) as running:
        yield running


def client_of(server: SandboxServer) -> AsyncCartesia:
    return AsyncCartesia(api_key="engines", base_url=server.url, websocket_base_url=server.ws_url, max_retries=0)


def alike(heard: str, said: str) -> float:
    return SequenceMatcher(None, plain(heard), plain(said), autojunk=False).ratio()


async def test_every_line_of_the_bundled_conversation_is_heard_word_for_word(server: SandboxServer) -> None:
    async with client_of(server) as client:
        for line in bundled().lines:
            heard = await client.stt.transcribe(
                file=("line.raw", line.audio), model="ink-whisper", encoding="pcm_mulaw", sample_rate=8000
            )
            assert plain(heard.text) == plain(line.text)


async def test_turns_of_the_bundled_conversation_are_found_and_heard(server: SandboxServer) -> None:
    lines = bundled().lines[:2]
    audio = b"".join(sound.SILENT_FRAME * 20 + line.audio + sound.SILENT_FRAME * 60 for line in lines)
    events: list[dict[str, Any]] = []
    async with (
        client_of(server) as client,
        client.stt.auto_finalize.websocket(model="ink-2", encoding="pcm_mulaw", sample_rate=8000) as connection,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def speak() -> None:
            for count, frame in enumerate(sound.frames(audio), 1):
                await connection.send_raw(frame)
                await asyncio.sleep(begun + count * 0.02 - loop.time())
            await connection.send({"type": "close"})

        speaking = asyncio.create_task(speak())
        events += [event.model_dump(exclude_none=True) | {"at_s": loop.time() - begun} async for event in connection]
        await speaking
    kinds = [event["type"] for event in events]
    ends = [event["transcript"] for event in events if event["type"] == "turn.end"]
    # What was shown early stays as it was shown, right or wrong: with a busy machine a word may differ.
    assert [alike(text, line.text) > 0.85 for text, line in zip(ends, lines, strict=True)] == [True, True]
    assert kinds.count("turn.start") == 2
    assert kinds.index("turn.start") < kinds.index("turn.update") < kinds.index("turn.end")
    started_s = next(event["at_s"] for event in events if event["type"] == "turn.start")
    assert started_s < 0.9, "a turn begins when the speech does: 0.4 s of silence go before it"
    grown = ""
    for event in events:
        if event["type"] == "turn.start":
            grown = ""
        elif "transcript" in event:
            assert event["transcript"].startswith(grown), "text that was shown does not change"
            grown = event["transcript"]


async def test_a_voice_speaks_with_words_in_their_places(server: SandboxServer) -> None:
    text = "We are open until midnight. You are very welcome!"
    async with client_of(server) as client, client.tts.websocket_connect() as connection:
        context = connection.context(
            model_id="sonic-3.5",
            voice={"id": "v"},
            output_format={"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
            add_timestamps=True,
            max_buffer_delay_ms=0,
        )
        await context.push(text)
        await context.no_more_inputs()
        messages = [message.model_dump(exclude_none=True) async for message in context.receive()]
        audio = b"".join(base64.b64decode(message["data"]) for message in messages if message["type"] == "chunk")
        tables = [message["word_timestamps"] for message in messages if message["type"] == "timestamps"]
        heard = await client.stt.transcribe(
            file=("speech.raw", audio), model="ink-whisper", encoding="pcm_mulaw", sample_rate=8000
        )
    words = [word for table in tables for word in table["words"]]
    assert " ".join(words) == text
    starts = [start for table in tables for start in table["start"]]
    assert starts == sorted(starts)
    assert starts[-1] < len(audio) / 8000
    # The voice varies a little each time it speaks.
    assert alike(heard.text, text) > 0.75


async def test_manual_recognition_says_nothing_for_silence(server: SandboxServer) -> None:
    line = bundled().lines[1]
    async with (
        client_of(server) as client,
        client.stt.manual_finalize.websocket(model="ink-whisper", encoding="pcm_mulaw", sample_rate=8000) as connection,
    ):
        for part in (b"\xff" * 8000, line.audio):
            for frame in sound.frames(part):
                await connection.send_raw(frame)
            await connection.send_raw("finalize")
        await connection.send_raw("close")
        events = [event.model_dump(exclude_none=True, warnings=False) async for event in connection]
    assert [event["type"] for event in events] == ["flush_done", "transcript", "flush_done", "done"]
    assert plain(events[1]["text"]) == plain(line.text)


def test_the_voice_activity_model_knows_a_voice_from_a_tone_and_from_noise() -> None:
    speech = sound.mulaw_decode(bundled().lines[0].audio)
    assert max(Vad().feed(speech)) > 0.9
    assert max(Vad().feed(sound.tone(8000) // 8)) < 0.9
    assert max(Vad().feed(speech * 0)) < 0.2


def test_a_higher_voice_takes_as_long_as_the_other() -> None:
    low, high = (piper_voice.synthesise("Good morning to you all.", 8000, 1.0, pitch) for pitch in (1.0, 1.18))
    assert len(high.samples) == pytest.approx(len(low.samples), rel=0.2)


@pytest.mark.parametrize(
    ("shown", "heard", "expected"),
    [
        ("", "Hello there", "Hello there"),
        ("Hello", "hello, there", "Hello there"),
        ("I want a", "I want the table", "I want a table"),
        ("For two people.", "For two people. On Friday", "For two people. On Friday"),
        ("One two", "One two", "One two"),
    ],
)
def test_shown_text_only_grows(shown: str, heard: str, expected: str) -> None:
    assert extend(shown, heard) == expected


def test_only_words_that_two_hypotheses_share_are_shown() -> None:
    assert agreed("I want to", "I want two tables") == "I want"
    assert agreed("I want", "I want") == "I"
    assert [first_words(text) for text in ("Hi, I", "Hi, I'd like to", "Hi,")] == ["Hi,", "Hi, I'd", ""]


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("Where are you? Where are you? Where? Where are you?", 0.9, "Where are you?"),
        ("No. No. That's all.", 1.5, "No. No. That's all."),
        ("Bye Bye Bye", 3.0, "Bye Bye Bye"),
        ("Do you know my name? Do you know my name.", 2.6, "Do you know my name?"),
        ("Do you know my name? Do you know my name!", 4.0, "Do you know my name? Do you know my name!"),
        ("", 1.0, ""),
    ],
)
def test_what_nobody_could_have_said_is_dropped(text: str, seconds: float, expected: str) -> None:
    assert without_echo(text, seconds) == expected


def test_a_model_that_goes_round_in_a_circle_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, float]] = []

    def decode(_: object, **how: float) -> str:
        asked.append(how)
        return "Goodbye." if how else "Bye " * 40

    monkeypatch.setattr(whisper, "_decode", decode)

    assert whisper.transcribe(np.zeros(8000, np.int16), 8000).text == "Goodbye."
    assert len(asked) == 2


@pytest.mark.parametrize("text", ["Hello. How are you?", "One", "", "No end, here and there, and a very long clause"])
def test_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(piper_voice.units(text)) == text

"""The Cartesia stand-in, driven by the vendor's SDK and, where that is too polite, by plain sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import cartesia as sdk
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from voiceagent.sandbox import sound
from voiceagent.sandbox.control import Fault

if TYPE_CHECKING:
    from cartesia import AsyncCartesia

    from voiceagent.sandbox.control import Handle, SandboxServer

STT: dict[str, Any] = {"model": "ink-2", "encoding": "pcm_mulaw", "sample_rate": 8000}
LOUD = sound.mulaw_tone()
FORMAT = {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}
REQUEST: dict[str, Any] = {"model_id": "sonic-3.5", "voice": {"id": "v1"}, "output_format": FORMAT, "language": "en"}


def silence(ms: int) -> bytes:
    return b"\xff" * (ms * 8)


async def turns(client: AsyncCartesia, audio: bytes, **options: Any) -> list[dict[str, Any]]:
    async with client.stt.auto_finalize.websocket(**STT, **options) as connection:
        for frame in sound.frames(audio):
            await connection.send_raw(frame)
        await connection.send({"type": "close"})
        return [event.model_dump(exclude_none=True) async for event in connection]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "turn.update"]


async def test_turns_follow_the_grammar(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.utterances("hello there my friend", "book a table")
    audio = LOUD[:16000] + silence(1000) + LOUD[:8000] + silence(400) + LOUD[:3200] + silence(1000)
    events = await turns(cartesia, audio)
    assert kinds(events) == [
        "connected", "turn.start", "turn.eager_end", "turn.end",
        "turn.start", "turn.eager_end", "turn.resume", "turn.eager_end", "turn.end",
    ]  # fmt: skip
    updates = [event["transcript"] for event in events if event["type"] == "turn.update"]
    assert updates[:3] == ["hello", "hello there", "hello there my"]
    assert [event["transcript"] for event in events if event["type"] == "turn.end"] == [
        "hello there my friend",
        "book a table",
    ]
    assert len({event["request_id"] for event in events}) == 1


async def test_the_clock_is_the_audio_received(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.script_turns((100, "turn.start"), (500, "turn.update", "one"), (900, "turn.end", "one two"))
    async with cartesia.stt.auto_finalize.websocket(**STT) as connection:
        await connection.send_raw(silence(600))
        seen = [(await connection.recv()).type for _ in range(3)]
        assert seen == ["connected", "turn.start", "turn.update"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.recv(), 0.2)
        await connection.send_raw(silence(400))
        end = await connection.recv()
        assert (end.type, getattr(end, "transcript", None)) == ("turn.end", "one two")


async def test_a_lower_end_threshold_waits_longer(cartesia: AsyncCartesia) -> None:
    audio = LOUD[:4000] + silence(1000)
    async with cartesia.stt.auto_finalize.websocket(**STT) as connection:
        await connection.send({"type": "config", "turn": {"end_threshold": 0.1, "eager_end_threshold": 0.3}})
        for frame in sound.frames(audio):
            await connection.send_raw(frame)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while (await connection.recv()).type != "turn.end":
                    pass
        await connection.send_raw(silence(500))
        async with asyncio.timeout(1):
            while (await connection.recv()).type != "turn.end":
                pass


async def test_callers_are_one_per_connection(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.configure(stt={"callers": [["mine", "mine too"], ["yours"]], "fallback": "no more"})
    audio = (LOUD[:4000] + silence(1000)) * 2
    heard = [[event.get("transcript") for event in await turns(cartesia, audio) if event["type"] == "turn.end"]]
    handle.configure(stt={"callers": [["yours"]], "end_ms": 1200})
    heard.append([event.get("transcript") for event in await turns(cartesia, audio) if event["type"] == "turn.end"])
    assert heard == [["mine", "mine too"], ["yours"]], "the second hears no pause that is shorter than 1.2 s"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": "ink-9"}, "model"),
        ({"encoding": "mp3"}, "encoding"),
        ({"sample_rate": 7}, "sample_rate"),
        ({"turn_end_threshold": 0.45, "turn_eager_end_threshold": 0.4}, "thresholds"),
        ({"turn_start_threshold": 2}, "start_threshold"),
        ({"keyterm": ["x"] * 101}, "keyterms"),
    ],
)
async def test_a_wrong_query_is_refused(cartesia: AsyncCartesia, change: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with cartesia.stt.auto_finalize.websocket(**{**STT, **change}):
            pass
    assert refusal.value.response.status_code == 400
    assert word in json.loads(refusal.value.response.body)["message"]


async def test_credentials_and_version_are_required(sandbox: SandboxServer) -> None:
    query = "?model=ink-2&encoding=pcm_mulaw&sample_rate=8000"
    version = {"Cartesia-Version": "2026-08-14"}
    async with aiohttp.ClientSession() as session:
        for headers, status in (
            ({}, 401),
            (version, 401),
            ({"X-API-Key": "k"}, 400),
            ({**version, "X-API-Key": "k"}, 101),
        ):
            try:
                async with session.ws_connect(sandbox.url + "/stt/turns/websocket" + query, headers=headers) as socket:
                    seen = 101 if not socket.closed else 0
            except aiohttp.WSServerHandshakeError as error:
                seen = error.status
            assert seen == status
        async with session.get(sandbox.url + "/") as response:
            assert (await response.json())["ok"] is True


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "empty_end"}, ["connected", "turn.start", "turn.eager_end", "turn.end"]),
        ({"kind": "eager_resume"}, ["connected", "turn.start", "turn.eager_end", "turn.resume", "turn.eager_end", "turn.end"]),
        ({"kind": "error", "after": 2, "status": 500}, ["connected", "turn.start", "error"]),
        ({"kind": "close", "after": 1}, ["connected"]),
    ],
)  # fmt: skip
async def test_faults_of_recognition(
    cartesia: AsyncCartesia, handle: Handle, fault: dict[str, Any], expected: list[str]
) -> None:
    handle.utterances("one two three")
    handle.fault("cartesia.stt", **fault)
    seen: list[str] = []
    try:
        async with cartesia.stt.auto_finalize.websocket(**STT) as connection:
            for frame in sound.frames(LOUD[:8000] + silence(1000)):
                await connection.send_raw(frame)
            await connection.send({"type": "close"})
            async for event in connection:
                seen.append(event.type)
                if fault["kind"] == "empty_end" and event.type == "turn.end":
                    assert event.transcript == ""
    except ConnectionClosedError:
        assert fault["kind"] in ("close", "error")
    assert [kind for kind in seen if kind != "turn.update"] == expected
    # The fault is used up: the next connection is well.
    assert kinds(await turns(cartesia, LOUD[:4000] + silence(1000)))[-1] == "turn.end"


async def test_a_cut_recognition_is_a_reset(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.fault("cartesia.stt", "cut", after=2)
    with pytest.raises(ConnectionClosedError):
        await turns(cartesia, LOUD[:8000] + silence(1000))


@pytest.mark.parametrize(("status", "code"), [(401, None), (429, "concurrency_limited"), (503, None)])
async def test_refused_upgrades(cartesia: AsyncCartesia, handle: Handle, status: int, code: str | None) -> None:
    handle.fault("cartesia", "refuse", status=status)
    with pytest.raises(InvalidStatus) as refusal:
        await turns(cartesia, b"")
    assert refusal.value.response.status_code == status
    assert json.loads(refusal.value.response.body)["error_code"] == code


async def test_manual_finalize(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.utterances("one two three", "four")
    async with cartesia.stt.manual_finalize.websocket(**{**STT, "model": "ink-whisper"}, language="de") as connection:
        for part in (LOUD[:8000], LOUD[:1600]):
            for frame in sound.frames(part):
                await connection.send_raw(frame)
            await connection.send_raw("finalize")
        await connection.send_raw("close")
        # The SDK types a word's times as lists; the service sends numbers.
        events = [event.model_dump(exclude_none=True, warnings=False) async for event in connection]
    finals = [event["text"] for event in events if event.get("is_final")]
    assert finals == ["one two three", "four"]
    assert [event["type"] for event in events if event["type"] != "transcript"] == ["flush_done", "flush_done", "done"]
    assert events[0]["language"] == "de"
    assert events[0]["is_final"] is False


async def test_batch_recognition(cartesia: AsyncCartesia, handle: Handle) -> None:
    handle.utterances("hello world")
    wav = sound.wav_bytes(sound.tone(16000)[:16000], 16000)
    heard = await cartesia.stt.transcribe(file=("a.wav", wav), model="ink-whisper", timestamp_granularities=["word"])
    assert (heard.text, heard.duration) == ("hello world", 1.0)
    assert heard.words is not None
    assert [word.word for word in heard.words] == ["hello", "world"]
    raw = await cartesia.stt.transcribe(
        file=("a.raw", LOUD[:4000]), model="ink-whisper", encoding="pcm_mulaw", sample_rate=8000
    )
    assert raw.duration == 0.5
    with pytest.raises(sdk.BadRequestError):
        await cartesia.stt.transcribe(file=("a.wav", b"rubbish"), model="ink-whisper")


class Voice:
    """The voice's socket, without the SDK's politeness."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def ask(self, **fields: Any) -> None:
        await self._socket.send_json({**REQUEST, **fields})

    async def raw(self, text: str) -> None:
        await self._socket.send_str(text)

    async def next(self, timeout_s: float = 2.0) -> dict[str, Any]:
        message = await self._socket.receive(timeout=timeout_s)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def until(self, *kinds: str) -> list[dict[str, Any]]:
        seen = [await self.next()]
        while seen[-1]["type"] not in kinds:
            seen.append(await self.next())
        return seen


@pytest.fixture
async def voice(sandbox: SandboxServer, handle: Handle) -> Any:
    headers = {"Authorization": f"Bearer {handle.key}", "Cartesia-Version": "2026-08-14"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(sandbox.url + "/tts/websocket", headers=headers) as socket,
    ):
        yield Voice(socket)


def audio_of(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message["data"]) for message in messages if message["type"] == "chunk")


async def test_the_sdk_speaks_a_turn(cartesia: AsyncCartesia, handle: Handle) -> None:
    async with cartesia.tts.websocket_connect() as connection:
        context = connection.context(**REQUEST, add_timestamps=True, max_buffer_delay_ms=0)
        await context.push("Hello there. ")
        await context.push("How are you?")
        await context.no_more_inputs()
        messages = [message.model_dump(exclude_none=True) async for message in context.receive()]
    words = [table for message in messages if (table := message.get("word_timestamps"))]
    assert [word for table in words for word in table["words"]] == ["Hello", "there.", "How", "are", "you?"]
    starts = [start for table in words for start in table["start"]]
    assert starts == sorted(starts)
    assert starts[2] == pytest.approx(13 * 0.065, abs=0.01)
    assert len(audio_of(messages)) == pytest.approx(25 * 65 * 8, abs=16)
    assert [message["flush_id"] for message in messages if message["type"] == "flush_done"] == [1, 2]
    sizes = {len(base64.b64decode(message["data"])) for message in messages if message["type"] == "chunk"}
    assert len(sizes) > 2
    assert messages[-1]["type"] == "done"
    assert handle.journal("cartesia.tts.context")[0]["outcome"] == "done"


async def test_text_is_held_until_a_sentence_or_the_delay(voice: Voice) -> None:
    await voice.ask(context_id="a", transcript="Half a ", **{"continue": True}, max_buffer_delay_ms=250)
    with pytest.raises(TimeoutError):
        await voice.next(0.1)
    assert (await voice.next())["type"] == "chunk"
    await voice.ask(context_id="b", transcript="Whole. And", **{"continue": True}, max_buffer_delay_ms=5000)
    seen = [message for message in await voice.until("done") if message["context_id"] == "a"]
    assert seen[-1]["type"] == "done", "a context expires a second after its last audio"


async def test_cancelling_lets_a_late_chunk_through_and_nothing_after(voice: Voice, handle: Handle) -> None:
    handle.configure(tts={"speed": 4, "late_chunks": 1})
    await voice.ask(context_id="a", transcript="A rather long sentence, and it goes on and on.", max_buffer_delay_ms=0)
    await voice.next()
    await voice.raw('{"context_id":"a","cancel":true}')
    late = [await voice.next()]
    with pytest.raises(TimeoutError):
        while True:
            late.append(await voice.next(0.3))
    assert [message["type"] for message in late] == ["chunk"] * len(late)
    assert len(late) <= 2
    entry = handle.journal("cartesia.tts.context")[0]
    assert entry["outcome"] == "cancelled"
    assert handle.journal("cartesia.tts.socket")[0]["cancels"] == ["a"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"transcript": ""}, 400, None),
        ({"transcript": " ... "}, 400, None),
        ({"transcript": "Hi", "model_id": "sonic-2"}, 410, "model_sunsetted"),
        ({"transcript": "Hi", "model_id": "soprano"}, 400, "model_not_found"),
        ({"transcript": "Hi", "voice": {"mode": "embedding"}}, 400, None),
        ({"transcript": "Hi", "voice": "00000000-0000-0000-0000-000000000000"}, 404, None),
        ({"transcript": "Hi", "output_format": {**FORMAT, "sample_rate": 7}}, 400, None),
        ({"transcript": "Hi", "max_buffer_delay_ms": 9000}, 400, None),
    ],
)
async def test_wrong_requests_are_errors_of_their_context(
    voice: Voice, fields: dict[str, Any], status: int, code: str | None
) -> None:
    await voice.ask(context_id="x", **fields)
    error = await voice.next()
    assert (error["type"], error["status_code"], error["error_code"]) == ("error", status, code)
    assert (error["context_id"], error["done"]) == ("x", True)


async def test_rules_within_a_context(voice: Voice, handle: Handle) -> None:
    handle.configure(tts={"max_contexts": 1})
    await voice.ask(context_id="a", transcript="One. ", **{"continue": True}, max_buffer_delay_ms=0)
    await voice.ask(context_id="a", transcript="Two.", language="de", **{"continue": True}, max_buffer_delay_ms=0)
    await voice.ask(context_id="b", transcript="Me too.")
    await voice.raw("{")
    errors = [message for message in [await voice.next() for _ in range(5)] if message["type"] == "error"]
    assert ["language" in error["message"] for error in errors] == [True, False, False]
    assert errors[1]["error_code"] == "concurrency_limited"
    assert "context_id" not in errors[2]
    await voice.ask(context_id="a", transcript="", **{"continue": False}, max_buffer_delay_ms=0)
    await voice.until("done")
    await voice.ask(context_id="a", transcript="More.", max_buffer_delay_ms=0)
    assert "closed" in (await voice.next())["message"]


@pytest.mark.parametrize("kind", ["stall", "cut", "close", "error", "garbage"])
async def test_faults_in_the_middle_of_speech(voice: Voice, handle: Handle, kind: Any) -> None:
    handle.fault("cartesia.tts", kind, after=2, status=500)
    await voice.ask(context_id="a", transcript="A sentence that is long enough for many chunks.")
    assert [(await voice.next())["type"] for _ in range(2)] == ["chunk", "chunk"]
    if kind == "stall":
        with pytest.raises(TimeoutError):
            await voice.next(0.3)
    elif kind == "error":
        assert (await voice.next())["status_code"] == 500
    elif kind == "garbage":
        with pytest.raises(json.JSONDecodeError):
            await voice.next()
    else:
        message = await voice._socket.receive(timeout=2)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert voice._socket.close_code == (1011 if kind == "close" else 1006)


async def test_a_fault_may_mean_one_text_only(voice: Voice, handle: Handle) -> None:
    handle.fault("cartesia.tts.context", "error", contains="fish", times=0)
    await voice.ask(context_id="a", transcript="We have meat.", max_buffer_delay_ms=0)
    assert not [message for message in await voice.until("done") if message["type"] == "error"]
    await voice.ask(context_id="b", transcript="We have fish.", max_buffer_delay_ms=0)
    assert (await voice.next())["type"] == "error"


async def test_speech_over_http(cartesia: AsyncCartesia, handle: Handle) -> None:
    wav = {"container": "wav", "encoding": "pcm_s16le", "sample_rate": 16000}
    response = await cartesia.tts.generate(model_id="sonic-3.5", transcript="Hello", voice="v", output_format=wav)
    data = await response.read()
    assert data[:4] == b"RIFF"
    assert len(data) == pytest.approx(44 + 5 * 65 * 32, abs=64)
    handle.fault("cartesia.tts.bytes", "refuse", status=429)
    with pytest.raises(sdk.RateLimitError):
        await cartesia.tts.generate(model_id="sonic-3.5", transcript="Hello", voice="v", output_format=wav)


def test_a_fault_must_be_one_that_exists() -> None:
    with pytest.raises(ValueError, match="kind"):
        Fault.model_validate({"endpoint": "cartesia", "kind": "explode"})

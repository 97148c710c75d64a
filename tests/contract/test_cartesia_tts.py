"""The voice against the stand-in's socket, with the official SDK."""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from calls.breakerrules import Rules
from calls.breakers import Breakers
from calls.conf import CartesiaConf
from calls.core.events import TimedWord, VoiceFailed, WordsTimed
from calls.providers.cartesia.client import CartesiaClient
from calls.providers.cartesia.link import Persistence
from calls.providers.cartesia.tts import CartesiaVoice
from tests.line.hostile import Counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.core.policy import AgentProfile
    from tests.contract.conftest import Exact, Heard
    from voiceagent.sandbox.control import Handle, SandboxServer

QUICK = Persistence(attempts=3, first_wait_s=0.02, longest_wait_s=0.05, stable_s=0.0)
BYTES_PER_CHAR = 65 * 8


@pytest.fixture
async def client(sandbox: SandboxServer, vendor: Handle) -> AsyncIterator[CartesiaClient]:
    vendor.configure(tts={"first_byte_ms": 5, "speed": 50})
    made = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url, connect_timeout_ms=400))
    yield made
    await made.aclose()


@asynccontextmanager
async def speaking(
    client: CartesiaClient, agent: AgentProfile, heard: Heard, **options: Any
) -> AsyncIterator[CartesiaVoice]:
    voice = CartesiaVoice(client, agent, heard, heard.post, **{"persistence": QUICK, **options})
    task = asyncio.create_task(voice.run())
    try:
        yield voice
    finally:
        await voice.aclose()
        await asyncio.wait_for(task, 1)


def words(heard: Heard) -> list[str]:
    return [word.text for event in heard.of(WordsTimed) for word in event.words]


def contexts(vendor: Handle) -> list[dict[str, Any]]:
    return vendor.journal("cartesia.tts.context")


async def test_an_epoch_is_spoken_with_all_its_words(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, no_blocking: None
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 2, "Good morning. ")
        voice.say(1, 2, "A table for two?")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert heard.ended == [(1, 2)]
    assert heard.bytes_of(1, 2) == len("Good morning. A table for two?") * BYTES_PER_CHAR
    assert words(heard) == ["Good", "morning.", "A", "table", "for", "two?"]
    timed = [word for event in heard.of(WordsTimed) for word in event.words]
    assert timed[0].start_ms == 0
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(timed))
    assert timed[-1].end_ms == len("Good morning. A table for two?") * 65


async def test_what_the_vendor_is_asked(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 2, "Hello there. ")
        await heard.until(lambda: heard.chunks)
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    (context,) = contexts(vendor)
    assert context["context_id"].endswith(".t1.e2.c1")
    assert [(text["text"], text["continue"]) for text in context["texts"]] == [("Hello there. ", True), ("", False)]
    assert context["outcome"] == "done"


async def test_the_last_text_closes_the_context_if_it_has_not_left_yet(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 2, "Goodbye.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert [(text["text"], text["continue"]) for text in contexts(vendor)[0]["texts"]] == [("Goodbye.", False)]


async def test_words_are_left_to_the_vendors_buffer_when_the_policy_says_so(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    policy = replace(agent.policy, chunking="words", voice_buffer_ms=120)
    async with speaking(client, replace(agent, policy=policy), heard) as voice:
        for piece in ("Good ", "morning ", "to you"):
            voice.say(1, 2, piece)
        await heard.until(lambda: heard.bytes_of(1, 2) == len("Good morning to you") * BYTES_PER_CHAR)
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert len(contexts(vendor)[0]["texts"]) == 4


async def test_text_before_the_socket_is_up_waits_for_it(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.tts.socket", "slow", delay_ms=150)
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert heard.bytes_of(1, 1) == 6 * BYTES_PER_CHAR


# --- texts that are none ----------------------------------------------------------------------------------------


async def test_an_end_without_text_is_finished_at_once(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.end(3, 4)
        assert heard.ended == [(3, 4)]
        voice.say(3, 4, "Too late.")
        voice.end(3, 4)
        voice.say(3, 5, "Next.")
        voice.end(3, 5)
        await heard.until(lambda: len(heard.ended) == 2)
    assert heard.ended == [(3, 4), (3, 5)]
    assert [context["texts"][0]["text"] for context in contexts(vendor)] == ["Next."]


async def test_a_beginning_that_cannot_be_spoken_waits_for_words(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "")
        voice.say(1, 1, " ")
        voice.say(1, 1, "… ")
        voice.say(1, 1, "Well")
        voice.end(1, 1)
        voice.say(1, 2, " … ")
        voice.end(1, 2)
        await heard.until(lambda: len(heard.ended) == 2)
    assert [context["texts"][0]["text"] for context in contexts(vendor)] == [" … Well"]
    assert heard.of(VoiceFailed) == []


# --- cancelling -------------------------------------------------------------------------------------------------


async def test_late_chunks_of_a_cancelled_epoch_are_dropped(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(tts={"speed": 4})
    vendor.fault("cartesia.tts.context", "late_chunks", count=5)
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "A very long sentence that nobody wants to hear to its end, as it goes on and on.")
        await heard.until(lambda: heard.chunks)
        voice.cancel(1, 1)
        before = heard.bytes_of(1, 1)
        voice.say(1, 1, "And more.")
        voice.end(1, 1)
        voice.say(2, 2, "Yes?")
        voice.end(2, 2)
        await heard.until(lambda: heard.ended)
        (entry,) = await vendor.wait_for("cartesia.tts.context", outcome="cancelled")
    assert heard.bytes_of(1, 1) == before
    assert entry["bytes"] > before
    assert heard.ended == [(2, 2)]
    assert heard.of(VoiceFailed) == []


async def test_cancelling_what_has_not_left_tells_the_vendor_nothing(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Never mind.")
        voice.cancel(1, 1)
        voice.cancel(1, 1)
        voice.cancel(7, 7)
        voice.say(7, 7, "Never begun.")
        voice.say(1, 2, "This.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
        (socket,) = vendor.journal("cartesia.tts.socket")
    assert [context["texts"][0]["text"] for context in contexts(vendor)] == ["This."]
    assert socket["cancels"] == []
    assert {(turn, epoch) for turn, epoch, _ in heard.chunks} == {(1, 2)}


async def test_an_epoch_may_be_made_ready_while_another_is_spoken(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "The first one.")
        voice.say(2, 2, "The second one.")
        voice.end(2, 2)
        voice.end(1, 1)
        await heard.until(lambda: len(heard.ended) == 2)
    assert heard.bytes_of(1, 1) == len("The first one.") * BYTES_PER_CHAR
    assert heard.bytes_of(2, 2) == len("The second one.") * BYTES_PER_CHAR


# --- contexts that expire ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [0.1, 0.4])
async def test_text_after_an_expiry_goes_on_in_a_fresh_context_with_rising_times(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, pause_s: float
) -> None:
    vendor.configure(tts={"expiry_ms": 200})
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "One moment. ")
        await heard.until(lambda: heard.bytes_of(1, 1) == len("One moment. ") * BYTES_PER_CHAR)
        await asyncio.sleep(pause_s)
        voice.say(1, 1, " ")
        voice.say(1, 1, "Here it is.")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert heard.ended == [(1, 1)]
    assert words(heard) == ["One", "moment.", "Here", "it", "is."]
    timed = [word for event in heard.of(WordsTimed) for word in event.words]
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(timed))
    assert timed[-1].end_ms <= heard.bytes_of(1, 1) // 8
    assert len(contexts(vendor)) == (2 if pause_s > 0.2 else 1)


async def test_an_epoch_that_ends_after_its_context_expired_is_finished(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(tts={"expiry_ms": 50})
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "One moment. ")
        await vendor.wait_for("cartesia.tts.context", outcome="expired")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert len(contexts(vendor)) == 1


# --- when it goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "retryable"),
    [
        ({"status": 401}, "auth", False),
        ({"status": 403, "code": "quota_exceeded"}, "quota", False),
        ({"status": 429}, "rate_limited", True),
        ({"status": 500}, "server", True),
    ],
)
async def test_a_voice_that_is_refused_fails_the_epoch_and_tries_again_for_the_next(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, options: Any, kind: str, retryable: bool
) -> None:
    vendor.fault("cartesia.tts.socket", "refuse", times=0, **options)
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        voice.end(1, 1)
        await heard.wait_for(VoiceFailed)
        assert heard.events == [VoiceFailed(turn=1, epoch=1, kind=kind, retryable=retryable)]
        vendor.clear_faults()
        voice.say(1, 2, "Hello again.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert heard.ended == [(1, 2)]


async def test_a_hanging_handshake_has_a_deadline(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.tts.socket", "hang")
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert heard.of(VoiceFailed) == []


@pytest.mark.parametrize("fault", ["cut", "close"])
@pytest.mark.parametrize("after", [0, 2])
async def test_a_lost_socket_fails_the_epoch_and_is_replaced_for_the_next(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any, after: int
) -> None:
    vendor.fault("cartesia.tts.context", fault, after=after)
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "This will not be heard to its end.")
        await heard.wait_for(VoiceFailed)
        voice.end(1, 1)
        voice.say(1, 2, "But this.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert heard.of(VoiceFailed) == [VoiceFailed(turn=1, epoch=1, kind="cut", retryable=True)]
    assert heard.ended == [(1, 2)]
    assert heard.bytes_of(1, 2) == len("But this.") * BYTES_PER_CHAR


async def test_a_voice_that_owes_audio_and_gives_none_has_failed_with_its_socket(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.tts.context", "stall", after=1)
    policy = replace(agent.policy, first_audio_ms=100)
    async with speaking(client, replace(agent, policy=policy), heard) as voice:
        voice.say(1, 1, "This stops after its first chunk.")
        voice.end(1, 1)
        await heard.wait_for(VoiceFailed)
        voice.say(1, 2, "Next.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert len(vendor.journal("cartesia.tts.socket")) == 2
    assert heard.of(VoiceFailed) == [VoiceFailed(turn=1, epoch=1, kind="hung", retryable=True)]
    assert len(heard.chunks) > 1


@pytest.mark.parametrize("fault", ["garbage", "error"])
async def test_rubbish_and_errors_fail_the_epoch(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any
) -> None:
    vendor.fault("cartesia.tts.context", fault, after=1)
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "This will not be heard to its end.")
        await heard.wait_for(VoiceFailed)
        voice.say(1, 2, "But this.")
        voice.end(1, 2)
        await heard.until(lambda: heard.ended)
    assert [event.kind for event in heard.of(VoiceFailed)] == ["garbage" if fault == "garbage" else "server"]
    assert heard.ended == [(1, 2)]


async def test_too_many_voices_at_once_fail_the_epoch(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(tts={"max_contexts": 0})
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        await heard.wait_for(VoiceFailed)
    assert heard.events == [VoiceFailed(turn=1, epoch=1, kind="rate_limited", retryable=True)]


async def test_the_idle_close_is_survived_without_a_word(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(tts={"idle_close_s": 0.1})
    async with speaking(client, agent, heard) as voice:
        await vendor.wait_for("cartesia.tts.socket")
        vendor.configure(tts={"idle_close_s": 300})  # for the socket that follows
        await vendor.wait_for("cartesia.tts.socket", outcome="idle")
        await vendor.wait_for("cartesia.tts.socket", outcome="open")
        voice.say(1, 1, "Still here.")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert heard.of(VoiceFailed) == []


# --- when it goes wrong around the words ------------------------------------------------------------------------


async def test_a_socket_that_dies_while_idle_is_replaced_before_it_is_needed(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    counts = Counts("cartesia_tts_error", "kind")
    vendor.configure(tts={"idle_close_s": 0.1})
    vendor.fault("cartesia.tts.socket", "refuse", status=503, skip=1, times=2)
    async with speaking(client, agent, heard) as voice:
        await vendor.wait_for("cartesia.tts.socket", outcome="idle")
        vendor.configure(tts={"idle_close_s": 300})
        await vendor.wait_for("cartesia.tts.socket", outcome="open")
        voice.say(1, 1, "Still here.")
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert heard.of(VoiceFailed) == []
    assert counts.moved() == {"overloaded": 2}  # an orderly end of a socket that owed nothing is no failure


async def test_a_vendor_that_stays_away_while_nobody_speaks_is_tried_again_until_it_is_back(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.providers.cartesia.tts._FIRST_PAUSE_S", 0.05)
    vendor.fault("cartesia.tts.socket", "refuse", status=503, times=8)
    async with speaking(client, agent, heard):
        await vendor.wait_for("cartesia.tts.socket", outcome="open")
    assert heard.events == []


async def test_text_that_waits_for_a_socket_fails_before_the_core_gives_up(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.tts.socket", "hang", times=0)
    agent = replace(agent, policy=replace(agent.policy, first_audio_ms=250))
    async with speaking(client, agent, heard) as voice:
        began = time.monotonic()
        voice.say(1, 1, "Hello.")
        await heard.wait_for(VoiceFailed)
        assert time.monotonic() - began < 1
    assert heard.events == [VoiceFailed(turn=1, epoch=1, kind="timeout", retryable=True)]


async def test_an_open_breaker_fails_the_epoch_at_once_and_asks_nobody(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    breakers = Breakers()
    breakers.of("cartesia.tts").admit().failed("quota")
    client = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url), breakers)
    counts = Counts("cartesia_tts_error", "kind")
    async with speaking(client, agent, heard) as voice:
        began = time.monotonic()
        voice.say(1, 1, "Hello.")
        await heard.wait_for(VoiceFailed)
        assert time.monotonic() - began < 0.5
    await client.aclose()
    assert [event.kind for event in heard.of(VoiceFailed)] == ["open"]
    assert vendor.journal("cartesia.tts") == []
    assert counts.moved() == {}


async def test_failing_contexts_open_the_breaker_and_spoken_ones_speak_for_the_vendor(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(tts={"first_byte_ms": 5, "speed": 50})
    breakers = Breakers({"cartesia.tts": Rules(pause_ms=60_000)})
    breaker = breakers.of("cartesia.tts")
    client = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url), breakers)
    async with speaking(client, agent, heard) as voice:
        for epoch in range(1, 4):
            voice.say(1, epoch, "Hello.")
            voice.end(1, epoch)
        await heard.until(lambda: len(heard.ended) == 3)
        vendor.fault("cartesia.tts.context", "error", status=500, times=0)
        for epoch in range(4, 8):
            assert breaker.phase == "closed"
            voice.say(1, epoch, "Hello.")
            await heard.wait_for(VoiceFailed, epoch - 3)
    await client.aclose()
    assert breaker.phase == "open"  # four of eight, the connection counted


# --- a vendor that writes exactly what the test says ------------------------------------------------------------


AUDIO = base64.b64encode(b"\x00" * 800).decode()


@pytest.fixture
async def dialogue(exact: Exact) -> AsyncIterator[tuple[Exact, CartesiaClient]]:
    client = CartesiaClient(CartesiaConf(api_key="k", base_url=exact.url))
    yield exact, client
    await client.aclose()


async def test_the_request_has_every_field_the_vendor_needs(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    async with speaking(client, replace(agent, language="en-GB"), heard) as voice:
        voice.say(1, 2, "Hello. ")
        asked = await vendor.next()
    assert asked.pop("context_id").endswith(".t1.e2.c1")
    assert asked == {
        "model_id": "sonic-3.5",
        "voice": {"id": "voice-1"},
        "language": "en",
        "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
        "add_timestamps": True,
        "max_buffer_delay_ms": 0,
        "transcript": "Hello. ",
        "continue": True,
    }


async def test_text_that_crosses_the_expiry_on_the_wire_is_said_in_a_fresh_context(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "One moment. ")
        first = (await vendor.next())["context_id"]
        await vendor.answer({"type": "chunk", "context_id": first, "data": AUDIO})
        await heard.until(lambda: heard.chunks)
        voice.say(1, 1, "Here ")
        voice.say(1, 1, "it is.")
        assert [(await vendor.next())["context_id"] for _ in range(2)] == [first, first]
        await vendor.answer(
            *[{"type": "error", "context_id": first, "status_code": 400, "message": "Context has closed"}] * 2
        )
        again = await vendor.next()
        assert (again["transcript"], again["continue"]) == ("Here it is.", True)
        assert again["context_id"] != first
        voice.end(1, 1)
        assert (await vendor.next())["transcript"] == ""
        await vendor.answer(
            {
                "type": "timestamps",
                "context_id": again["context_id"],
                "word_timestamps": {"words": ["Here"], "start": [0.0], "end": [0.2]},
            },
            {"type": "chunk", "context_id": again["context_id"], "data": AUDIO},
            {"type": "done", "context_id": again["context_id"]},
        )
        await heard.until(lambda: heard.ended)
    assert heard.events == [WordsTimed(turn=1, epoch=1, words=(TimedWord("Here", 100, 300),))]
    assert heard.bytes_of(1, 1) == 1600


async def test_an_end_that_finds_its_context_closed_is_an_end(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "One moment. ")
        name = (await vendor.next())["context_id"]
        await vendor.answer({"type": "chunk", "context_id": name, "data": AUDIO})
        await heard.until(lambda: heard.chunks)
        voice.end(1, 1)
        await vendor.next()
        await vendor.answer({"type": "error", "context_id": name, "status_code": 400, "message": "Context has closed"})
        await heard.until(lambda: heard.ended)
    assert heard.events == []


async def test_a_context_quiet_for_too_long_is_not_trusted_with_more_text(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    now = [100.0]
    async with speaking(client, agent, heard, clock=lambda: now[0]) as voice:
        voice.say(1, 1, "One moment. ")
        first = (await vendor.next())["context_id"]
        await vendor.answer({"type": "chunk", "context_id": first, "data": AUDIO})
        await heard.until(lambda: heard.chunks)
        now[0] += 0.9
        voice.say(1, 1, "Here.")
        voice.end(1, 1)
        second = await vendor.next()
        assert second["context_id"] != first
        assert second["continue"] is False
        await vendor.answer({"type": "done", "context_id": first}, {"type": "done", "context_id": second["context_id"]})
        await heard.until(lambda: heard.ended)
    assert heard.ended == [(1, 1)]


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "chunk", "data": "@@@"},
        {"type": "chunk", "data": None},
        {"type": "chunk", "data": ["AA=="]},
        {"type": "timestamps", "word_timestamps": None},
        {"type": "timestamps", "word_timestamps": {"words": ["a"], "start": [0], "end": []}},
        {"type": "timestamps", "word_timestamps": {"words": ["a"], "start": ["0"], "end": [1]}},
        {"type": "timestamps", "word_timestamps": {"words": ["a"], "start": [1e306], "end": [1]}},
    ],
)
async def test_a_malformed_answer_fails_its_epoch_and_no_other(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard, answer: dict[str, Any]
) -> None:
    vendor, client = dialogue
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        voice.say(1, 2, "Hello.")
        one, other = (await vendor.next())["context_id"], (await vendor.next())["context_id"]
        await vendor.answer(answer | {"context_id": one})
        assert (await vendor.next()) == {"context_id": one, "cancel": True}
        await vendor.answer({"type": "chunk", "context_id": one, "data": AUDIO})
        await vendor.answer({"type": "chunk", "context_id": other, "data": AUDIO})
        await heard.until(lambda: heard.chunks)
    assert heard.events == [VoiceFailed(turn=1, epoch=1, kind="garbage", retryable=True)]
    assert heard.chunks == [(1, 2, b"\x00" * 800)]


async def test_messages_that_mean_nothing_are_ignored(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        name = (await vendor.next())["context_id"]
        await vendor.answer(
            {},
            {"type": "chunk", "context_id": ["x"], "data": AUDIO},
            {"type": ["chunk"], "context_id": name},
            {"type": "chunk", "context_id": "somebody-elses", "data": AUDIO},
            {"type": "error", "context_id": "somebody-elses", "status_code": 400},
            {"type": "done", "context_id": name},
        )
        voice.end(1, 1)
        await heard.until(lambda: heard.ended)
    assert (heard.events, heard.chunks) == ([], [])


async def test_an_error_of_the_whole_connection_fails_what_is_open(
    dialogue: tuple[Exact, CartesiaClient], agent: AgentProfile, heard: Heard
) -> None:
    vendor, client = dialogue
    async with speaking(client, agent, heard) as voice:
        voice.say(1, 1, "Hello.")
        await vendor.next()
        await vendor.answer({"type": "error", "status_code": 429, "error_code": "concurrency_limited"})
        await heard.wait_for(VoiceFailed)
        voice.say(1, 2, "Hello.")
        assert (await vendor.next())["context_id"].endswith(".t1.e2.c1")
    assert heard.events == [VoiceFailed(turn=1, epoch=1, kind="rate_limited", retryable=True)]

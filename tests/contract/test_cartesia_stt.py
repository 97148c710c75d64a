"""Both ears against the stand-in's sockets, with the official SDK."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from calls.breakerrules import Rules
from calls.breakers import Breakers
from calls.codecs import mulaw
from calls.conf import CartesiaConf
from calls.core.events import EagerEnd, EarFailed, EarReady, TurnEnded, TurnOpened, TurnResumed, WordsHeard
from calls.providers.cartesia.client import CartesiaClient
from calls.providers.cartesia.ear import CARRY_MS
from calls.providers.cartesia.link import Persistence
from calls.providers.cartesia.stt import ManualEar, TurnsEar, make_ear
from tests.line.hostile import Counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.core.policy import AgentProfile
    from tests.contract.conftest import Exact, Heard
    from voiceagent.sandbox.control import Handle, SandboxServer

SPEECH = mulaw.tone((300, 900), 20, level=0.6)
SILENCE = mulaw.silence(20)
QUICK = Persistence(attempts=3, first_wait_s=0.02, longest_wait_s=0.05, stable_s=0.0)
FLAPPING = replace(QUICK, stable_s=60.0)


@pytest.fixture
async def client(sandbox: SandboxServer, vendor: Handle) -> AsyncIterator[CartesiaClient]:
    made = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url, connect_timeout_ms=400))
    yield made
    await made.aclose()


@asynccontextmanager
async def running(ear: TurnsEar | ManualEar) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(ear.run())
    try:
        yield task
    finally:
        await ear.aclose()
        await asyncio.wait_for(task, 1)


async def speak(ear: TurnsEar | ManualEar, speech_ms: int, silence_ms: int = 0) -> None:
    for frame in [SPEECH] * (speech_ms // 20) + [SILENCE] * (silence_ms // 20):
        ear.feed(frame)
        await asyncio.sleep(0)


# --- turns found by the vendor ----------------------------------------------------------------------------------


async def test_a_turn_from_its_start_to_its_end(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, no_blocking: None
) -> None:
    vendor.utterances("I'd like to book a table.")
    ear = TurnsEar(client, agent, heard.post, keyterms=("Luigi", "table d'hôte"))
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 900, 800)
        await heard.wait_for(TurnEnded)
    assert [type(event) for event in heard.events if not isinstance(event, WordsHeard)] == [
        EarReady,
        TurnOpened,
        EagerEnd,
        TurnEnded,
    ]
    assert [event.text for event in heard.of(WordsHeard)] == ["I'd", "I'd like", "I'd like to"][
        : len(heard.of(WordsHeard))
    ]
    assert heard.of(EagerEnd)[0].text == heard.of(TurnEnded)[0].text == "I'd like to book a table."
    (entry,) = vendor.journal("cartesia.stt.turns")
    assert (entry["bytes"], entry["messages"]) == (1700 * 8, 85)


async def test_the_vendor_is_told_the_telephones_format_and_our_words(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with running(TurnsEar(client, agent, heard.post, keyterms=("Luigi",))):
        await heard.wait_for(EarReady)
        (entry,) = await vendor.wait_for("cartesia.stt.turns")
    query = dict(entry["query"])
    assert (query["model"], query["encoding"], query["sample_rate"]) == ("ink-2", "pcm_mulaw", "8000")
    assert query["keyterm"] == "Luigi"


async def test_an_eager_end_that_was_wrong_is_taken_back(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.script_turns(
        (20, "turn.start"),
        (40, "turn.update", "A table"),
        (60, "turn.eager_end", "A table."),
        (80, "turn.resume"),
        (100, "turn.end", "A table. For two."),
        (120, "turn.start"),
        (140, "turn.end", ""),
    )
    ear = TurnsEar(client, agent, heard.post)
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 200)
        await heard.wait_for(TurnEnded, 2)
    assert heard.events == [
        EarReady(),
        TurnOpened(),
        WordsHeard(text="A table"),
        EagerEnd(text="A table."),
        TurnResumed(),
        TurnEnded(text="A table. For two."),
        TurnOpened(),
        TurnEnded(text=""),
    ]


async def test_frames_are_joined_when_the_setting_says_so(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    client = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url, stt_join_ms=100))
    ear = TurnsEar(client, agent, heard.post)
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 0, 500)
        (entry,) = await vendor.wait_for("cartesia.stt.turns", bytes=4000)
    await client.aclose()
    assert entry["messages"] == 5


# --- the end of turn told by us ---------------------------------------------------------------------------------


async def test_manual_finalize_gives_the_whole_text_of_each_turn(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.utterances("Guten Tag, ein Tisch bitte.", "Danke.")
    ear = ManualEar(client, replace(agent, language="de-DE"), heard.post)
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 1000, 100)
        await heard.wait_for(WordsHeard)
        ear.finalize()
        await heard.wait_for(TurnEnded)
        await speak(ear, 400)
        ear.finalize()
        await heard.wait_for(TurnEnded, 2)
    assert [event.text for event in heard.of(TurnEnded)] == ["Guten Tag, ein Tisch bitte.", "Danke."]
    assert len(heard.of(TurnOpened)) == 2
    (entry,) = vendor.journal("cartesia.stt.manual")
    assert dict(entry["query"])["language"] == "de"
    assert dict(entry["query"])["model"] == "ink-whisper"
    assert entry["commands"] == ["finalize", "finalize"]


async def test_finalizing_silence_ends_a_turn_without_words(
    client: CartesiaClient, agent: AgentProfile, heard: Heard
) -> None:
    ear = ManualEar(client, agent, heard.post)
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 0, 200)
        ear.finalize()
        await heard.wait_for(TurnEnded)
    assert heard.events == [EarReady(), TurnEnded(text="")]


@pytest.mark.parametrize(
    ("language", "endpointing", "expected"),
    [("en", "turns", TurnsEar), ("en-GB", "turns", TurnsEar), ("en", "silence", ManualEar), ("de", "turns", ManualEar)],
)
async def test_the_language_and_the_policy_choose_the_ear(
    client: CartesiaClient, agent: AgentProfile, heard: Heard, language: str, endpointing: str, expected: type
) -> None:
    profile = replace(agent, language=language, policy=replace(agent.policy, endpointing=endpointing))
    assert type(make_ear(client, profile, heard.post)) is expected


# --- when it goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"status": 401}, "auth"),
        ({"status": 403, "code": "quota_exceeded"}, "quota"),
        ({"status": 400, "code": "model_not_found"}, "not_found"),
    ],
)
async def test_what_cannot_get_better_is_not_tried_again(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, options: dict[str, Any], kind: str
) -> None:
    vendor.fault("cartesia.stt.turns", "refuse", times=0, **options)
    ear = TurnsEar(client, agent, heard.post, persistence=QUICK)
    await asyncio.wait_for(ear.run(), 2)
    assert heard.events == [EarFailed(kind=kind, final=True)]


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limited"), (500, "server"), (503, "overloaded")])
async def test_what_may_get_better_is_tried_a_bounded_number_of_times(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, status: int, kind: str
) -> None:
    vendor.fault("cartesia.stt.turns", "refuse", times=0, status=status)
    ear = TurnsEar(client, agent, heard.post, persistence=QUICK)
    await asyncio.wait_for(ear.run(), 3)
    assert heard.events == [EarFailed(kind=kind), EarFailed(kind=kind, final=True)]


async def test_the_vendors_own_wish_is_waited_for_if_that_is_still_useful(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "refuse", status=429, retry_after_ms=1000)
    began = time.monotonic()
    async with running(TurnsEar(client, agent, heard.post, persistence=QUICK)):
        await heard.wait_for(EarReady)
    assert time.monotonic() - began >= 1
    heard.events.clear()
    vendor.fault("cartesia.stt.turns", "refuse", status=429, retry_after_ms=30_000)
    began = time.monotonic()
    await asyncio.wait_for(TurnsEar(client, agent, heard.post, persistence=QUICK).run(), 3)
    assert heard.events == [EarFailed(kind="rate_limited", final=True)]


async def test_an_open_breaker_is_waited_for_without_asking_the_vendor(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    breakers = Breakers({"cartesia.stt": Rules(lost_pause_ms=1000, jitter=0)})
    client = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url), breakers)
    breakers.of("cartesia.stt").admit().failed("quota")
    counts = Counts("cartesia_stt_error", "kind")
    patient = Persistence(attempts=100, first_wait_s=0.05, longest_wait_s=0.1)
    async with running(TurnsEar(client, agent, heard.post, persistence=patient)):
        await heard.wait_for(EarReady)
    await client.aclose()
    assert heard.events == [EarFailed(kind="open"), EarReady()]
    assert len(vendor.journal("cartesia.stt")) == 1
    assert breakers.of("cartesia.stt").phase == "closed"
    assert counts.moved() == {}


async def test_refusals_open_the_breaker_and_are_counted_each(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "refuse", times=0, status=500)
    breakers, counts = Breakers({"cartesia.stt": Rules(pause_ms=60_000)}), Counts("cartesia_stt_error", "kind")
    client = CartesiaClient(CartesiaConf(api_key=vendor.key, base_url=sandbox.url), breakers)
    eager = replace(QUICK, attempts=8)
    await asyncio.wait_for(TurnsEar(client, agent, heard.post, persistence=eager).run(), 3)
    await client.aclose()
    assert breakers.of("cartesia.stt").phase == "open"
    assert counts.moved() == {"server": 5}
    assert heard.events == [EarFailed(kind="server"), EarFailed(kind="open", final=True)]


async def test_a_refusal_that_passes_is_survived(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "refuse", times=2, status=429)
    ear = TurnsEar(client, agent, heard.post, persistence=QUICK)
    async with running(ear):
        await heard.wait_for(EarReady)
    assert heard.events == [EarFailed(kind="rate_limited"), EarReady()]


async def test_a_hanging_handshake_has_a_deadline(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "hang")
    ear = TurnsEar(client, agent, heard.post, persistence=QUICK)
    async with running(ear):
        await heard.wait_for(EarReady)
    assert heard.events == [EarFailed(kind="timeout"), EarReady()]


async def test_nobody_listening_is_a_refusal(agent: AgentProfile, heard: Heard, unused_tcp_port: int) -> None:
    client = CartesiaClient(CartesiaConf(api_key="k", base_url=f"http://127.0.0.1:{unused_tcp_port}"))
    await asyncio.wait_for(TurnsEar(client, agent, heard.post, persistence=QUICK).run(), 3)
    assert heard.events == [EarFailed(kind="refused"), EarFailed(kind="refused", final=True)]
    await client.aclose()


@pytest.mark.parametrize(
    ("fault", "kind"), [("cut", "cut"), ("close", "cut"), ("garbage", "garbage"), ("error", "server")]
)
async def test_a_lost_socket_is_replaced_and_gets_the_last_moment_and_live_audio(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any, kind: str
) -> None:
    vendor.utterances("After all.")
    vendor.fault("cartesia.stt.turns", fault, after=1)
    ear = TurnsEar(client, agent, heard.post, persistence=QUICK)
    async with running(ear):
        await heard.wait_for(EarReady)
        await speak(ear, 200)
        await heard.wait_for(EarFailed)
        for _ in range(250):  # five seconds, while there is nobody to hear them
            ear.feed(SPEECH)
        await heard.wait_for(EarReady, 2)
        await speak(ear, 300, 800)
        await heard.wait_for(TurnEnded)
    assert heard.of(EarFailed) == [EarFailed(kind=kind)]
    assert heard.of(TurnEnded) == [TurnEnded(text="After all.")]
    assert vendor.journal("cartesia.stt.turns")[1]["bytes"] == (CARRY_MS + 1100) * 8


async def test_a_socket_that_never_lasts_is_given_up(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "cut", times=0)
    await asyncio.wait_for(TurnsEar(client, agent, heard.post, persistence=FLAPPING).run(), 5)
    assert heard.of(EarFailed)[-1] == EarFailed(kind="cut", final=True)
    assert len(vendor.journal("cartesia.stt.turns")) == FLAPPING.attempts


async def test_cancelling_closes_the_socket(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    task = asyncio.create_task(TurnsEar(client, agent, heard.post).run())
    await heard.wait_for(EarReady)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vendor.wait_for("cartesia.stt.turns", outcome="disconnected")


async def test_closing_returns_at_once_and_before_running_too(
    client: CartesiaClient, agent: AgentProfile, heard: Heard
) -> None:
    ear = TurnsEar(client, agent, heard.post)
    await asyncio.wait_for(ear.aclose(), 0.1)
    await asyncio.wait_for(ear.run(), 0.1)
    assert heard.events == []


async def test_closing_ends_even_a_handshake_that_hangs(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.turns", "hang", times=0)
    ear = TurnsEar(client, agent, heard.post)
    task = asyncio.create_task(ear.run())
    await asyncio.sleep(0.05)
    await asyncio.wait_for(ear.aclose(), 1)
    await asyncio.wait_for(task, 0.2)


# --- the order in which a manual turn is put together -----------------------------------------------------------


def transcript(text: str, is_final: bool = False) -> dict[str, Any]:
    return {"type": "transcript", "text": text, "is_final": is_final}


FLUSHED = {"type": "flush_done"}


@asynccontextmanager
async def manual(exact: Exact, agent: AgentProfile, heard: Heard) -> AsyncIterator[ManualEar]:
    client = CartesiaClient(CartesiaConf(api_key="k", base_url=exact.url))
    ear = ManualEar(client, agent, heard.post, persistence=QUICK)
    async with running(ear):
        await heard.wait_for(EarReady)
        heard.events.clear()
        yield ear
    await client.aclose()


async def test_finals_are_appended_and_interim_text_is_replaced(
    exact: Exact, agent: AgentProfile, heard: Heard
) -> None:
    async with manual(exact, agent, heard) as ear:
        ear.finalize()
        assert await exact.next() == "finalize"
        await exact.answer(
            transcript("Hel"),
            transcript("Hello"),
            transcript("Hello,", True),
            transcript(" you"),
            transcript(" you.", True),
            FLUSHED,
        )
        await heard.wait_for(TurnEnded)
    assert heard.events == [
        TurnOpened(),
        WordsHeard(text="Hel"),
        WordsHeard(text="Hello"),
        WordsHeard(text="Hello,"),
        WordsHeard(text="Hello, you"),
        WordsHeard(text="Hello, you."),
        TurnEnded(text="Hello, you."),
    ]


async def test_an_acknowledgement_before_the_final_text_waits_for_it(
    exact: Exact, agent: AgentProfile, heard: Heard
) -> None:
    async with manual(exact, agent, heard) as ear:
        ear.finalize()
        await exact.next()
        await exact.answer(transcript("Hello"), FLUSHED, transcript("Hello.", True))
        await heard.wait_for(TurnEnded)
    assert heard.events == [TurnOpened(), WordsHeard(text="Hello"), TurnEnded(text="Hello.")]


async def test_words_after_the_final_text_begin_the_next_turn(exact: Exact, agent: AgentProfile, heard: Heard) -> None:
    async with manual(exact, agent, heard) as ear:
        ear.finalize()
        await exact.next()
        await exact.answer(transcript("Yes.", True), transcript(" And"), FLUSHED)
        await heard.wait_for(TurnEnded)
        await heard.wait_for(TurnOpened, 2)
    assert heard.events[-3:] == [TurnEnded(text="Yes."), TurnOpened(), WordsHeard(text=" And")]


async def test_a_final_text_that_nobody_asked_for_ends_no_turn(exact: Exact, agent: AgentProfile, heard: Heard) -> None:
    async with manual(exact, agent, heard) as ear:
        ear.feed(b"\xff" * 160)
        await asyncio.wait_for(exact.next(), 2)
        await exact.answer(transcript("Yes.", True), FLUSHED, {"type": "done"}, {"type": ["odd"]})
        ear.finalize()
        await exact.next()
        await exact.answer(FLUSHED)
        await heard.wait_for(TurnEnded)
    assert heard.events == [TurnOpened(), WordsHeard(text="Yes."), TurnEnded(text="Yes.")]


async def test_a_text_that_is_none_replaces_the_socket(exact: Exact, agent: AgentProfile, heard: Heard) -> None:
    async with manual(exact, agent, heard) as ear:
        ear.finalize()
        await exact.next()
        await exact.answer(transcript("Half a", True), {"type": "transcript", "text": None})
        await heard.wait_for(EarReady)
        ear.finalize()
        await exact.next()
        await exact.answer(FLUSHED)
        await heard.wait_for(TurnEnded)
    assert heard.events[2:5] == [EarFailed(kind="garbage"), EarReady(), TurnEnded(text="Half a")]

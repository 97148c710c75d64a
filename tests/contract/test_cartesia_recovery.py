"""A recogniser that fails while the caller speaks, over real sockets: the stand-in hears the very words that are sent.

Each word sounds as a chord of its own, live and in a recording sent to be transcribed; so what becomes text shows what
each connection and each request was given.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from calls.breakers import UNGUARDED, Breakers
from calls.conf import CartesiaConf
from calls.core.events import EarFailed, EarReady, TurnEnded, TurnOpened, WordsHeard
from calls.providers.cartesia.client import CartesiaClient
from calls.providers.cartesia.ledger import Patience
from calls.providers.cartesia.link import Persistence
from calls.providers.cartesia.stt import ManualEar, TurnsEar
from tests.line.hostile import Counts
from voiceagent.sandbox.engines.chords import Listener, said
from voiceagent.sandbox.sound import SILENT_FRAME, frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.core.policy import AgentProfile
    from tests.contract.conftest import Heard
    from voiceagent.sandbox.control import Handle, SandboxServer

TEXT = "Good morning I want a big table for seven people tomorrow"
QUICK = Persistence(attempts=6, first_wait_s=0.02, longest_wait_s=0.1, stable_s=0.0)
IMPATIENT = Patience(after=(0.8, 1.0, 1.5), rest_s=60.0, longest_rest_s=60.0)
STT, BATCH = "cartesia.stt.turns", "cartesia.stt.batch"
#: Ten times as fast as people speak.
FRAME_S = 0.002


@dataclass
class Caller:
    """Feeds an ear as a session does, the detector's verdicts included."""

    ear: TurnsEar | ManualEar

    async def say(self, text: str) -> None:
        """Words, then the silence in which the detector finds that they are over."""
        self.ear.voice_began(0)
        await self.feed(said(text))
        await self.feed(SILENT_FRAME * 13)
        self.ear.voice_ended(260)

    async def feed(self, audio: bytes) -> None:
        for frame in frames(audio):
            self.ear.feed(frame)
            await asyncio.sleep(FRAME_S)

    async def listen(self, heard: Heard, turns: int = 1) -> None:
        """Silence until so many turns have ended."""
        async with asyncio.timeout(8):
            while len([turn for turn in heard.of(TurnEnded) if turn.text]) < turns:
                await self.feed(SILENT_FRAME)


@pytest.fixture
async def client(sandbox: SandboxServer, vendor: Handle) -> AsyncIterator[CartesiaClient]:
    vendor.configure(stt={"vocabulary": [TEXT], "end_ms": 400, "eager_end_ms": 300})
    conf = CartesiaConf(api_key=vendor.key, base_url=sandbox.url, connect_timeout_ms=400)
    made = CartesiaClient(conf, Breakers())
    yield made
    await made.aclose()


@asynccontextmanager
async def calling(client: CartesiaClient, agent: AgentProfile, heard: Heard, **options: Any) -> AsyncIterator[Caller]:
    ear = options.pop("ear", TurnsEar)(client, agent, heard.post, **{"persistence": QUICK, **options})
    task = asyncio.create_task(ear.run())
    try:
        yield Caller(ear)
    finally:
        await ear.aclose()
        await asyncio.wait_for(task, 1)


def turns(heard: Heard) -> list[str]:
    return [turn.text for turn in heard.of(TurnEnded) if turn.text]


async def test_the_words_of_the_stand_in_are_those_that_are_said(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]
    assert vendor.journal(BATCH) == []


@pytest.mark.parametrize("fault", ["cut", "close", "garbage", "error"])
async def test_a_sentence_that_a_connection_breaks_in_two_is_whole(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any
) -> None:
    vendor.fault(STT, fault, after=4)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]
    assert len(heard.of(TurnOpened)) == 1
    assert len(vendor.journal(BATCH)) == 1
    assert [event.final for event in heard.of(EarFailed)] == [False]
    told = [event.text for event in heard.of(WordsHeard)]
    assert all(TEXT.startswith(text) for text in told), told


async def test_several_losses_in_one_sentence_cost_no_word(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    for _ in range(3):
        vendor.fault(STT, "cut", after=3)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]
    assert len(vendor.journal(STT)) >= 3


async def test_what_the_two_connections_and_the_recording_got_is_the_audio_once(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault(STT, "cut", after=4)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        fed = caller.ear._ledger.fed
        await vendor.wait_for(BATCH)
        await caller.listen(heard)
    (recording,) = vendor.journal(BATCH)
    _, second = vendor.journal(STT)
    assert recording["bytes"] + second["bytes"] >= fed
    assert recording["query"] == {"encoding": "pcm_mulaw", "sample_rate": "8000"}
    assert turns(heard) == [TEXT]


async def test_a_sentence_said_while_nobody_listens_is_answered_before_anybody_does(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault(STT, "cut", after=1)
    vendor.fault(STT, "refuse", skip=1, times=0, status=503)
    client._breaker_of = lambda _: UNGUARDED  # type: ignore[assignment]
    async with calling(client, agent, heard, persistence=replace(QUICK, attempts=100)) as caller:
        await heard.wait_for(EarReady)
        await caller.say("Good morning")
        await caller.listen(heard)
        assert len(heard.of(EarReady)) == 1
        vendor.clear_faults()
        await heard.wait_for(EarReady, 2)
        await caller.say("a big table")
        await caller.listen(heard, 2)
    assert turns(heard) == ["Good morning", "a big table"]


@pytest.mark.parametrize(
    ("before", "recordings"),
    [("Good", 0), ("Good morning ", 1), ("Good morning I want a big tab", 1)],
)
async def test_words_before_the_first_connection_are_not_lost(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, before: str, recordings: int
) -> None:
    """A moment is given to the connection; after more it begins between two words, or in one of which most was said
    before: where neither side has half of a word it may be lost (docs/decisions/0019)."""
    vendor.fault(STT, "slow", delay_ms=200)
    audio = said(TEXT)
    begun_at = len(said(before)) // len(SILENT_FRAME) * len(SILENT_FRAME)
    async with calling(client, agent, heard) as caller:
        caller.ear.voice_began(0)
        for frame in frames(audio[:begun_at]):
            caller.ear.feed(frame)
        assert heard.events == []
        await heard.wait_for(EarReady)
        await caller.feed(audio[begun_at:] + SILENT_FRAME * 13)
        caller.ear.voice_ended(260)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]
    assert len(vendor.journal(BATCH)) == recordings


async def test_a_voice_that_is_found_late_begins_before_the_connection(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    """What was said before the detector knew of it is the connection's, not a recording's of a few frames."""
    vendor.fault(STT, "cut", after=0)
    vendor.fault(STT, "slow", delay_ms=100, skip=1)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.feed(SILENT_FRAME)
        await heard.wait_for(EarFailed)
        audio = list(frames(said(TEXT)))
        for frame in audio[:8]:
            caller.ear.feed(frame)
        await heard.wait_for(EarReady, 2)
        caller.ear.voice_began(160)
        await caller.feed(b"".join(audio[8:]) + SILENT_FRAME * 13)
        caller.ear.voice_ended(260)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]
    assert vendor.journal(BATCH) == []


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_connection_that_says_nothing_is_found_out_and_its_words_are_told(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, after: int
) -> None:
    vendor.fault(STT, "stall", after=after)
    async with calling(client, agent, heard, patience=IMPATIENT) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        began = time.monotonic()
        await caller.listen(heard)
        assert time.monotonic() - began < 5
        await heard.wait_for(EarReady, 2)
        await caller.say("a big table")
        await caller.listen(heard, 2)
    assert turns(heard) == [TEXT, "a big table"]
    assert heard.of(EarFailed) == [EarFailed(kind="hung")]
    assert len(vendor.journal(STT)) == 2


async def test_one_that_is_right_to_say_nothing_stays(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(stt={"vocabulary": ["Tuesday"]})  # it knows none of the caller's words
    vendor.fault(STT, "stall", after=1)  # and opens no turn for them
    async with calling(client, agent, heard, patience=IMPATIENT) as caller:
        await heard.wait_for(EarReady)
        await caller.say("big")
        async with asyncio.timeout(8):
            while not vendor.journal(BATCH):
                await caller.feed(SILENT_FRAME)
        for _ in range(3):
            await caller.say("big")
            await caller.feed(SILENT_FRAME * 120)
    assert heard.events == [EarReady()]
    assert len(vendor.journal(BATCH)) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "refuse", "status": 500}, "server"),
        ({"kind": "hang"}, "timeout"),
        ({"kind": "cut"}, "cut"),
        ({"kind": "garbage"}, "garbage"),
    ],
)
async def test_where_transcribing_fails_the_words_told_so_far_stand_in(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any, kind: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("calls.providers.cartesia.ear.RECOVERY_S", 0.6)
    counts, errors = Counts("ear_recoveries", "outcome"), Counts("cartesia_stt_error", "operation")
    vendor.fault(STT, "cut", after=4)
    vendor.fault(BATCH, times=0, **fault)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await caller.listen(heard)
    (told,) = turns(heard)
    missing = set(TEXT.split()) - set(told.split())
    assert len(missing) <= 3  # those of the gap that no interim text had
    assert [word for word in TEXT.split() if word not in missing] == told.split()
    assert counts.moved() == {kind: 1}
    assert errors.moved()["cartesia.stt_batch"] >= 1


async def test_a_transcription_turned_down_once_is_asked_for_again(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault(STT, "cut", after=4)
    vendor.fault(BATCH, "refuse", status=429)
    async with calling(client, agent, heard) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await caller.listen(heard)
    assert turns(heard) == [TEXT]


async def test_the_manual_ear_loses_no_word_either(
    client: CartesiaClient, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("cartesia.stt.manual", "cut", after=2)
    async with calling(client, agent, heard, ear=ManualEar) as caller:
        await heard.wait_for(EarReady)
        await caller.say(TEXT)
        await heard.wait_for(EarReady, 2)
        caller.ear.finalize()
        await caller.listen(heard)
        await caller.say("a big table")
        caller.ear.finalize()
        await caller.listen(heard, 2)
    assert turns(heard) == [TEXT, "a big table"]


def test_the_words_have_chords_of_their_own() -> None:
    assert Listener([TEXT]).text_of(said(TEXT)) == TEXT

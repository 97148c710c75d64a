"""The ear in virtual time, on a vendor in memory: whatever fails, every word the caller said becomes text once.

A word is some frames of a byte of its own, and is heard where most of them are: by default what is cut in two is heard on one
side.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.conf import CartesiaConf
from calls.core.events import EarFailed, EarReady, Event, TurnEnded, WordsHeard
from calls.core.policy import AgentProfile
from calls.providers.cartesia.client import CartesiaClient
from calls.providers.cartesia.link import Persistence
from calls.providers.cartesia.stt import TurnsEar
from calls.providers.errors import VendorError
from voiceagent.demo.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FRAME_MS = 20
QUIET = b"\xff" * 160
#: A sound to the detector, and no word to anybody.
NOISE = b"\xfe" * 160
_NO_WORD = (0xFF, 0xFE)
LATENCY_S = 0.03
TURN_END_MS = 500
AGENT = AgentProfile(name="A", version=1, instructions="x", greeting="", voice="v")


def words_in(audio: bytes, least_frames: int = 2) -> list[str]:
    frames = [audio[at] for at in range(0, len(audio), 160)]
    runs = [(byte, len(list(run))) for byte, run in itertools.groupby(frames)]
    return [f"w{byte}" for byte, count in runs if byte not in _NO_WORD and count >= least_frames]


class Socket:
    """Hears as the vendor does: turns by the silence between them, words as they come."""

    def __init__(self, hangs: bool, least_frames: int) -> None:
        self.audio = bytearray()
        self._least_frames = least_frames
        self.hangs = hangs
        self.latency_s = LATENCY_S
        self._quiet_ms = 0
        self._shown: list[str] = []
        self._is_open = False
        self._out: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()
        self._begins = 0

    def _say(self, **message: str) -> None:
        if not self.hangs:
            self._out.put_nowait((asyncio.get_running_loop().time() + self.latency_s, orjson.dumps(message)))

    async def send_raw(self, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        self.audio += data
        if data[0] not in _NO_WORD:
            self._quiet_ms = 0
            if not self._is_open:
                self._is_open, self._shown = True, []
                self._begins = len(self.audio) - len(data)
                self._say(type="turn.start")
        elif self._is_open:
            self._quiet_ms += FRAME_MS
        if not self._is_open:
            self._begins = len(self.audio)
            return
        said = words_in(bytes(self.audio[self._begins :]), self._least_frames)
        if said != self._shown:
            self._shown = said
            self._say(type="turn.update", transcript=" ".join(said))
        if self._quiet_ms >= TURN_END_MS:
            self._is_open = False
            self._say(type="turn.end", transcript=" ".join(said))

    async def recv_bytes(self) -> bytes:
        due, message = await self._out.get()
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        if message is None:
            raise VendorError("cut", "cartesia")
        return message

    async def close(self) -> None:
        pass

    def cut(self) -> None:
        self._out.put_nowait((0.0, None))


@dataclass
class Vendor:
    """How long connecting takes each time, which of the connections hang, and what becomes of each transcription: seconds, or
    a failure after 0.2 s. Of a word it must hear ``least_frames`` on end."""

    connects: list[float] = field(default_factory=list)
    hanging: frozenset[int] = frozenset()
    batches: list[float | None] = field(default_factory=list)
    sockets: list[Socket] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    least_frames: int = 2

    def connect_s(self) -> float:
        return self.connects.pop(0) if self.connects else 0.05

    def batch_s(self) -> float | None:
        return self.batches.pop(0) if self.batches else 0.3


@cache
def unused_client() -> CartesiaClient:
    """For its settings; nothing is asked of it."""
    return CartesiaClient(CartesiaConf(api_key="k", base_url="http://127.0.0.1:9"))


class InMemoryEar(TurnsEar):
    vendor: Vendor

    async def _connect(self) -> Any:
        await asyncio.sleep(self.vendor.connect_s())
        socket = Socket(len(self.vendor.sockets) in self.vendor.hanging, self.vendor.least_frames)
        self.vendor.sockets.append(socket)
        return socket

    async def _transcribe(self, audio: bytes) -> str:
        self.vendor.requests.append(audio)
        needs_s = self.vendor.batch_s()
        if needs_s is None or needs_s > 2.5:
            await asyncio.sleep(0.2 if needs_s is None else 2.5)
            raise VendorError("server" if needs_s is None else "timeout", "cartesia")
        await asyncio.sleep(needs_s)
        return " ".join(words_in(audio, self.vendor.least_frames))


class Detector:
    """Finds voice as the local detector does: 60 ms late at its beginning, 256 ms at its end."""

    def __init__(self, ear: TurnsEar) -> None:
        self._ear = ear
        self._loud = self._quiet = 0
        self._speaking = False

    def feed(self, frame: bytes) -> None:
        if frame[0] != 0xFF:
            self._loud, self._quiet = self._loud + 1, 0
        else:
            self._loud, self._quiet = 0, self._quiet + 1
        if not self._speaking and self._loud == 3:
            self._speaking = True
            self._ear.voice_began(3 * FRAME_MS)
        elif self._speaking and self._quiet == 13:
            self._speaking = False
            self._ear.voice_ended(13 * FRAME_MS)


@dataclass
class Call:
    """What was told, and when the caller had finished."""

    events: list[tuple[int, Event]]
    said: list[str]
    spoke_until_ms: int

    @property
    def turns(self) -> list[str]:
        return [event.text for _, event in self.events if isinstance(event, TurnEnded)]

    @property
    def words(self) -> list[str]:
        return " ".join(self.turns).split()

    def last_end_ms(self) -> int:
        return max(at_ms for at_ms, event in self.events if isinstance(event, TurnEnded) and event.text)


def play(
    vendor: Vendor,
    pauses_ms: list[int],
    cuts_ms: Iterable[int] = (),
    *,
    stalls_ms: int = -1,
    after_ms: int = 12_000,
    word_frames: int = 3,
    told: Callable[[Event], None] = lambda _: None,
) -> Call:
    """A caller says a word after each pause, then listens; connections are cut at these times, or one says nothing more."""
    frames: list[bytes] = []
    for index, pause_ms in enumerate(pauses_ms, 1):
        frames += [QUIET] * (pause_ms // FRAME_MS) + [bytes([index]) * 160] * word_frames
    spoke_until_ms = len(frames) * FRAME_MS
    frames += [QUIET] * (after_ms // FRAME_MS)
    events = play_frames(vendor, frames, cuts_ms, stalls_ms, told)
    return Call(events, [f"w{index}" for index in range(1, len(pauses_ms) + 1)], spoke_until_ms)


def play_frames(
    vendor: Vendor,
    frames: list[bytes],
    cuts_ms: Iterable[int] = (),
    stalls_ms: int = -1,
    told: Callable[[Event], None] = lambda _: None,
) -> list[tuple[int, Event]]:
    """What is told while these frames come in real time."""
    cuts = {cut // FRAME_MS for cut in cuts_ms}
    events: list[tuple[int, Event]] = []

    async def call() -> None:
        loop = asyncio.get_running_loop()

        def post(event: Event) -> None:
            events.append((round(loop.time() * 1000), event))
            told(event)

        ear = InMemoryEar(
            unused_client(),
            AGENT,
            post,
            persistence=Persistence(attempts=100, first_wait_s=0.02, longest_wait_s=0.1, stable_s=0.0),
        )
        ear.vendor = vendor
        detector = Detector(ear)
        running = asyncio.create_task(ear.run())
        for index, frame in enumerate(frames):
            if index in cuts and vendor.sockets:
                vendor.sockets[-1].cut()
            if index == stalls_ms // FRAME_MS:
                vendor.sockets[-1].hangs = True
            ear.feed(frame)
            detector.feed(frame)
            await asyncio.sleep(FRAME_MS / 1000)
        await ear.aclose()
        await running

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(call())
    return events


SENTENCE = [1000, 200, 160, 240, 200, 160]


def test_without_a_failure_nothing_is_asked_apart() -> None:
    vendor = Vendor()
    call = play(vendor, [*SENTENCE, 2000, 200])
    assert call.turns == ["w1 w2 w3 w4 w5 w6", "w7 w8"]
    assert (vendor.requests, len(vendor.sockets)) == ([], 1)


def test_a_connection_lost_in_mid_sentence_costs_no_word() -> None:
    vendor = Vendor(connects=[0.05, 0.4])
    call = play(vendor, SENTENCE, [1400])
    assert call.turns == ["w1 w2 w3 w4 w5 w6"]
    (apart,) = vendor.requests
    assert words_in(apart) + words_in(bytes(vendor.sockets[1].audio)) == call.said


def test_what_the_new_connection_hears_waits_for_what_came_before() -> None:
    call = play(Vendor(connects=[0.05, 0.1], batches=[2.0]), SENTENCE, [1300])
    texts = [event.text for _, event in call.events if isinstance(event, WordsHeard | TurnEnded)]
    assert texts[-1] == "w1 w2 w3 w4 w5 w6"
    assert all("w1 w2 w3 w4 w5 w6".startswith(text) for text in texts)


def test_a_whole_sentence_in_the_gap_is_answered_without_waiting_for_a_connection() -> None:
    vendor = Vendor(connects=[0.05, 6.0])
    call = play(vendor, SENTENCE, [900])
    assert call.turns == ["w1 w2 w3 w4 w5 w6"]
    assert call.last_end_ms() - call.spoke_until_ms < 1500
    assert len([1 for _, event in call.events if isinstance(event, EarReady)]) == 2


@pytest.mark.parametrize("back_ms", range(40, 700, 20))
def test_a_connection_that_comes_back_within_a_long_word_leaves_it_whole(back_ms: int) -> None:
    """Neither of two halves would be heard: the new connection is given the word from its beginning, or the request to its end."""
    vendor = Vendor(connects=[0.05, back_ms / 1000], least_frames=30)
    call = play(vendor, [1000, 60, 60, 60], [1300], word_frames=30)
    assert call.turns == ["w1 w2 w3 w4"]


def test_a_late_transcription_lets_the_interim_words_stand_in() -> None:
    call = play(Vendor(connects=[0.05, 0.1], batches=[9.0]), SENTENCE, [1700])
    assert call.turns == ["w1 w2 w3 w4 w5 w6"] or set(call.said) - set(call.words) <= {"w4"}
    assert len(call.words) == len(set(call.words))


def test_words_before_the_first_connection_are_heard_too() -> None:
    call = play(Vendor(connects=[2.0]), [200, 200, 200])
    assert call.turns == ["w1 w2 w3"]


def test_a_connection_that_speaks_up_when_its_words_were_told_from_elsewhere_does_not_double_them() -> None:
    """Between the verdict and the end of the socket there is time for what has just arrived."""
    vendor = Vendor(hanging=frozenset({0}))

    def late(event: Event) -> None:
        if isinstance(event, WordsHeard) and len(vendor.sockets) == 1:
            vendor.sockets[0].hangs, vendor.sockets[0].latency_s = False, 0.0
            vendor.sockets[0]._say(type="turn.end", transcript=event.text)

    call = play(vendor, SENTENCE, after_ms=4000, told=late)
    assert call.turns == ["w1 w2 w3 w4 w5 w6"]
    assert len(vendor.sockets) == 2


def test_a_connection_that_hangs_is_found_out_within_two_seconds_and_replaced() -> None:
    vendor = Vendor(hanging=frozenset({0}))
    call = play(vendor, [*SENTENCE, 6000, 200], after_ms=4000)
    assert call.turns == ["w1 w2 w3 w4 w5 w6", "w7 w8"]
    failed = [(event.kind, event.final) for _, event in call.events if isinstance(event, EarFailed)]
    assert failed == [("hung", False)]
    first_ms = next(at_ms for at_ms, event in call.events if isinstance(event, TurnEnded))
    assert first_ms - (call.spoke_until_ms - 6320) < 2000
    assert len(vendor.requests) == 1


def test_a_recogniser_that_is_right_to_say_nothing_is_doubted_ever_more_seldom_and_never_torn_down() -> None:
    vendor = Vendor()
    call = play_frames(vendor, ([QUIET] * 60 + [NOISE] * 12) * 40)
    assert len(vendor.sockets) == 1
    assert [type(event) for _, event in call] == [EarReady]
    assert 2 <= len(vendor.requests) <= 6


def test_where_nobody_can_tell_whether_it_hangs_it_is_replaced_and_then_left_alone_for_a_while() -> None:
    vendor = Vendor(hanging=frozenset(range(100)), batches=[None] * 100)
    call = play(vendor, SENTENCE, after_ms=20_000)
    assert call.turns == []
    assert 2 <= len(vendor.sockets) <= 4
    assert {event.kind for _, event in call.events if isinstance(event, EarFailed)} == {"hung"}


def test_a_turn_of_which_the_end_never_comes_is_ended_with_all_its_words() -> None:
    call = play(Vendor(), SENTENCE, stalls_ms=1500)
    assert call.turns == ["w1 w2 w3 w4 w5 w6"]
    assert call.last_end_ms() - call.spoke_until_ms < 8000


ONE_CUT = st.integers(min_value=0, max_value=6000)


@pytest.mark.search
@settings(max_examples=40, deadline=None)
@given(
    pauses_ms=st.lists(st.sampled_from([100, 160, 240, 400, 700, 1500]), min_size=1, max_size=12),
    cuts_ms=st.lists(ONE_CUT, max_size=3),
    connects=st.lists(st.sampled_from([0.02, 0.3, 1.0, 2.5]), max_size=4),
    hanging=st.frozensets(st.integers(min_value=0, max_value=2), max_size=1),
    batches=st.lists(st.sampled_from([0.05, 0.5, 1.5, 2.4]), max_size=6),
)
def test_every_word_becomes_text_once_and_in_order(
    pauses_ms: list[int], cuts_ms: list[int], connects: list[float], hanging: frozenset[int], batches: list[float]
) -> None:
    call = play(Vendor(connects, hanging, [*batches]), [600, *pauses_ms], apart(cuts_ms))
    assert call.words == call.said
    # Nobody waits long: the longest of doubt, connection and transcription together.
    assert call.last_end_ms() - call.spoke_until_ms < 9000


@pytest.mark.search
@settings(max_examples=40, deadline=None)
@given(
    pauses_ms=st.lists(st.sampled_from([60, 100, 400, 1500]), min_size=1, max_size=8),
    cuts_ms=st.lists(ONE_CUT, max_size=3),
    connects=st.lists(st.sampled_from([0.02, 0.3, 1.0, 2.5]), max_size=4),
    word_frames=st.sampled_from([8, 20, 30]),
)
def test_no_connection_is_given_half_a_word(
    pauses_ms: list[int], cuts_ms: list[int], connects: list[float], word_frames: int
) -> None:
    vendor = Vendor(connects, least_frames=word_frames)
    call = play(vendor, [600, *pauses_ms], apart(cuts_ms), word_frames=word_frames)
    assert call.words == call.said


@pytest.mark.search
@settings(max_examples=40, deadline=None)
@given(
    pauses_ms=st.lists(st.sampled_from([100, 160, 240, 400, 700, 1500]), min_size=1, max_size=12),
    cuts_ms=st.lists(ONE_CUT, max_size=3),
    connects=st.lists(st.sampled_from([0.02, 0.3, 1.0, 2.5]), max_size=4),
    batches=st.lists(st.sampled_from([0.05, 1.5, None, 9.0]), max_size=6),
)
def test_where_transcribing_fails_no_word_is_doubled_and_all_that_were_told_count(
    pauses_ms: list[int], cuts_ms: list[int], connects: list[float], batches: list[float | None]
) -> None:
    call = play(Vendor(connects, frozenset(), batches), [600, *pauses_ms], apart(cuts_ms))
    assert call.words == sorted(set(call.words), key=call.said.index)
    told = {word for _, event in call.events if isinstance(event, WordsHeard) for word in event.text.split()}
    assert told <= set(call.words)


def apart(cuts_ms: list[int]) -> list[int]:
    """Two cuts within a word would leave no part of it that anybody could hear."""
    kept: list[int] = []
    for cut in sorted(cuts_ms):
        if not kept or cut - kept[-1] > 200:
            kept.append(cut)
    return kept

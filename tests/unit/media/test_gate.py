"""The gate: what passes, what waits, what is dropped, and in which order it is on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.codecs.twilio import parse_mark_name
from calls.core.events import AudioSent, Event, VoiceFinished
from calls.media.gate import HELD_MOST_BYTES, PIECE_BYTES, Gate


class Wire:
    """The carrier's side, the mailbox and the counter of one gate, in one list."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.dropped = 0
        self.gate = Gate(self, self.post, None, self.count)

    def media(self, payload: bytes) -> None:
        self.log.append(("media", payload))

    def mark(self, name: str) -> None:
        self.log.append(("mark", parse_mark_name(name)))

    def clear(self) -> None:
        self.log.append(("clear", None))

    def close(self, code: int = 1000) -> None:
        raise AssertionError("a gate closes nothing")

    def post(self, event: Event) -> None:
        self.log.append(("event", event))

    def count(self, size: int) -> None:
        self.dropped += size

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.log]

    def media_sent(self) -> bytes:
        return b"".join(value for kind, value in self.log if kind == "media")


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_audio_of_the_open_epoch_passes_at_once_with_a_mark_and_a_report(wire: Wire) -> None:
    wire.gate.open(3, 7)
    wire.gate.audio(3, 7, b"ab")
    wire.gate.audio(3, 7, b"c")
    assert wire.log == [
        ("media", b"ab"),
        ("mark", (3, 7, 1)),
        ("event", AudioSent(turn=3, epoch=7, piece=1, size_bytes=2)),
        ("media", b"c"),
        ("mark", (3, 7, 2)),
        ("event", AudioSent(turn=3, epoch=7, piece=2, size_bytes=1)),
    ]


def test_no_audio_is_no_piece(wire: Wire) -> None:
    wire.gate.open(1, 1)
    wire.gate.audio(1, 1, b"")
    assert wire.log == []


def test_the_end_of_an_open_epoch_is_reported_at_once(wire: Wire) -> None:
    wire.gate.open(1, 1)
    wire.gate.finished(1, 1)
    assert wire.log == [("event", VoiceFinished(turn=1, epoch=1))]


def test_a_later_epoch_waits_and_is_released_in_pieces_before_its_end(wire: Wire) -> None:
    audio = bytes(range(256)) * 70
    for start in range(0, len(audio), 1000):
        wire.gate.audio(2, 5, audio[start : start + 1000])
    wire.gate.finished(2, 5)
    assert wire.log == []
    wire.gate.open(2, 5)
    assert wire.media_sent() == audio
    sizes = [value.size_bytes for _, value in wire.log if isinstance(value, AudioSent)]
    assert sizes == [PIECE_BYTES, PIECE_BYTES, len(audio) - 2 * PIECE_BYTES]
    assert wire.log[-1] == ("event", VoiceFinished(turn=2, epoch=5))
    wire.gate.audio(2, 5, b"more")
    assert wire.media_sent() == audio + b"more"


def test_an_epoch_released_before_its_end_reports_the_end_later(wire: Wire) -> None:
    wire.gate.audio(1, 1, b"a")
    wire.gate.open(1, 1)
    assert "VoiceFinished" not in str(wire.log)
    wire.gate.finished(1, 1)
    assert wire.log[-1] == ("event", VoiceFinished(turn=1, epoch=1))


def test_an_end_that_was_held_without_audio_is_reported_on_release(wire: Wire) -> None:
    wire.gate.finished(1, 1)
    wire.gate.open(1, 1)
    assert wire.log == [("event", VoiceFinished(turn=1, epoch=1))]


def test_a_closed_gate_holds_what_follows(wire: Wire) -> None:
    wire.gate.open(1, 1)
    wire.gate.close()
    wire.gate.audio(1, 1, b"held")
    assert wire.log == []
    wire.gate.open(1, 1)
    assert wire.media_sent() == b"held"


def test_dropped_audio_is_counted_and_never_sent(wire: Wire) -> None:
    wire.gate.audio(1, 1, b"abc")
    wire.gate.audio(1, 2, b"later")
    wire.gate.drop(1)
    assert wire.dropped == 3
    wire.gate.audio(1, 1, b"de")
    wire.gate.finished(1, 1)
    wire.gate.open(1, 1)
    assert (wire.log, wire.dropped) == ([], 5)
    wire.gate.open(1, 2)
    assert wire.media_sent() == b"later"


def test_nothing_of_a_cleared_epoch_follows_the_clear(wire: Wire) -> None:
    wire.gate.open(1, 1)
    wire.gate.audio(1, 1, b"a")
    wire.gate.clear(1)
    wire.gate.audio(1, 1, b"late")
    wire.gate.finished(1, 1)
    assert wire.kinds() == ["media", "mark", "event", "clear"]
    assert wire.dropped == 4


def test_a_clear_of_what_was_never_sent_does_not_cut_what_still_plays(wire: Wire) -> None:
    wire.gate.open(1, 1)
    wire.gate.audio(1, 1, b"notice")
    wire.gate.audio(2, 2, b"held")
    wire.gate.clear(2)
    assert wire.kinds() == ["media", "mark", "event"]
    wire.gate.audio(2, 2, b"late")
    assert wire.dropped == 8


def test_an_earlier_drop_does_not_revive_a_later_one(wire: Wire) -> None:
    wire.gate.drop(5)
    wire.gate.drop(2)
    wire.gate.open(1, 4)
    wire.gate.audio(1, 4, b"x")
    assert wire.media_sent() == b""


def test_an_epoch_that_is_held_without_end_is_cut_off_and_the_rest_counted(wire: Wire) -> None:
    wire.gate.audio(1, 1, bytes(HELD_MOST_BYTES))
    wire.gate.audio(1, 1, b"too much")
    assert wire.dropped == 8
    wire.gate.open(1, 1)
    assert len(wire.media_sent()) == HELD_MOST_BYTES


@given(
    st.lists(
        st.tuples(st.sampled_from(["audio", "finished", "open", "close", "drop", "clear"]), st.integers(1, 4)),
        max_size=40,
    )
)
def test_whatever_is_asked_of_it_the_order_holds(actions: list[tuple[str, int]]) -> None:
    wire, dead, given_bytes = Wire(), 0, 0
    for action, epoch in actions:
        before = len(wire.log)
        match action:
            case "audio":
                wire.gate.audio(1, epoch, bytes([epoch]) * 3)
                given_bytes += 3
            case "finished":
                wire.gate.finished(1, epoch)
            case "open":
                wire.gate.open(1, epoch)
            case "close":
                wire.gate.close()
            case "drop":
                wire.gate.drop(epoch)
            case _:
                wire.gate.clear(epoch)
                sent = any(value.epoch >= epoch for _, value in wire.log if isinstance(value, AudioSent))
                assert wire.log[before:] == [("clear", None)] * sent
        if action in ("drop", "clear"):
            dead = max(dead, epoch)
        epochs = {value.epoch for _, value in wire.log[before:] if value is not None and not isinstance(value, bytes)}
        assert all(number > dead for number in epochs)
    pieces = [value.piece for _, value in wire.log if isinstance(value, AudioSent)]
    assert pieces == list(range(1, len(pieces) + 1))
    assert len(wire.media_sent()) + wire.dropped <= given_bytes

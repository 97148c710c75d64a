"""A listener hears what the caller hears, when they hear it, whatever was sent ahead or cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.media.recorder import FLUSH_BYTES
from calls.media.tap import MOST_LATE_SAMPLES, BadBatch, Batch, Tap, decoded
from tests.unit.media.test_recorder import FRAME, Tape

if TYPE_CHECKING:
    from pathlib import Path

SILENT = b"\xff"


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    return Tape(tmp_path / "recordings")


def test_speech_sent_ahead_is_heard_as_it_plays_and_not_after_a_clear(tape: Tape) -> None:
    tape.hear(5)
    tap = Tap(tape.recorder)
    tape.recorder.played(b"a" * 80_000)
    tape.hear(5)
    first = tap.take(1.0)
    tape.hear(2)
    tape.recorder.cleared()
    tape.hear(3)
    second = tap.take(2.0)

    assert (first.number, first.agent_at, first.agent) == (1, 800, b"a" * 800)
    assert (first.caller_at, first.caller) == (800, b"c" * 800)
    assert (second.number, second.agent_at, second.agent) == (2, 1600, b"a" * 320 + SILENT * 480)


def test_who_begins_in_the_middle_of_speech_hears_its_rest(tape: Tape) -> None:
    tape.hear(1)
    tape.recorder.played(bytes(i % 251 for i in range(1600)))
    tape.hear(5)
    tap = Tap(tape.recorder)
    tape.hear(1)

    assert tap.take(0).agent == bytes(i % 251 for i in range(800, 960))


@given(st.lists(st.integers(1, 24), min_size=1, max_size=40))
def test_what_is_taken_is_what_is_recorded(tmp_path_factory: pytest.TempPathFactory, frames: list[int]) -> None:
    tape = Tape(tmp_path_factory.mktemp("tap"))
    tape.hear(1)
    tap = Tap(tape.recorder)
    batches = []
    for number, count in enumerate(frames):
        tape.recorder.played(bytes([number % 200]) * (count * 90))
        tape.hear(count, bytes([number % 100]))
        batches.append(tap.take(0))
    caller, agent = tape.close()

    assert b"".join(batch.caller for batch in batches) == caller[FRAME:]
    assert b"".join(batch.agent for batch in batches) == agent[FRAME:].ljust(len(caller) - FRAME, SILENT)


def test_a_late_one_misses_the_beginning_and_costs_no_more_memory(tape: Tape) -> None:
    tape.hear(1)
    tap = Tap(tape.recorder)
    tape.recorder.played(b"a" * 10 * FLUSH_BYTES)
    tape.hear(9 * FLUSH_BYTES // FRAME)
    batch = tap.take(0)

    assert len(batch.agent) <= MOST_LATE_SAMPLES
    assert batch.agent_at + len(batch.agent) == tape.recorder.now_sample
    assert len(batch.caller) <= MOST_LATE_SAMPLES


def test_a_batch_is_read_as_it_was_written() -> None:
    batch = Batch(7, 1795000000123.5, 16000, b"\x01\x02", 15984, b"\x03" * 5)

    assert decoded(batch.encoded()) == batch


@pytest.mark.parametrize("data", [b"", b"x" * 27, Batch(1, 0, 0, b"ab", 0, b"c").encoded()[:-1]])
def test_bytes_that_are_no_batch_are_refused(data: bytes) -> None:
    with pytest.raises(BadBatch):
        decoded(data)

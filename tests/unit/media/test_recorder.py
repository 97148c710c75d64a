"""Both sides of a call on one sample clock, whatever arrives when."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest

from calls.codecs.mulaw import SILENCE_BYTE
from calls.media.recorder import FLUSH_BYTES, MOST_GAP_SAMPLES, Recorder, paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAME_MS = 20
FRAME = 160


class AtOnce(Executor):
    """Runs at once, and counts."""

    def __init__(self) -> None:
        self.writes = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.writes += 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except OSError as error:
            future.set_exception(error)
        return future


class Tape:
    """A recorder with a clock of its own, and what it wrote."""

    def __init__(self, folder: Path, began: Callable[[int], None] = lambda _: None) -> None:
        self.now_ms = 5000
        self.executor = AtOnce()
        self.folder = folder
        self.recorder = Recorder(folder, "CA1", lambda: self.now_ms, self.executor, began)
        self.frame = 0

    def hear(self, frames: int = 1, byte: bytes = b"c") -> None:
        """So many frames of the caller, in real time: each arrives when it has been spoken."""
        for _ in range(frames):
            self.now_ms += FRAME_MS
            self.recorder.heard(self.frame * FRAME_MS, byte * FRAME)
            self.frame += 1

    def close(self) -> tuple[bytes, bytes]:
        self.recorder.close().result()
        caller, agent = paths(self.folder, "CA1")
        return caller.read_bytes(), agent.read_bytes()


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    return Tape(tmp_path / "recordings")


def silence(samples: int) -> bytes:
    return SILENCE_BYTE * samples


def test_both_sides_lie_on_one_clock(tape: Tape) -> None:
    tape.hear(10)
    tape.recorder.played(b"a" * 800)
    tape.hear(10, b"d")
    caller, agent = tape.close()
    assert caller == b"c" * 1600 + b"d" * 1600
    assert agent == silence(1600) + b"a" * 800


def test_speech_sent_ahead_queues_behind_what_is_playing(tape: Tape) -> None:
    tape.hear(5)
    tape.recorder.played(b"a" * 800)
    tape.recorder.played(b"b" * 800)
    tape.hear(15)
    tape.recorder.played(b"e" * 160)
    tape.hear(2)
    _, agent = tape.close()
    assert agent == silence(800) + b"a" * 800 + b"b" * 800 + silence(800) + b"e" * 160


def test_a_clear_cuts_what_was_not_heard_at_that_instant(tape: Tape) -> None:
    tape.hear(5)
    tape.recorder.played(b"a" * 8000)
    tape.hear(3)
    tape.recorder.cleared()
    tape.recorder.played(b"b" * 160)
    tape.hear(5)
    _, agent = tape.close()
    assert agent == silence(800) + b"a" * 480 + b"b" * 160


def test_a_clear_after_everything_was_heard_cuts_nothing(tape: Tape) -> None:
    tape.recorder.played(b"a" * 160)
    tape.hear(10)
    tape.recorder.cleared()
    tape.recorder.cleared()
    _, agent = tape.close()
    assert agent == b"a" * 160


def test_what_would_have_played_after_the_end_was_not_heard(tape: Tape) -> None:
    tape.hear(5)
    tape.recorder.played(b"a" * 80_000)
    tape.hear(5)
    caller, agent = tape.close()
    assert len(caller) == len(agent) == 1600
    assert agent == silence(800) + b"a" * 800


def test_a_first_frame_that_was_late_does_not_shift_the_agent(tmp_path: Path) -> None:
    """It waited 60 ms while the call was set up. What the agent says from then on lies where the caller heard it."""
    began: list[int] = []
    tape = Tape(tmp_path / "recordings", began.append)
    tape.now_ms += 60
    tape.hear(1)
    tape.now_ms -= 60
    tape.hear(9)
    tape.recorder.played(b"a" * 800)
    tape.hear(10)
    _, agent = tape.close()
    assert agent == silence(1600) + b"a" * 800
    assert began == [5060, 5000]


def test_a_timestamp_that_was_made_up_does_not_move_the_clock(tape: Tape) -> None:
    tape.hear(5)
    tape.recorder.heard(5 * FRAME_MS + 3000, b"x" * FRAME)
    tape.recorder.played(b"a" * 160)
    tape.hear(2)
    assert tape.close()[1] == silence(800) + b"a" * 160


def test_a_gap_in_the_timestamps_is_silence(tape: Tape) -> None:
    tape.hear(2)
    tape.frame += 3
    tape.now_ms += 3 * FRAME_MS
    tape.hear(2, b"d")
    caller, _ = tape.close()
    assert caller == b"c" * 320 + silence(480) + b"d" * 320


def test_a_stream_that_begins_late_is_silent_until_then(tape: Tape) -> None:
    tape.frame = 5
    tape.hear(1)
    caller, _ = tape.close()
    assert caller == silence(800) + b"c" * 160


def test_a_timestamp_from_far_ahead_fills_no_disk(tape: Tape) -> None:
    tape.hear(1)
    tape.recorder.heard(MOST_GAP_SAMPLES, b"x" * 160)
    tape.hear(1)
    caller, _ = tape.close()
    assert len(caller) <= 3 * 160


def test_a_repeated_timestamp_loses_no_audio(tape: Tape) -> None:
    tape.hear(1)
    tape.recorder.heard(0, b"d" * 160)
    caller, _ = tape.close()
    assert caller == b"c" * 160 + b"d" * 160


def test_files_grow_while_the_call_runs_and_end_the_same_at_any_boundary(tape: Tape) -> None:
    tape.hear(10)
    tape.recorder.played(bytes(i % 251 for i in range(30_000)))
    tape.hear(60, b"d")
    assert tape.executor.writes == 70 * FRAME // FLUSH_BYTES
    on_disk = [path.stat().st_size for path in paths(tape.folder, "CA1")]
    assert on_disk == [FLUSH_BYTES, FLUSH_BYTES]
    tape.hear(200, b"e")
    caller, agent = tape.close()
    assert caller == b"c" * 1600 + b"d" * 9600 + b"e" * 32_000
    assert agent == silence(1600) + bytes(i % 251 for i in range(30_000))


def test_a_clear_does_not_touch_what_is_written_already(tape: Tape) -> None:
    tape.recorder.played(b"a" * 20_000)
    tape.hear(FLUSH_BYTES // FRAME)
    written = paths(tape.folder, "CA1")[1].read_bytes()
    tape.recorder.cleared()
    tape.recorder.played(b"b" * 160)
    tape.hear(2)
    _, agent = tape.close()
    assert written
    assert agent == b"a" * 8000 + b"b" * 160


def test_a_call_without_media_leaves_two_empty_files(tape: Tape) -> None:
    assert tape.close() == (b"", b"")


def test_a_second_recording_of_a_call_replaces_the_first(tape: Tape, tmp_path: Path) -> None:
    tape.hear(3)
    tape.close()
    again = Tape(tmp_path / "recordings")
    again.hear(1, b"x")
    assert again.close()[0] == b"x" * 160


def test_recordings_are_for_their_owner_only(tape: Tape) -> None:
    tape.close()
    assert tape.folder.stat().st_mode & 0o077 == 0


def test_a_disk_that_refuses_is_told_at_the_end(tape: Tape) -> None:
    tape.folder.write_text("not a folder")
    with pytest.raises(OSError, match="recordings"):
        tape.recorder.close().result()

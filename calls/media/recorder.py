"""Both sides of a call on disk, aligned to one sample clock.

Sample 0 is the stream's start by the carrier's media timestamps. The caller's frames lie at their timestamps, gaps
filled with silence; a frame arrives when its last sample has been spoken. The agent's audio lies where the caller heard it: sent audio queues behind what is still playing,
and a clear cuts the queue at that instant. Two raw µ-law files grow while the call runs, so that a process that dies
loses at most the last second; the archive makes them one stereo file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.codecs.mulaw import SILENCE_BYTE

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from pathlib import Path

SAMPLES_PER_MS = 8
#: Bytes that are collected before a write: about a second.
FLUSH_BYTES = 8000
#: The longest gap that is filled: a timestamp further ahead is taken for nonsense.
MOST_GAP_SAMPLES = 8000 * 60
#: How far the caller's audio may be ahead of the clock. A delayed first frame makes the others seem early, by seconds;
#: what is still further ahead was made up, and would only fill the disk.
MOST_LEAD_SAMPLES = 8000 * 10
#: How late the first frame may have been.
MOST_LATE_START_MS = 2000


def paths(folder: Path, call_sid: str) -> tuple[Path, Path]:
    """Where the caller's and the agent's raw audio of a call lie."""
    return folder / f"{call_sid}.in.ulaw", folder / f"{call_sid}.out.ulaw"


class Recorder:
    """Records one call. ``now_ms`` is the call's clock; writes run in ``executor``, in order if it has one thread.

    ``began`` is told where sample 0 lies on that clock, which may be before its start; again when a frame that was less late shows it.
    """

    def __init__(
        self,
        folder: Path,
        call_sid: str,
        now_ms: Callable[[], int],
        executor: Executor,
        began: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._began = began
        self._in_path, self._out_path = paths(folder, call_sid)
        self._now_ms = now_ms
        self._executor = executor
        self._start_ms: int | None = None
        self._latest_start_ms = 0
        self._heard = bytearray()
        self._heard_written = 0
        self._playing = bytearray()
        self._playing_from = 0
        self._created = False
        #: What was written last, each side with its first sample: whoever reads along may be that late.
        self._written: tuple[int, bytes, int, bytes] = (0, b"", 0, b"")

    def heard(self, timestamp_ms: int, audio: bytes) -> None:
        """A frame of the caller, with the carrier's timestamp."""
        at = timestamp_ms * SAMPLES_PER_MS
        start_ms = self._now_ms() - len(audio) // SAMPLES_PER_MS - (timestamp_ms if at <= MOST_GAP_SAMPLES else 0)
        if self._start_ms is None:
            self._start_ms = self._latest_start_ms = start_ms
            self._began(start_ms)
        elif self._latest_start_ms - MOST_LATE_START_MS <= start_ms < self._start_ms:
            # The first frames wait while a call is set up: whichever was least late tells when the stream began.
            self._start_ms = start_ms
            self._began(start_ms)
        latest = self._now_sample() + MOST_LEAD_SAMPLES
        end = self._heard_written + len(self._heard)
        gap = at - end
        if 0 < gap <= MOST_GAP_SAMPLES and at <= latest:
            self._heard += SILENCE_BYTE * gap
            end = at
        self._heard += audio[: max(0, latest - end)]
        if len(self._heard) >= FLUSH_BYTES:
            self._flush()

    def played(self, audio: bytes) -> None:
        """Agent audio was queued at the carrier now."""
        now = self._now_sample()
        end = self._playing_from + len(self._playing)
        if now > end:
            self._playing += SILENCE_BYTE * (now - end)
        self._playing += audio

    def cleared(self) -> None:
        """The carrier dropped what it had not played yet."""
        keep = self._now_sample() - self._playing_from
        if keep < len(self._playing):
            del self._playing[max(0, keep) :]

    # --- for who listens along ----------------------------------------------------------------------------------------

    @property
    def now_sample(self) -> int:
        """Where the call is on the recording's clock."""
        return self._now_sample()

    def heard_since(self, sample: int) -> tuple[int, bytes]:
        """The caller's audio that has come, from this sample on. Gives where it begins: later than asked for where that was
        let go of, a second or two ago."""
        start, written, _, _ = self._written
        return _since(sample, start, written + self._heard)

    def played_since(self, sample: int) -> tuple[int, bytes]:
        """The agent's audio that the caller has heard by now, from this sample on, silence included; as ``heard_since``."""
        _, _, start, written = self._written
        now = self._now_sample()
        at, audio = _since(sample, start, (written + self._playing)[: max(0, now - start)])
        return at, audio + SILENCE_BYTE * (now - at - len(audio))

    def close(self) -> Future[None]:
        """Write the rest, up to now: what would have played later was not heard. Done when it is on disk."""
        self.cleared()
        return self._flush(len(self._playing))

    def _now_sample(self) -> int:
        return 0 if self._start_ms is None else max(0, (self._now_ms() - self._start_ms) * SAMPLES_PER_MS)

    def _flush(self, out_bytes: int | None = None) -> Future[None]:
        if out_bytes is None:
            out_bytes = min(len(self._playing), max(0, self._now_sample() - self._playing_from))
        out = bytes(self._playing[:out_bytes])
        del self._playing[:out_bytes]
        heard = bytes(self._heard)
        self._written = (self._heard_written, heard, self._playing_from, out)
        self._playing_from += out_bytes
        self._heard_written += len(heard)
        self._heard.clear()
        first, self._created = not self._created, True
        return self._executor.submit(self._write, heard, out, first)

    def _write(self, heard: bytes, out: bytes, first: bool) -> None:
        mode = "wb" if first else "ab"
        if first:
            self._in_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, audio in ((self._in_path, heard), (self._out_path, out)):
            with path.open(mode) as file:
                file.write(audio)


def _since(sample: int, start: int, audio: bytes | bytearray) -> tuple[int, bytes]:
    at = max(sample, start)
    return at, bytes(audio[at - start :])

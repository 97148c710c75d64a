"""What a listener costs a call: CPU time of the recorder's second of both sides, without and with somebody who reads along.

No listener: the frame path knows nothing of it, so there is nothing to measure but that. One or many: one reader, ten
batches a second; Redis and the pages are other processes' business.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calls.codecs.mulaw import tone
from calls.media.recorder import Recorder
from calls.media.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS, ROUNDS = 60, 7
FRAME_MS, FRAMES, EVERY = 20, 50, 5
FRAME = tone((440,), FRAME_MS)
#: A sentence is sent at once, faster than it is played.
SENTENCE, SENTENCE_S = tone((300,), 2000), 3


class _Nowhere(Executor):
    """The disk is another thread's: what is written is let go of."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(None)
        return done


def cpu_us(folder: Path, *, is_heard: bool) -> float:
    """CPU time of one second of a call, in µs."""
    now_ms = 0
    recorder = Recorder(folder, "CA1", lambda: now_ms, _Nowhere())
    tap = Tap(recorder) if is_heard else None
    begun = time.process_time()
    for frame in range(SECONDS * FRAMES):
        recorder.heard(now_ms, FRAME)
        if frame % (SENTENCE_S * FRAMES) == 0:
            recorder.played(SENTENCE)
        now_ms += FRAME_MS
        if tap is not None and frame % EVERY == EVERY - 1:
            tap.take(float(now_ms)).encoded()
    return (time.process_time() - begun) * 1e6 / SECONDS


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        alone, heard = (
            min(cpu_us(Path(folder), is_heard=is_heard) for _ in range(ROUNDS)) for is_heard in (False, True)
        )
    print(f"{'recorder alone':<28}{alone:>9.0f} µs per call-second")
    print(f"{'with a listener':<28}{heard:>9.0f} µs per call-second   {heard / alone:.2f} times")

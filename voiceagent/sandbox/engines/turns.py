"""End-of-turn detection of the local engine: voice activity decides when, the recogniser says what."""

from __future__ import annotations

import asyncio
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from voiceagent.sandbox.engines.vad import RATE, WINDOW, WINDOW_MS, Vad
from voiceagent.sandbox.sound import PHONE_RATE, Samples, decode, resample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voiceagent.sandbox.engines.base import Emit, Heard, StreamFormat, TurnConfig
    from voiceagent.sandbox.script import SttSettings


_PREROLL_MS = 320
_START_WINDOWS = 2
# Likelihood below which a window inside a turn is silence.
_QUIET = 0.35
# Recognition of a pause begins so early that its text is there when the pause is long enough to mean something.
_LISTEN_MS = 128
_FIRST_PARTIAL_MS = 450
_PARTIAL_MS = 900
# Somebody who stops at such a word has not finished.
_UNFINISHED = re.compile(
    r"(?:\b(?:and|but|or|so|um|uh|er|the|a|an|to|for|with|at|my|is|of|because)|,|-|\.\.\.|…)$", re.I
)
_HESITATION = 2.2
_LETTERS = re.compile(r"[^a-z0-9']")


def plain(word: str) -> str:
    """A word without case and punctuation."""
    return _LETTERS.sub("", word.lower())


def extend(shown: str, heard: str) -> str:
    """``heard`` as a continuation of what was already shown, which must not change."""
    before, after = shown.split(), heard.split()
    if not before:
        return heard
    known, now = [plain(word) for word in before], [plain(word) for word in after]
    if now[: len(known)] == known:
        rest = after[len(known) :]
    else:
        blocks = SequenceMatcher(None, known, now, autojunk=False).get_matching_blocks()
        ends = [block.b + block.size + len(known) - (block.a + block.size) for block in blocks if block.size]
        rest = after[max(ends) :] if ends else after[len(known) :]
    return " ".join([*before, *rest])


def agreed(first: str, second: str) -> str:
    """The words on which two hypotheses agree from the start, without the last one, which may still be half spoken."""
    words = second.split()
    count = 0
    for one, other in zip(first.split(), words, strict=False):
        if plain(one) != plain(other):
            break
        count += 1
    return " ".join(words[: min(count, len(words) - 1)])


def first_words(text: str) -> str:
    """What is shown of a first hypothesis, unconfirmed: that somebody says words at all must be known early."""
    words = text.split()
    return " ".join(words[: max(1, len(words) - 2)]) if len(words) > 1 else ""


class LocalTurns:
    """One connection. Everything is timed by the audio received; texts come when the recogniser has them."""

    def __init__(
        self,
        form: StreamFormat,
        turn: TurnConfig,
        settings: SttSettings,
        emit: Emit,
        transcribe: Callable[[Samples, int], Awaitable[Heard]],
        is_busy: Callable[[], bool],
    ) -> None:
        self._form, self._settings, self._emit = form, settings, emit
        self._transcribe, self._is_busy = transcribe, is_busy
        self._vad = Vad()
        self._audio: list[Samples] = []
        self._samples = 0
        self._open = False
        self._turn = 0
        self._voiced_windows = 0
        self._quiet_ms = 0.0
        self._speech_ms = 0.0
        self._asked_ms = 0.0
        self._shown = ""
        self._hypothesis = ""
        self._pause_text: str | None = None
        self._eager = False
        self._pause_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.configure(turn)

    def configure(self, turn: TurnConfig) -> None:
        """See :class:`Recogniser`."""
        self._eager_ms, self._end_ms = turn.silences_ms(self._settings)
        self._timeout_ms = turn.end_timeout_ms
        self._start_likelihood = turn.start_threshold - 0.25

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        samples = resample(decode(audio, self._form.encoding), self._form.sample_rate, PHONE_RATE)
        self._audio.append(samples)
        self._samples += len(samples)
        if not self._open:
            self._forget_old()
        for likelihood in self._vad.feed(samples):
            if self._open:
                self._inside(likelihood)
            else:
                self._outside(likelihood)

    def _forget_old(self) -> None:
        """Keep only what may belong to a turn that is about to begin."""
        keep = _PREROLL_MS * RATE // 1000 + WINDOW
        while self._audio and self._samples - len(self._audio[0]) >= keep:
            self._samples -= len(self._audio.pop(0))

    def _outside(self, likelihood: float) -> None:
        self._voiced_windows = self._voiced_windows + 1 if likelihood > self._start_likelihood else 0
        if self._voiced_windows < _START_WINDOWS:
            return
        self._open, self._eager = True, False
        self._quiet_ms = self._asked_ms = 0.0
        self._speech_ms = _START_WINDOWS * WINDOW_MS
        self._shown = self._hypothesis = ""
        self._forget_pause()
        self._emit({"type": "turn.start"})

    def _inside(self, likelihood: float) -> None:
        if likelihood >= _QUIET:
            if self._quiet_ms >= _LISTEN_MS:
                self._resume()
            self._quiet_ms = 0.0
            self._speech_ms += WINDOW_MS
            self._maybe_partial()
            return
        self._quiet_ms += WINDOW_MS
        if self._quiet_ms >= _LISTEN_MS and self._pause_task is None:
            self._pause_task = self._ask(self._on_pause_text)
        self._judge()

    def _resume(self) -> None:
        self._forget_pause()
        if self._eager:
            self._eager = False
            self._emit({"type": "turn.resume"})

    def _forget_pause(self) -> None:
        """Texts of an earlier pause are no longer about the whole turn."""
        if self._pause_task is not None:
            # Work that has not begun is not begun: the next text would wait behind it.
            self._pause_task.cancel()
        self._pause_task = None
        self._pause_text = None

    def _maybe_partial(self) -> None:
        due_ms = _PARTIAL_MS if self._asked_ms else _FIRST_PARTIAL_MS
        if self._speech_ms - self._asked_ms < due_ms or self._is_busy():
            return
        self._asked_ms = self._speech_ms
        self._ask(self._on_partial)

    def _ask(self, answer: Callable[[str], None]) -> asyncio.Task[None]:
        """Have the turn so far recognised; the answer comes unless the turn has ended or the task is cancelled."""
        samples, turn = np.concatenate(self._audio), self._turn

        async def recognise() -> None:
            heard = await self._transcribe(samples, PHONE_RATE)
            if self._open and turn == self._turn:
                answer(heard.text)

        task = asyncio.create_task(recognise())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_partial(self, text: str) -> None:
        common = agreed(self._hypothesis, text) if self._hypothesis else first_words(text)
        self._hypothesis = text
        longer = extend(self._shown, common)
        if len(longer.split()) > len(self._shown.split()) and self._pause_text is None:
            self._shown = longer
            self._emit({"type": "turn.update", "transcript": longer})

    def _on_pause_text(self, text: str) -> None:
        self._pause_text = extend(self._shown, text)
        self._judge()

    def _judge(self) -> None:
        """Whether the silence has lasted long enough, once the words are known."""
        text = self._pause_text
        if text is None:
            return
        slow = _HESITATION if _UNFINISHED.search(text) else 1.0
        if self._quiet_ms >= min(self._end_ms * slow, self._timeout_ms):
            self._end(text)
        elif self._quiet_ms >= self._eager_ms * slow and text and not self._eager:
            self._eager = True
            self._shown = text
            self._emit({"type": "turn.eager_end", "transcript": text})

    def _end(self, text: str) -> None:
        self._open = False
        self._voiced_windows = 0
        self._turn += 1
        self._emit({"type": "turn.end", "transcript": text})
        self._forget_old()

    def finalize(self) -> None:
        """No such thing on this endpoint."""

    async def finish(self) -> None:
        """End an open turn with what was said."""
        if self._open:
            heard = await self._transcribe(np.concatenate(self._audio), PHONE_RATE)
            self._end(extend(self._shown, heard.text))

    def stop(self) -> None:
        """See :class:`Recogniser`."""
        self._open = False
        for task in list(self._tasks):
            task.cancel()

"""The engine with real models: whisper hears, piper speaks. Both run in threads; the loop stays free."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from voiceagent.sandbox.engines import piper_voice, whisper
from voiceagent.sandbox.engines.base import Heard, SpokenWord
from voiceagent.sandbox.engines.turns import LocalTurns
from voiceagent.sandbox.engines.vad import RATE, Vad
from voiceagent.sandbox.sound import PHONE_RATE, Samples, decode, resample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voiceagent.sandbox.engines.base import Emit, Recogniser, Speech, StreamFormat, TurnConfig
    from voiceagent.sandbox.script import SttSettings, TtsSettings

_SPEECH_LIKELIHOOD = 0.5


def _spread(text: str, seconds: float) -> tuple[SpokenWord, ...]:
    words = text.split()
    total = sum(len(word) + 1 for word in words)
    placed: list[SpokenWord] = []
    at = 0
    for word in words:
        placed.append(SpokenWord(word, at * seconds / total, (at + len(word)) * seconds / total))
        at += len(word) + 1
    return tuple(placed)


class LocalManual:
    """The manual endpoint: recognises at ``finalize``; says nothing for audio without speech."""

    def __init__(self, form: StreamFormat, engines: LocalEngines, emit: Emit) -> None:
        self._form, self._engines, self._emit = form, engines, emit
        self._vad = Vad()
        self._spoke = False
        self._audio: list[Samples] = []
        self._done_s = 0.0
        self._tail: asyncio.Task[None] | None = None

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        samples = resample(decode(audio, self._form.encoding), self._form.sample_rate, PHONE_RATE)
        self._audio.append(samples)
        if any(likelihood > _SPEECH_LIKELIHOOD for likelihood in self._vad.feed(samples)):
            self._spoke = True

    def configure(self, turn: TurnConfig) -> None:
        """No such thing on this endpoint."""

    def finalize(self) -> None:
        """See :class:`Recogniser`."""
        self._queue(acknowledge=True)

    def _queue(self, acknowledge: bool) -> None:
        samples = np.concatenate(self._audio) if self._audio else np.zeros(0, dtype=np.int16)
        spoke, before = self._spoke, self._tail
        self._audio, self._spoke = [], False

        async def recognise() -> None:
            if before is not None:
                await before
            if spoke:
                heard = await self._engines.hear(samples, PHONE_RATE)
                self._tell(heard.text, len(samples) / PHONE_RATE)
            self._done_s += len(samples) / PHONE_RATE
            if acknowledge:
                self._emit({"type": "flush_done"})

        self._tail = asyncio.create_task(recognise())

    def _tell(self, text: str, seconds: float) -> None:
        if not text:
            return
        words = [
            {"word": w.text, "start": round(self._done_s + w.start_s, 3), "end": round(self._done_s + w.end_s, 3)}
            for w in _spread(text, seconds)
        ]
        facts: dict[str, Any] = {"text": text, "duration": round(seconds, 3), "words": words, "language": "en"}
        self._emit({"type": "transcript", "is_final": True, **facts})

    async def finish(self) -> None:
        """Recognise what is left."""
        self._queue(acknowledge=False)
        assert self._tail is not None  # noqa: S101
        await self._tail

    def stop(self) -> None:
        """See :class:`Recogniser`."""
        if self._tail is not None:
            self._tail.cancel()


class LocalEngines:
    """See the module."""

    name = "local"

    def __init__(self) -> None:
        self._ears = ThreadPoolExecutor(whisper.WORKERS, "hear")
        self._mouth = ThreadPoolExecutor(1, "speak")
        self._hearing = 0

    async def warm(self) -> None:
        """Load both models and use them once."""
        loop = asyncio.get_running_loop()
        speech = await loop.run_in_executor(self._mouth, piper_voice.synthesise, "Good morning.", PHONE_RATE, 1.0)
        # All workers at once: each has its own first time.
        await asyncio.gather(*(self.hear(speech.samples, PHONE_RATE) for _ in range(whisper.WORKERS)))
        list(Vad().feed(np.zeros(RATE // 10, dtype=np.int16)))

    async def close(self) -> None:
        """Let the threads end with what they are doing."""
        self._ears.shutdown(wait=False, cancel_futures=True)
        self._mouth.shutdown(wait=False, cancel_futures=True)

    async def speak(self, text: str, rate: int, pace: float, settings: TtsSettings) -> AsyncIterator[Speech]:
        """Sentence by sentence; the next is synthesised while this one is being sent."""
        loop = asyncio.get_running_loop()
        pieces = piper_voice.units(text)
        coming = loop.run_in_executor(self._mouth, piper_voice.synthesise, pieces[0], rate, pace) if pieces else None
        for following in [*pieces[1:], None]:
            assert coming is not None  # noqa: S101
            speech = await coming
            if following is not None:
                coming = loop.run_in_executor(self._mouth, piper_voice.synthesise, following, rate, pace)
            if len(speech.samples):
                yield speech

    def turns(self, form: StreamFormat, turn: TurnConfig, settings: SttSettings, emit: Emit) -> Recogniser:
        """See :class:`Engines`."""
        return LocalTurns(form, turn, settings, emit, self.hear, lambda: self._hearing > 0)

    def manual(self, form: StreamFormat, settings: SttSettings, emit: Emit) -> Recogniser:
        """See :class:`Engines`."""
        return LocalManual(form, self, emit)

    async def hear(self, samples: Samples, rate: int) -> Heard:
        """Recognise in the ears' thread."""
        self._hearing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._ears, whisper.transcribe, samples, rate)
        finally:
            self._hearing -= 1

    async def transcribe(self, samples: Samples, rate: int, settings: SttSettings) -> Heard:
        """See :class:`Engines`; words are spread over the recording by their letters."""
        heard = await self.hear(samples, rate)
        return Heard(heard.text, _spread(heard.text, len(samples) / rate))

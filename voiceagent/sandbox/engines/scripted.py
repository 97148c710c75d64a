"""The deterministic engine: recognition by script or by loudness, a chord for each word."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from voiceagent.sandbox.engines.base import Emit, Heard, Recogniser, Speech, SpokenWord, StreamFormat, TurnConfig
from voiceagent.sandbox.sound import PHONE_RATE, Samples, chord, decode, frames, loudness, mulaw_encode, resample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voiceagent.sandbox.engines.chords import Listener
    from voiceagent.sandbox.script import SttSettings, TtsSettings, TurnEvent

LOUD = 35.0
START_MS = 40.0
WORD_MS = 300.0
_WORD = re.compile(r"\S+")


class LoudnessGate:
    """Says for every window of audio whether somebody speaks, by loudness alone."""

    def __init__(self, form: StreamFormat) -> None:
        self._form = form

    def is_loud(self, audio: bytes) -> bool:
        """Whether the audio is as loud as speech on a telephone."""
        mulaw = audio if self._form.encoding == "pcm_mulaw" else mulaw_encode(decode(audio, self._form.encoding))
        return loudness(mulaw) > LOUD


class ScriptedTurns:
    """Emits the events of a script when their moment of audio has been received."""

    def __init__(self, events: list[TurnEvent], form: StreamFormat, emit: Emit) -> None:
        self._events = sorted(events, key=lambda event: event.at_ms)
        self._form = form
        self._emit = emit
        self._received = 0

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        self._received += len(audio)
        reached_ms = self._form.ms(self._received)
        while self._events and self._events[0].at_ms <= reached_ms:
            self._send(self._events.pop(0))

    def _send(self, event: TurnEvent) -> None:
        if event.type in ("turn.start", "turn.resume"):
            self._emit({"type": event.type})
        elif event.type == "error":
            message = event.transcript or "scripted"
            self._emit({"type": "error", "title": "Server error", "message": message, "status_code": 500})
        else:
            self._emit({"type": event.type, "transcript": event.transcript})

    def configure(self, turn: TurnConfig) -> None:
        """A script has its own times."""

    def finalize(self) -> None:
        """No such thing on this endpoint."""

    async def finish(self) -> None:
        """Send an open turn's end, if the script has one still to come."""
        for event in self._events:
            if event.type == "turn.end":
                self._send(event)
                break
        self._events.clear()

    def stop(self) -> None:
        """Nothing runs."""


class LoudTurns:
    """Finds turns by loudness; the n-th turn of the connection has the n-th text of the settings."""

    def __init__(self, form: StreamFormat, turn: TurnConfig, settings: SttSettings, emit: Emit) -> None:
        self._form, self._settings, self._emit = form, settings, emit
        self._gate = LoudnessGate(form)
        self._count = 0
        self._loud_ms = 0.0
        self._quiet_ms = 0.0
        self._open = False
        self._eager = False
        self._shown = 0
        self.configure(turn)

    def configure(self, turn: TurnConfig) -> None:
        """See :class:`Recogniser`."""
        self._eager_ms, self._end_ms = turn.silences_ms(self._settings)

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        ms = self._form.ms(len(audio))
        if self._gate.is_loud(audio):
            self._on_loud(ms)
        else:
            self._on_quiet(ms)

    def _on_loud(self, ms: float) -> None:
        self._loud_ms += ms
        self._quiet_ms = 0.0
        if not self._open:
            if self._loud_ms >= START_MS:
                self._open, self._shown = True, 0
                self._emit({"type": "turn.start"})
            return
        if self._eager:
            self._eager = False
            self._emit({"type": "turn.resume"})
        words = _WORD.findall(self._text())
        shown = min(len(words) - 1, int(self._loud_ms / WORD_MS))
        if shown > self._shown:
            self._shown = shown
            self._emit({"type": "turn.update", "transcript": " ".join(words[:shown])})

    def _on_quiet(self, ms: float) -> None:
        if not self._open:
            self._loud_ms = 0.0
            return
        self._quiet_ms += ms
        if self._quiet_ms >= self._end_ms:
            self._end()
        elif self._quiet_ms >= self._eager_ms and not self._eager and self._text():
            self._eager = True
            self._emit({"type": "turn.eager_end", "transcript": self._text()})

    def _text(self) -> str:
        texts = self._settings.utterances
        if self._count < len(texts):
            return texts[self._count]
        if texts and self._settings.repeat:
            return texts[self._count % len(texts)]
        return self._settings.fallback

    def _end(self) -> None:
        self._emit({"type": "turn.end", "transcript": self._text()})
        self._count += 1
        self._open = self._eager = False
        self._loud_ms = self._quiet_ms = 0.0

    def finalize(self) -> None:
        """No such thing on this endpoint."""

    async def finish(self) -> None:
        """End an open turn."""
        if self._open:
            self._end()

    def stop(self) -> None:
        """Nothing runs."""


class LoudManual:
    """The manual endpoint: interim texts while it is loud, the n-th text at the n-th ``finalize`` that had speech."""

    def __init__(self, form: StreamFormat, settings: SttSettings, emit: Emit) -> None:
        self._form, self._emit = form, emit
        self._settings = settings
        self._bytes = 0
        self._started_s = 0.0
        self._final: str | None = None
        self._inner = _loud_turns(form, TurnConfig(end_timeout_ms=1e12), settings.model_copy(), self._on_event)
        # Only ``finalize`` may end an utterance here.
        self._inner._end_ms = self._inner._eager_ms = float("inf")

    def feed(self, audio: bytes) -> None:
        """See :class:`Recogniser`."""
        self._bytes += len(audio)
        self._inner.feed(audio)

    def _on_event(self, event: dict[str, object]) -> None:
        if event["type"] == "turn.update":
            self._emit(self._transcript(str(event["transcript"]), is_final=False))
        elif event["type"] == "turn.end":
            self._final = str(event["transcript"])

    def _transcript(self, text: str, is_final: bool) -> dict[str, object]:
        end_s = self._form.ms(self._bytes) / 1000
        words = text.split()
        step = (end_s - self._started_s) / max(1, len(words))
        placed = [
            {
                "word": word,
                "start": round(self._started_s + i * step, 3),
                "end": round(self._started_s + (i + 1) * step, 3),
            }
            for i, word in enumerate(words)
        ]
        return {
            "type": "transcript",
            "is_final": is_final,
            "text": text,
            "duration": round(end_s - self._started_s, 3),
            "language": "en",
            "words": placed,
        }

    def configure(self, turn: TurnConfig) -> None:
        """No such thing on this endpoint."""

    def finalize(self) -> None:
        """See :class:`Recogniser`."""
        if self._inner._open:
            self._inner._end()
        if self._final is not None:
            self._emit(self._transcript(self._final, is_final=True))
            self._started_s = self._form.ms(self._bytes) / 1000
            self._final = None
        self._emit({"type": "flush_done"})

    async def finish(self) -> None:
        """Recognise what is left."""
        if self._inner._open:
            self._inner._end()
        if self._final is not None:
            self._emit(self._transcript(self._final, is_final=True))

    def stop(self) -> None:
        """Nothing runs."""


class ScriptedEngines:
    """The scripted way to work: no models, no threads, the same result every time."""

    name = "scripted"

    async def warm(self) -> None:
        """Build the tables that the first request would otherwise wait for."""
        mulaw_encode(chord("warm", 8000))

    async def close(self) -> None:
        """Nothing runs."""

    async def speak(self, text: str, rate: int, pace: float, settings: TtsSettings) -> AsyncIterator[Speech]:
        """A word sounds for ``ms_per_char`` per character, as the chord that is its own; a space is silent."""
        second_per_char = settings.ms_per_char / 1000 / pace
        words = tuple(
            SpokenWord(match.group(), match.start() * second_per_char, match.end() * second_per_char)
            for match in _WORD.finditer(text)
        )
        samples = np.zeros(round(len(text) * second_per_char * rate), dtype=np.int16)
        for word in words:
            place = samples[round(word.start_s * rate) : round(word.end_s * rate)]
            place[:] = np.resize(chord(word.text, rate), len(place))
        yield Speech(samples, words)

    def turns(self, form: StreamFormat, turn: TurnConfig, settings: SttSettings, emit: Emit) -> Recogniser:
        """A script, if one is waiting, else loudness."""
        if settings.scripts:
            return ScriptedTurns(settings.scripts.pop(0), form, emit)
        if settings.callers:
            own = {"utterances": settings.callers.pop(0), "callers": [], "repeat": False}
            settings = settings.model_copy(update=own)
        return _loud_turns(form, turn, settings, emit)

    def manual(self, form: StreamFormat, settings: SttSettings, emit: Emit) -> Recogniser:
        """See :class:`Engines`."""
        return LoudManual(form, settings, emit)

    async def transcribe(self, samples: Samples, rate: int, settings: SttSettings) -> Heard:
        """The next text for a recording, else what is heard in it, else (where it is loud) the first text of the settings.

        Its words are spread over the recording.
        """
        mulaw = mulaw_encode(resample(samples, rate, PHONE_RATE))
        if settings.batch:
            text = settings.batch.pop(0)
        elif settings.vocabulary:
            text = _listener(settings).text_of(mulaw)
        elif not any(loudness(frame) > LOUD for frame in frames(mulaw)):
            text = ""
        else:
            text = settings.utterances[0] if settings.utterances else settings.fallback
        words = text.split()
        step_s = len(samples) / rate / max(1, len(words))
        return Heard(text, tuple(SpokenWord(w, i * step_s, (i + 1) * step_s) for i, w in enumerate(words)))


def _listener(settings: SttSettings) -> Listener:
    from voiceagent.sandbox.engines.chords import Listener

    return Listener(settings.vocabulary)


def _loud_turns(form: StreamFormat, turn: TurnConfig, settings: SttSettings, emit: Emit) -> LoudTurns:
    """By ear where there is a vocabulary, else by script."""
    from voiceagent.sandbox.engines.chords import ChordTurns

    if settings.vocabulary:
        return ChordTurns(_listener(settings), form, turn, settings, emit)
    return LoudTurns(form, turn, settings, emit)

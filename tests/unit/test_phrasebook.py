"""Agents' own recordings in a process: at hand, held by their calls, and left out of a profile where they are not there."""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from calls import phrasebook
from calls.core.phrases import phrase_text, shipped_text
from calls.core.policy import AgentProfile
from calls.phrasebook import PhraseMissing, hold, keep, missing, own_recordings, phrase_audio, recording_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = AgentProfile(
    "Ana", 3, "", "", "voice-1", language="es", phrases=(("closing", "¡Adiós!"), ("trouble", "¡Vaya!"), ("busy", ""))
)
CLOSING, TROUBLE = own_recordings(AGENT)["closing"], own_recordings(AGENT)["trouble"]


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing at hand, before and after."""
    yield
    phrasebook._lately.clear()


def test_other_words_another_voice_or_language_are_another_recording() -> None:
    ways = {
        recording_digest("v", "en", "Hello"),
        recording_digest("v", "en", "hello"),
        recording_digest("w", "en", "Hello"),
        recording_digest("v", "de", "Hello"),
        recording_digest("ven", "", "Hello"),
    }
    assert len(ways) == 5
    assert own_recordings(AGENT) == {
        "closing": recording_digest("voice-1", "es", "¡Adiós!"),
        "trouble": recording_digest("voice-1", "es", "¡Vaya!"),
    }


def test_what_is_not_at_hand_is_not_promised_and_the_shipped_phrase_says_its_own_text() -> None:
    keep({CLOSING: b"adios"})
    assert missing(AGENT) == [TROUBLE]
    agent, held = hold(AGENT)
    assert agent == replace(AGENT, phrases=(("closing", "¡Adiós!"),))
    assert [one.audio for one in held] == [b"adios"]
    assert phrase_audio(agent, "closing") == b"adios"
    assert (phrase_text(agent, "trouble"), phrase_audio(agent, "trouble")) == (
        shipped_text("es", "trouble"),
        phrasebook.shipped_audio("es", "trouble"),
    )


def test_a_profile_whose_recording_nobody_held_says_nothing_else_in_its_name() -> None:
    with pytest.raises(PhraseMissing, match="'closing' is not in memory"):
        phrase_audio(AGENT, "closing")


def test_what_a_call_holds_stays_whatever_others_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrasebook, "MOST_KEPT", 2)
    keep({CLOSING: b"adios", TROUBLE: b"vaya"})
    agent, held = hold(replace(AGENT, phrases=(("closing", "¡Adiós!"),)))
    keep({"a" * 64: b"1", "b" * 64: b"2"})
    assert phrase_audio(agent, "closing") == b"adios"
    assert missing(AGENT) == [TROUBLE]
    del held
    assert missing(AGENT) == [CLOSING, TROUBLE]


def test_what_was_used_lately_is_kept_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrasebook, "MOST_KEPT", 2)
    keep({CLOSING: b"adios", TROUBLE: b"vaya"})
    hold(replace(AGENT, phrases=(("closing", "¡Adiós!"),)))
    keep({"a" * 64: b"1"})
    assert missing(AGENT) == [TROUBLE]


def test_a_recording_comes_once_and_stays_the_same() -> None:
    keep({CLOSING: b"adios"})
    keep({CLOSING: b"other"})
    assert phrasebook.at_hand(CLOSING) == b"adios"
    assert phrasebook.at_hand(TROUBLE) is None


def test_a_wav_is_what_every_player_takes() -> None:
    audio = phrasebook.shipped_audio("fr", "busy")
    with wave.open(io.BytesIO(phrasebook.wav(audio))) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
        assert file.getnframes() == len(audio)

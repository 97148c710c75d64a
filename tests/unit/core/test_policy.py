"""A policy that makes no sense cannot exist."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from calls.core.phrases import FILLERS, PHRASES, filler_text, phrase_language, phrase_text, shipped_text
from calls.core.policy import AgentProfile, PolicyError, TurnPolicy

POSITIVE = (
    "verdict_ms turn_end_ms first_token_ms first_audio_ms playback_slack_ms min_words idle_ms max_call_ms goodbye_ms "
    "hangup_grace_ms operator_grace_ms dtmf_pause_ms tool_timeout_ms silence_end_ms first_clause_chars clause_chars noise_ms short_verdict_ms"
).split()
NOT_NEGATIVE = (
    "filler_ms",
    "patience_ms",
    "ear_away_ms",
    "short_sound_ms",
    "tail_words",
    "idle_prompts",
    "voice_buffer_ms",
)


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0, -1])
def test_times_and_counts_are_above_zero(name: str, value: int) -> None:
    with pytest.raises(PolicyError, match=f"^{name} must be above 0, not {value}$"):
        TurnPolicy(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_what_may_be_none_at_all_may_not_be_negative(name: str) -> None:
    TurnPolicy(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=f"^{name} must not be negative, not -1$"):
        TurnPolicy(**{name: -1})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["endpointing", "chunking"])
def test_choices_are_named(name: str) -> None:
    with pytest.raises(PolicyError, match=f"^{name} must be one of .*, not 'guess'$"):
        TurnPolicy(**{name: "guess"})  # type: ignore[arg-type]


def test_every_number_is_checked() -> None:
    numbers = {field.name for field in fields(TurnPolicy) if field.type == "int"} - {"version"}
    assert numbers == {*POSITIVE, *NOT_NEGATIVE}


def test_a_policy_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        TurnPolicy().verdict_ms = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", FILLERS["en"]),
        ("de", FILLERS["de"]),
        ("de-AT", FILLERS["de"]),
        ("xx", FILLERS["en"]),
        ("", FILLERS["en"]),
    ],
)
def test_a_slow_function_is_bridged_in_the_callers_language(language: str, text: str) -> None:
    assert filler_text(language) == text


@pytest.mark.parametrize(("language", "base"), [("en", "en"), ("en-GB", "en"), ("xx", "en"), ("", "en")])
def test_a_language_without_recordings_is_served_by_another(language: str, base: str) -> None:
    assert phrase_language(language) == base
    assert shipped_text(language, "trouble") == PHRASES[base]["trouble"]


def test_every_language_has_every_phrase() -> None:
    assert {frozenset(texts) for texts in PHRASES.values()} == {frozenset(PHRASES["en"])}


def test_an_agents_own_phrase_goes_before_the_shipped_one() -> None:
    agent = AgentProfile("Ana", 1, "", "", "v", phrases=(("trouble", "Oh dear. Goodbye."), ("closing", "")))
    assert phrase_text(agent, "trouble") == "Oh dear. Goodbye."
    assert phrase_text(agent, "closing") == PHRASES["en"]["closing"]
    assert phrase_text(agent, "handover") == PHRASES["en"]["handover"]

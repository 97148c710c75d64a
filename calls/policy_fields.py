"""The turn-taking policy as people edit it: what each value is called, what it means, and how it is stored.

Stored is only what differs from the defaults, so that an agent nobody tuned follows the defaults of a newer release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from calls.core.policy import PolicyError, TurnPolicy
from calls.core.record import RecordError, build, payload


@dataclass(frozen=True, slots=True)
class PolicyField:
    """One value: its name in ``TurnPolicy``, the group it is shown in, and words for people."""

    name: str
    group: str
    label: str
    help: str
    choices: tuple[tuple[str, str], ...] = ()


_TURN_END = "End of the caller's turn"
_INTERRUPTION = "Interruptions"
_VOICE = "From text to voice"
_PATIENCE = "Silence and the end of a call"
_DEADLINES = "Deadlines of vendors and tools"

POLICY_FIELDS: tuple[PolicyField, ...] = (
    PolicyField(
        "endpointing", _TURN_END, "Decided by",
        "Speech recognition judges from words and tone where the language allows; elsewhere a silence decides.",
        (("turns", "speech recognition"), ("silence", "a silence")),
    ),
    PolicyField("silence_end_ms", _TURN_END, "Silence that ends a turn (ms)", "Only where a silence decides."),
    PolicyField(
        "speculative", _TURN_END, "Prepare the reply early",
        "Begin the reply when the turn is probably over and hold it until that is certain. Faster; costs some tokens.",
    ),
    PolicyField(
        "turn_end_ms", _TURN_END, "Give up waiting after (ms)",
        "From the end of the caller's speech to answering without the recogniser's end of turn.",
    ),
    PolicyField("dtmf_pause_ms", _TURN_END, "Pause that ends a row of keys (ms)", "Keys pressed closer together are one input."),
    PolicyField(
        "verdict_ms", _INTERRUPTION, "Wait for words after stopping (ms)",
        "The agent stops at once when spoken over. If no words follow within this time, it resumes.",
    ),
    PolicyField("short_sound_ms", _INTERRUPTION, "A cough lasts up to (ms)", "A sound this short waits less long for words."),
    PolicyField("short_verdict_ms", _INTERRUPTION, "Wait for words after a cough (ms)", "Should exceed the recogniser's delay."),
    PolicyField(
        "noise_ms", _INTERRUPTION, "A noise, not a caller, after (ms)",
        "A sound that lasts this long without a word no longer stops the agent: a television, a street.",
    ),
    PolicyField(
        "min_words", _INTERRUPTION, "Words that make it an interruption",
        "Fewer words than this over the agent's speech count as a noise, and the agent resumes.",
    ),
    PolicyField(
        "tail_words", _INTERRUPTION, "Early answers: last words of a question",
        "Speech over the last so many words of a question is its answer, not an interruption.",
    ),
    PolicyField(
        "greeting_interruptible", _INTERRUPTION, "The greeting may be interrupted",
        "Off where it is a notice that callers must hear to its end; what they say over it is answered after it.",
    ),
    PolicyField(
        "chunking", _VOICE, "Text goes to the voice by",
        "Clauses sound smoother; words start sooner and let the voice vendor buffer.",
        (("clauses", "clauses"), ("words", "words")),
    ),
    PolicyField("first_clause_chars", _VOICE, "Shortest first clause (characters)", "Shorter starts sooner."),
    PolicyField("clause_chars", _VOICE, "Shortest later clause (characters)", "Longer sounds smoother."),
    PolicyField(
        "voice_buffer_ms", _VOICE, "Voice vendor's buffering (ms)",
        "How long the vendor may wait for more text. 0 with clauses; some 200 to 500 with words.",
    ),
    PolicyField("idle_ms", _PATIENCE, "Silence before a prompt (ms)", "Counted from the last word the caller heard."),
    PolicyField("idle_prompts", _PATIENCE, "Prompts before goodbye", "0: say goodbye after the first silence."),
    PolicyField(
        "filler_ms", _PATIENCE, "Bridge a slow function after (ms)",
        "The agent asks for a moment's patience when a function keeps the caller in silence. 0: never.",
    ),
    PolicyField(
        "patience_ms", _PATIENCE, "Bridge a slow model after (ms)",
        "The agent asks for a moment's patience, once in a reply, when no word of the answer has come. 0: never.",
    ),
    PolicyField(
        "ear_away_ms", _PATIENCE, "Say so when nothing is heard for (ms)",
        "The caller is asked for a moment while the recogniser is away, once for each outage. 0: never.",
    ),
    PolicyField("goodbye_ms", _PATIENCE, "Longest goodbye (ms)", "After this the call is ended even if speech is left."),
    PolicyField("hangup_grace_ms", _PATIENCE, "Wait for the carrier to end (ms)", "After asking it to hang up."),
    PolicyField(
        "operator_grace_ms", _PATIENCE, "An operator may be cut off for (ms)",
        "When the connection of somebody who has taken over is lost for longer, the agent says so and goes on.",
    ),
    PolicyField("max_call_ms", _PATIENCE, "Longest call (ms)", "1,800,000 is half an hour."),
    PolicyField("first_token_ms", _DEADLINES, "First words of the model (ms)", "Later than this counts as a failure."),
    PolicyField("first_audio_ms", _DEADLINES, "First audio of the voice (ms)", "Later than this counts as a failure."),
    PolicyField(
        "playback_slack_ms", _DEADLINES, "Playback marks may be late by (ms)",
        "Then the audio counts as heard, and the call goes on.",
    ),
    PolicyField("tool_timeout_ms", _DEADLINES, "Longest tool run (ms)", "Then the model is told that it timed out."),
)  # fmt: skip

_DEFAULTS = payload(TurnPolicy())
NAMES: frozenset[str] = frozenset(field.name for field in POLICY_FIELDS)
#: Fields of the policy that nobody edits by hand.
HIDDEN: frozenset[str] = frozenset(field.name for field in fields(TurnPolicy)) - NAMES


def policy_from(stored: Any) -> TurnPolicy:
    """The policy of a stored mapping; names that this release does not know are ignored. Raises ``PolicyError``."""
    if not isinstance(stored, Mapping):
        raise PolicyError("the policy must be an object of names and values")
    try:
        built = build(TurnPolicy, {name: value for name, value in stored.items() if name in _DEFAULTS})
    except RecordError as error:
        raise PolicyError(_first_wrong(stored) or str(error)) from error
    assert isinstance(built, TurnPolicy)  # noqa: S101 - what build promises, for the type checker
    return built


def stored_from(policy: TurnPolicy) -> dict[str, Any]:
    """What to store of a policy: the values that differ from the defaults."""
    return {name: value for name, value in payload(policy).items() if value != _DEFAULTS[name] and name not in HIDDEN}


def _first_wrong(stored: Mapping[str, Any]) -> str:
    for name, value in stored.items():
        default = _DEFAULTS.get(name)
        if default is not None and type(value) is not type(default):
            return f"{name} must be of kind {type(default).__name__}, not {value!r}"
    return ""


def field_of_error(message: str) -> str:
    """The field that a ``PolicyError`` is about: its message begins with the name. Empty if none is known."""
    first = message.split(" ", 1)[0]
    return first if first in NAMES else ""

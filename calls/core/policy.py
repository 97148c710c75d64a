"""What an agent is and how it takes turns: values, no behaviour.

An ``AgentProfile`` is the snapshot of one version of an agent. It is part of a call's first event, so a record
replays with the agent and the policy it was made with, whatever was edited since.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

#: Version of the rules below. A record names it; a change of meaning needs a new number.
POLICY_VERSION = 3


class PolicyError(ValueError):
    """A policy value that makes no sense; the message names the field and what it should be."""


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How turns are taken. Times in milliseconds.

    ``verdict_ms``: how long a stopped reply waits for words before it resumes. ``resume_ms``: the longest silence
    after a back-channel was recognised. ``first_token_ms``, ``first_audio_ms``: deadlines of model and voice.
    ``turn_end_ms``: from the end of the caller's speech to giving up on the recogniser's end of turn.
    ``playback_slack_ms``: how much later than the media clock says a mark may come back.
    ``ear_away_ms``: how long the recogniser may be away before the caller is told, 0 for never.
    ``patience_ms``: how long the model may keep the caller in silence before a few words bridge it, once in a reply; 0 for never.
    ``filler_ms``: how long a function may keep the caller in silence before a few words bridge it, 0 for never.
    ``noise_ms``: how long a sound without a word may stop a reply. A sound up to ``short_sound_ms`` long waits for
    words only ``short_verdict_ms``: a cough.
    ``operator_grace_ms``: how long the connection of an operator who has taken over may be lost before the assistant goes on.
    ``min_words`` decides the verdict over an interruption, never the stop. ``greeting_interruptible`` is off where the
    greeting is a notice that the caller must hear to its end; what is said over it is answered after it.
    """

    version: int = POLICY_VERSION
    speculative: bool = True
    verdict_ms: int = 1500
    turn_end_ms: int = 7000
    first_token_ms: int = 5000
    first_audio_ms: int = 3000
    playback_slack_ms: int = 1500
    noise_ms: int = 8000
    short_sound_ms: int = 300
    short_verdict_ms: int = 900
    min_words: int = 1
    tail_words: int = 3
    greeting_interruptible: bool = True
    idle_ms: int = 9000
    idle_prompts: int = 2
    max_call_ms: int = 1_800_000
    goodbye_ms: int = 15_000
    hangup_grace_ms: int = 4000
    operator_grace_ms: int = 10_000
    dtmf_pause_ms: int = 1800
    tool_timeout_ms: int = 8000
    filler_ms: int = 2500
    patience_ms: int = 2500
    ear_away_ms: int = 3000
    endpointing: str = "turns"
    silence_end_ms: int = 600
    chunking: str = "clauses"
    first_clause_chars: int = 24
    clause_chars: int = 60
    voice_buffer_ms: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _of_type(field.name, getattr(self, field.name), type(field.default))
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise PolicyError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise PolicyError(f"{name} must not be negative, not {getattr(self, name)}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise PolicyError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


_POSITIVE = (
    "verdict_ms turn_end_ms first_token_ms first_audio_ms playback_slack_ms min_words idle_ms max_call_ms "
    "noise_ms short_verdict_ms goodbye_ms hangup_grace_ms operator_grace_ms dtmf_pause_ms tool_timeout_ms silence_end_ms first_clause_chars clause_chars"
).split()
_NOT_NEGATIVE = (
    "filler_ms",
    "patience_ms",
    "ear_away_ms",
    "short_sound_ms",
    "tail_words",
    "idle_prompts",
    "voice_buffer_ms",
)
_CHOICES = {"endpointing": ("turns", "silence"), "chunking": ("clauses", "words")}
EFFECTS = ("read", "reversible", "irreversible")


def _of_type(name: str, value: object, kind: type) -> None:
    if type(value) is not kind:
        raise PolicyError(f"{name} must be {kind.__name__}, not {value!r}")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One function the model may call. ``parameters`` is a JSON schema as JSON text.

    ``effect`` is ``read``, ``reversible`` or ``irreversible``; an irreversible one runs only from a confirmed turn
    whose caller is silent.
    """

    name: str
    description: str
    parameters: str
    effect: str = "read"
    timeout_ms: int = 8000

    def __post_init__(self) -> None:
        if not self.name:
            raise PolicyError("name of a function must not be empty")
        if self.effect not in EFFECTS:
            raise PolicyError(f"effect of {self.name} must be one of {', '.join(EFFECTS)}, not {self.effect!r}")
        _of_type(f"timeout_ms of {self.name}", self.timeout_ms, int)
        if self.timeout_ms <= 0:
            raise PolicyError(f"timeout_ms of {self.name} must be above 0, not {self.timeout_ms}")


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """One version of an agent, complete enough to run a call and to replay it.

    ``returning_greeting`` greets a caller whose name is known when the call begins; ``{name}`` in it stands for that name.
    ``phrases``: keys of ``calls.core.phrases`` of which the agent has a recording of its own, each with what that says.
    """

    name: str
    version: int
    instructions: str
    greeting: str
    voice: str
    language: str = "en"
    model: str = ""
    tools: tuple[ToolSpec, ...] = ()
    policy: TurnPolicy = TurnPolicy()
    idle_texts: tuple[str, ...] = ("Are you still there?",)
    transfer_to: str = ""
    goodbye_text: str = "I can't hear you, so I'll hang up now. Goodbye."
    returning_greeting: str = ""
    phrases: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        for name in names:
            if names.count(name) > 1:
                raise PolicyError(f"tools must have each function once, not {name} twice")

"""What a test or an operator can tell the stand-ins to do: delays, scripts and faults, as checked values.

Every instruction belongs to a *namespace*: the API key (or Twilio account) that a client sends. Tests that use
keys of their own therefore never disturb each other on one server.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "refuse", "hang", "slow", "stall", "cut", "close", "garbage", "error",
    "late_chunks", "empty_end", "eager_resume", "late_update",
    "length", "empty", "malformed_arguments", "no_done", "failed",
]  # fmt: skip


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Fault(_Value):
    """Something that goes wrong at an endpoint.

    ``endpoint`` is a name of :mod:`voiceagent.sandbox.server` or a prefix of one (``cartesia``, ``openai.chat``).
    ``skip`` requests pass first, then ``times`` are struck (0: all that follow). ``after`` counts the units
    (chunks, tokens, events) sent before a fault in the middle of a stream strikes. ``contains``: only a voice's
    context whose first text has it is struck.
    """

    endpoint: str
    kind: FaultKind
    times: int = Field(default=1, ge=0)
    skip: int = Field(default=0, ge=0)
    after: int = Field(default=0, ge=0)
    count: int = Field(default=2, ge=0)
    contains: str = ""
    delay_ms: float = Field(default=0, ge=0)
    status: int = 500
    code: str | None = None
    message: str | None = None
    retry_after_ms: int | None = None


class TurnEvent(_Value):
    """One event of a scripted recognition, due when this much audio has been received."""

    at_ms: float
    type: Literal["turn.start", "turn.update", "turn.eager_end", "turn.resume", "turn.end", "error"]
    transcript: str = ""


class SttSettings(_Value):
    """Speech recognition.

    ``scripts`` are consumed one per connection. Without a script, speech is detected by its loudness and the
    n-th utterance of a connection is recognised as the n-th of ``utterances`` (then ``fallback``). ``callers`` are
    consumed one per connection too: its utterances, and all else here as it is then, so that calls that run beside
    each other can be told apart. With a ``vocabulary`` (texts) the words are heard instead, from the chords that the
    scripted voice speaks. ``batch``: texts of the next recordings sent to be transcribed as a whole.
    """

    scripts: list[list[TurnEvent]] = Field(default_factory=list)
    callers: list[list[str]] = Field(default_factory=list)
    vocabulary: list[str] = Field(default_factory=list)
    batch: list[str] = Field(default_factory=list)
    utterances: list[str] = Field(default_factory=list)
    fallback: str = "Okay."
    repeat: bool = True
    latency_ms: float = Field(default=0, ge=0)
    eager_end_ms: float = Field(default=300, ge=0)
    end_ms: float = Field(default=700, ge=0)
    idle_close_s: float = Field(default=180, gt=0)
    max_connections: int = Field(default=60, ge=0)


class TtsSettings(_Value):
    """The voice. ``speed`` is how many times faster than real time audio is delivered."""

    first_byte_ms: float = Field(default=40, ge=0)
    speed: float = Field(default=5, gt=0)
    ms_per_char: float = Field(default=65, gt=0)
    late_chunks: int = Field(default=1, ge=0)
    max_contexts: int = Field(default=15, ge=0)
    idle_close_s: float = Field(default=300, gt=0)
    expiry_ms: float = Field(default=1000, gt=0)


class ToolCall(_Value):
    """A function call of a scripted reply. ``arguments`` that are a string go out as they are."""

    name: str
    arguments: dict[str, Any] | str = Field(default_factory=dict)


class Reply(_Value):
    """A scripted answer of the model. ``refusal`` stands in place of an answer in a fixed form."""

    text: str = ""
    refusal: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    finish_reason: str | None = None
    first_token_ms: float | None = None
    inter_token_ms: float | None = None


class Rule(_Value):
    """Answers every request whose last user text contains ``contains`` (case does not matter).

    ``after_tool``: only one that ends with a function's result, or (``False``) only one that does not.
    """

    contains: str
    reply: Reply
    after_tool: bool | None = None


class LlmSettings(_Value):
    """The model: ``replies`` are consumed in order, then ``rules`` are tried, then the persona answers.

    ``structured`` are consumed by requests for an answer in a fixed form, and by those alone; then they get the least
    answer that keeps to it.
    """

    first_token_ms: float = Field(default=40, ge=0)
    inter_token_ms: float = Field(default=4, ge=0)
    replies: list[Reply] = Field(default_factory=list)
    rules: list[Rule] = Field(default_factory=list)
    structured: list[Reply] = Field(default_factory=list)
    models: dict[str, str | None] = Field(default_factory=dict)


class TwilioSettings(_Value):
    """The carrier's account. With an ``auth_token`` set, no other is accepted."""

    auth_token: str | None = None


class Settings(_Value):
    """Everything of one namespace but its faults."""

    stt: SttSettings = Field(default_factory=SttSettings)
    tts: TtsSettings = Field(default_factory=TtsSettings)
    llm: LlmSettings = Field(default_factory=LlmSettings)
    twilio: TwilioSettings = Field(default_factory=TwilioSettings)

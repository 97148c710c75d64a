"""Everything that can happen to a call, as values.

``at_ms`` is the call's own clock: whole milliseconds since its first event, stamped when the event enters the
mailbox. The core never reads a clock. Events that answer something in flight carry ``turn`` and ``epoch`` of the
request they belong to; the core drops what is not current.
"""

from __future__ import annotations

from dataclasses import dataclass

from calls.core.policy import AgentProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    at_ms: int = 0


# --- the carrier ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """The stream is up and belongs to us. ``today`` is the local date as words for the model.

    ``recall_ms``: how long a reply waits for the caller's memory; 0 in a call without one.
    """

    call_sid: str
    agent: AgentProfile
    today: str = ""
    recall_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReturned(Event):
    """The carrier gave a playback mark back: it was played, or flushed by a clear."""

    turn: int
    epoch: int
    piece: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmfPressed(Event):
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierGone(Event):
    """The stream ended. ``how``: ``stop``, ``closed``, ``silent`` (no media for too long), ``protocol``."""

    how: str


# --- the caller, as heard ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """The local detector heard the caller begin. ``voiced_at_ms``: arrival of the first voiced frame."""

    voiced_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded(Event):
    """The local detector heard the caller stop. ``voiced_until_ms``: arrival of the last voiced frame."""

    voiced_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOpened(Event):
    """The recogniser heard the start of a turn; no words yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsHeard(Event):
    """Whole text of the open turn so far."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerEnd(Event):
    """The turn is probably over, with this text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResumed(Event):
    """The eager end was wrong: the caller goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(Event):
    """The turn is over; definitive text, possibly empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarFailed(Event):
    """The recogniser is gone. ``final``: no further attempt will be made."""

    kind: str
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EarReady(Event):
    """The recogniser is (again) taking audio."""


# --- the memory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recalled:
    """Something remembered of the caller, and whether it is for the model's eyes.

    ``level``: ``L1`` said in this call, ``L2`` found by meaning and words, ``L3`` from the archive. ``score_milli``:
    its score in thousandths. ``said_at`` is ISO text. ``conversation``, ``seq``, ``audio_ms`` and ``quote`` say where it
    was said: the call, the line in it, the place in its recording and the words; ``-1`` where there is none.
    ``why_not`` is empty where ``in_prompt``, else a short stable word. ``role``: who said it, ``user`` or ``assistant``.
    ``after``: what was said just before it, where it says little by itself.
    """

    id: str
    level: str
    kind: str
    text: str
    score_milli: int = 0
    said_at: str = ""
    conversation: str = ""
    seq: int = -1
    audio_ms: int = -1
    quote: str = ""
    in_prompt: bool = True
    why_not: str = ""
    role: str = "user"
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLoaded(Event):
    """What is on file about the caller: ``name`` as they are addressed, ``text`` in lines; both empty for nobody known."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecalled(Event):
    """The answer to ``Recall``. ``outcome``: ``full`` (by meaning and words), ``words`` (the meaning came too late),
    ``late`` (nothing in time), ``empty`` (nothing is known of this caller), ``failed``. ``took_ms``: what the memory needed."""

    turn: int
    epoch: int
    outcome: str
    took_ms: int
    items: tuple[Recalled, ...] = ()


# --- the model --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelText(Event):
    """A piece of the reply."""

    turn: int
    epoch: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelToolCall(Event):
    """One complete function call; ``arguments`` is the JSON text as the model wrote it."""

    turn: int
    epoch: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinished(Event):
    """The request is complete. ``reason``: ``stop``, ``length``, ``tool_calls``, ``content_filter``. ``model``: who answered."""

    turn: int
    epoch: int
    reason: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed(Event):
    """The request failed, before or in its stream. ``kind`` is a short stable word (see ``calls.providers.errors``).

    ``retryable``: asking again may help, the same model or another. ``endpoint``: which one failed last.
    """

    turn: int
    epoch: int
    kind: str
    retryable: bool = False
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAttemptFailed(Event):
    """An attempt at the request failed before its first word, and another one is made; ``kind`` and ``endpoint`` as above."""

    turn: int
    epoch: int
    kind: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSettled(Event):
    """A tool has its one outcome: ``ok``, ``error``, ``timeout``, ``cancelled``. ``output`` is what the model is told."""

    call_id: str
    outcome: str
    output: str


# --- the voice --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of the voice with its place in its context's audio, in milliseconds."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSent(Event):
    """The gate put a piece on the wire, followed by the mark that carries these three numbers."""

    turn: int
    epoch: int
    piece: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsTimed(Event):
    """Word timestamps, relative to the start of this epoch's audio."""

    turn: int
    epoch: int
    words: tuple[TimedWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFinished(Event):
    """All audio of this epoch has been generated and passed to the gate."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFailed(Event):
    """The voice failed in this epoch."""

    turn: int
    epoch: int
    kind: str
    retryable: bool = False


# --- time and control -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    """A timer set by ``SetTimer`` is due. ``key`` tells a late one from the current one."""

    timer: str
    key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUpAsked(Event):
    """Somebody on our side wants the call over: ``by`` is ``operator``, ``drain``, ``overload``.

    An operator has a name, a reason, and may have a closing sentence, ``text``, that the agent's voice says first.
    """

    by: str
    operator: str = ""
    why: str = ""
    text: str = ""
    key: str = ""


# --- operators: people of ours who watch the call. ``by`` is their name, ``key`` the request's own, told again in its outcome ----


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorListening(Event):
    """An operator begins or ceases to listen. It stands in the record; the call does not change by it."""

    by: str
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorWhispered(Event):
    """A note for the model, shown with its next request; the caller hears nothing of it."""

    key: str
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSaid(Event):
    """A sentence that the agent's voice is to say word for word. ``when``: ``now``, or at the ``next_pause``."""

    key: str
    by: str
    text: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTookOver(Event):
    """An operator takes the floor: their microphone is the voice from here on, and the assistant is silent."""

    key: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorConnected(Event):
    """The connection of the operator who has the floor is lost, or there again."""

    by: str
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorHandedBack(Event):
    """The operator gives the floor back; ``summary`` is what the assistant must know of what was said meanwhile."""

    key: str
    by: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRaised(Event):
    """Our own code failed while doing ``where``; recorded, and the call goes on."""

    where: str
    error: str

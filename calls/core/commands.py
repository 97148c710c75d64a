"""Everything the core can ask for, as values. The actor carries them out in order and decides nothing.

An *epoch* numbers one attempt at speaking: every clear and every restart of a reply takes a new one. The gate in
front of the carrier lets through the audio of the open epoch, holds audio of a later one and drops the rest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolCallItem:
    """A function call inside an assistant message."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the model's history. ``role``: ``developer``, ``user``, ``assistant``, ``tool``.

    ``tool_calls`` only on assistant messages, ``call_id`` only on tool messages.
    """

    role: str
    text: str = ""
    tool_calls: tuple[ToolCallItem, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands."""


@dataclass(frozen=True, slots=True)
class Recall(Command):
    """Find what of the caller's memory may help with ``text``; what comes later than ``deadline_ms`` from now is not used."""

    turn: int
    epoch: int
    text: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class AskModel(Command):
    """Start one streaming request. At most one is in flight per call. It has failed if nothing comes in ``within_ms``.

    ``avoid``: the endpoint that has failed in this reply, to be asked again only where there is no other.
    """

    turn: int
    epoch: int
    messages: tuple[Message, ...]
    speculative: bool = False
    within_ms: int = 0
    avoid: str = ""


@dataclass(frozen=True, slots=True)
class CancelModel(Command):
    """Stop the request of this epoch, and what is being recalled for it; nothing of it may reach the mailbox as current."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Say(Command):
    """Give text to the voice, in the context of this epoch. Spaces count."""

    turn: int
    epoch: int
    text: str


@dataclass(frozen=True, slots=True)
class EndSay(Command):
    """No more text will follow in this epoch."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class CancelVoice(Command):
    """Stop the voice's context of this epoch."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class PlayPhrase(Command):
    """Play a recorded phrase through the gate as this epoch's audio; ends with ``VoiceFinished`` like a voice."""

    turn: int
    epoch: int
    phrase: str


@dataclass(frozen=True, slots=True)
class PlayTones(Command):
    """Play keys of a telephone as tones through the gate, after this epoch's words; ends with ``VoiceFinished``.

    ``digits``: ``0`` to ``9``, ``*``, ``#``, and ``w`` for half a second of silence.
    """

    turn: int
    epoch: int
    digits: str


@dataclass(frozen=True, slots=True)
class OpenGate(Command):
    """Let this epoch's audio through, what was held first."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class CloseGate(Command):
    """Hold the audio of this and later epochs. What the carrier already has plays on."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Clear(Command):
    """Empty the carrier's buffer now and drop all audio of this and earlier epochs."""

    epoch: int


@dataclass(frozen=True, slots=True)
class LendGate(Command):
    """An operator's microphone has the gate: their audio passes, and nothing of the assistant up to this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TakeGateBack(Command):
    """Nothing of the operator's audio passes any more."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RunTool(Command):
    """Run a function once. ``key`` is its idempotency key, unique over all calls."""

    turn: int
    call_id: str
    name: str
    arguments: str
    key: str
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class CancelTool(Command):
    """Stop a running tool if it still can be; it settles as ``cancelled`` or with its result."""

    call_id: str


@dataclass(frozen=True, slots=True)
class SetTimer(Command):
    """Post ``TimerFired(timer, key)`` at ``due_ms`` on the call's clock, in place of an earlier one of this name."""

    timer: str
    key: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer(Command):
    """Forget the timer of this name."""

    timer: str


@dataclass(frozen=True, slots=True)
class FinalizeEar(Command):
    """Tell a recogniser with manual endpoints that the turn is over."""


@dataclass(frozen=True, slots=True)
class HangUp(Command):
    """End the call at the carrier."""

    reason: str


@dataclass(frozen=True, slots=True)
class Transfer(Command):
    """Redirect the call at the carrier to another number."""

    to: str


@dataclass(frozen=True, slots=True)
class StaleDropped(Command):
    """An event that carried an old turn or epoch was dropped; only counted."""

    event: str


@dataclass(frozen=True, slots=True)
class Intervened(Command):
    """What became of an operator's request; only told. ``turn`` is the one in which it took effect, or in which it did not.

    ``whisper``: ``shown`` to the model, ``dropped``. ``say``: ``said`` (heard to its end), ``cut`` (heard in part), ``failed`` (the
    voice did), ``dropped``. ``take_over``: ``taken``, ``refused``. ``hand_back``: ``done``, ``refused``, ``lost`` (nobody did, the
    operator's connection was gone).
    """

    action: str
    outcome: str
    key: str
    by: str
    turn: int


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word of a reply on its way to the caller, on the call's clock; ``-1`` for one that was never sent.

    ``state``: ``heard`` (played to its end), ``flushed`` (sent, then cleared before that), ``unsent`` (voiced, never
    sent), ``generated`` (by the model only). A word that was flushed and said again stands twice.
    """

    text: str
    state: str
    start_ms: int = -1
    end_ms: int = -1


@dataclass(frozen=True, slots=True)
class TurnClosed(Command):
    """A turn has its one outcome; everything the archive needs of it.

    ``outcome``: ``answered``, ``interrupted``, ``superseded``, ``failed_to_fallback``, ``call_ended``, ``overridden`` (an operator
    took the floor), ``with_operator`` (the caller spoke to an operator). ``kind``: ``greeting``, ``answer``, ``prompt``, ``notice``,
    ``say`` (an operator's sentence), ``operator`` (a turn of a take-over), ``return`` (how the assistant goes on after one). Times on the call's clock, ``-1`` where it did not happen.
    ``speech_ended_ms``: last voiced frame of the caller; ``first_audio_ms``: first agent frame sent, ``answer_audio_ms``: the
    first since words of the model were given to the voice, fillers and phrases left out. ``words``: what
    became of each word, in the order it was spoken. ``causes``: what failed in the turn, in order, mended or not: who and
    how, as in ``model:timeout``, ``voice:overdue`` (the core gave it up), ``ear:cut``.
    """

    turn: int
    kind: str
    outcome: str
    user_text: str
    generated_text: str
    heard_text: str
    speech_ended_ms: int
    committed_ms: int
    first_audio_ms: int
    closed_ms: int
    wasted_chars: int = 0
    wasted_tokens: int = 0
    words: tuple[SpokenWord, ...] = ()
    causes: tuple[str, ...] = ()
    answer_audio_ms: int = -1


@dataclass(frozen=True, slots=True)
class EndCall(Command):
    """The call is over; the actor stops. ``reason`` is one of ``calls.core.state.END_REASONS``."""

    reason: str

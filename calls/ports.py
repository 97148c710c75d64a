"""What the actor needs of the world, as protocols. Adapters live in ``calls.providers`` and ``calls.media``.

Events are posted without a time: the mailbox stamps ``at_ms`` on entry. ``post`` never blocks and may be called from
the event loop's thread only. No method here raises for a vendor's failure: that is an event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from calls.core.events import Event, Recalled

if TYPE_CHECKING:
    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile
    from calls.core.state import Card

Post = Callable[[Event], None]


class Ear(Protocol):
    """Speech-to-text for one call: µ-law 8 kHz in, ``TurnOpened … TurnEnded``, ``EarReady``, ``EarFailed`` out."""

    @property
    def dropped_frames(self) -> int:
        """Frames that a slow recogniser never got."""

    async def run(self) -> None:
        """Connect and pump until ``aclose`` or cancellation. Returns; never raises for the vendor."""

    def feed(self, audio: bytes) -> None:
        """Take one frame of the caller's audio, in order; never blocks. Old audio is dropped when too much waits."""

    def voice_began(self, ago_ms: int) -> None:
        """The local detector heard the caller begin, this long before the latest frame. What is said must become words."""

    def voice_ended(self, ago_ms: int) -> None:
        """The local detector heard the caller stop, this long before the latest frame."""

    def finalize(self) -> None:
        """Ask for the final text now (manual endpointing only; otherwise nothing)."""

    async def aclose(self) -> None:
        """Close politely, within a second."""


class AudioSink(Protocol):
    """Where a voice puts its audio: the gate in front of the carrier."""

    def audio(self, turn: int, epoch: int, payload: bytes) -> None:
        """Raw µ-law 8 kHz of this epoch, in order."""

    def finished(self, turn: int, epoch: int) -> None:
        """All audio of this epoch has been given. The gate posts ``VoiceFinished`` once it has passed it on or holds it."""


class Voice(Protocol):
    """Text-to-speech for one call: text by epoch in, audio to the ``AudioSink``, ``WordsTimed`` and ``VoiceFailed`` out."""

    async def run(self) -> None:
        """Connect and pump until ``aclose`` or cancellation. Returns; never raises for the vendor."""

    def say(self, turn: int, epoch: int, text: str) -> None:
        """More text of this epoch, verbatim; never blocks. Before the socket is up it waits."""

    def end(self, turn: int, epoch: int) -> None:
        """No more text in this epoch. Where none was given it is finished at once."""

    def cancel(self, turn: int, epoch: int) -> None:
        """Stop this epoch. Late audio of it must not reach the sink."""

    async def aclose(self) -> None:
        """Close politely, within a second."""


class Model(Protocol):
    """The language model, shared by all calls."""

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        """Stream one reply as ``ModelText``, ``ModelToolCall``, then exactly one ``ModelFinished`` or ``ModelFailed``; before the
        first of them a ``ModelAttemptFailed`` for each attempt that another one follows.

        Cancelling the task closes the connection at once; then nothing more is posted.
        """

    async def warm(self) -> None:
        """Have a connection open, so that the next answer does not wait for one. Never raises; cheap when it is open."""

    async def aclose(self) -> None:
        """Close the connections."""


class CallControl(Protocol):
    """The carrier's REST interface. Raises ``calls.providers.errors.VendorError``."""

    async def hang_up(self, call_sid: str) -> None:
        """End the call; a call already over is a success."""

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Run new TwiML on the live call; its stream ends."""

    async def aclose(self) -> None:
        """Close the connections."""


class CarrierOut(Protocol):
    """The outgoing half of the media stream. Never blocks; after the stream is gone everything is a no-op."""

    def media(self, payload: bytes) -> None:
        """Queue µ-law at the carrier."""

    def mark(self, name: str) -> None:
        """Queue a playback mark."""

    def clear(self) -> None:
        """Empty the carrier's queue, before anything sent later."""

    def close(self, code: int = 1000) -> None:
        """Close the stream."""


# --- memory -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecallResult:
    """What was found, the best first, at most 20; those left out of the prompt say why.

    ``outcome`` is that of ``calls.core.events.MemoryRecalled``; ``took_ms`` counts from the call of ``recall``.
    """

    items: tuple[Recalled, ...] = ()
    outcome: str = "full"
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of a wish to remember. ``status``: ``kept`` (for later calls too), ``known`` (it was known already),
    ``this_call`` (for the rest of this call only: the caller has no memory of their own)."""

    status: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten, in words that a caller may hear. Nothing where nothing fitted."""

    texts: tuple[str, ...] = ()


class MemoryRefused(Exception):
    """The memory will not do this; the message is told to the model and holds nothing of another caller."""


class CallMemory(Protocol):
    """What is remembered of one caller, for the length of one call. Used from the event loop's thread.

    What is found belongs to this caller alone: nothing here takes a number or a caller from the model. An exception but
    ``MemoryRefused`` is a bug; the call goes on without memory. Nothing of it may block the loop for over a millisecond.
    """

    #: Called with each card that stands in place of the first: somebody corrected, forgot or erased something.
    on_card: Callable[[Card], object]

    async def card(self) -> Card:
        """The caller's card as soon as it is there, at once where it was prefetched; empty for an unknown caller. May be
        cancelled."""

    def hear(self, text: str) -> None:
        """The whole text of the caller's open turn so far, once they pause: what ``recall`` may be asked next. Cheap, never blocks."""

    async def recall(self, text: str, deadline_ms: int) -> RecallResult:
        """What may help to answer ``text``, within ``deadline_ms``: what is not found by then is left out.

        What was given to ``note`` or is in the card has ``in_prompt`` off, for it is before the model already.
        May be cancelled.
        """

    def note(self, role: str, text: str, turn: int, at_ms: int) -> None:
        """Something was said in this call: by the ``user``, or by the ``assistant`` (what was heard of it). ``at_ms``: when, on
        the call's clock; ``-1`` where that is not known. Cheap, never blocks."""

    async def remember(self, text: str, key: str, turn: int, said: str) -> Remembered:
        """Remember ``text``, from now on, in this call too. ``key``: the same key has one effect. ``said``: the caller's words
        in this turn, which must be its source. Raises ``MemoryRefused``."""

    async def forget(self, what: str, key: str, turn: int) -> Forgotten:
        """Forget what fits ``what``, from now on, in this call too. ``key``: as for ``remember``. Raises ``MemoryRefused``."""

    async def aclose(self) -> None:
        """The call is over: let go of what was loaded for it. What was said is archived by others."""


class Memory(Protocol):
    """The memory of a process, shared by all calls."""

    async def ring(self, call_sid: str, number: str, locale: str) -> None:
        """A call rings from this number (empty or a word of the carrier's where it is withheld): fetch what its ``open``
        will want. ``locale`` is the agent's language. Run beside the webhook, whose answer never waits for it."""

    def open(self, call_sid: str, number: str, locale: str, *, reads_only: bool = False) -> CallMemory:
        """The memory of a call that begins, whether or not it rang here. Never blocks: what is not there yet is fetched meanwhile.

        ``reads_only``: what the call would have remembered, forgotten or counted is so in this call alone.
        """

    async def aclose(self) -> None:
        """Close what is open."""

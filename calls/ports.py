"""What the actor needs of the world, as protocols. Adapters live in ``calls.providers`` and ``calls.media``.

Events are posted without a time: the mailbox stamps ``at_ms`` on entry. ``post`` never blocks and may be called from
the event loop's thread only. No method here raises for a vendor's failure: that is an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from calls.core.events import Event

if TYPE_CHECKING:
    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile

Post = Callable[[Event], None]


class Ear(Protocol):
    """Speech-to-text for one call: µ-law 8 kHz in, ``TurnOpened … TurnEnded``, ``EarReady``, ``EarFailed`` out."""

    async def run(self) -> None:
        """Connect and pump until ``aclose`` or cancellation. Returns; never raises for the vendor."""

    def feed(self, audio: bytes) -> None:
        """Take one frame of the caller's audio, in order; never blocks. Old audio is dropped when too much waits."""

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
        """Stream one reply as ``ModelText``, ``ModelToolCall``, then exactly one ``ModelFinished`` or ``ModelFailed``.

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

"""The gate between the voice and the carrier: only the open epoch's audio passes, or a person's who has taken over.

Audio of a later epoch waits (a speculative reply, one the caller talks into), audio of a dropped one is counted and
forgotten. What passes goes out at once, in pieces, each followed by a mark that names turn, epoch and piece, and each
reported to the core. The gate obeys commands of the core and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calls.codecs.twilio import mark_name
from calls.core.events import AudioSent, VoiceFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.media.recorder import Recorder
    from calls.ports import CarrierOut, Post

#: Held audio is released in pieces of at most this size, so that marks stay fine enough to tell words.
PIECE_BYTES = 8000
#: What one epoch may hold: two minutes. A voice that sends more is cut off there; nobody would listen to the end.
HELD_MOST_BYTES = 960_000


@dataclass(slots=True)
class _Held:
    turn: int
    audio: bytearray = field(default_factory=bytearray)
    finished: bool = False


class Gate:
    """Implements ``calls.ports.AudioSink`` for one call."""

    def __init__(
        self, carrier: CarrierOut, post: Post, recorder: Recorder | None, count_dropped: Callable[[int], None]
    ) -> None:
        self._carrier = carrier
        self._post = post
        self._recorder = recorder
        self._count_dropped = count_dropped
        self._open_epoch = 0
        self._dead_epoch = 0
        self._sent_epoch = 0
        self._lent_epoch = 0
        self._piece = 0
        self._held: dict[int, _Held] = {}

    # --- the voice's side

    def audio(self, turn: int, epoch: int, payload: bytes) -> None:
        """Pass on, hold or drop."""
        if epoch <= self._dead_epoch:
            self._count_dropped(len(payload))
        elif epoch == self._open_epoch:
            self._send(turn, epoch, payload)
        else:
            held = self._held.setdefault(epoch, _Held(turn))
            room = max(0, HELD_MOST_BYTES - len(held.audio))
            held.audio += payload[:room]
            if len(payload) > room:
                self._count_dropped(len(payload) - room)

    def finished(self, turn: int, epoch: int) -> None:
        """The voice has given everything of this epoch."""
        if epoch <= self._dead_epoch:
            return
        if epoch == self._open_epoch:
            self._post(VoiceFinished(turn=turn, epoch=epoch))
        else:
            self._held.setdefault(epoch, _Held(turn)).finished = True

    # --- an operator's side

    def operator_audio(self, payload: bytes) -> bool:
        """An operator's voice, µ-law at 8 kHz: to the carrier and the recorder while the gate is lent. Whether it passed.

        It has no marks: how much of it was heard the core need not know.
        """
        if not self._lent_epoch:
            self._count_dropped(len(payload))
            return False
        self._sent_epoch = max(self._sent_epoch, self._lent_epoch)
        self._carrier.media(payload)
        if self._recorder is not None:
            self._recorder.played(payload)
        return True

    # --- the core's side

    def open(self, turn: int, epoch: int) -> None:
        """Let this epoch through, what was held first."""
        if epoch <= self._dead_epoch:
            return
        self._open_epoch = epoch
        held = self._held.pop(epoch, None)
        if held is None:
            return
        for start in range(0, len(held.audio), PIECE_BYTES):
            self._send(turn, epoch, bytes(held.audio[start : start + PIECE_BYTES]))
        if held.finished:
            self._post(VoiceFinished(turn=turn, epoch=epoch))

    def close(self) -> None:
        """Hold everything from here on."""
        self._open_epoch = 0

    def lend(self, epoch: int) -> None:
        """An operator's audio passes from here on, and nothing of this and earlier epochs."""
        self.drop(epoch)
        self.close()
        self._lent_epoch = epoch

    def take_back(self) -> None:
        """An operator's audio no longer passes. What the carrier has of it plays out."""
        self._lent_epoch = 0

    def drop(self, epoch: int) -> None:
        """Nothing of this and earlier epochs passes any more."""
        self._dead_epoch = max(self._dead_epoch, epoch)
        for dead in [number for number in self._held if number <= epoch]:
            self._count_dropped(len(self._held.pop(dead).audio))

    def clear(self, epoch: int) -> None:
        """Drop, and empty the carrier's buffer. Nothing of these epochs can follow the clear on the wire.

        Where nothing of the epoch has been sent nothing is to be emptied: what may still play is of an earlier one.
        """
        self.drop(epoch)
        if self._sent_epoch < epoch:
            return
        self._carrier.clear()
        if self._recorder is not None:
            self._recorder.cleared()

    def _send(self, turn: int, epoch: int, payload: bytes) -> None:
        if not payload:
            return
        self._piece += 1
        self._sent_epoch = max(self._sent_epoch, epoch)
        self._carrier.media(payload)
        self._carrier.mark(mark_name(turn, epoch, self._piece))
        if self._recorder is not None:
            self._recorder.played(payload)
        self._post(AudioSent(turn=turn, epoch=epoch, piece=self._piece, size_bytes=len(payload)))

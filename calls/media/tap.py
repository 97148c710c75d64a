"""Both sides of a live call for whoever listens, on the recording's clock: what the caller said, and what they hear as they
hear it.

Speech goes to the carrier faster than it is played and may be cleared; the recorder knows what of it was heard when. A tap
reads along there, so it costs nothing while nobody takes from it, and the frame path knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calls.media.recorder import Recorder

#: Who takes later than this has missed what lies before: half a second.
MOST_LATE_SAMPLES = 4000
#: Number, Unix time in ms, then for the caller's and the agent's side: first sample, bytes of µ-law. Little-endian.
_HEADER = Struct("<IdIIII")


class BadBatch(ValueError):
    """Bytes that are no batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of both sides, raw µ-law 8 kHz. ``caller_at`` and ``agent_at``: their first samples on the call's clock.

    ``number`` counts from 1, so that a lost one is seen. ``taken_at_ms``: Unix time at which the agent's side ends.
    """

    number: int
    taken_at_ms: float
    caller_at: int
    caller: bytes
    agent_at: int
    agent: bytes

    def encoded(self) -> bytes:
        """As ``decoded`` reads it, and ``static/console/js/audio/batch.js``."""
        header = _HEADER.pack(
            self.number, self.taken_at_ms, self.caller_at, len(self.caller), self.agent_at, len(self.agent)
        )
        return header + self.caller + self.agent


def decoded(data: bytes) -> Batch:
    """A batch from its bytes. Raises ``BadBatch``."""
    try:
        number, taken_at_ms, caller_at, caller_bytes, agent_at, agent_bytes = _HEADER.unpack_from(data)
    except StructError as error:
        raise BadBatch(f"a batch begins with {_HEADER.size} bytes, not {len(data)}") from error
    body = data[_HEADER.size :]
    if len(body) != caller_bytes + agent_bytes:
        raise BadBatch(f"the batch says {caller_bytes + agent_bytes} bytes of audio and has {len(body)}")
    return Batch(number, taken_at_ms, caller_at, body[:caller_bytes], agent_at, body[caller_bytes:])


class Tap:
    """One reader of one call. Each ``take`` gives what came since the one before."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._number = 0
        self._caller_at = self._agent_at = recorder.now_sample

    def take(self, now_unix_ms: float) -> Batch:
        """Both sides since the last ``take``; who comes later than ``MOST_LATE_SAMPLES`` has missed the beginning."""
        earliest = self._recorder.now_sample - MOST_LATE_SAMPLES
        caller_at, caller = self._recorder.heard_since(max(self._caller_at, earliest))
        agent_at, agent = self._recorder.played_since(max(self._agent_at, earliest))
        self._caller_at, self._agent_at = caller_at + len(caller), agent_at + len(agent)
        self._number += 1
        return Batch(self._number, now_unix_ms, caller_at, caller, agent_at, agent)

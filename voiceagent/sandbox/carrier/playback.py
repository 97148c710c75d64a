"""The play queue at the carrier: what the server sent and the caller has not heard yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voiceagent.sandbox.sound import FRAME_BYTES, FRAME_MS, MULAW_SILENCE


@dataclass(slots=True)
class PlayQueue:
    """Bytes and marks in order. One drained frame is 20 ms of what the caller hears."""

    _items: deque[bytes | str] = field(default_factory=deque)
    _offset: int = 0
    queued_bytes: int = 0
    underruns: int = 0
    _dry_frames: int = 0
    _was_fed: bool = False

    def put(self, audio: bytes) -> None:
        """Audio to play after all that is queued."""
        if audio:
            # A pause shorter than a fifth of a second inside speech is an audible gap, not a pause.
            if self._was_fed and not self.queued_bytes and 0 < self._dry_frames * FRAME_MS < 200:
                self.underruns += 1
            self._was_fed = True
            self._dry_frames = 0
            self._items.append(audio)
            self.queued_bytes += len(audio)

    def mark(self, name: str) -> bool:
        """Queue a mark; true if it is due at once because nothing is queued before it."""
        if not self._items:
            return True
        self._items.append(name)
        return False

    def due_marks(self) -> list[str]:
        """Marks whose audio has been played."""
        due: list[str] = []
        while self._items and isinstance(self._items[0], str):
            due.append(str(self._items.popleft()))
        return due

    def drain(self) -> tuple[bytes, list[str]]:
        """The next frame, filled with silence, and the marks that lie inside it."""
        if not self.queued_bytes:
            self._dry_frames += 1
            return b"", []
        parts: list[bytes] = []
        marks: list[str] = []
        wanted = FRAME_BYTES
        while wanted and self._items:
            head = self._items[0]
            if isinstance(head, str):
                marks.append(head)
                self._items.popleft()
                continue
            piece = head[self._offset : self._offset + wanted]
            parts.append(piece)
            wanted -= len(piece)
            self._offset += len(piece)
            if self._offset >= len(head):
                self._items.popleft()
                self._offset = 0
        self.queued_bytes -= FRAME_BYTES - wanted
        return b"".join(parts) + MULAW_SILENCE * wanted, marks

    def clear(self) -> tuple[int, list[str]]:
        """Empty the queue; how many bytes were dropped and the marks that return."""
        dropped = self.queued_bytes
        marks = [item for item in self._items if isinstance(item, str)]
        self._items.clear()
        self._offset = self.queued_bytes = 0
        # What comes next is new speech, not the rest of this.
        self._was_fed = False
        return dropped, marks

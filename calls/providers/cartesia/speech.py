"""What the voice keeps of one epoch, and what it sends for it.

An epoch is spoken in one vendor *context*, or in several one after the other: the vendor closes a context about a
second after its last audio, and a model that stalls for longer goes on in a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from calls.core.events import TimedWord

#: A context that has been silent for this long may be closed at any moment: the vendor's limit is a second.
EXPIRY_S = 0.8
_BYTES_PER_MS = 8

Key = tuple[int, int]


@dataclass(slots=True, eq=False)
class Context:
    """One of the vendor's contexts. ``unspoken`` are texts given since the last audio came."""

    context_id: str
    speech: Speech
    offset_ms: int = -1
    has_audio: bool = False
    last_audio_at: float = 0.0
    on_wire: bool = False
    closing: bool = False
    unspoken: list[str] = field(default_factory=list)

    def begin(self) -> int:
        """Place of this context's audio in its epoch's, fixed when its first message comes."""
        if self.offset_ms < 0:
            self.offset_ms = self.speech.audio_bytes // _BYTES_PER_MS
        return self.offset_ms

    def heard(self, size_bytes: int, now: float) -> None:
        """Audio of this context came."""
        self.begin()
        self.has_audio = True
        self.last_audio_at = now
        self.unspoken.clear()
        self.speech.heard(size_bytes, now)

    def may_have_expired(self, now: float) -> bool:
        """Whether more text for it could come too late at the vendor."""
        return self.has_audio and not self.owes_audio and now - self.last_audio_at > EXPIRY_S

    @property
    def owes_audio(self) -> bool:
        """Whether words were given of which nothing has been heard yet."""
        return any(speakable(text) for text in self.unspoken)


@dataclass(slots=True, eq=False)
class Speech:
    """One epoch. ``held``: text that cannot begin a context yet, as nothing in it can be spoken. ``active_at``: when text was
    given or audio came last; ``sent_at``: when text left last. ``waited_ms``: from the first text that left to the first audio."""

    turn: int
    epoch: int
    held: str = ""
    ended: bool = False
    audio_bytes: int = 0
    context: Context | None = None
    opened: list[Context] = field(default_factory=list)
    contexts_made: int = 0
    active_at: float = 0.0
    sent_at: float = 0.0
    first_sent_at: float = 0.0
    waited_ms: int | None = None

    def sent(self, now: float) -> None:
        """A text leaves."""
        self.sent_at = now
        self.first_sent_at = self.first_sent_at or now

    def heard(self, size_bytes: int, now: float) -> None:
        """Audio came."""
        if self.waited_ms is None:
            self.waited_ms = round((now - self.first_sent_at) * 1000)
        self.audio_bytes += size_bytes

    @property
    def waits_for_vendor(self) -> bool:
        """Whether the vendor owes audio or the end."""
        return self.context is not None and (self.ended or self.context.owes_audio)


@dataclass(slots=True)
class Outgoing:
    """A message that waits for the socket. ``text`` None cancels the context."""

    context: Context
    text: str | None
    more: bool = True

    def message(self, fixed: dict[str, Any]) -> dict[str, Any]:
        """As the vendor wants it; ``fixed`` is what must stay the same within a context."""
        if self.text is None:
            return {"context_id": self.context.context_id, "cancel": True}
        return {**fixed, "context_id": self.context.context_id, "transcript": self.text, "continue": self.more}


def speakable(text: str) -> bool:
    """Whether a voice could say anything of it; a context must not begin with text that is not."""
    return any(character.isalnum() for character in text)


def timed_words(stamps: Any, offset_ms: int) -> tuple[TimedWord, ...]:
    """The vendor's parallel arrays (seconds) as words of the epoch. Raises ``ValueError`` where they are not that."""
    try:
        rows = zip(stamps["words"], stamps["start"], stamps["end"], strict=True)
        return tuple(
            TimedWord(str(word), offset_ms + round(start * 1000), offset_ms + round(end * 1000))
            for word, start, end in rows
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError("word timestamps are not three arrays of one length") from error

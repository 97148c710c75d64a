"""What of the caller's audio no final text covers yet, and when a recogniser that says nothing of it is in doubt.

Pure: positions are bytes of µ-law 8 kHz since the call's first frame, times are seconds on any steady clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, islice, pairwise
from typing import Final

from calls.codecs.mulaw import to_float

BYTES_PER_MS: Final = 8
#: What is kept of an unanswered caller, and of one who is silent: the detector is late, and a word may begin softly.
MOST_MS: Final = 30_000
LEAD_MS: Final = 1_000
#: The audio just before an end of turn that may be of the next one already.
TAIL_MS: Final = 300
#: Voice that began so shortly before an end of turn cannot be in its text.
FRESH_MS: Final = 200


class AudioLedger:
    """Audio goes in as it comes; it stays until a final text covers it.

    ``fed``: the position after the newest byte; ``began``: where the latest voice began, ``voice_until``: where it was over.
    ``dropped_bytes``: how much of an unanswered caller had to go, the oldest
    first.
    """

    def __init__(self, most_ms: int = MOST_MS, lead_ms: int = LEAD_MS) -> None:
        self._most_bytes = most_ms * BYTES_PER_MS
        self._lead_bytes = lead_ms * BYTES_PER_MS
        self._frames: deque[bytes] = deque()
        self._first = 0
        self._voice_owed = False
        self._turn_owed = False
        self.began = 0
        self.fed = 0
        self.speaking = False
        self.voice_until = 0
        self.dropped_bytes = 0
        self._is_whole = True

    @property
    def owes(self) -> bool:
        """Whether the caller was heard, by the detector or the recogniser, and no final text has come since."""
        return self._voice_owed or self._turn_owed

    def feed(self, audio: bytes) -> None:
        """The next audio of the caller."""
        self._frames.append(audio)
        self.fed += len(audio)
        owes = self.owes
        keep_from = self.fed - (self._most_bytes if owes else self._lead_bytes)
        while self._first + len(self._frames[0]) <= keep_from:
            gone = len(self._frames.popleft())
            self._first += gone
            if owes:
                self.dropped_bytes += gone
                self._is_whole = False

    def voice_began(self, ago_ms: int) -> None:
        """The detector heard the caller begin, so long before the newest byte."""
        self.speaking = True
        self._voice_owed = True
        self.began = self._before(ago_ms)

    def voice_ended(self, ago_ms: int) -> None:
        """The detector heard the caller stop, so long before the newest byte."""
        self.speaking = False
        self.voice_until = max(self.voice_until, self._before(ago_ms))

    def turn_heard(self) -> None:
        """The recogniser hears the caller."""
        self._turn_owed = True

    def turn_end(self) -> int:
        """Where the turn ended whose end the recogniser has just told.

        The text of a turn lags behind its audio, and the next turn may have begun. A voice that goes on without a pause
        belongs to the turn that ended, unless it is too fresh for that.
        """
        if not self.speaking:
            return max(self.fed - TAIL_MS * BYTES_PER_MS, self.voice_until)
        return self.began if self.fed - self.began < FRESH_MS * BYTES_PER_MS else self.fed

    def settle(self, until: int, *, ends_turn: bool = True) -> None:
        """A final text covers all audio before this position, or nobody will ever give one for it."""
        self._turn_owed = False
        is_beyond = self.began >= until or self.voice_until > until or (self.speaking and not ends_turn)
        self._voice_owed = self._voice_owed and is_beyond
        self._is_whole = ends_turn
        while self._frames and self._first + len(self._frames[0]) <= until:
            self._first += len(self._frames.popleft())
        if self._frames and self._first < until:
            self._frames[0] = self._frames[0][until - self._first :]
            self._first = until

    def owed(self, until: int) -> tuple[bytes, bool]:
        """What is kept of the audio before this position, and whether that is everything since the last end of a turn."""
        return b"".join(self._frames)[: max(0, until - self._first)], self._is_whole

    def since(self, position: int) -> list[bytes]:
        """What is kept of the audio from this position on: whole frames, the one it lies in among them."""
        ends = accumulate((len(frame) for frame in self._frames), initial=self._first)
        return [frame for frame, end in zip(self._frames, islice(ends, 1, None), strict=True) if end > position]

    def quietest(self, position: int) -> int:
        """Between which two frames from this position on it is quietest; of moments alike the latest, the end where there is one."""
        frames = self.since(position)
        levels = [float(abs(to_float(frame)).mean()) for frame in frames]
        sums = [before + after for before, after in pairwise(levels)]
        if not sums:
            return self.fed
        last = min(range(len(sums)), key=lambda at: (sums[at], -at))
        return self.fed - sum(len(frame) for frame in frames[last + 1 :])

    def _before(self, ago_ms: int) -> int:
        return max(self._first, self.fed - max(0, ago_ms) * BYTES_PER_MS)


class Progress(IntEnum):
    """What the recogniser has said of a caller who was heard."""

    NOTHING = 0
    OPENED = 1
    WORDS = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long after the caller's last sound the recogniser may say nothing more, by what it has said; in seconds.

    ``voice_s``: how long a voice may go on before it says anything. After a doubt that was wrong, the next waits at least
    ``rest_s``, twice as long with each in a row, ``longest_rest_s`` at most.
    """

    after: tuple[float, float, float] = (1.0, 3.0, 6.3)
    voice_s: float = 8.0
    rest_s: float = 4.0
    longest_rest_s: float = 15.0


class Doubt:
    """When a connected recogniser has been silent for too long about a caller whom the local detector heard."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._progress = Progress.NOTHING
        self._since: float | None = None
        self._is_voice = False
        self._rest_s = 0.0
        self._rests_until = float("-inf")

    def voice_began(self, now: float) -> None:
        """The caller speaks."""
        if self._since is None or not self._is_voice:
            self._since = now
        self._is_voice = True

    def voice_ended(self, now: float) -> None:
        """The caller is silent."""
        self._is_voice = False
        if self._since is not None:
            self._since = now

    def heard(self, now: float, progress: Progress) -> None:
        """The recogniser says something of the open turn."""
        self._progress = max(self._progress, progress)
        self._rest_s = 0.0
        if self._since is not None:
            self._since = now

    def settled(self, now: float, *, owes: bool) -> None:
        """A turn is over. ``owes``: the caller speaks anew already."""
        self._progress = Progress.NOTHING
        self._since = now if owes else None

    def rest(self, now: float) -> None:
        """The doubt was acted upon in vain: the next one waits."""
        patience = self._patience
        self._rest_s = min(self._rest_s * 2 or patience.rest_s, patience.longest_rest_s)
        self._rests_until = now + self._rest_s

    def is_due(self, now: float) -> bool:
        """Whether the recogniser should have said something by now."""
        if self._since is None or now < self._rests_until:
            return False
        limit_s = self._patience.voice_s if self._is_voice else self._patience.after[self._progress]
        return now - self._since >= limit_s

"""The words of a caller's turn, whatever connections they came over.

What a lost connection had said of the open turn, or better what its audio was transcribed to apart, stands before what
the next connection says of it. While that text is awaited, the new connection's words wait as well. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from typing import NamedTuple

from calls.core.events import EagerEnd, Event, TurnEnded, TurnOpened, TurnResumed, WordsHeard
from calls.core.wording import joined, plain


class Told(NamedTuple):
    """An event for the core. ``until``: where the audio of a turn that it ends is over, in bytes of the call; else 0."""

    event: Event
    until: int = 0


class TurnText:
    """What recognisers say goes in, what the core is told comes out. ``is_live``: the present connection has a turn open."""

    def __init__(self) -> None:
        self._before = ""
        self._live = ""
        self._told = ""
        self._overlaps = False
        self._is_open = False
        self.is_live = False
        self._held: list[Told] | None = None

    @property
    def is_orphaned(self) -> bool:
        """Whether a turn is open that no connection will end, and no text is awaited for it."""
        return self._is_open and not self.is_live and self._held is None

    @property
    def text(self) -> str:
        """All that is known of the open turn, and of what waits behind it."""
        text = self._with_before(self._live)
        for event, _ in self._held or ():
            text = joined(text, _text(event) or "")
        return text

    def hear(self, event: Event, until: int = 0) -> list[Told]:
        """The present connection says this."""
        if self._held is None:
            return self._tell(Told(event, until))
        self._hold(self._held, Told(event, until))
        return []

    def lost(self) -> None:
        """The present connection is no more. What it said stands in for what it heard."""
        self._before = self.text
        self._live, self.is_live, self._held = "", False, None

    def hold(self) -> None:
        """What was lost is being transcribed: nothing may be told before its text."""
        self._held = []

    def resolve(self, text: str, *, whole: bool = True, overlaps: bool = False) -> list[Told]:
        """The text of what was lost; empty where there is none to be had: what was known then stands in for it.

        ``whole``: it covers the turn from its beginning. ``overlaps``: the present connection hears again the end of what the
        lost one heard.
        """
        held, self._held = self._held or [], None
        self._overlaps = overlaps and not text.strip()
        if text.strip():
            self._before = text.strip() if whole else spliced(self._before, text.strip())
        told: list[Told] = []
        if self._before and not self._is_open:
            told += self._tell(Told(TurnOpened()))
            self.is_live = False
        if self._before not in ("", self._told) and not any(_text(event) for event, _ in held):
            told += self._with_text(Told(WordsHeard(text=self._live)))
        for item in held:
            told += self._tell(item)
        return told

    def end(self, until: int) -> list[Told]:
        """The caller has fallen silent, and no connection will end the turn."""
        return self._with_text(Told(TurnEnded(text=""), until))

    @staticmethod
    def _hold(held: list[Told], told: Told) -> None:
        """Of the texts of one turn the latest is enough."""
        last = held[-1].event if held else None
        if isinstance(told.event, TurnResumed):
            if isinstance(last, EagerEnd):
                held[-1] = Told(WordsHeard(text=last.text))
            return
        if isinstance(last, WordsHeard | EagerEnd) and _text(told.event) is not None:
            held.pop()
        held.append(told)

    def _tell(self, told: Told) -> list[Told]:
        if isinstance(told.event, TurnOpened):
            was_open, self._is_open, self.is_live = self._is_open, True, True
            return [] if was_open else [told]
        if _text(told.event) is None:
            return [told]
        self.is_live = True
        return self._with_text(told)

    def _with_text(self, told: Told) -> list[Told]:
        event = told.event
        assert isinstance(event, WordsHeard | EagerEnd | TurnEnded)  # noqa: S101 - those that have a text
        self._live = event.text
        event = replace(event, text=self._with_before(self._live))
        self._told = event.text
        self._is_open = True
        if isinstance(event, TurnEnded):
            self._before = self._live = self._told = ""
            self._is_open = self.is_live = self._overlaps = False
        return [Told(event, told.until)]

    def _with_before(self, live: str) -> str:
        if not self._before:
            return live
        return overlapped(self._before, live) if self._overlaps else joined(self._before, live)


def _text(event: Event) -> str | None:
    return event.text if isinstance(event, WordsHeard | EagerEnd | TurnEnded) else None


def overlapped(known: str, later: str) -> str:
    """Two texts of one turn, of which the second may begin with words that end the first."""
    left, right = known.split(), later.split()
    plain_left, plain_right = [plain(word) for word in left], [plain(word) for word in right]
    most = min(len(left), len(right))
    again = next((size for size in range(most, 0, -1) if plain_left[-size:] == plain_right[:size]), 0)
    return joined(known, " ".join(right[again:]))


def spliced(known: str, later: str) -> str:
    """Two texts of one turn, the second without its beginning: the longest stretch that both have is where they meet."""
    left, right = known.split(), later.split()
    plain_left, plain_right = [plain(word) for word in left], [plain(word) for word in right]
    meet = SequenceMatcher(a=plain_left, b=plain_right, autojunk=False).find_longest_match()
    if not meet.size:
        return joined(known, later)
    return " ".join(left[: meet.a] + right[meet.b :])

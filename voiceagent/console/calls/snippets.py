"""The words that a query found, in what was said: the piece of text around them, and when in the call it was. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from calls.models import Turn
    from voiceagent.console.calls.parsing import Term

#: How much of a text is shown, in characters, and how much of that before the first match.
SHOWN_CHARS = 180
_BEFORE_CHARS = 50
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text; ``found``: it is what was looked for."""

    text: str
    found: bool = False


@dataclass(frozen=True, slots=True)
class Snippet:
    """What one side said in a turn. ``at_ms`` is on the call's own clock, ``None`` where it is not known."""

    side: str
    pieces: tuple[Piece, ...]
    turn: int
    at_ms: int | None

    @property
    def text(self) -> str:
        """The words alone."""
        return "".join(piece.text for piece in self.pieces)


def covering(may: Collection[str]) -> Callable[[str], str]:
    """What hides of a text what somebody with these permissions may not see."""
    return str if "see_unredacted" in may else redacted_text


def finder(terms: Iterable[Term]) -> re.Pattern[str] | None:
    """What finds the words of a query in a text as the index does: whole words, quoted ones in their order."""
    patterns: list[str] = []
    for term in terms:
        words = [re.escape(word) for word in _WORD.findall(term.parts[0].low)]
        patterns += [r"\W+".join(words)] if term.quoted else words
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE) if patterns else None


def snippet(turn: Turn, find: re.Pattern[str] | None, cover: Callable[[str], str]) -> Snippet | None:
    """The side of a turn in which the words are, or its first words. ``cover`` hides what the reader may not see.

    ``None`` where nothing was said.
    """
    sides = [("caller", turn.user_text, _caller_ms(turn)), ("assistant", turn.heard_text, turn.first_audio_ms)]
    said = [(side, cover(text), at_ms) for side, text, at_ms in sides if text.strip()]
    if not said:
        return None
    side, text, at_ms = next((one for one in said if find and find.search(one[1])), said[0])
    return Snippet(side, _pieces(text, find), turn.number, at_ms)


def _caller_ms(turn: Turn) -> int | None:
    return turn.began_ms if turn.began_ms is not None else turn.speech_ended_ms


def _pieces(text: str, find: re.Pattern[str] | None) -> tuple[Piece, ...]:
    first = find.search(text) if find else None
    start = max(first.start() - _BEFORE_CHARS, 0) if first else 0
    end = min(start + SHOWN_CHARS, len(text))
    pieces: list[Piece] = [Piece("…")] if start else []
    at = start
    for match in find.finditer(text, start, end) if find else ():
        if match.start() > at:
            pieces.append(Piece(text[at : match.start()]))
        pieces.append(Piece(match[0], found=True))
        at = match.end()
    if at < end:
        pieces.append(Piece(text[at:end]))
    return (*pieces, Piece("…")) if end < len(text) else tuple(pieces)


def first_of_each(turns: Sequence[Turn]) -> dict[int, Turn]:
    """The first of these turns by call."""
    found: dict[int, Turn] = {}
    for turn in turns:
        found.setdefault(turn.call_id, turn)
    return found

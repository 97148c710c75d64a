"""What the recogniser had understood before it was sure: which words of a turn it had otherwise at first. Pure.

It tells no confidence. That it took a word back is what there is to tell which words were hard to hear.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\S+")
_SIGNS = re.compile(r"^\W+|\W+$")
#: Longer texts are no speech, and would be compared for long.
_MOST_WORDS = 400


def unsteady(wordings: Iterable[str], final: str) -> dict[int, str]:
    """Number of a word of ``final`` → what stood in its place before, the latest. What only went on counts as nothing."""
    words = [_plain(word) for word in _WORD.findall(final)]
    found: dict[int, str] = {}
    if len(words) > _MOST_WORDS:
        return found
    for wording in wordings:
        heard = _WORD.findall(wording)[:_MOST_WORDS]
        was = [_plain(word) for word in heard]
        if was and not _goes_on(was, words):
            found |= _replaced(heard, was, words)
    return found


def places(text: str, numbers: Iterable[int]) -> list[tuple[int, int, int]]:
    """Where these words of a text stand: number, first character, the one behind the last."""
    wanted = set(numbers)
    return [(number, *match.span()) for number, match in enumerate(_WORD.finditer(text)) if number in wanted]


def distinct(wordings: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Without those that say what the one before them said."""
    return [*wordings[:1], *(later for earlier, later in pairwise(wordings) if earlier[1] != later[1])]


def _plain(word: str) -> str:
    return _SIGNS.sub("", word).casefold()


def _goes_on(was: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the final words begin with these, the last of which may have been half a word."""
    return (
        list(words[: len(was) - 1]) == list(was[:-1])
        and len(words) >= len(was)
        and words[len(was) - 1].startswith(was[-1])
    )


def _replaced(heard: Sequence[str], was: Sequence[str], words: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for what, a, a_end, b, b_end in SequenceMatcher(None, was, words, autojunk=False).get_opcodes():
        if what != "replace":
            continue
        if a_end == len(was):  # behind it the wording had not come yet
            b_end = min(b_end, b + a_end - a)
        if a_end == len(was) and b_end - b == 1 and words[b].startswith(was[a]):
            continue
        instead = " ".join(heard[a:a_end])
        found |= dict.fromkeys(range(b, b_end), instead)
    return found

"""The summary of a call out of the caller's own sentences: it needs no model, and says nothing that was not said. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memory.core import normal, rules
from memory.core.text import clean, tokens
from memory.core.values import Candidate, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memory.core.values import Said

_SUMMARY_LINES = 4
_SUMMARY_CHARS = 360
_LEAST_WORDS = 2
#: What is said in every call tells nothing of this one.
_COURTESY = frozenset(
    tokens("thank thanks bye goodbye hello hi please great perfect lovely fine nice day evening morning")
)


def summarise(lines: Sequence[Said]) -> Candidate | None:
    """What the call was about, in the caller's own words: his most telling sentences in their order. What he asked is told
    only where he stated nothing: it holds no answer, and would be recalled in place of one.

    ``None`` where he said nothing that tells something. The text quotes several lines; ``seq`` and ``quote`` are of the most telling.
    """
    sentences = [
        one for line in lines if line.role == "user" and not rules.instructs(line.text) for one in _sentences(line)
    ]
    counts: dict[str, int] = {}
    for one in sentences:
        for word in set(tokens(one.quote)):
            counts[word] = counts.get(word, 0) + 1
    scored = []
    for place, one in enumerate(sentences):
        words = set(tokens(one.quote))
        if len(words - _COURTESY) >= _LEAST_WORDS:
            # What is said more than once is the matter; long sentences do not win by length alone.
            scored.append((-sum(counts[word] for word in words) / (len(words) + 4), place, one))
    ranked = [one for _, _, one in sorted(scored, key=lambda entry: entry[:2])]
    stated = [one for one in ranked if not one.asks]
    chosen = _fitting(stated or ranked)
    if not chosen:
        return None
    ordered = sorted(chosen, key=lambda one: (one.seq, one.start))
    text = f"The caller {'said' if stated else 'asked'}: " + " ".join(f"“{clean(one.quote)}”" for one in ordered)
    best = chosen[0]
    return Candidate(
        Kind.SUMMARY,
        text,
        best.seq,
        best.quote,
        extractor=rules.EXTRACTOR,
        start=best.start,
        end=best.end,
    )


@dataclass(frozen=True, slots=True)
class _Sentence:
    seq: int
    start: int
    end: int
    quote: str
    asks: bool


def _sentences(line: Said) -> list[_Sentence]:
    return [
        _Sentence(line.seq, start, end, line.text[start:end], rules.asks(line.text, start, end))
        for start, end in rules.sentences(line.text)
    ]


def _fitting(ranked: Sequence[_Sentence]) -> list[_Sentence]:
    """The first sentences that fit, none of them said twice."""
    chosen: list[_Sentence] = []
    heard: set[str] = set()
    left = _SUMMARY_CHARS
    for one in ranked:
        said = normal.plain(one.quote)
        if len(chosen) < _SUMMARY_LINES and len(one.quote) <= left and said not in heard:
            chosen.append(one)
            heard.add(said)
            left -= len(one.quote)
    return chosen

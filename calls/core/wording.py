"""Text on its way to the voice and from the recogniser: clauses, back-channels, joining.

The lists are data with a version: a record made with one version replays with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calls.core.policy import TurnPolicy

#: Utterances that acknowledge and do not take the floor, by language. Version 1.
BACK_CHANNELS: dict[str, frozenset[str]] = {
    "en": frozenset(
        "mhm|mm|mmm|mm hmm|mmhmm|hmm|hm|uh huh|uhhuh|uh|um|ah|oh|yeah|yep|yes|right|okay|ok|sure|i see|got it|alright".split(
            "|"
        )
    ),
    "de": frozenset("mhm|hm|hmm|ja|ja ja|genau|okay|ok|ach so|aha|gut|stimmt|verstehe".split("|")),
    "es": frozenset("mhm|aja|ajá|sí|si|ya|vale|claro|bueno|ok".split("|")),
    "fr": frozenset("mhm|hum|oui|ouais|d'accord|ok|ah|je vois|voilà".split("|")),
}

_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .'’-])*")
_NAME_CHARS, _NAME_WORDS = 40, 4
_NOT_WORDS = re.compile(r"[^\w' ]+")
_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*\s+")
_CLAUSE_END = re.compile(r"(?:[.!?…]+[\"')\]]*|[,;:])\s+|\s[–—-]\s+")
_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|st|no|vs|e\.g|i\.e|a\.m|p\.m|\w)\.\s+$", re.IGNORECASE)


def plain(text: str) -> str:
    """Lower case, punctuation gone, single spaces: what two transcripts are compared by."""
    return " ".join(_NOT_WORDS.sub(" ", text.lower().replace("-", " ")).split())


def is_back_channel(text: str, language: str) -> bool:
    """Whether the whole utterance only acknowledges."""
    return plain(text) in BACK_CHANNELS.get(language.split("-")[0], frozenset())


def takes_floor(text: str, language: str, min_words: int) -> bool:
    """Whether these words confirm an interruption."""
    words = plain(text)
    return bool(words) and len(words.split()) >= min_words and not is_back_channel(text, language)


def answers_tail(text: str, heard: int, tail_words: int) -> bool:
    """Whether what overlaps ``text[heard:]`` answers the question it was in.

    True where the sentence around ``heard`` is a question of which at most ``tail_words`` words were unheard, or
    that was heard to its end.
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)] + [len(text)]
    starts = [0, *ends[:-1]]
    for start, end in zip(starts, ends, strict=True):
        if start < heard <= end or (start <= heard < end and not text[start:heard].strip() and start == 0):
            sentence = text[start:end].rstrip(" \"')]")
            return sentence.endswith("?") and len(text[heard:end].split()) <= tail_words and heard > start
    return False


def speakable_until(text: str, said: int, policy: TurnPolicy, *, first: bool, final: bool) -> int:
    """The offset up to which ``text`` may go to the voice now.

    Streams everything where the voice buffers (``words``); else up to a clause end, the ``first`` one of an
    utterance short, later ones longer since the voice is then ahead. ``final``: nothing more will come.
    """
    if final or policy.chunking == "words":
        return len(text)
    least = policy.first_clause_chars if first else policy.clause_chars
    best = said
    for match in _CLAUSE_END.finditer(text, said):
        end = match.end()
        if end - said < least and not _ends_sentence(match.group()):
            continue
        if end - said >= min(least, 8) and not _ABBREVIATION.search(text, said, end):
            best = end
    return best


def _ends_sentence(boundary: str) -> bool:
    return boundary.lstrip()[:1] in ".!?…"


def ends_sentence(text: str) -> bool:
    """Whether the last thing said in ``text`` was the end of a sentence."""
    return text.rstrip(" \n\"')]»”’").endswith((".", "!", "?", "…"))


def sayable_name(name: str) -> str:
    """A caller's name as it may be said, and so stand among our own words; empty for what does not look like one."""
    name = " ".join(name.split())
    fits = len(name) <= _NAME_CHARS and len(name.split()) <= _NAME_WORDS and _NAME.fullmatch(name)
    return name if fits else ""


def joined(left: str, right: str) -> str:
    """Two stretches of talk as one, with one space between."""
    return f"{left.rstrip()} {right.lstrip()}" if left.strip() and right.strip() else (left or right)


def without(text: str, done: str) -> str:
    """``text`` without its beginning ``done``, compared as words: two transcripts of one sentence differ in commas."""
    if not plain(done):
        return text
    for match in re.finditer(r"\S+\s*", text):
        if plain(text[: match.end()]) == plain(done):
            rest = text[match.end() :]
            return rest if plain(rest) else ""
    return text


def whole_words_until(text: str) -> int:
    """The offset up to which ``text`` is whole words: its last one counts where punctuation or a space says so."""
    end = len(text)
    while end and text[end - 1].isalnum():
        end -= 1
    return end


def glue(text: str, more: str) -> str:
    """``more`` as it must be appended so that words do not weld together at a request's seam."""
    return f" {more}" if text and more and not text[-1].isspace() and not more[0].isspace() else more

"""Words as the search compares them, and the forms in which speech is embedded and asked. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from memory.core import words

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What of a text is looked at, in characters: some twenty minutes of speech. The rest is stored, but not found.
MAX_CHARS = 20_000
#: What was said just before an utterance, in turns and in characters of their ends.
BEFORE_TURNS = 2
BEFORE_CHARS = 320
#: How much of a spoken turn is asked of the memory, in characters of its end: people come to their question last.
QUESTION_CHARS = 400
#: A turn with fewer telling words than this says little by itself ("and on Fridays?").
_TELLING_WORDS = 2

# What no text means: controls (line ends excepted), and halves of surrogate pairs, which no encoding carries.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff￾￿]")
_SPACES = re.compile(r"\s+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
# Digits and letters apart ("10am"), apostrophes inside words, scripts without spaces character by character.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"\d+|[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+(?:'[^\W\d_]+)*")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_SENTENCE = re.compile(r"[^.!?…]+[.!?…]*")
_FILLERS = re.compile(
    r"[\s,]*\b(?:u+[hm]+|e+r+m*|h+m+|a+h+|you know|i mean|sort of|kind of|let me see|well|okay|ok|so|hello|hi|hey)\b[\s,.…]*",
    re.IGNORECASE,
)


def clean(text: str, limit: int = MAX_CHARS) -> str:
    """The text in composed compatibility form (NFKC), without unprintable characters, on one line, at most ``limit``
    characters long."""
    text = _UNPRINTABLE.sub(" ", text[:limit])
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)[:limit]
    return _SPACES.sub(" ", text).strip()


def same(text: str) -> str:
    """The form in which two texts are equal that say the same in the same words: no case, accents or punctuation."""
    return " ".join(_raw_tokens(text))


def tokens(text: str, stems: dict[str, str] | None = None) -> list[str]:
    """The telling words of a text in order, stemmed: what BM25 counts. Function words are left out, number words are
    digits. ``stems`` remembers stems from one text to the next; it belongs to the caller, as the words do."""
    told = [token for token in _raw_tokens(text) if token not in words.STOP]
    if stems is None:
        return [stem(token) for token in told]
    for token in told:
        if token not in stems:
            stems[token] = stem(token)
    return [stems[token] for token in told]


def _raw_tokens(text: str) -> list[str]:
    text = clean(text).casefold()
    if not text.isascii():
        text = text.translate(_APOSTROPHES)
        marked = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in marked if not unicodedata.category(char).startswith("M"))
    if "," in text:
        text = _THOUSANDS.sub("", text)
    found = _TOKEN.findall(text)
    return [_plain(token) if "'" in token else token for token in found]


def _plain(token: str) -> str:
    return token.removesuffix("'s").replace("'", "")


def stem(word: str) -> str:
    """The word without its inflection: ``allergies`` and ``allergy``, ``went`` and ``go`` are one.

    Porter's first step and a silent ``e``, with a table of irregular forms: derivations (``allergic``) are left to the
    embedding. Source: M. F. Porter, An algorithm for suffix stripping, 1980.
    """
    word = words.FORMS.get(word, word)
    if len(word) <= 3 or not word.isascii() or word.isdigit():
        return word
    word = _without_plural(word)
    word = _without_tense(word)
    if word.endswith("y") and len(word) > 3 and word[-2] not in "aeiou":
        return word[:-1] + "i"
    return word.removesuffix("e") if len(word) > 3 else word


def _without_plural(word: str) -> str:
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("ies"):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith(("ss", "us", "is")):
        return word
    return word.removesuffix("s")


def _without_tense(word: str) -> str:
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base == word or len(base) < 2 or not any(vowel in base for vowel in "aeiouy"):
            continue
        doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
        return base[:-1] if doubled else base
    return word


def statements(text: str) -> str:
    """A text without its questions: who only asks tells nothing."""
    if "?" not in text:
        return text
    said = (part for part in _SENTENCE.findall(clean(text)) if not part.rstrip().endswith("?"))
    return "".join(said)


def before_of(previous: Sequence[str]) -> str:
    """What was said just before, from the turns of a conversation so far (oldest first): at most ``BEFORE_TURNS``
    turns, one a line, each cut to the end of what was said, together at most ``BEFORE_CHARS`` characters."""
    turns = [text for text in (clean(turn) for turn in previous[-BEFORE_TURNS:]) if text]
    share = BEFORE_CHARS // BEFORE_TURNS - 1
    return "\n".join(end_of(turn, share) for turn in turns)


def question(text: str, before: str = "") -> str:
    """What is asked of the memory when the caller says ``text``: without fillers, the end of a long turn.

    A turn that says little by itself is asked together with ``before``, what was said just before it. Empty where
    nothing was said.
    """
    said = clean(text)
    asked = end_of(_FILLERS.sub(" ", said).strip() or said, QUESTION_CHARS)
    if before and asked and len(set(tokens(asked))) < _TELLING_WORDS:
        return end_of(f"{clean(before)} {asked}", QUESTION_CHARS)
    return asked


def asks_past(text: str) -> bool:
    """Whether a question is about what was so before ("what was my old address?"): only then is something that was
    corrected since an answer."""
    return bool(words.PAST.search(clean(text).casefold()))


def end_of(text: str, limit: int) -> str:
    """The last words of a text, at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    end = text[-limit:]
    return end[end.find(" ") + 1 :]

"""What a caller has told so far, read from the history anew each time."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from voiceagent.sandbox.persona import words
from voiceagent.sandbox.persona.words import HOMOPHONES, NUMBER, to_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voiceagent.sandbox.openai.conversation import Turn


@dataclass(frozen=True, slots=True)
class Slots:
    """A booking as far as it is known."""

    party_size: int | None = None
    date: dt.date | None = None
    time: dt.time | None = None
    name: str | None = None

    @property
    def missing(self) -> list[str]:
        """Names of what is still unknown, in the order in which one asks."""
        return [field.name for field in fields(self) if getattr(self, field.name) is None]

    @property
    def first_name(self) -> str | None:
        """How to address the caller."""
        if self.name is None:
            return None
        parts = self.name.split()
        return self.name if parts[0] in ("Mr", "Mrs", "Ms", "Miss", "Dr") else parts[0]


# What the agent's last words asked for.
_ASKED = {
    "party_size": re.compile(r"\bhow many\b|\bnumber of (?:guests|people)", re.I),
    "date": re.compile(r"\b(?:what|which|another) (?:day|date)\b|\bfor when\b", re.I),
    "time": re.compile(r"\b(?:what|which) time\b|\bat what\b|\banother time\b", re.I),
    "name": re.compile(r"\b(?:what|which|your) name\b|\bwho (?:is|am I)\b", re.I),
}
_PARTY = (
    re.compile(rf"\b({NUMBER})\s+(?:people|persons?|guests?|of us|adults|diners)\b", re.I),
    re.compile(
        rf"\b(?:party|group|table|booking|reservation|dinner|lunch|make (?:it|that))\s+(?:of|for)\s+({NUMBER})\b(?!\s*(?:thirty|fifteen|forty|o'?clock|p\.?m|a\.?m|[:.]\d|in the))",
        re.I,
    ),
    re.compile(rf"\bwe(?:'re|'ll be| are| will be| would be)\s+({NUMBER})\b", re.I),
    re.compile(rf"\bthere(?:'s|'ll be| are| is| will be)\s+({NUMBER})\b", re.I),
)
_PARTY_PHRASES = (
    (re.compile(r"\bfor people\b", re.I), 4),
    (re.compile(r"\b(?:to|too) people\b", re.I), 2),
    (
        re.compile(
            r"\b(?:a couple|both of us|(?:me|myself) and my (?:wife|husband|partner|friend|mother|father|son|daughter))\b",
            re.I,
        ),
        2,
    ),
    (re.compile(r"\b(?:just|only) (?:me|myself)\b|\bon my own\b", re.I), 1),
)
_NAME_WORD = r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ'’-]*\.?"
_TITLE = r"(?:(?:Mr|Mrs|Ms|Miss|Dr)\.?\s+)?"
_NAME_TAIL = rf"({_TITLE}{_NAME_WORD}(?:\s+{_NAME_WORD}){{0,2}})"
_NAMED = re.compile(
    rf"\b(?:my name(?:'s| is)|(?<![a-z]s )(?<!['’]s )(?:the )?name(?:'s| is| would be)|under (?:the )?(?:name (?:of )?)?|call me|i am called)\s*,?\s*{_NAME_TAIL}",
    re.I,
)
_INTRODUCED = re.compile(
    rf"\b(?:this is|I'm|I am|it's|it is|here is)\s+((?:{_TITLE})[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+){{0,2}})"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SPELLED = re.compile(r"\b(?:[A-Za-z][-. ]){2,}[A-Za-z]\b")
_NO_NAME = frozenset(
    "who what when where which why how do does did is are was can could may should would have has i'd i've i'll i'm wait "
    "a an and at for from i in is it its it's me my no not of oh ok okay on our please so sorry sure thank thanks that that's the this to "
    "uh um under us we well yes yeah you your looking calling trying afraid fine good great here just really very would will with "
    "monday tuesday wednesday thursday friday saturday sunday today tomorrow tonight hello hi name actually also can could "
    "table booking reservation people outside late allergic vegetarian vegan wondering interested".split()
)  # fmt: skip
_FILLERS = re.compile(
    r"^(?:(?:yes|yeah|sure|of course|ok|okay|um|uh|well|oh|so|please|it's|it is|that's|that is|that would be)[,.!]?\s+)+",
    re.I,
)


def asked_for(assistant_text: str) -> str | None:
    """The slot that the agent's last words asked for. Only a question at the end counts, or one that was cut short."""
    last = _SENTENCE_END.split(assistant_text.strip())[-1]
    if last.endswith((".", "!")):
        return None
    found = [(match.start(), slot) for slot, pattern in _ASKED.items() for match in pattern.finditer(last)]
    return max(found)[1] if found else None


def read(turns: Iterable[Turn], today: dt.date, known_name: str | None = None) -> Slots:
    """Everything the caller has said, later words replacing earlier ones."""
    slots = Slots(name=known_name)
    asked: str | None = None
    for turn in turns:
        if turn.role == "assistant" and turn.text:
            asked = asked_for(turn.text)
        elif turn.role == "user":
            slots = heard(slots, turn.text, asked, today)
    return slots


def heard(slots: Slots, text: str, asked: str | None, today: dt.date) -> Slots:
    """The slots after one utterance."""
    return Slots(
        find_party(text, asked == "party_size") or slots.party_size,
        words.find_date(text, today) or slots.date,
        words.find_time(text, asked == "time") or slots.time,
        find_name(text, asked == "name") or slots.name,
    )


def find_party(text: str, asked: bool = False) -> int | None:
    """How many people."""
    for pattern in _PARTY:
        if match := pattern.search(text):
            return to_number(match[1])
    for phrase, value in _PARTY_PHRASES:
        if phrase.search(text):
            return value
    if not asked:
        return None
    if match := re.search(rf"\b({NUMBER})\b", text, re.I):
        return to_number(match[1])
    alone = re.findall(r"[a-z]+", text.lower())
    return next((HOMOPHONES[word] for word in alone if word in HOMOPHONES), None) if len(alone) <= 4 else None


def find_name(text: str, asked: bool = False) -> str | None:
    """The caller's name, written with capitals."""
    if match := _NAMED.search(text):
        return _tidy(match[1])
    if match := _INTRODUCED.search(text):
        return _tidy(match[1])
    if asked:
        bare = _FILLERS.sub("", text.strip())
        if match := re.match(_NAME_TAIL, bare, re.I):
            return _tidy(match[1])
    return None


def _tidy(raw: str) -> str | None:
    if match := _SPELLED.search(raw):
        raw = re.sub(r"[-. ]", "", match.group())
    kept: list[str] = []
    for word in raw.split():
        clean = word.strip(".,'’")
        if clean.lower() in _NO_NAME or not clean:
            break
        kept.append(clean if clean[1:] != clean[1:].upper() or len(clean) == 1 else clean.capitalize())
        if word.endswith(".") and clean.rstrip(".") not in ("Mr", "Mrs", "Ms", "Dr"):
            break
    if not kept:
        return None
    return " ".join(word[0].upper() + word[1:] for word in kept)

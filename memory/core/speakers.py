"""Who speaks in a conversation, and a question put as the speaker would have said its answer. Pure.

People say "I" of themselves and are named by others: "What did Ana plant?" looks for "I put in six apple trees", and
"Thanks, Ana!" shows who Ana is. A question in the first person lies much nearer to its answer (``docs/decisions``,
ranking), and what is asked of a named speaker was mostly said by that speaker.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from memory.core import words

if TYPE_CHECKING:
    from memory.core.values import Row

#: How often a speaker's name must be called, and the share that these calls must have of all its mentions: "Rex" is
#: talked about, not talked to. One greeting is as good as two calls.
_CALLED = 2
_CALLED_SHARE = 0.3
_NAME = r"(?-i:(?P<name>[A-Z][^\W\d_]{1,30}))"
_TITLE = r"(?-i:[A-Z][^\W\d_]+ )?"
_START = r"(?:^|[.!?…]\s+)"
#: How a speaker is called, and how many calls each is worth.
_CALLS = (
    # "Hey Ana," "Thanks, Ana!" "Welcome back, Ana."
    (
        re.compile(
            _START
            + r"(?:hey|hi|hello|thanks|thank you|bye|goodbye|welcome|welcome back|good (?:morning|afternoon|evening|night))"
            rf",? {_TITLE}{_NAME}\b(?!')",
            re.IGNORECASE,
        ),
        _CALLED,
    ),
    # "Oh Ana." "Sure, Ana"
    (re.compile(rf"{_START}(?:sorry|congratulations|oh|wow|yes|no|yeah|sure|well),? {_NAME}\b(?!')", re.IGNORECASE), 1),
    # "I knew it, Ana!"
    (re.compile(rf"[^\W\d_], {_NAME}(?=[!?…])", re.IGNORECASE), 1),
    # "Ana, guess what!"
    (re.compile(rf"{_START}{_TITLE}{_NAME}(?=[,!])", re.IGNORECASE), 1),
)
_WORD = re.compile(r"[^\W\d_]+")
_MENTIONED = re.compile(r"\b([A-Z][^\W\d_]{1,30})\b")
#: Where a question names the one it is about: "did Ana", "Ana's".
_SUBJECT = re.compile(
    r"\b(?:(?:did|does|do|is|was|has|had|will|would|can|could|should) (?P<done>[A-Z][^\W\d_]{1,30})\b"
    r"|(?P<owned>[A-Z][^\W\d_]{1,30})'s\b)"
)

_PERSON = r"(?:the|this) (?:caller|customer|client|guest|patient|user|person|speaker)"
# What is said of somebody, and what that person says; in this order.
_FIRST_PERSON = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (rf"\b{_PERSON}'s\b", "my"),
        (rf"\b{_PERSON}\b", "I"),
        (r"\b(?:he|she)'s\b", "I'm"),
        (r"\bthey're\b", "we're"),
        (r"\b(?:he|she)\b", "I"),
        (r"\bthey\b", "we"),
        (r"\b(?:his|hers?)\b", "my"),
        (r"\btheirs?\b", "our"),
        (r"\bhim\b", "me"),
        (r"\bthem\b", "us"),
        (r"\b(?:him|her)self\b", "myself"),
        (r"\bdoes (?=(?:I|we|you)\b)", "do "),
        (r"\bhas (?=(?:I|we|you)\b)", "have "),
        (r"\bis (?=I\b)", "am "),
        (r"\bis (?=(?:we|you)\b)", "are "),
        (r"\bwas (?=(?:we|you)\b)", "were "),
    )
)


class Speakers:
    """The names of those who speak, learned from how they call one another."""

    def __init__(self) -> None:
        self._roles: Counter[str] = Counter()
        self._calls: dict[str, Counter[str]] = defaultdict(Counter)
        self._words: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Learn from an utterance."""
        self._count(row, 1)

    def remove(self, row: Row) -> None:
        """Unlearn an utterance that was added."""
        self._count(row, -1)

    def role_of(self, name: str) -> str | None:
        """The role of the speaker with that name: the other one than the role that calls it. ``None`` where nobody who
        speaks is called so."""
        calls = self._calls.get(name)
        if (
            calls is None
            or self._words[name.lower()]
            or calls.total() < max(_CALLED, _CALLED_SHARE * self._words[name])
        ):
            return None
        by = calls.most_common(1)[0][0]
        return next((role for role, said in self._roles.items() if role != by and said > 0), by)

    def named(self, asked: str) -> dict[str, str]:
        """The speakers that a question names, in its order, with their roles. The role is empty for one who must be a
        speaker, since the question is about him and nobody ever mentioned him: people do not say their own names."""
        found = {name: self.role_of(name) for name in _MENTIONED.findall(asked)}
        for match in _SUBJECT.finditer(asked):
            name = match["done"] or match["owned"]
            if not self._words[name] and name.lower() not in words.STOP:
                found[name] = ""
        return {name: role for name, role in found.items() if role is not None}

    def in_first_person(self, asked: str) -> str:
        """The question as the one it is about would put it: "What did Ana give Ben?" is "What did I give you?"."""
        for place, name in enumerate(self.named(asked)):
            me, mine = ("I", "my") if place == 0 else ("you", "your")
            asked = re.sub(rf"\b{name}'s?(?!\w)", mine, asked)
            asked = re.sub(rf"\b{name}\b", me, asked)
        for pattern, said in _FIRST_PERSON:
            asked = pattern.sub(said, asked)
        return asked

    def _count(self, row: Row, sign: int) -> None:
        self._roles[row.role] += sign
        for word in _WORD.findall(row.text):
            self._words[word] += sign
        called = {
            (match.start("name"), match["name"]): worth
            for call, worth in reversed(_CALLS)
            for match in call.finditer(row.text)
        }
        for (_, name), worth in called.items():
            if name.lower() not in words.STOP:
                self._calls[name][row.role] += sign * worth

"""What viewers may not read in a transcript: card numbers, other long numbers, addresses, e-mail. Pure.

What is hidden keeps its length and its words' places, so that times of words still fit and a reader sees how much was
said. Digits are found as figures and as spoken words. It errs on the side of hiding: whoever must read it has
``console.see_unredacted``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CARD, NUMBER, ADDRESS, EMAIL = "card number", "number", "address", "e-mail"
HIDDEN = "•"
#: A number with fewer digits is a time, a price, a date or a party of six.
LEAST_DIGITS = 6
_CARD_DIGITS = range(13, 20)
#: Longer texts are looked through up to here, and hidden from there on: no transcript is so long.
MOST_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text. ``kind`` is empty for what may be read; else ``text`` is dots, as long as what they hide."""

    text: str
    kind: str = ""


_DIGIT_WORDS = (
    "zero|oh|nought|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    "seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|double|triple|"
    "null|eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun|"
    "cero|uno|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|"
    "zéro|un|deux|trois|quatre|cinq|sept|huit|neuf"
)
#: Runs of figures or digit words with what people put between them. Digits of every script count.
_RUN = re.compile(
    rf"(?<!\w)\+?\(?(?:\d+|(?:{_DIGIT_WORDS})\b)(?:[\s.,()/+-]{{0,3}}(?:\d+|(?:{_DIGIT_WORDS})\b))*",
    re.IGNORECASE,
)
_WORD = re.compile(rf"\d|\b(?:{_DIGIT_WORDS})\b", re.IGNORECASE)
_EMAIL = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"
    r"|\b[\w.+-]{1,64}(?:\s(?:dot|underscore|dash)\s[\w+-]{1,64}){0,4}\sat\s[\w-]{1,63}(?:\s(?:dot)\s\w{2,10}){1,3}\b",
    re.IGNORECASE,
)
_STREET = (
    "street|st|road|rd|avenue|ave|lane|ln|drive|dr|court|ct|square|sq|boulevard|blvd|terrace|close|crescent|highway|hwy"
)
_ADDRESS = re.compile(
    rf"\b\d{{1,5}}[a-z]?\s(?:[\w'’-]{{1,30}}\s){{1,4}}(?:{_STREET})\b"
    r"|\b[\w'’-]{2,40}(?:straße|strasse|str\.|weg|platz|gasse|allee)\s\d{1,4}[a-z]?\b"
    r"|\b(?:calle|avenida|plaza|paseo)\s(?:[\w'’-]{1,30}\s){1,5}(?:número\s)?\d{1,4}\b"
    r"|\b\d{1,4}(?:\s(?:bis|ter))?,?\s(?:rue|avenue|boulevard|place|chemin|allée)(?:\s[\w'’-]{1,30}){1,5}",
    re.IGNORECASE,
)


def redacted(text: str) -> list[Span]:
    """The text as spans, in order; together they are as long as it is."""
    head, rest = text[:MOST_CHARS], text[MOST_CHARS:]
    found = sorted(_found(head))
    spans: list[Span] = []
    at = 0
    for start, end, kind in found:
        if start < at:
            continue
        if start > at:
            spans.append(Span(head[at:start]))
        spans.append(Span(hidden(head[start:end]), kind))
        at = end
    if head[at:]:
        spans.append(Span(head[at:]))
    if rest:
        spans.append(Span(hidden(rest), NUMBER))
    return spans


def redacted_text(text: str) -> str:
    """The same as one text, as long as it was."""
    return "".join(span.text for span in redacted(text))


def hidden(text: str) -> str:
    """Dots in place of everything but white space."""
    return "".join(char if char.isspace() else HIDDEN for char in text)


def _found(text: str) -> list[tuple[int, int, str]]:
    places = [(match.start(), match.end(), EMAIL) for match in _EMAIL.finditer(text)]
    places += [(match.start(), match.end(), ADDRESS) for match in _ADDRESS.finditer(text)]
    for match in _RUN.finditer(text):
        digits = "".join(char for char in match.group() if char.isdigit())
        spoken = len(_WORD.findall(match.group()))
        if len(digits) in _CARD_DIGITS and _passes_luhn(digits):
            places.append((match.start(), match.end(), CARD))
        elif max(len(digits), spoken) >= LEAST_DIGITS:
            kind = CARD if spoken in _CARD_DIGITS and len(digits) < LEAST_DIGITS else NUMBER
            places.append((match.start(), match.end(), kind))
    return places


def _passes_luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812)."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0

"""What people say for numbers, times, days and names, in the one form that can be compared. English.

Every function takes words as a recogniser writes them and gives ``""`` (or ``None``) for what it cannot read. Nothing
here guesses: a time without morning or evening stays as it was said.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
_UNITS = {word: value for value, word in enumerate(_SMALL)}
_WORDS = _UNITS | _TENS
_ORDINALS = {
    word: value
    for value, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
        "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth".split(),
        start=1,
    )
} | {"thirtieth": 30}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

_TENS_WORD, _UNIT_WORD = "|".join(_TENS), "|".join(_SMALL[1:10])
#: A number up to 99, in digits or words.
NUMBER = rf"(?:\d{{1,2}}|(?:{_TENS_WORD})(?:[ -](?:{_UNIT_WORD}))?|{'|'.join(sorted(_SMALL, key=len, reverse=True))})"
_ORDINAL = rf"(?:\d{{1,2}}(?:st|nd|rd|th)?|(?:twenty|thirty)[ -](?:{'|'.join(list(_ORDINALS)[:9])})|{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})"
_MONTH = "|".join(MONTHS)
_NOT_WORDS = re.compile(r"[^\w' ]+")


def plain(text: str) -> str:
    """Lower case, straight apostrophes, punctuation gone, single spaces."""
    return " ".join(_NOT_WORDS.sub(" ", text.replace("’", "'").casefold().replace("-", " ")).split())


#: Nobody means a number beyond this one.
_MOST_DIGITS = 14
_MOST = 10**12


def number(text: str) -> int | None:
    """A whole number up to a trillion: ``24``, ``twenty-four``, ``a hundred and five``, ``two thousand``."""
    total, current, seen = 0, 0, False
    for word in plain(text).split():
        if word.isascii() and word.isdigit():
            current += int(word[:_MOST_DIGITS])
        elif word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred":
            current = (current or 1) * 100
        elif word == "thousand":
            total, current = total + (current or 1) * 1000, 0
        elif word == "a" and not seen:
            continue
        elif word == "and" and seen:
            continue
        else:
            return None
        if total + current > _MOST:
            return None
        seen = True
    return total + current if seen else None


_REPEAT = {"double": 2, "triple": 3}
_DIGIT = {word: str(value) for word, value in _UNITS.items() if value < 10} | {"oh": "0", "o": "0", "nought": "0"}
_TEENS = {word: str(value) for word, value in _UNITS.items() if value >= 10}


def digits(text: str) -> str:
    """Digits said one by one or in pairs: ``five five five oh one``, ``double seven``, ``twenty three`` (23).

    Gives ``""`` where another word stands between them.
    """
    out, times, tens = "", 1, ""
    for word in plain(re.sub(r"[()./]", " ", text)).split():
        if word in _REPEAT:
            out, tens, times = out + (tens and tens + "0"), "", _REPEAT[word]
        elif word in _TENS:
            out, tens = out + (tens and tens + "0"), str(_TENS[word] // 10)
        elif word in _DIGIT or word in _TEENS or (word.isascii() and word.isdigit()):
            said = _DIGIT.get(word) or _TEENS.get(word) or word
            # "twenty three" is 23, "twenty oh three" is 2003.
            joins = tens and len(said) == 1 and said != "0"
            out += (tens if joins else tens and tens + "0") + said * times
            times, tens = 1, ""
        else:
            return ""
    return out + (tens and tens + "0")


def phone(text: str) -> str:
    """A telephone number as digits, with ``+`` where the country was said: 7 to 15 digits."""
    said = text.strip().casefold()
    international = re.match(r"(?:\+|plus\b|00|double (?:oh|zero)\b|zero zero\b)", said)
    found = digits(said[international.end() :] if international else said)
    return ("+" if international else "") + found if 7 <= len(found) <= 15 else ""


def code(text: str) -> str:
    """A customer, order or access number: digits and letters, 3 to 20 of them, at least one digit."""
    words = re.sub(r"[.,-]", " ", text).split()
    spelled = [
        digits(word) or (word if len(word) == 1 or word.isupper() or re.search(r"\d", word) else "") for word in words
    ]
    said = "".join(spelled).upper()
    return said if all(spelled) and re.fullmatch(r"(?=.*\d)[A-Z\d]{3,20}", said) else ""


def email(text: str) -> str:
    """An address, also as said: ``maria dot rossi at example dot com``."""
    said = re.sub(r"\s+(?:dot|point)\s+", ".", text.strip().casefold().rstrip(".,!"))
    said = re.sub(r"\s+(?:underscore)\s+", "_", re.sub(r"\s+(?:dash|hyphen|minus)\s+", "-", said))
    said = re.sub(r"\s+at\s+", "@", said).replace(" ", "")
    return said if re.fullmatch(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", said) else ""


_PAST = {"half": 30, "quarter": 15, "five": 5, "ten": 10, "twenty": 20, "twenty five": 25}
_CLOCKS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[int, int]]], ...] = (
    (re.compile(r"(?:noon|midday)"), lambda _: (12, 0)),
    (re.compile(r"midnight"), lambda _: (0, 0)),
    (
        re.compile(
            rf"(?:a )?({'|'.join(sorted(_PAST, key=len, reverse=True))}) (?:minutes )?(?:past|after) ({NUMBER})"
        ),
        lambda found: (number(found[2]) or 0, _PAST[found[1]]),
    ),
    (
        re.compile(rf"(?:a )?({'|'.join(sorted(_PAST, key=len, reverse=True))}) (?:minutes )?(?:to|before) ({NUMBER})"),
        lambda found: ((number(found[2]) or 0) - 1, 60 - _PAST[found[1]]),
    ),
    (re.compile(r"(\d{1,2})[:.h](\d{2})"), lambda found: (int(found[1]), int(found[2]))),
    (re.compile(rf"({NUMBER}) (?:oh |o )?({NUMBER})"), lambda found: (number(found[1]) or 0, number(found[2]) or 0)),
    (re.compile(rf"({NUMBER})(?: o'?clock)?"), lambda found: (number(found[1]) or 0, 0)),
)
_MORNING = re.compile(r" ?(?:a\.?m\.?|in the morning)$")
_EVENING = re.compile(r" ?(?:p\.?m\.?|in the (?:afternoon|evening)|at night|tonight)$")


def clock(text: str, *, evening: bool = False) -> str:
    """A time of day as ``HH:MM``: ``half past seven``, ``7:30``, ``seven thirty p.m.``, ``noon``.

    Without a sign of morning or evening the hours stay as said; with ``evening`` one to eleven are after noon.
    """
    said = " ".join(text.casefold().replace("’", "'").replace("-", " ").strip(" ,").split())
    morning, late = _MORNING.search(said), _EVENING.search(said)
    said = said[: (morning or late or re.search("$", said)).start()]  # type: ignore[union-attr]
    for pattern, read in _CLOCKS:
        if found := pattern.fullmatch(said):
            hour, minute = read(found)
            if 0 < hour < 12 and (late or (evening and not morning)):
                hour += 12
            if hour == 12 and morning:
                hour = 0
            return f"{hour:02}:{minute:02}" if 0 <= hour < 24 and 0 <= minute < 60 else ""
    return ""


def _ordinal(text: str) -> int:
    said = plain(text)
    if found := re.match(r"\d+", said):
        return int(found[0][:_MOST_DIGITS])
    tens, _, rest = said.rpartition(" ")
    return _TENS.get(tens, 0) + _ORDINALS[rest]


_DAY_MONTH = re.compile(rf"(?:the )?({_ORDINAL}) (?:of )?({_MONTH})(?:,? (.+))?")
_MONTH_DAY = re.compile(rf"({_MONTH}) (?:the )?({_ORDINAL})(?:,? (.+))?")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_NEAR = {"today": 0, "tonight": 0, "this evening": 0, "tomorrow": 1, "the day after tomorrow": 2}


def _year(text: str | None) -> int | None:
    """``1980``, ``nineteen eighty``, ``two thousand and five``."""
    if not text:
        return None
    said = digits(text) if re.match(r"(?:nineteen|twenty)\b", text) else ""
    return int(said) if len(said) == 4 else number(text)


def _valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None


def _calendar(text: str) -> tuple[int | None, int, int] | None:
    """Year (where said), month and day."""
    said = " ".join(text.casefold().strip(" .,").split())
    if found := _ISO.fullmatch(said):
        return int(found[1]), int(found[2]), int(found[3])
    if found := _DAY_MONTH.fullmatch(said):
        return _year(found[3]), MONTHS.index(found[2]) + 1, _ordinal(found[1])
    if found := _MONTH_DAY.fullmatch(said):
        return _year(found[3]), MONTHS.index(found[1]) + 1, _ordinal(found[2])
    return None


def birthday(text: str) -> str:
    """A day of the year as ``--MM-DD``, or ``YYYY-MM-DD`` where the year was said."""
    said = _calendar(text)
    if said is None or _valid(said[0] or 2000, said[1], said[2]) is None:
        return ""
    return f"{said[0]}-{said[1]:02}-{said[2]:02}" if said[0] else f"--{said[1]:02}-{said[2]:02}"


def day(text: str, said_at: datetime) -> str:
    """The next such day as ``YYYY-MM-DD``: ``tomorrow``, ``on Friday``, ``the fourth of May``. Never before ``said_at``."""
    today = said_at.date()
    said = re.sub(r"^(?:on|this|next|for) ", "", " ".join(text.casefold().strip(" .,").split()))
    if said in _NEAR:
        return (today + timedelta(days=_NEAR[said])).isoformat()
    if said in WEEKDAYS:
        return (today + timedelta(days=(WEEKDAYS.index(said) - today.weekday()) % 7 or 7)).isoformat()
    parts = _calendar(said)
    if parts is None:
        return ""
    years = (parts[0],) if parts[0] else (today.year, today.year + 1)
    found = (_valid(year, parts[1], parts[2]) for year in years)
    return next((one.isoformat() for one in found if one and one >= today), "")


_DAY = rf"(?:on |this |next )?(?:today|tonight|this evening|(?:the day after )?tomorrow|{'|'.join(WEEKDAYS)}|(?:the )?{_ORDINAL} (?:of )?(?:{_MONTH})|(?:{_MONTH}) (?:the )?{_ORDINAL})"
#: A day or a time of day inside a sentence.
DAY = rf"\b{_DAY}\b"
TIME = rf"(?:noon|midday|midnight|(?:a )?(?:half|quarter|five|ten|twenty(?: five)?) (?:past|after|to|before) {NUMBER}|\d{{1,2}}[:.]\d{{2}}|{NUMBER} (?:thirty|fifteen|forty[ -]five)|{NUMBER}(?: o'?clock)?)(?: ?(?:a\.?m\b\.?|p\.?m\b\.?)| in the (?:morning|afternoon|evening)| at night)?"

_CURRENCY = {"$": "USD", "dollar": "USD", "€": "EUR", "euro": "EUR", "£": "GBP", "pound": "GBP"}
_AMOUNT = re.compile(r"(?:([$€£]) ?)?([\d.,]+|[a-z -]+?)(?: ?(dollar|euro|pound)s?| ?([€£$]))?")


def amount(text: str) -> str:
    """A sum of money as ``15.50 EUR``: ``twenty euros``, ``$15.50``."""
    found = _AMOUNT.fullmatch(text.casefold().strip(" .,"))
    sign = (found[1] or found[3] or found[4]) if found else None
    if found is None or not sign:
        return ""
    said = found[2].replace(",", "")
    if re.fullmatch(r"\d{1,12}(?:\.\d{1,2})?", said):
        return f"{float(said):.2f} {_CURRENCY[sign]}"
    whole = number(said)
    return "" if whole is None else f"{whole}.00 {_CURRENCY[sign]}"


_SPELLED = re.compile(r"\b(?:[A-Za-z][-. ]+){2,}[A-Za-z]\b\.?")
_TITLES = {"mr": "Mr", "mrs": "Mrs", "ms": "Ms", "miss": "Miss", "dr": "Dr", "doctor": "Dr"}


def person(text: str) -> str:
    """A name with capitals, spelled letters joined: ``M-A-R-T-A`` is ``Marta``, ``maria rossi`` is ``Maria Rossi``."""
    said = _SPELLED.sub(lambda found: "".join(filter(str.isalpha, found[0])).capitalize(), text.replace("’", "'"))
    words = [word.strip(".,!?;:'\"") for word in said.split()]
    return " ".join(_TITLES.get(word.casefold()) or _capital(word) for word in words if word)


_PARTICLES = frozenset("de la le du van von der den da di dos upon on am sur".split())


def _capital(word: str) -> str:
    if word in _PARTICLES:
        return word
    # "McDonald" and "O'Hara" keep the capitals they came with; "MARIA" and "maria" get the usual ones.
    mixed = word[1:] not in (word[1:].lower(), word[1:].upper())
    return word if mixed else "-".join(part[:1].title() + part[1:].lower() for part in word.split("-"))


_FRINGE = re.compile(
    r"^(?:(?:a|an|the|any|some|my|all|most|kind of|kinds of|sort of|of|to|really|very|just|only|certain|every|eating)\s+)+"
    r"|(?:\s+(?:please|though|too|either|actually|thanks|as well|at all|anymore|any more|now|again|really|always|usually|today|tonight))+$"
)


def shown(text: str) -> str:
    """A thing as it is read out: lower case but for names, without articles and afterthoughts."""
    said = " ".join(text.replace("’", "'").strip(" .,!?;:").split())
    while (cut := _FRINGE.sub("", said)) != said:
        said = cut
    return said


def thing(text: str) -> str:
    """A thing in the form that two wordings share: ``the Peanuts`` and ``peanut`` are ``peanut``."""
    words = plain(shown(plain(text))).split()
    return " ".join([*words[:-1], _singular(words[-1])]) if words else ""


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "oes", "xes")) else word[:-1]


def things(text: str) -> tuple[str, ...]:
    """The parts of a spoken list, as said: ``nuts, shellfish and eggs``."""
    parts = re.split(r"\s*,\s*(?:and|or|nor)\s+|\s*,\s*|\s+(?:and|or|nor)\s+", text)
    return tuple(part for part in parts if thing(part))


_SPAN = re.compile(rf"between ({TIME}) and ({TIME})|from ({TIME}) (?:to|until|till) ({TIME})")
_EDGE = re.compile(rf"(before|after|until|till|from|at|around|about|by) ({TIME})(?: on)?")
_EDGES = {"till": "until", "around": "at", "about": "at", "by": "before"}
_PARTS = re.compile(
    r"\b(morning|afternoon|evening|weekend|weekday|lunchtime|lunch|noon|"
    + "|".join(WEEKDAYS)
    + r")s?\b|\b(?:after|outside) (work)\b|\b(office hours)\b"
)


def hours(text: str) -> str:
    """When somebody may be reached: ``before 10:00``, ``09:00-11:00``, ``evening``, ``weekend``; several joined by ``, ``."""
    said = " ".join(text.casefold().replace("’", "'").strip(" .,").split())
    found = [f"{_awake(match[1] or match[3])}-{_awake(match[2] or match[4])}" for match in _SPAN.finditer(said)]
    rest = _SPAN.sub(" ", said)
    found += [f"{_EDGES.get(match[1], match[1])} {_awake(match[2])}" for match in _EDGE.finditer(rest)]
    rest = _EDGE.sub(" ", rest)
    found += [
        (match[1] or ("outside work" if match[2] else match[3])).replace("lunchtime", "noon")
        for match in _PARTS.finditer(rest)
    ]
    return ", ".join(dict.fromkeys(found))


def _awake(text: str) -> str:
    """A time at which people are rung up: one to six, said without more, are after noon."""
    said, late = clock(text), clock(text, evening=True)
    return late if "01:00" <= said < "07:00" else said


def choice(table: Mapping[str, str]) -> Callable[[str], str]:
    """A reader for a fixed set of values: the value of the first key that stands in the text as whole words."""
    patterns = [(re.compile(rf"\b(?:{key})\b"), value) for key, value in table.items()]
    return lambda text: next((value for pattern, value in patterns if pattern.search(plain(text))), "")


def count(text: str) -> str:
    """A number of people or things as digits, 1 to 99."""
    found = number(shown(text.casefold()))
    return str(found) if found is not None and 0 < found < 100 else ""

"""Numbers, days and times of day as people say them, and as a recogniser writes them down."""

from __future__ import annotations

import datetime as dt
import re

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
NUMBERS: dict[str, int] = {word: value for value, word in enumerate(_UNITS)} | _TENS
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
ORDINALS: dict[str, int] = {word: value for value, word in enumerate(_ORDINALS) if value}
ORDINALS |= {f"twenty-{word}": 20 + value for word, value in list(ORDINALS.items())[:9]}
ORDINALS |= {"thirtieth": 30, "thirty-first": 31}
# What a recogniser writes for a number said alone.
HOMOPHONES = {"to": 2, "too": 2, "for": 4, "fore": 4, "won": 1, "ate": 8, "tree": 3, "sex": 6}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

NUMBER = r"(?:\d{1,2}|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"
ORDINAL = r"(?:\d{1,2}(?:st|nd|rd|th)|" + "|".join(sorted(ORDINALS, key=len, reverse=True)) + ")"


def to_number(word: str) -> int | None:
    """The value of a number, in digits or as a word; ``None`` for anything else."""
    word = word.strip().lower()
    return int(word) if word.isdigit() else NUMBERS.get(word)


def to_ordinal(word: str) -> int | None:
    """The value of an ordinal, ``24th`` or ``twenty-fourth``."""
    digits = re.match(r"\d+", word)
    return int(digits.group()) if digits else ORDINALS.get(word.lower().replace(" ", "-"))


def say_number(value: int) -> str:
    """A number in words, up to 59; above that in digits."""
    if value < len(_UNITS):
        return _UNITS[value]
    for word, tens in _TENS.items():
        if tens <= value < tens + 10:
            return word if value == tens else f"{word}-{_UNITS[value - tens]}"
    return str(value)


def say_time(at: dt.time) -> str:
    """A time of day as one says it on the phone: ``half past seven``."""
    hour = at.hour % 12 or 12
    if at.minute == 0:
        return "noon" if at.hour == 12 else f"{say_number(hour)} o'clock"
    if at.minute == 30:
        return f"half past {say_number(hour)}"
    if at.minute == 15:
        return f"quarter past {say_number(hour)}"
    if at.minute == 45:
        return f"quarter to {say_number(hour % 12 + 1)}"
    return f"{say_number(hour)} {say_number(at.minute)}"


def say_date(day: dt.date, today: dt.date) -> str:
    """A day as one says it: ``tomorrow``, ``on Friday``, ``on the fourth of May``."""
    ahead = (day - today).days
    if ahead == 0:
        return "today"
    if ahead == 1:
        return "tomorrow"
    if 1 < ahead < 7:
        return f"on {WEEKDAYS[day.weekday()].capitalize()}"
    ordinal = next(word for word, value in ORDINALS.items() if value == day.day)
    return f"on {WEEKDAYS[day.weekday()].capitalize()} the {ordinal} of {MONTHS[day.month - 1].capitalize()}"


_HOUR_MINUTE = re.compile(r"\b(\d{1,2})\s?[:.h]\s?(\d{2})\b")
_GLUED = re.compile(
    r"(?:\b(?:at|around|about|by|for)\s+|^\W*)(\d{1,2})(\d{2})\b|\b(\d{1,2})(\d{2})(?=\s*(?:in the|p\.?m|a\.?m|tonight|o'?clock))",
    re.I,
)
_RELATIVE = re.compile(rf"\b(half|quarter|five|ten|twenty)\s+(past|to|after|before)\s+({NUMBER})\b", re.I)
_WORD_MINUTES = re.compile(
    rf"\b({NUMBER})[\s-]+(thirty|fifteen|forty[\s-]?five|twenty|ten|45|30|15)\b(?!\s*(?:people|persons|guests))", re.I
)
_WITH_SIGN = re.compile(
    rf"\b({NUMBER})\s*(?:o'?\s?clock|a\.?m\b\.?|p\.?m\b\.?|in the (?:evening|morning|afternoon)|tonight)", re.I
)
_AT = re.compile(
    rf"\b(?:at|around|about|by)\s+(?:about\s+|around\s+)?({NUMBER})\b(?!\s*(?:people|persons|guests|of us|[:.]\d))",
    re.I,
)
_MINUTES = {"half": 30, "quarter": 15, "five": 5, "ten": 10, "twenty": 20}


def find_time(text: str, asked: bool = False) -> dt.time | None:
    """The time of day in a sentence. Without a sign of the morning, one to eleven are in the afternoon and evening."""
    hour, minute = _clock(text, asked)
    if hour is None or not (0 <= hour < 24 and 0 <= minute < 60):
        return None
    morning = re.search(r"\b(?:a\.?m\b|in the morning)", text, re.I) is not None
    if hour < 12 and not morning:
        hour = hour + 12 if hour else 12
    return dt.time(hour, minute)


def _clock(text: str, asked: bool) -> tuple[int | None, int]:
    if re.search(r"\b(?:noon|midday)\b", text, re.I):
        return 12, 0
    if match := _RELATIVE.search(text):
        base, minutes = to_number(match[3]) or 0, _MINUTES[match[1].lower()]
        return (base, minutes) if match[2].lower() in ("past", "after") else (base - 1, 60 - minutes)
    if match := _HOUR_MINUTE.search(text):
        return int(match[1]), int(match[2])
    if match := _GLUED.search(text):
        hour, minute = (match[1], match[2]) if match[1] else (match[3], match[4])
        return int(hour), int(minute)
    if match := _WORD_MINUTES.search(text):
        rest = match[2].lower()
        return to_number(match[1]), 45 if rest.startswith("forty") else to_number(rest) or 0
    if match := _WITH_SIGN.search(text) or _AT.search(text):
        return to_number(match[1]), 0
    if asked and (match := re.search(rf"\b({NUMBER})\b", text, re.I)):
        return to_number(match[1]), 0
    return None, 0


_WEEKDAY = re.compile(r"\b(" + "|".join(WEEKDAYS) + r")\b", re.I)
_DAY_MONTH = re.compile(rf"\b({ORDINAL}|\d{{1,2}})\s+(?:of\s+)?({'|'.join(MONTHS)})\b", re.I)
_MONTH_DAY = re.compile(rf"\b({'|'.join(MONTHS)})\s+(?:the\s+)?({ORDINAL}|\d{{1,2}})\b", re.I)
_THE_DAY = re.compile(rf"\bthe\s+({ORDINAL})\b(?!\s+(?:of us|time|one|name|thing))", re.I)


def find_date(text: str, today: dt.date) -> dt.date | None:
    """The day in a sentence, never in the past."""
    lowered = text.lower()
    if "day after tomorrow" in lowered:
        return today + dt.timedelta(days=2)
    if "tomorrow" in lowered:
        return today + dt.timedelta(days=1)
    if re.search(r"\b(?:today|tonight|this evening)\b", lowered):
        return today
    if match := _WEEKDAY.search(text):
        ahead = (WEEKDAYS.index(match[1].lower()) - today.weekday()) % 7
        return today + dt.timedelta(days=ahead or 7)
    if match := _DAY_MONTH.search(text):
        return _next(today, MONTHS.index(match[2].lower()) + 1, to_ordinal(match[1]))
    if match := _MONTH_DAY.search(text):
        return _next(today, MONTHS.index(match[1].lower()) + 1, to_ordinal(match[2]))
    if match := _THE_DAY.search(text):
        day = to_ordinal(match[1])
        month = today.month if day is not None and day >= today.day else today.month % 12 + 1
        return _next(today, month, day)
    return None


def _next(today: dt.date, month: int, day: int | None) -> dt.date | None:
    for year in (today.year, today.year + 1):
        try:
            found = dt.date(year, month, day or 0)
        except ValueError:
            return None
        if found >= today:
            return found
    return None

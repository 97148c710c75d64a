"""What can be known of a caller by name: a table of slots. Data; what a slot needs of code it names.

A slot is a dotted name such as ``contact.time``. A part written ``*`` stands for any one word, so that
``relation.brother.allergy`` is found under ``relation.*.allergy``. A fact without a slot is a free fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from memory.core import normal
from memory.core.values import Kind


class Section(StrEnum):
    """Where a fact stands on the profile card, in this order. The values are what the assistant reads."""

    WARNING = "must never be forgotten"
    IDENTITY = "the caller"
    PREFERENCE = "wishes"
    COMMITMENT = "open"
    LAST_CALL = "last call"
    RELATION = "people"
    FACT = "known"
    PRIVATE = "on file, never read out unasked"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot.

    ``many``: several values are valid at once; else a new value supersedes the old one. ``reads`` makes the fact's text
    of ``{value}`` and of ``{one}``, ``{two}``, the words that stand for the stars. ``normalise`` gives the value that two
    wordings share, ``""`` for what is none; ``shown`` how it is read out, where that differs. ``dated``: a day in it
    ("on Friday") is resolved, and the fact expires after it. ``expires_days``: how long
    after it was last said a fact stops to be told without being asked for, 0 for never. ``covers(known, said)``: whether a known value
    says what is said now, and more ("Maria Rossi" for "Maria"). ``sensitive``: health, faith,
    money; never read out unasked. ``importance``: 0 to 1.
    """

    name: str
    kind: Kind
    section: Section
    reads: str
    normalise: Callable[[str], str] = normal.thing
    shown: Callable[[str], str] | None = None
    many: bool = False
    dated: bool = False
    expires_days: int = 0
    covers: Callable[[str, str], bool] | None = None
    sensitive: bool = False
    importance: float = 0.5


_DIETS = {
    "vegetarian|veggie|veggies|vegetarians": "vegetarian",
    "vegan|vegans|plant based": "vegan",
    "pescatarian|pescetarian": "pescatarian",
    "halal": "halal",
    "kosher": "kosher",
    "flexitarian": "flexitarian",
}
_CHANNELS = {
    "text|texts|texting|text message|text messages|sms|message": "text message",
    "whatsapp": "whatsapp",
    "e ?mails?|mail": "email",
    "phone|call|calls|calling|telephone|ring": "phone",
    "letter|post": "post",
}
_SEATS = {
    "window": "window",
    "outside|outdoors|terrace|patio|garden|outdoor": "outside",
    "booth": "booth",
    "bar|counter": "bar",
    "quiet": "quiet corner",
    "corner": "corner",
    "inside|indoors|indoor": "inside",
    "aisle": "aisle",
}
_LANGUAGES = {
    name: name
    for name in (
        "english french german spanish italian portuguese dutch polish turkish arabic hindi urdu punjabi bengali mandarin "
        "cantonese chinese japanese korean vietnamese russian ukrainian greek romanian swedish norwegian danish finnish "
        "czech hungarian welsh"
    ).split()
}


def _said(text: str) -> str:
    return normal.plain(normal.shown(text))


_PRONOUNS = {
    "me": "the caller",
    "my": "the caller's",
    "myself": "the caller",
    "i": "the caller",
    "mine": "the caller's",
}


def _third(text: str) -> str:
    """Read out about the caller: ``call me at work`` is ``call the caller at work``."""
    return re.sub(r"[A-Za-z]+", lambda word: _PRONOUNS.get(word[0].lower(), word[0]), normal.shown(text))


def _same_person(known: str, said: str) -> bool:
    """Whether every name that is said is part of the known one; titles do not count."""
    return bool(_names(said)) and _names(said) <= _names(known)


def _names(value: str) -> set[str]:
    return set(normal.plain(value).split()) - {"mr", "mrs", "ms", "miss", "dr"}


def _language(text: str) -> str:
    return normal.choice(_LANGUAGES)(text).capitalize()


_I, _P, _F, _R = Kind.IDENTITY, Kind.PREFERENCE, Kind.FACT, Kind.RELATION

#: Every slot. The order is the order on the card.
SLOTS: tuple[Slot, ...] = (
    # What must never be done.
    Slot("health.allergy", _F, Section.WARNING, "Allergic to {value}", many=True, sensitive=True, importance=1.0),
    Slot("diet.avoid", _P, Section.WARNING, "Does not eat {value}", many=True, importance=0.9),
    Slot("contact.never", _P, Section.WARNING, "Never {value}", _said, _third, many=True, importance=0.95),
    Slot("access.need", _F, Section.WARNING, "Needs: {value}", many=True, sensitive=True, importance=0.9),
    Slot("health.condition", _F, Section.WARNING, "Health: {value}", many=True, sensitive=True, importance=0.9),
    # Who it is.
    Slot("identity.name", _I, Section.IDENTITY, "Name: {value}", normal.person, covers=_same_person, importance=1.0),
    Slot("identity.birthday", _I, Section.PRIVATE, "Birthday: {value}", normal.birthday, sensitive=True, importance=0.6),
    Slot("anniversary", _I, Section.PRIVATE, "Anniversary: {value}", normal.birthday, importance=0.5),
    Slot("identity.age", _I, Section.IDENTITY, "Age: {value}", normal.count, expires_days=365, importance=0.4),
    Slot("identity.account", _I, Section.PRIVATE, "Customer number: {value}", normal.code, importance=0.8),
    Slot("identity.job", _I, Section.IDENTITY, "Works as {value}", expires_days=1095, importance=0.5),
    Slot("identity.company", _I, Section.IDENTITY, "Works at {value}", normal.person, expires_days=1095, importance=0.5),
    Slot("home.place", _F, Section.IDENTITY, "Lives in {value}", normal.person, importance=0.6),
    Slot("home.address", _F, Section.PRIVATE, "Address: {value}", _said, normal.shown, sensitive=True, importance=0.7),
    Slot("language", _P, Section.IDENTITY, "Speaks {value}", _language, importance=0.8),
    # How to reach and to serve.
    Slot("contact.phone", _I, Section.PRIVATE, "Telephone: {value}", normal.phone, sensitive=True, importance=0.8),
    Slot("contact.email", _I, Section.PRIVATE, "Email: {value}", normal.email, sensitive=True, importance=0.7),
    Slot("contact.time", _P, Section.PREFERENCE, "Best reached: {value}", normal.hours, importance=0.8),
    Slot("contact.channel", _P, Section.PREFERENCE, "Prefers to be reached by {value}", normal.choice(_CHANNELS), importance=0.8),
    Slot("diet.preference", _P, Section.PREFERENCE, "Is {value}", normal.choice(_DIETS), importance=0.9),
    Slot("seating", _P, Section.PREFERENCE, "Likes to sit: {value}", normal.choice(_SEATS), importance=0.7),
    Slot("party.size", _P, Section.PREFERENCE, "Usually comes with a party of {value}", normal.count, importance=0.6),
    Slot("favourite.*", _P, Section.PREFERENCE, "Favourite {one}: {value}", importance=0.6),
    Slot("likes", _P, Section.PREFERENCE, "Likes {value}", many=True, expires_days=1095, importance=0.4),
    Slot("dislikes", _P, Section.PREFERENCE, "Does not like {value}", many=True, expires_days=1095, importance=0.5),
    # What is open.
    Slot("commitment", Kind.COMMITMENT, Section.COMMITMENT, "Will {value}", _said, _third, many=True, dated=True, expires_days=30, importance=0.8),
    Slot("booking.request", Kind.EVENT, Section.COMMITMENT, "Asked for {value}", _said, _third, many=True, dated=True, expires_days=14, importance=0.6),
    # Who belongs to the caller.
    Slot("relation.*.name", _R, Section.RELATION, "The caller's {one} is called {value}", normal.person, covers=_same_person, importance=0.6),
    Slot("relation.*.allergy", _R, Section.RELATION, "The caller's {one} is allergic to {value}", many=True, sensitive=True, importance=0.9),
    Slot("relation.*.avoid", _R, Section.RELATION, "The caller's {one} does not eat {value}", many=True, importance=0.8),
    Slot("relation.*.diet", _R, Section.RELATION, "The caller's {one} is {value}", normal.choice(_DIETS), importance=0.7),
    Slot("relation.*.birthday", _R, Section.RELATION, "The birthday of the caller's {one}: {value}", normal.birthday, importance=0.6),
    Slot("relation.*.phone", _R, Section.PRIVATE, "The telephone of the caller's {one}: {value}", normal.phone, sensitive=True, importance=0.5),
    Slot("relation.*.favourite.*", _R, Section.RELATION, "The favourite {two} of the caller's {one}: {value}", importance=0.5),
    Slot("household.pet", _F, Section.FACT, "Pet: {value}", shown=normal.thing, many=True, importance=0.5),
    Slot("household.children", _F, Section.FACT, "Children: {value}", normal.count, importance=0.5),
)  # fmt: skip

_ORDER = {slot.name: place for place, slot in enumerate(SLOTS)}
_BY_SHAPE = {tuple(slot.name.split(".")): slot for slot in SLOTS}
_WORDS = ("one", "two")


def find(name: str) -> Slot | None:
    """The slot that ``name`` belongs to, ``None`` where there is none: ``relation.brother.diet`` is ``relation.*.diet``."""
    parts = tuple(name.split("."))
    exact = _BY_SHAPE.get(parts)
    if exact is not None:
        return exact if "*" not in parts else None
    return next((slot for shape, slot in _BY_SHAPE.items() if "*" in shape and _fits(shape, parts)), None)


def _fits(shape: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    return len(shape) == len(parts) and all(
        want == part or (want == "*" and part.replace("-", "").isalnum())
        for want, part in zip(shape, parts, strict=True)
    )


def order(name: str) -> int:
    """The place of a slot on the card; free facts and unknown slots come last."""
    slot = find(name)
    return _ORDER[slot.name] if slot else len(SLOTS)


def reads(name: str, said: str) -> tuple[str, str]:
    """The value and the text of a fact in a slot, from what was said for its value.

    Both are ``""`` where the slot is unknown or cannot read the value.
    """
    slot = find(name)
    value = slot.normalise(said) if slot else ""
    if slot is None or not value:
        return "", ""
    stars = [
        part.replace("-", " ") for want, part in zip(slot.name.split("."), name.split("."), strict=True) if want == "*"
    ]
    text = slot.reads.format(
        value=(slot.shown or _as_value(slot, value))(said), **dict(zip(_WORDS, stars, strict=False))
    )
    return value, text


def _as_value(slot: Slot, value: str) -> Callable[[str], str]:
    # A thing keeps the number and the case it was said in ("peanuts"); everything else is read out as its value.
    return normal.shown if slot.normalise is normal.thing else lambda _: value

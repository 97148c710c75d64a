"""Who a caller is to us: a keyed hash of the number, so that records can be joined without naming anyone."""

from __future__ import annotations

import hashlib
import hmac
import re

_KEYPAD = {
    letter: digit
    for digit, letters in {
        "2": "abc", "3": "def", "4": "ghi", "5": "jkl", "6": "mno", "7": "pqrs", "8": "tuv", "9": "wxyz",
    }.items()
    for letter in letters
}  # fmt: skip

#: Carriers send these words for a withheld number, or the digits that spell them on a keypad.
_WITHHELD_WORDS = ("anonymous", "restricted", "blocked", "unknown", "unavailable", "private", "withheld")
_WITHHELD = frozenset(_WITHHELD_WORDS) | {"".join(_KEYPAD[letter] for letter in word) for word in _WITHHELD_WORDS}

#: The longest number there is has 15 digits (ITU-T E.164).
_ADDRESS = re.compile(r"\+\d{1,15}|(?:sips?|client|whatsapp):\S+")


def normalised(number: str) -> str:
    """The number without the spelling variants that mean the same line; empty for a withheld one."""
    text = number.strip().casefold()
    if text.startswith("+") or text.replace(" ", "").replace("-", "").isdigit():
        text = "+" + "".join(filter(str.isdigit, text))
    return "" if text.lstrip("+") in _WITHHELD or text in ("", "+") else text


def is_address(number: str) -> bool:
    """Whether this can be somebody who calls: a number with its country code, or a carrier's address (``sip:…``, ``client:…``)."""
    return bool(_ADDRESS.fullmatch(normalised(number)))


def caller_key(number: str, secret: str) -> str:
    """64 hex digits that stand for this caller, or ``""`` for a withheld number.

    The same number and secret always give the same key; without the secret the number cannot be found by trying
    all numbers. Raises ``ValueError`` for an empty secret.
    """
    if not secret:
        raise ValueError("a caller key needs a secret: an unkeyed hash of a phone number is the number")
    known = normalised(number)
    if not known:
        return ""
    return hmac.new(secret.encode(), b"caller:" + known.encode(errors="backslashreplace"), hashlib.sha256).hexdigest()

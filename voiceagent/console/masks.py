"""Callers' numbers as everybody may see them."""

from __future__ import annotations

import re

_SHOWN_DIGITS = 4
#: Country codes of one and two digits (ITU E.164); all others have three.
_SHORT = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


def masked(number: str) -> str:
    """``+44 •••• ••1234``: country code and last four digits; of what is too short, or no number, nothing."""
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) < 8:
        return "••••" if number else ""
    if not number.startswith("+"):
        return f"•••• ••{digits[-_SHOWN_DIGITS:]}"
    short = _SHORT.match(digits)
    code = short.group() if short else digits[:3]
    return f"+{code} •••• ••{digits[-_SHOWN_DIGITS:]}"

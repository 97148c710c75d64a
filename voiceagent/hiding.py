"""Secrets by their values: whatever prints one, it is not shown. Names alone do not tell what holds one.

Nothing of ours prints a secret on purpose. This is for what libraries put into messages, and for Django's debug pages, which
show every local variable.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STARS = "********"
#: A shorter one would be found in the middle of words.
_SHORTEST = 8
_NOTHING = re.compile(r"(?!)")


def hider(values: Iterable[str]) -> Callable[[str], str]:
    """A function that puts stars in place of these secrets, and of the passwords in those that are addresses."""
    parts = {part for value in values for part in _parts(value) if len(part) >= _SHORTEST}
    parts |= {json.dumps(part)[1:-1] for part in parts} | {escape(part) for part in parts}
    longest_first = sorted(parts, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first))) if parts else _NOTHING
    return lambda text: pattern.sub(STARS, text)


def _parts(value: str) -> list[str]:
    try:
        password = urlsplit(value).password or "" if "://" in value else ""
    except ValueError:
        password = ""
    listed = [part.strip() for part in value.split(",")]  # several keys, or headers as name=value
    headers = [part.partition("=")[2] for part in listed]
    return [value, password, unquote(password), *listed, *headers, *map(unquote, headers)]


class PageReporter(ExceptionReporter):
    """Django's debug page, which hides settings by their names alone, and neither messages nor local variables."""

    def get_traceback_html(self) -> SafeString:
        """The page."""
        return mark_safe(hider(settings.SECRETS)(super().get_traceback_html()))  # noqa: S308 - Django's page, with stars

    def get_traceback_text(self) -> SafeString:
        """The same as text."""
        return mark_safe(hider(settings.SECRETS)(super().get_traceback_text()))  # noqa: S308 - as above

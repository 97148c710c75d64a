"""For the actions on a call."""

from __future__ import annotations

from django import template

from calls.desk import MOST_CHARS

register = template.Library()


@register.simple_tag
def most_chars(kind: str) -> int:
    """The longest text of this kind."""
    return MOST_CHARS[kind]

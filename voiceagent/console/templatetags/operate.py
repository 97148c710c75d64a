"""For the actions on a call: which modules there are."""

from __future__ import annotations

from django import template
from django.contrib.staticfiles import finders
from django.templatetags.static import static

from calls.desk import MOST_CHARS

register = template.Library()


@register.simple_tag
def microphone_module() -> str:
    """Where the microphone of a take-over is loaded from; empty in a console without one."""
    name = "console/js/mic.js"
    return static(name) if finders.find(name) else ""


@register.simple_tag
def most_chars(kind: str) -> int:
    """The longest text of this kind."""
    return MOST_CHARS[kind]

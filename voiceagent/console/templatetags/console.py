"""What the console's templates use: masked numbers, icons, the environment's name."""

from __future__ import annotations

from django import template
from django.conf import settings

from voiceagent.console import masks

register = template.Library()

register.filter("masked", masks.masked)


@register.simple_tag
def environment() -> str:
    """The name that the header shows, so that nobody ends a call of production by mistake."""
    return str(settings.ENVIRONMENT)


@register.simple_tag(takes_context=True)
def current_if(context: template.Context, prefix: str) -> str:
    """``page`` for the screen of this address, for ``aria-current``; ``prefix`` is its address without language or query."""
    path = context["request"].path
    here = path == prefix or (prefix != "/console/" and path.startswith(prefix))
    return "page" if here else "false"

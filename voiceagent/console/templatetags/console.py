"""What the console's templates use: masked numbers, icons, the environment's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html

from voiceagent.console import masks

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

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


@register.simple_tag
def icon(name: str) -> SafeString:
    """A picture of the sprite; decoration, so a word stands beside it or in its button's label."""
    href = static("vendor/lucide-1.62.0/icons.svg")
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>', href, name
    )

"""What the console's templates use: masked numbers, icons, the environment's name."""

from __future__ import annotations

import orjson
from django import template
from django.conf import settings
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from voiceagent.console import audit, masks

register = template.Library()

register.filter("masked", masks.masked)


@register.filter
def as_json(value: object) -> str:
    """A recorded value as people read it."""
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()


@register.filter
def audited(action: str) -> str:
    """What an action of the audit trail says."""
    return audit.ACTIONS.get(action, action)


@register.filter
def seconds(at_ms: int) -> str:
    """Milliseconds as an address has them: ``83.2``."""
    return f"{max(0, at_ms) / 1000:.1f}"


@register.simple_tag
def environment() -> str:
    """The name that the header shows, so that nobody ends a call of production by mistake."""
    return str(settings.ENVIRONMENT)


@register.simple_tag(takes_context=True)
def current_if(context: template.Context, prefix: str) -> SafeString:
    """Marks the link to the screen that this page belongs to; ``prefix`` is the screen's address."""
    here, board = context["request"].path, reverse("console:board")
    is_current = here == prefix or (prefix != board and here.startswith(prefix))
    return mark_safe('aria-current="page"') if is_current else SafeString()


@register.simple_tag
def two_factors() -> bool:
    """Whether people have an app to change."""
    return bool(settings.TWO_FACTORS)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A picture of the sprite; decoration, so a word stands beside it or in its button's label."""
    href = static("vendor/lucide-1.62.0/icons.svg")
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>', href, name
    )


@register.simple_tag
def preload(*modules: str) -> SafeString:
    """Fetch what the page's scripts import together with them, not when each has come and is read.

    ``modules`` are places in ``static/``; an import names them without the hash that ``static`` adds.
    """
    return format_html_join(
        "", '<link rel="modulepreload" href="{}{}">', ((settings.STATIC_URL, module) for module in modules)
    )

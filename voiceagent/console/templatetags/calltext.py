"""What was said in a call as HTML: redacted stretches, and words that the recogniser had otherwise before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString

from voiceagent.console.call.cards import Unsteady

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voiceagent.console.redaction import Span

register = template.Library()


@register.filter
def spans(given: Iterable[Span | Unsteady]) -> SafeString:
    """A text in stretches. Of what is hidden the kind is told, and as many dots as it is long."""
    return SafeString("".join(_span(span) for span in given))  # escaped below


def _span(span: Span | Unsteady) -> str:
    text = escape(span.text)
    if isinstance(span, Unsteady):
        title = f' title="First understood as: {escape(span.before)}"' if span.before else ""
        return f'<span class="unsteady"{title}>{text}</span>'
    if not span.kind:
        return text
    return (
        f'<span class="redacted" title="{span.kind}, hidden"><span class="visually-hidden">[{span.kind}]</span>'
        f'<span aria-hidden="true">{text}</span></span>'
    )

"""What the templates of callers and memory use: moments, and how a form is told from the others of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html
from django.utils.timezone import localtime

from memory.admin import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

register = template.Library()

register.filter("moment", shown.moment)


@register.filter
def day(at: datetime | None) -> str:
    """A day, in the reader's zone where scripts run; the moment on hover."""
    if at is None:
        return shown.NOTHING
    local = localtime(at)
    return format_html('<time datetime="{}" data-local="day">{}</time>', local.isoformat(), f"{local:%-d %b %Y}")


@register.filter
def item(of: Mapping[str, Any], name: str) -> Any:
    """What stands under this name, if anything does."""
    return of.get(name)


@register.filter
def percent(share: float) -> str:
    """``93 %``."""
    return f"{share * 100:.0f} %"


@register.filter
def ms(took: float | None) -> str:
    """A time of a part: under ten milliseconds with a decimal."""
    if took is None:
        return "not asked"
    return f"{took:.1f} ms" if took < 10 else f"{took:,.0f} ms"

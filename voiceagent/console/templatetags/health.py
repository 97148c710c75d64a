"""Figures as the health pages write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

from calls import timeline_format

if TYPE_CHECKING:
    from voiceagent.console.health.figures import Spread

register = template.Library()

register.filter("ms", timeline_format.milliseconds)
register.filter("moment", timeline_format.moment)


@register.filter
def percentile(spread: Spread, name: str) -> str:
    """A percentile of enough answers; of few, how many there are."""
    if not spread.count:
        return timeline_format.NO_DATA
    if spread.is_few:
        return f"{', '.join(f'{value:,}' for value in spread.values[:5])}{' …' if spread.count > 5 else ''} ms"
    return timeline_format.milliseconds(getattr(spread, name))


@register.filter
def thousands(value: float) -> str:
    """``12,345``."""
    return f"{value:,.0f}"


@register.filter
def percent(share: float) -> str:
    """``87%``."""
    return f"{share:.0%}"


@register.filter
def percent_over(left: float) -> str:
    """How far a budget is overdrawn."""
    return f"{-left:.0%}"


@register.filter
def not_negative(value: float) -> str:
    """For a bar that cannot be emptier than empty; with a point, whatever the language."""
    return f"{max(0.0, value):.3f}"


@register.filter
def cause(name: str) -> str:
    """``model:rate_limited`` in words."""
    return name.replace(":", ": ", 1).replace("_", " ").replace(":  ", ": ")

"""How time travel writes times, and who has the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

from calls.timeline_format import exact_clock
from voiceagent.console.call import travel_words

if TYPE_CHECKING:
    from calls.replay.track import Moment

register = template.Library()
register.filter("duration", travel_words.duration)
register.filter("offset", exact_clock)
#: A call with more entries takes seconds to be run again: that is done only when asked for.
_LONG_ENTRIES = 8000


@register.filter
def is_long_way(entries: int) -> bool:
    """Whether a call with so many entries is run again only when asked for."""
    return entries > _LONG_ENTRIES


@register.filter
def seconds(ms: int) -> str:
    """Seconds with three decimals, as an address has them."""
    return f"{ms / 1000:.3f}"


@register.filter
def floor(moment: Moment) -> str:
    """The state that the console shows: the phase while the call begins, is an operator's or ends, else who has the floor."""
    phase, mode = str(moment.state.phase).upper(), str(moment.state.mode).upper()
    return mode if phase == "ACTIVE" else phase

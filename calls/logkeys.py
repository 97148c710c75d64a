"""Names and fields of the event log in Redis: the contract between who writes it and who reads it.

``call:{sid}:events`` is a stream with one entry per event and per command, ``call:{sid}:meta`` a hash, ``calls:live``
a sorted set of call ids by last heartbeat (Unix ms). An entry's stream id is ``{seq}-0``: appending the same entry
twice is refused by Redis itself, so a retry after a broken connection cannot double a fact.
"""

from __future__ import annotations

import re

LIVE_KEY = "calls:live"
#: Entry fields, in this order.
FIELDS = ("seq", "step", "kind", "type", "at_ms", "wall_ms", "mode", "turn", "data", "digest")
#: How often a living call is reported, and after how long without a report it counts as dead.
HEARTBEAT_MS = 4_000
DEAD_AFTER_MS = 30_000

#: A call's id.
SID = "[A-Za-z0-9]{2,64}"
_SID = re.compile(SID)


def checked_sid(call_sid: str) -> str:
    """The id, if it can stand in a key and a file name. Raises ``ValueError`` otherwise."""
    if not _SID.fullmatch(call_sid):
        raise ValueError("a call id is 2 to 64 letters and digits")
    return call_sid


def events_key(call_sid: str) -> str:
    """The stream of a call."""
    return f"call:{call_sid}:events"


def meta_key(call_sid: str) -> str:
    """The facts about a call that are no events."""
    return f"call:{call_sid}:meta"

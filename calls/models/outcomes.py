"""How a call ended, coarsely: which of the many ends is which. The database keeps it beside the end itself.

A call that has not ended is ``live``; an end that is not listed counts as an ``error`` until somebody lists it.
"""

from __future__ import annotations

from django.db.models import Case, CharField, GeneratedField, Value, When

LIVE, UNLISTED = "live", "error"
#: The ends of ``calls.core.state.END_REASONS``, and those of calls that never reached the core.
ENDS: dict[str, tuple[str, ...]] = {
    "completed": ("caller_hung_up", "agent_hung_up", "operator", "max_duration"),
    "transferred": ("transferred",),
    "silent": ("caller_silent",),
    "missed": ("not_connected", "carrier_busy", "carrier_no_answer", "caller_gave_up", "no_agent"),
    "stopped": ("drain", "overload"),
}


def outcome_column() -> GeneratedField:
    """The column ``outcome`` of a table that has ``end_reason``."""
    listed = (When(end_reason__in=ends, then=Value(outcome)) for outcome, ends in ENDS.items())
    return GeneratedField(
        expression=Case(When(end_reason="", then=Value(LIVE)), *listed, default=Value(UNLISTED)),
        output_field=CharField(max_length=12),
        db_persist=True,
    )

"""What a call is found by in the list of calls, from its record. Pure: the same record always gives the same values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from calls.core.events import (
    CallStarted,
    EarFailed,
    EarReady,
    ErrorRaised,
    HangUpAsked,
    ModelAttemptFailed,
    ModelFailed,
    ModelFinished,
    VoiceFailed,
)
from calls.services.entries import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calls.services.entries import Entry
    from calls.services.timeline import CallFacts

_WORD_CHARS = 80
_MOST_KINDS = 40
#: Who failed, by the event that says so, and the attribute that says how.
_FAILED = {
    EarFailed: ("ear", "kind"),
    ModelFailed: ("model", "kind"),
    ModelAttemptFailed: ("model", "kind"),
    VoiceFailed: ("voice", "kind"),
    ErrorRaised: ("own", "where"),
}
#: How the types of events begin by which an operator took part.
_OPERATOR = "Operator"


def columns(log: Sequence[Entry], facts: CallFacts) -> dict[str, Any]:
    """The columns of ``calls.models.Call`` that its record alone decides."""
    started = next((entry.value for entry in log if isinstance(entry.value, CallStarted)), None)
    return {
        "language": clean(started.agent.language)[:16] if started else "",
        "latency_p95_ms": percentile(facts.latencies_ms, 0.95),
        "error_kinds": _error_kinds(log, facts),
        "fallbacks": sorted(_fallbacks(log, facts)),
        "has_operator": any(_is_operator(entry) for entry in log),
        "recalled_count": sum(
            bool(item.get("in_prompt")) for turn in facts.turns for item in turn.recalled.get("items", ())
        ),
    }


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest of these that so many are not above (nearest rank); of few it is the largest. ``None`` for none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


def _error_kinds(log: Iterable[Entry], facts: CallFacts) -> list[str]:
    """``model`` and ``model:timeout`` for each thing that failed, mended or not, so that both are found."""
    kinds = {cause for turn in facts.turns for cause in turn.causes}
    for entry in log:
        if failed := _FAILED.get(type(entry.value)):
            who, how = failed
            kinds.add(f"{who}:{getattr(entry.value, how)}")
    kinds |= {kind.partition(":")[0] for kind in kinds}
    return sorted(clean(kind)[:_WORD_CHARS] for kind in kinds if kind)[:_MOST_KINDS]


def _fallbacks(log: Iterable[Entry], facts: CallFacts) -> set[str]:
    """What stood in where a provider failed: another attempt of ``model`` or ``voice``, another ``ear``, a ``phrase``."""
    found = {"phrase"} if any(turn.outcome == "failed_to_fallback" for turn in facts.turns) else set()
    failed_turns: set[int] = set()
    ear_failed = False
    for entry in log:
        value = entry.value
        if isinstance(value, (ModelFailed, ModelAttemptFailed)):
            failed_turns.add(value.turn)
        elif isinstance(value, ModelFinished) and value.turn in failed_turns:
            found.add("model")
        elif isinstance(value, VoiceFailed):
            found.add("voice")
        elif isinstance(value, EarFailed):
            ear_failed = True
        elif isinstance(value, EarReady) and ear_failed:
            found.add("ear")
    return found


def _is_operator(entry: Entry) -> bool:
    return entry.type.startswith(_OPERATOR) or (isinstance(entry.value, HangUpAsked) and entry.value.by == "operator")

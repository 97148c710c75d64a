"""Which call needs somebody now: what is seen of a call, and the rules that weigh it. Pure.

Times are milliseconds on the call's own clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from calls.core.state import Mode, Phase, State
from calls.timeline_turns import SLOW_MS

if TYPE_CHECKING:
    from collections.abc import Callable

#: From when on silence is worth a word, and a call is long.
SILENCE_MS: Final = 5_000
LONG_MS: Final = 15 * 60_000
#: For how long a failure makes its call one to look at, and within what time barge-ins are repeated ones.
ERROR_MS: Final = 60_000
BARGE_INS_MS: Final = 120_000
MANY_BARGE_INS: Final = 3
MANY_UNCLEAR: Final = 2


class Failure(NamedTuple):
    """Something that failed: when, and what and how, as in ``model:timeout``."""

    at_ms: int
    cause: str


@dataclass(slots=True)
class Seen:
    """What is seen of a call so far. ``cuts``: when the caller stopped the reply, the last of ``barge_ins``; ``unclear``:
    turns in which a voice was heard and no words; ``repeated``: replies much like an earlier one; ``sounded_ms``: when
    ours was last heard; ``fallback``: what stood in last for a vendor that failed."""

    state: State | None = None
    is_over: bool = False
    answers_ms: list[int] = field(default_factory=list)
    failed: Failure | None = None
    barge_ins: int = 0
    cuts: deque[int] = field(default_factory=lambda: deque(maxlen=100))
    unclear: int = 0
    repeated: int = 0
    fallback: str = ""
    sounded_ms: int = 0


#: What a rule finds: its figure or word, and whether that alone makes the call one to look at.
Found = tuple[int | str, bool] | None


class Signal(NamedTuple):
    """Something to know of a call. ``counts``: it is a reason for attention."""

    kind: str
    value: int | str
    counts: bool


def _error(seen: Seen, at_ms: int) -> Found:
    away = seen.state.ear_away if seen.state is not None and not seen.is_over else ""
    if away:
        return f"ear:{away}", True
    failed = seen.failed
    return None if failed is None or at_ms - failed.at_ms > ERROR_MS else (failed.cause, True)


def _silence(seen: Seen, at_ms: int) -> Found:
    """Nobody has made a sound: the caller waits, or is not there."""
    state = seen.state
    if state is None or seen.is_over or state.phase is not Phase.ACTIVE:
        return None
    if state.caller.speaking or state.mode is Mode.SPEAKING:
        return None
    quiet_ms = at_ms - max(seen.sounded_ms, state.caller.voiced_until_ms)
    return (quiet_ms // 1000, True) if quiet_ms >= SILENCE_MS else None


def _slow(seen: Seen, _at_ms: int) -> Found:
    last_ms = seen.answers_ms[-1] if seen.answers_ms else 0
    return (last_ms, True) if last_ms > SLOW_MS else None


def _barge_in(seen: Seen, at_ms: int) -> Found:
    if not seen.barge_ins:
        return None
    return seen.barge_ins, sum(cut_ms > at_ms - BARGE_INS_MS for cut_ms in seen.cuts) >= MANY_BARGE_INS


def _unclear(seen: Seen, _at_ms: int) -> Found:
    return (seen.unclear, True) if seen.unclear >= MANY_UNCLEAR else None


def _long(_seen: Seen, at_ms: int) -> Found:
    return (at_ms // 60_000, True) if at_ms >= LONG_MS else None


def _repeated(seen: Seen, _at_ms: int) -> Found:
    return (seen.repeated, False) if seen.repeated else None


def _fallback(seen: Seen, _at_ms: int) -> Found:
    return (seen.fallback, False) if seen.fallback else None


class Rule(NamedTuple):
    """``weight``: what it adds to the attention that a call needs; each outweighs all that follow it."""

    kind: str
    weight: int
    of: Callable[[Seen, int], Found]


#: In the order of the attention they call for; those without weight are told and change no order.
RULES: Final[tuple[Rule, ...]] = (
    Rule("error", 32, _error),
    Rule("silence", 16, _silence),
    Rule("slow", 8, _slow),
    Rule("barge_in", 4, _barge_in),
    Rule("unclear", 2, _unclear),
    Rule("long", 1, _long),
    Rule("repeated", 0, _repeated),
    Rule("fallback", 0, _fallback),
)


def signals(seen: Seen, at_ms: int) -> tuple[int, list[Signal]]:
    """How much attention the call needs at this moment, and all there is to know, the gravest first."""
    score, found = 0, []
    for rule in RULES:
        if (it := rule.of(seen, at_ms)) is not None:
            value, counts = it
            found.append(Signal(rule.kind, value, counts))
            score += rule.weight if counts else 0
    return score, found

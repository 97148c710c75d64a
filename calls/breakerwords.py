"""Circuit breakers in words, for the admin and the console: how each stands and why, and what an operator can do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django import forms

from calls.breakerrules import Phase
from calls.breakers import Breaker
from calls.timeline_format import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.breakers import View

#: What each operation does, for somebody who has just been paged.
WHAT: Final[Mapping[str, str]] = {
    "cartesia.stt": "hears what callers say",
    "cartesia.stt_batch": "hears again what was said while the recogniser was away",
    "cartesia.tts": "speaks the replies",
    "openai.reply": "thinks of the replies",
    "openai.reply_second": "thinks of the replies while the first model fails",
    "openai.embeddings": "vectors for searches outside calls",
    "openai.distil": "facts from calls that have ended",
    "twilio.rest": "hangs up and transfers calls",
}
#: What lies behind the kind that opened one, where an operator can do more than wait.
_MEANS: Final[Mapping[str, str]] = {
    "quota": "the account at the vendor is used up: top it up, then reset",
    "auth": "the vendor refuses the key: put the right one in place, restart",
    "rate_limited": "more at once than the account may: raise its limit, or take fewer calls",
    "refused": "nobody listens at the vendor's address",
    "timeout": "no answer in time",
    "hung": "answers began and did not go on",
    "cut": "connections ended before the answers did",
    "garbage": "answers that are none: another server at that address?",
    "server": "the vendor's own failure",
    "overloaded": "the vendor has too much to do",
}
_PHASES: Final[Mapping[Phase, str]] = {
    Phase.CLOSED: "closed",
    Phase.HALF_OPEN: "half-open",
    Phase.OPEN: "open",
    Phase.FORCED: "held open",
}


class ReasonForm(forms.Form):
    """Why an operator does it: others will read it during the same outage."""

    reason = forms.CharField(
        max_length=200, help_text="Shown here and in the log to whoever comes next. No caller's data."
    )


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator can do. ``do``: with a breaker, a user's name and their reason; ``will``: what happens then,
    in sentences."""

    do: Callable[[Breaker, str, str], None]
    verb: str
    done: str
    is_harsh: bool
    will: tuple[str, ...]


ACTS: Final[Mapping[str, Act]] = {
    "trip": Act(
        Breaker.trip,
        "Trip",
        "tripped",
        True,
        (
            "Nothing is asked of it any more, in all processes within a second, until somebody resets it.",
            "What it does is missing from calls meanwhile: callers hear the phrases for it, or the second model.",
            "Answers and sockets that are under way go on to their end.",
        ),
    ),
    "reset": Act(
        Breaker.reset,
        "Reset",
        "reset",
        False,
        (
            "It is asked again at once, by all calls; what it was opened for is forgotten.",
            "Where it still fails the breaker opens again by itself.",
        ),
    ),
}


def row_of(breaker: Breaker) -> dict[str, Any]:
    """What the pages show of one."""
    view = breaker.view()
    return {
        "name": view.name,
        "what": WHAT.get(view.name, ""),
        "phase": view.phase,
        "state": _PHASES[view.phase],
        "since": _moment(view.ruling.since_ms) if view.ruling.since_ms else "the start",
        "why": _why(view),
        "failed": _failed(view, breaker.rules.window_ms),
        "next": _next(view),
        "acts": ["reset"]
        if view.phase is Phase.FORCED
        else ["trip"]
        if view.phase is Phase.CLOSED
        else ["reset", "trip"],
    }


def _why(view: View) -> str:
    ruling = view.ruling
    if ruling.by:
        return f"{'held open' if view.phase is Phase.FORCED else 'reset'} by {ruling.by}: {ruling.cause}"
    if view.phase is Phase.CLOSED:
        return "a probe did well" if ruling.since_ms else ""
    times = f", for the {_ordinal(ruling.openings)} time in a row" if ruling.openings > 1 else ""
    means = f": {_MEANS[ruling.cause]}" if ruling.cause in _MEANS else ""
    return f"{ruling.cause.replace('_', ' ')}{times}{means}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _failed(view: View, window_ms: int) -> str:
    """``5 of 6 attempts: 3 timeout, 2 cut``."""
    if not view.attempts:
        return "nothing was asked lately" if view.phase is Phase.CLOSED else ""
    within = f" within {window_ms // 1000} s" if view.phase is Phase.CLOSED else ""
    kinds = sorted(view.failures.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in kinds)
    return f"{sum(view.failures.values())} of {view.attempts} attempts{within} failed{f': {told}' if told else ''}"


def _next(view: View) -> str:
    if view.phase is Phase.FORCED:
        return "none until it is reset"
    if view.phase is Phase.OPEN:
        return _moment(view.ruling.until_ms)
    return "the next attempt" if view.phase is Phase.HALF_OPEN else ""


def _moment(at_ms: int) -> str:
    return moment(datetime.fromtimestamp(at_ms / 1000, UTC))

"""A call's facts as the board words them: for the page without scripts and for the socket alike. Pure.

Masked numbers only; what moves with the clock (elapsed, seconds in a state, the ribbon) goes as times, for the page to count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from calls.timeline_format import milliseconds
from calls.timeline_page import reason_text
from calls.timeline_turns import OBJECTIVE_MS
from voiceagent.console.masks import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: State → letter. Never colour alone: shape, letter and word.
LETTERS: Final[Mapping[str, str]] = {
    "connecting": "C",
    "listening": "L",
    "thinking": "T",
    "speaking": "S",
    "operator": "O",
    "ending": "E",
    "ended": "·",
    "failed": "!",
}
#: An answer is slower or faster than its call's own median beyond this share of it, in hundredths.
_APART: Final = 20
_TONES: Final[Mapping[str, str]] = {"error": "alarm", "fallback": "info", "repeated": "info"}

Redact = Callable[[str], str]


def plain(text: str) -> str:
    """For who may see the words as they are."""
    return text


def shown(facts: Mapping[str, Any], nth_call: int | None, redact: Redact = plain) -> dict[str, Any]:
    """The row. ``nth_call``: which of its caller's calls it is, ``None`` while that is not known."""
    state = facts["state"]
    signals = facts["signals"]
    answer_ms, median_ms = facts["answer_ms"], facts["median_ms"]
    return {
        "id": facts["call_sid"],
        "state": state.upper(),
        "letter": LETTERS.get(state, "?"),
        "word": state,
        "zero": facts["zero_at"],
        "since": facts["zero_at"] + facts["since_ms"],
        "ribbon": facts["ribbon"],
        "cuts": facts["cuts"],
        "number": masked(facts["from_number"]) or "unknown number",
        "name": facts["name"],
        "history": _history(nth_call),
        "line": f"to {facts['to_number']}" if facts["to_number"] else "",
        "agent": facts["agent"],
        "test": "test" if facts["is_test"] else "",
        "turn": f"turn {facts['turn']}",
        "who": facts["who"],
        "words": redact(facts["words"]),
        "interim": "interim" if facts["interim"] else "",
        "answer": milliseconds(answer_ms) if answer_ms is not None else "",
        "slow": "over" if answer_ms is not None and answer_ms > OBJECTIVE_MS else "",
        "trend": _trend(answer_ms, median_ms),
        "chips": [[kind, _word(kind, value), _tone(kind, counts), counts] for kind, value, counts in signals],
        "kinds": [kind for kind, _, _ in signals],
        "why": ", ".join(_word(kind, value) for kind, value, counts in signals if counts),
        "score": facts["score"],
        "memory": _memory(facts["recalled"], facts["written"]),
        "operators": [[name, does] for name, does in facts["operators"]],
        "outcome": reason_text(facts["reason"]) if facts["reason"] else "",
        "ended": facts["ended_at"],
    }


def lost(facts: Mapping[str, Any], at_ms: int) -> dict[str, Any]:
    """The facts of a call whose process has died."""
    since_ms = max(0, at_ms - facts["zero_at"])
    return {
        **facts,
        "state": "failed",
        "since_ms": since_ms,
        "ribbon": [*facts["ribbon"], [since_ms, LETTERS["failed"]]],
        "reason": "process_died",
        "ended_at": at_ms,
        "signals": [["error", "end:process_died", True]],
        "score": max(facts["score"], 32),
        "operators": [],
    }


def _history(nth_call: int | None) -> str:
    if nth_call is None:
        return ""
    return "new" if nth_call <= 1 else f"{_ordinal(nth_call)} call"


def _ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _trend(answer_ms: int | None, median_ms: int | None) -> list[str]:
    """An arrow and what it means, against the call's own median; empty without one."""
    if answer_ms is None or median_ms is None:
        return ["", ""]
    usual = f"this call's usual {milliseconds(median_ms)}"
    if 100 * answer_ms > (100 + _APART) * median_ms:
        return ["↑", f"slower than {usual}"]
    if 100 * answer_ms < (100 - _APART) * median_ms:
        return ["↓", f"faster than {usual}"]
    return ["→", f"as {usual}"]


def _memory(recalled: int, written: int) -> str:
    parts = [f"{recalled} recalled" if recalled else "", f"{written} written" if written else ""]
    return " · ".join(filter(None, parts))


#: Signal → its words.
_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "error": lambda cause: f"error: {cause_text(cause)}",
    "silence": lambda seconds: f"silence {seconds} s",
    "slow": lambda ms: f"slow answer {milliseconds(ms)}",
    "barge_in": lambda count: f"barge-in ×{count}",
    "unclear": lambda count: f"not understood ×{count}",
    "long": lambda minutes: f"over {minutes} min",
    "repeated": lambda count: f"repeated itself ×{count}" if count > 1 else "repeated itself",
    "fallback": lambda what: f"fallback: {_FALLBACKS.get(what.partition(':')[0], what)}",
}
_FALLBACKS: Final[Mapping[str, str]] = {
    "model": "second model",
    "phrase": "recorded phrase",
    "again": "model asked again",
}
_CAUSES: Final[Mapping[str, str]] = {
    "ear": "speech recognition",
    "model": "model",
    "voice": "voice",
    "tool": "tool",
    "internal": "our own code",
    "end": "ended",
}


def cause_text(cause: str) -> str:
    """A failure as people read it: ``model: timeout``."""
    who, _, how = cause.partition(":")
    name = _CAUSES.get(who, who)
    if who == "end":
        return reason_text(how)
    return f"{name}: {how.replace('_', ' ')}" if how else name


def _word(kind: str, value: Any) -> str:
    return _WORDS[kind](value) if kind in _WORDS else kind.replace("_", " ")


def _tone(kind: str, counts: bool) -> str:
    return _TONES.get(kind, "warn" if counts else "")


#: Filter → the rows it lets through, by what they show. The page has the same table (``board.js``).
FILTERS: Final[Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "all": lambda row: True,
    "slow": lambda row: bool(row["slow"]),
    "attention": lambda row: row["score"] > 0,
    "long": lambda row: "long" in row["kinds"],
    "errors": lambda row: "error" in row["kinds"],
    "fallback": lambda row: "fallback" in row["kinds"] or "error" in row["kinds"],
}
#: Order → its key. Ended calls come last in every one of them.
ORDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "attention": lambda row: (row["ended"] > 0, -row["score"], row["zero"]),
    "newest": lambda row: (row["ended"] > 0, -row["zero"]),
    "longest": lambda row: (row["ended"] > 0, row["zero"]),
}


def ordered(rows: Sequence[Mapping[str, Any]], order: str, chosen: str) -> list[Mapping[str, Any]]:
    """The rows that a page shows, in its order."""
    return sorted(filter(FILTERS[chosen], rows), key=ORDERS[order])

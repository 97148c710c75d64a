"""When the caller began to speak, and what an answer waited for. Pure: read from a call's log beside its turns."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calls.models import CallEvent, Turn
    from calls.services.entries import Entry
    from calls.services.timeline import TurnFacts

#: Silence before an answer, from the caller's last sound: what we aim at in the median, and from where on it is slow.
#: People take a second for thinking; the field's median is about one and a half.
OBJECTIVE_MS = 1000
SLOW_MS = 1500
#: How far the detector's start of speech may lie after the recogniser's start of the turn it belongs to.
_SAME_START_MS = 300
#: What tells that the caller speaks: the detector, or the recogniser where it is first.
_BARGE_INS = ("SpeechStarted", "TurnOpened")


@dataclass(frozen=True, slots=True)
class Waits:
    """What lay between the caller's last sound and the first of the answer, in ms; together its latency.

    ``turn_end``: until it was sure that the caller had finished. ``model``: until there was text to speak, functions
    included. ``voice``: until it sounded. A reply begun early has done the work of the last two in the first.
    """

    turn_end: int
    model: int
    voice: int

    def __str__(self) -> str:
        parts = {"turn end": self.turn_end, "model": self.model, "voice": self.voice}
        return " + ".join(f"{name} {ms:,}" for name, ms in parts.items() if ms > 0) + " ms"


@dataclass(slots=True)
class Course:
    """The times in a log that turns do not carry, on the call's clock."""

    opened_ms: list[int] = field(default_factory=list)
    voiced_ms: list[int] = field(default_factory=list)
    said_ms: dict[int, dict[int, int]] = field(default_factory=dict)
    stopped_ms: dict[int, int] = field(
        default_factory=dict
    )  # by turn: from the caller's first sound until we were silent

    def began_ms(self, turn: Turn | TurnFacts, after_ms: int) -> int | None:
        """First sound of the caller's words in this turn, later than ``after_ms``; ``None`` where they said none."""
        if turn.speech_ended_ms is None:
            return None
        opened = _latest(self.opened_ms, after_ms, turn.speech_ended_ms)
        until = turn.speech_ended_ms if opened is None else opened + _SAME_START_MS
        voiced = _latest(self.voiced_ms, after_ms, until)
        return next((at_ms for at_ms in (voiced, opened) if at_ms is not None), turn.speech_ended_ms)

    def waits(self, turn: Turn | TurnFacts) -> Waits | None:
        """What the answer waited for; ``None`` where there is no latency, nothing was given to the voice, or a filler
        came first."""
        ended, committed, sounded = turn.speech_ended_ms, turn.committed_ms, turn.first_audio_ms
        said = self._first_said_ms(turn)
        if turn.latency_ms is None or ended is None or committed is None or sounded is None or said is None:
            return None
        if sounded - ended != turn.latency_ms:
            return None
        sure = min(max(committed, ended), sounded)
        text = max(sure, said)
        return Waits(sure - ended, text - sure, sounded - text)

    def _first_said_ms(self, turn: Turn | TurnFacts) -> int | None:
        """When the attempt that was heard first gave its first words to the voice."""
        sounded = turn.first_audio_ms
        attempts = self.said_ms.get(turn.number, {})
        before = [at_ms for _epoch, at_ms in sorted(attempts.items()) if sounded is not None and at_ms <= sounded]
        return before[-1] if before else None


def course(log: Iterable[CallEvent] | Iterable[Entry]) -> Course:
    """The course of a call, from entries in order; what is no part of it, or broken, is passed over."""
    found = Course()
    cause, speaks = "", False
    for entry in log:
        data = entry.data if isinstance(entry.data, dict) else {}
        if entry.kind == "event":
            cause = entry.type
            speaks = cause == "SpeechStarted" or (speaks and cause != "SpeechEnded")
        if entry.type == "Clear" and cause in _BARGE_INS and speaks and found.voiced_ms:
            found.stopped_ms.setdefault(entry.turn, max(0, entry.at_ms - found.voiced_ms[-1]))
        elif entry.type == "TurnOpened":
            found.opened_ms.append(entry.at_ms)
        elif entry.type == "SpeechStarted" and isinstance(data.get("voiced_at_ms"), int):
            found.voiced_ms.append(data["voiced_at_ms"])
        elif entry.type == "Say" and isinstance(data.get("turn"), int) and isinstance(data.get("epoch"), int):
            found.said_ms.setdefault(data["turn"], {}).setdefault(data["epoch"], entry.at_ms)
    return found


def _latest(times_ms: list[int], after_ms: int, until_ms: int) -> int | None:
    """The last of these times, which are in order, later than ``after_ms`` and not later than ``until_ms``."""
    place = bisect_right(times_ms, until_ms)
    return times_ms[place - 1] if place and times_ms[place - 1] > after_ms else None

"""How long callers waited for answers: the one rule of the archive, the log, the console and the metrics."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of fewer answers a percentile says nothing: they are told one by one.
FEW: Final = 20


class Turned(Protocol):
    """A turn that is closed, as in ``calls.core.commands.TurnClosed``. Times are in ms; below 0 or ``None``: it did not happen."""

    @property
    def kind(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def speech_ended_ms(self) -> int | None: ...
    @property
    def answer_audio_ms(self) -> int | None: ...


def answer_latency_ms(turn: Turned) -> int | None:
    """From the caller's last voiced frame to the first frame of the model's own words.

    ``None`` where there is none: a filler and an apology are no answer, however fast they come.
    """
    if turn.kind != "answer" or turn.outcome == "failed_to_fallback":
        return None
    ended_ms, answered_ms = turn.speech_ended_ms, turn.answer_audio_ms
    if ended_ms is None or answered_ms is None or not 0 <= ended_ms <= answered_ms:
        return None
    return answered_ms - ended_ms


def p50_p95(latencies_ms: Sequence[int]) -> tuple[int, int]:
    """Between those that were measured where need be, rounded. Raises ``StatisticsError`` for fewer than two."""
    cuts = quantiles(latencies_ms, n=100, method="inclusive")
    return round(cuts[49]), round(cuts[94])

"""What an answer waited for, from the caller's last sound to the first of the answer: a turn's waterfall. Pure.

The critical path is walked from the end of the caller's speech along the attempt that was heard: each part lasts from
where the one before it ended to its own end, so the parts always add up to the whole. Work that ran beside it, a reply
begun early above all, is shown where it ran and not added up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import quantiles
from typing import TYPE_CHECKING

from calls.latency import FEW
from calls.timeline_turns import OBJECTIVE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voiceagent.console.call.story import Attempt, Steps

#: Stage → its name on the page and how long it may last, in ms; together the objective. ``None``: as long as it needs.
STAGES: dict[str, tuple[str, int | None]] = {
    "wait": ("End-of-turn wait", 300),
    "transcript": ("Final transcript", None),
    "recall": ("Recall", 50),
    "prompt": ("Prompt built", 10),
    "tool": ("Function", None),
    "token": ("Model, first token", 400),
    "words": ("First words ready", 80),
    "voice": ("Voice, first byte", 150),
    "sent": ("Sent to carrier", 10),
}
#: Of fewer other turns nothing is usual.
_FEW = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A row of a waterfall. It ran from ``from_ms`` to ``until_ms`` on the call's clock, -1 where that is not on record.

    ``counted_ms``: its share of the response time, from ``counted_from_ms`` on; 0 for what ran beside the critical path.
    ``usual``: what it took in other turns of the call, as the least and the most of what is usual.
    """

    stage: str
    name: str
    from_ms: int
    until_ms: int
    counted_from_ms: int = -1
    counted_ms: int = 0
    budget_ms: int | None = None
    is_cancelled: bool = False
    usual: tuple[int, int] | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the record does not say when it ran."""
        return self.until_ms < 0 or self.from_ms < 0

    @property
    def took_ms(self) -> int | None:
        """How long it ran; ``None`` where that is not on record."""
        return None if self.is_missing else self.until_ms - self.from_ms


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All rows, and the response time that the counted ones add up to. ``filler_ms``: something of ours was heard earlier."""

    parts: tuple[Part, ...]
    from_ms: int
    until_ms: int
    objective_ms: int = OBJECTIVE_MS
    filler_ms: int | None = None

    @property
    def total_ms(self) -> int:
        """The response time."""
        return self.until_ms - self.from_ms

    @property
    def counted_ms(self) -> int:
        """What the parts of the critical path add up to."""
        return sum(part.counted_ms for part in self.parts)

    @property
    def first_ms(self) -> int:
        """Where the drawing begins: work may begin before the caller has ended."""
        return min([self.from_ms, *(part.from_ms for part in self.parts if not part.is_missing)])

    @property
    def last_ms(self) -> int:
        """Where it ends."""
        return max([self.until_ms, *(part.until_ms for part in self.parts if part.stage in STAGES)])


def waterfall(steps: Steps) -> Waterfall | None:
    """Of a turn that is closed and has a response time; ``None`` for others."""
    closed = steps.closed or {}
    ended, sounded = _of(closed, "speech_ended_ms"), _of(closed, "answer_audio_ms")
    if sounded < 0 and "answer_audio_ms" not in closed:
        sounded = _of(closed, "first_audio_ms")
    if closed.get("kind") != "answer" or not 0 <= ended <= sounded:
        return None
    sure = _clip(_of(closed, "committed_ms"), ended, sounded)
    heard = _heard(steps.attempts.values(), sounded)
    parts = [Part("wait", STAGES["wait"][0], ended, sure)]
    if steps.finalized_ms >= 0 and steps.ended_ms >= steps.finalized_ms:
        parts.append(Part("transcript", STAGES["transcript"][0], steps.finalized_ms, steps.ended_ms))
    parts += _work(steps, heard)
    counted = _counted(parts, ended, sure, sounded)
    beside = [_cancelled(attempt) for attempt in steps.attempts.values() if _is_beside(attempt, heard)]
    if heard is not None and heard.marked_ms >= sounded:
        beside.append(Part("heard", "Heard (mark echoed)", sounded, heard.marked_ms))
    else:
        beside.append(Part("heard", "Heard (mark echoed)", sounded, -1))
    first = _of(closed, "first_audio_ms")
    filler = first - ended if ended <= first < sounded else None
    return Waterfall((*counted, *beside), ended, sounded, filler_ms=filler)


def _work(steps: Steps, heard: Attempt | None) -> list[Part]:
    """The steps of the attempt that was heard, with the functions that it waited for, in the order of cause."""
    if heard is None:
        return [_part("token", -1, -1), _part("words", -1, -1), _part("voice", -1, -1), _part("sent", -1, -1)]
    parts: list[Part] = []
    asked = heard.requests[0].asked_ms if heard.requests else -1
    if heard.recall_ms >= 0:
        # What was recalled after the request had been made was not waited for.
        recalled = heard.recalled_ms if asked < 0 else min(heard.recalled_ms, asked)
        parts += [_part("recall", heard.recall_ms, recalled), _part("prompt", recalled, asked)]
    until = heard.sent_ms
    requests = [request for request in heard.requests if request.asked_ms <= until]
    for request in requests:
        parts.append(_part("token", request.asked_ms, request.token_ms))
        if request.called:
            ran = [tool for tool in steps.tools.values() if request.token_ms <= tool.from_ms <= until]
            later = [other.asked_ms for other in requests if other.asked_ms > request.asked_ms]
            parts += [
                replace(_part("tool", tool.from_ms, tool.until_ms), name=f"Function {tool.name}")
                for tool in ran
                if tool.from_ms <= min(later, default=until)
            ]
    if not heard.phrase:
        parts.append(_part("words", requests[-1].token_ms if requests else -1, heard.said_ms))
    parts.append(_part("voice", heard.said_ms, heard.voiced_ms))
    parts.append(_part("sent", heard.voiced_ms, heard.sent_ms))
    return parts


def _part(stage: str, from_ms: int, until_ms: int) -> Part:
    """A step that was over before what it is counted from took no time."""
    name, budget = STAGES[stage]
    return Part(stage, name, from_ms if until_ms < 0 else min(from_ms, until_ms), until_ms, budget_ms=budget)


def _counted(parts: list[Part], ended: int, sure: int, sounded: int) -> list[Part]:
    """The same parts, with their shares of the time from ``ended`` to ``sounded``; the last one takes what is left."""
    cursor, counted = ended, []
    for place, part in enumerate(parts):
        until = sure if part.stage == "wait" else part.until_ms
        if part.stage == "transcript":
            counted.append(part)
            continue
        if place == len(parts) - 1:
            until = sounded
        reached = _clip(until, cursor, sounded) if until >= 0 else cursor
        counted.append(
            replace(
                part,
                counted_from_ms=cursor if reached > cursor else -1,
                counted_ms=reached - cursor,
                budget_ms=STAGES[part.stage][1],
            )
        )
        cursor = reached
    return counted


def _heard(attempts: Iterable[Attempt], sounded: int) -> Attempt | None:
    """The attempt whose audio the answer began with."""
    sent = [attempt for attempt in attempts if 0 <= attempt.sent_ms <= sounded]
    return max(sent, key=lambda attempt: (attempt.sent_ms, attempt.epoch), default=None)


def _is_beside(attempt: Attempt, heard: Attempt | None) -> bool:
    return attempt is not heard and bool(attempt.requests) and attempt.sent_ms < 0


def _cancelled(attempt: Attempt) -> Part:
    ends = [ms for ms in (attempt.cancelled_ms, attempt.finished_ms, attempt.requests[-1].token_ms) if ms >= 0]
    name = "Begun early, discarded" if attempt.speculative else "Discarded attempt"
    return Part("discarded", name, attempt.requests[0].asked_ms, min(ends, default=-1), is_cancelled=True)


def with_usual(found: Waterfall, others: Iterable[Waterfall]) -> Waterfall:
    """The same, with what each stage usually takes: of the other turns of the call, where there are at least three."""
    took: dict[str, list[int]] = {}
    for other in others:
        for part in other.parts:
            if part.took_ms is not None and not part.is_cancelled:
                took.setdefault(part.stage, []).append(part.took_ms)
    return replace(found, parts=tuple(replace(part, usual=_usual(took, part.stage)) for part in found.parts))


def _usual(took: Mapping[str, list[int]], stage: str) -> tuple[int, int] | None:
    values = took.get(stage, [])
    if len(values) < _FEW:
        return None
    if len(values) < FEW:
        return min(values), max(values)
    tenths = quantiles(values, n=10, method="inclusive")
    return round(tenths[0]), round(tenths[-1])


def _of(closed: Mapping[str, object], name: str) -> int:
    value = closed.get(name)
    return value if isinstance(value, int) else -1


def _clip(at_ms: int, low: int, high: int) -> int:
    return max(low, min(at_ms, high))

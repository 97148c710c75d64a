"""A call's turns as cards of a transcript: who said what, what was heard of it, how long it took, what happened. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calls.timeline_format import clock, milliseconds
from calls.timeline_page import KINDS, split_heard
from calls.timeline_turns import OBJECTIVE_MS, SLOW_MS
from voiceagent.console.call.story import MARKS, Mark, Steps, Story
from voiceagent.console.call.wording import places
from voiceagent.console.redaction import Span, redacted, redacted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from calls.models import Turn
    from calls.services.timeline import TurnFacts

ANSWER = "answer"
_OUTCOMES = {
    "interrupted": "interrupted",
    "superseded": "superseded",
    "failed_to_fallback": "failed, fallback heard",
    "call_ended": "cut by the end of the call",
}


@dataclass(frozen=True, slots=True)
class Inline:
    """An event between the words."""

    at: str
    at_ms: int
    kind: str
    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Unsteady:
    """A word that the recogniser had otherwise ``before``, which is empty where the reader may not see it."""

    text: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A turn to read. Times in ms on the call's clock, -1 for what did not happen. ``words``: when each heard word sounded.

    ``caller_marked`` is what the caller said with its unsteady words; ``wordings``: how often the recogniser told it.
    """

    number: int
    title: str
    from_ms: int
    until_ms: int
    caller_ms: int
    agent_ms: int
    caller: tuple[Span, ...]
    heard: tuple[Span, ...]
    unheard: tuple[Span, ...]
    response_ms: int | None
    outcome: str
    causes: tuple[str, ...]
    used: int
    written: int
    before: tuple[Inline, ...]
    after: tuple[Inline, ...]
    words: tuple[tuple[int, int], ...] = ()
    is_open: bool = False
    caller_marked: tuple[Span | Unsteady, ...] = ()
    wordings: int = 0

    @property
    def at(self) -> str:
        """Where it begins."""
        return clock(self.from_ms)

    @property
    def caller_at(self) -> str:
        """Where the caller begins."""
        return clock(self.caller_ms)

    @property
    def agent_at(self) -> str:
        """Where the assistant is heard first."""
        return clock(self.agent_ms)

    @property
    def response(self) -> str:
        """The response time in words; empty for none."""
        return milliseconds(self.response_ms) if self.response_ms is not None else ""

    @property
    def pace(self) -> str:
        """``ok``, ``over`` the objective, or ``slow``."""
        ms = self.response_ms or 0
        return "slow" if ms > SLOW_MS else "over" if ms > OBJECTIVE_MS else "ok"

    @property
    def is_answer(self) -> bool:
        """Whether a caller's turn is answered in it."""
        return self.title.startswith("Turn")


def spans(text: str, *, plain: bool) -> tuple[Span, ...]:
    """The text, redacted unless it is for somebody who may read it as it is."""
    return tuple(redacted(text)) if not plain else (Span(text),) if text else ()


def marked(
    text: str, shown: tuple[Span, ...], unsteady: Mapping[int, str], *, plain: bool
) -> tuple[Span | Unsteady, ...]:
    """A text with its unsteady words. One that is hidden is not marked, nor is told what stood in place of others there."""
    if not unsteady:
        return shown
    tells = not any(span.kind for span in shown)
    made: list[Span | Unsteady] = []
    words, at = places(text, unsteady), 0
    for span in shown:
        end, cursor = at + len(span.text), at
        for number, first, last in words:
            if span.kind or not at <= first < last <= end:
                continue
            before = unsteady[number] if tells else ""
            made += [Span(text[cursor:first])] * (first > cursor)
            made.append(Unsteady(text[first:last], before if plain else redacted_text(before)))
            cursor = last
        made += [span if cursor == at else Span(text[cursor:end])] * (end > cursor)
        at = end
    return tuple(made)


def wordings(steps: Steps, text: str, *, plain: bool) -> list[tuple[int, str, tuple[Span, ...]]] | None:
    """What the recogniser understood on the way to this text: when in ms and as a clock, and what.

    ``None``: something of the text is hidden from the reader, and half of it may stand there.
    """
    if not plain and any(span.kind for span in redacted(text)):
        return None
    return [(at_ms, clock(at_ms), spans(wording, plain=plain)) for at_ms, wording in steps.wordings]


def cards(
    turns: Iterable[Turn | TurnFacts],
    story: Story,
    *,
    plain: bool,
    written: dict[int, int] | None = None,
    answers: int = 0,
) -> list[Card]:
    """These turns in order. ``written``: memories that came of a turn; ``answers``: caller's turns before the first of them."""
    marks: dict[int, list[Mark]] = {}
    for mark in story.marks:
        marks.setdefault(mark.turn, []).append(mark)
    made = []
    for turn in turns:
        answers += turn.kind == ANSWER
        title = f"Turn {answers}" if turn.kind == ANSWER else KINDS.get(turn.kind, turn.kind.capitalize())
        steps = story.turns.get(turn.number, Steps())
        made.append(_card(turn, title, steps, marks.get(turn.number, []), plain=plain, written=written or {}))
    return made


def _card(
    turn: Turn | TurnFacts, title: str, steps: Steps, marks: list[Mark], *, plain: bool, written: dict[int, int]
) -> Card:
    heard, unheard = split_heard(turn.generated_text, turn.heard_text)
    agent_ms = _or(turn.first_audio_ms)
    caller_ms = (steps.began_ms if steps.began_ms >= 0 else _or(turn.speech_ended_ms)) if turn.user_text else -1
    begins = [at for at in (caller_ms, agent_ms, _or(turn.committed_ms), _or(turn.closed_ms)) if at >= 0]
    items = turn.recalled.get("items") if isinstance(turn.recalled, dict) else None
    used = (
        sum(bool(item.get("in_prompt")) for item in items if isinstance(item, dict)) if isinstance(items, list) else 0
    )
    inline = [_inline(mark, plain=plain) for mark in marks if mark.kind != "memory"]
    caller = spans(turn.user_text, plain=plain)
    return Card(
        number=turn.number,
        title=title,
        from_ms=min(begins, default=0),
        until_ms=max(_or(turn.closed_ms), min(begins, default=0)),
        caller_ms=caller_ms,
        agent_ms=agent_ms,
        caller=caller,
        heard=spans(heard, plain=plain),
        unheard=spans(unheard, plain=plain),
        response_ms=turn.latency_ms,
        outcome=_OUTCOMES.get(turn.outcome, ""),
        causes=tuple(turn.causes or ()),
        used=used,
        written=written.get(turn.number, 0),
        before=tuple(one for one in inline if agent_ms < 0 or one.at_ms < agent_ms),
        after=tuple(one for one in inline if 0 <= agent_ms <= one.at_ms),
        words=tuple(_heard_words(turn.spoken_words)),
        caller_marked=marked(turn.user_text, caller, steps.unsteady, plain=plain),
        wordings=len(steps.wordings) if caller else 0,
    )


def open_card(story: Story, number: int, title: str, *, plain: bool) -> Card | None:
    """The turn that is not closed yet, as far as it has come; ``None`` where nothing was said in it."""
    steps = story.turns.get(number)
    said = "".join(text for _epoch, text in sorted(story.said.items()))
    sent = [attempt.sent_ms for attempt in steps.attempts.values() if attempt.sent_ms >= 0] if steps else []
    if not said and not story.interim:
        return None
    agent_ms = min(sent, default=-1)
    caller_ms = story.speech[-1][0] if story.speech and story.interim else -1
    begins = [at for at in (caller_ms, agent_ms) if at >= 0] or [story.at_ms]
    inline = [_inline(mark, plain=plain) for mark in story.marks if mark.turn == number and mark.kind != "memory"]
    return Card(
        number=number,
        title=title,
        from_ms=min(begins),
        until_ms=story.at_ms,
        caller_ms=caller_ms,
        agent_ms=agent_ms,
        caller=(caller := spans(story.interim, plain=plain)),
        caller_marked=caller,
        heard=spans(said, plain=plain) if sent else (),
        unheard=(),
        response_ms=None,
        outcome="in progress",
        causes=(),
        used=0,
        written=0,
        before=tuple(inline),
        after=(),
        is_open=True,
    )


def _inline(mark: Mark, *, plain: bool) -> Inline:
    text = mark.text if plain else redacted_text(mark.text)
    return Inline(clock(mark.at_ms), mark.at_ms, mark.kind, MARKS[mark.kind][0], text)


def _heard_words(words: Iterable[dict[str, Any]]) -> Iterable[tuple[int, int]]:
    for word in words:
        if word.get("state") == "heard":
            yield int(word.get("start_ms", -1)), int(word.get("end_ms", -1))


def _or(at_ms: int | None) -> int:
    return -1 if at_ms is None else at_ms

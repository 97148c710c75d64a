"""What the call page shows, put together: the summary's figures, the transcript, and what its scripts draw from."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from calls import surroundings
from calls.latency import FEW, p50_p95
from calls.logkeys import events_key
from calls.models import Call, Turn
from calls.services.timeline import TurnFacts
from calls.timeline_format import length, milliseconds
from calls.timeline_turns import OBJECTIVE_MS, SLOW_MS
from voiceagent.conf import PRICED
from voiceagent.console.call import source, spending
from voiceagent.console.call.cards import ANSWER, Card, cards
from voiceagent.console.call.following import Following
from voiceagent.console.call.story import Story

_log = structlog.get_logger(__name__)

#: Entries of a call in progress that are read at once: an hour of talk.
MOST_LIVE = 60_000
#: A call of two hours with a turn every ten seconds; what is beyond is in the exports.
MOST_TURNS = 800


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the summary row. ``hint`` stands below it, ``means`` says what it counts; ``turn``: where it comes from."""

    name: str
    value: str
    hint: str = ""
    means: str = ""
    turn: int | None = None
    is_over: bool = False


@dataclass(slots=True)
class Told:
    """A call with its story and its turns, as read for one page."""

    call: Call
    story: Story
    turns: Sequence[Turn | TurnFacts] = ()
    #: Memories written from each turn.
    written: dict[int, int] = field(default_factory=dict)

    @property
    def duration_ms(self) -> int:
        """Of the call's clock."""
        return self.call.duration_ms or self.story.at_ms

    def cards(self, *, plain: bool) -> list[Card]:
        """The transcript."""
        return cards(self.turns, self.story, plain=plain, written=self.written)


def told(call: Call) -> Told:
    """A call: its story and its turns, a query each, whatever its length; before it is archived, its stream in Redis."""
    if call.archived_at is None:
        return _told_live(call)
    turns = list(call.turns.order_by("number").defer("words")[:MOST_TURNS])
    return Told(call, source.story_of(call), turns)


def _told_live(call: Call) -> Told:
    following = Following(plain=True)
    try:
        with surroundings.redis_client() as client:
            following.take(source.streamed(client.xrange(events_key(call.call_sid), count=MOST_LIVE)))  # type: ignore[arg-type]
    except RedisError as error:
        _log.warning("console.call_away", call_sid=call.call_sid, error=type(error).__name__)
    return Told(call, following.story, [following.turns[number] for number in sorted(following.turns)])


def figures(of: Told) -> list[Figure]:
    """The summary row."""
    story, turns = of.story, of.turns
    answers = [turn for turn in turns if turn.kind == ANSWER]
    caller_ms, agent_ms = story.talk_ms()
    silences = story.silences()
    cut = Counter(mark.kind for mark in story.marks)
    talked_over = sum(_talks_over(turn, story) for turn in answers)
    share = _share(caller_ms, agent_ms)
    tokens = story.tokens
    return [
        Figure("Turns", str(len(answers)), means="Turns of the caller; greeting, prompts and notices are not counted"),
        *_response(answers),
        Figure("Interruptions", f"{cut['barge-in']} by the caller", f"{talked_over} by the assistant", "Barge-ins that stopped the assistant; answers that began while the caller was speaking"),
        Figure("Silences over 3 s", str(len(silences)), _longest(silences), "Nobody was heard", is_over=len(silences) > 2),
        Figure("Talk share", share, "caller · assistant", "Of the time in which somebody was heard"),
        Figure("Memory", f"{sum(_used(turn) for turn in turns)} recalled", f"{sum(of.written.values())} written", "Memories that reached the model; facts that came of this call"),
        Figure("Errors", str(story.errors), f"{story.retries} retries", is_over=story.errors > 0),
        Figure("Used", f"{tokens['input'] + tokens['output']:,} tokens" if tokens["input"] else "no data", f"{story.voiced_chars:,} characters spoken, {length(spending.recognised_ms(of.call, story))} of sound recognised", f"Tokens: {tokens['input']:,} in, {tokens['cached']:,} of them cached, {tokens['output']:,} out. Recorded phrases are no characters."),
        *_cost(of),
    ]  # fmt: skip


def _cost(of: Told) -> list[Figure]:
    """The call's cost; nothing where no price is configured."""
    found = spending.cost(spending.used(of.call, of.story), settings.CALL_PRICES)
    if found is None:
        return []
    named = {name: name.replace("_", " ") for name in PRICED}
    parts = ", ".join(f"{named[name]} {amount:.4f}" for name, amount in found.parts.items())
    without = f"without {', '.join(named[name] for name in found.missing)}" if found.missing else "by configured prices"
    return [Figure("Cost", f"{found.amount:.4f} {settings.PRICE_CURRENCY}".strip(), without, parts)]


def _response(answers: list[Turn | TurnFacts]) -> list[Figure]:
    """p50, p95 and the worst; the values themselves where there are few."""
    timed = sorted((turn.latency_ms, turn.number) for turn in answers if turn.latency_ms is not None)
    if not timed:
        return [Figure("Response", "no data", "No answer of the model was heard")]
    worst, number = timed[-1]
    values = [ms for ms, _ in timed]
    objective = f"objective {milliseconds(OBJECTIVE_MS)}"
    worst_figure = Figure("Slowest response", milliseconds(worst), objective, turn=number, is_over=worst > SLOW_MS)
    if len(values) < FEW:
        shown = " · ".join(f"{ms:,}" for ms in values[:6]) + (" …" if len(values) > 6 else "") + " ms"
        which = f"{len(values)} answers: " if len(values) > 1 else "one answer: "
        return [Figure("Response times", f"{which}{shown}", f"from fastest; {objective}"), worst_figure]
    p50, p95 = p50_p95(values)
    shown = f"p50 {milliseconds(p50)} · p95 {milliseconds(p95)}"
    return [
        Figure("Response", shown, f"over {len(values)} answers; {objective}", is_over=p50 > OBJECTIVE_MS),
        worst_figure,
    ]


def _talks_over(turn: Turn | TurnFacts, story: Story) -> bool:
    """Whether the caller was speaking when its answer began. What they said is in order, and no part overlaps another."""
    at = turn.first_audio_ms
    if at is None:
        return False
    before = bisect_left(story.speech, at, key=itemgetter(0)) - 1
    return before >= 0 and at < story.speech[before][1]


def _used(turn: Turn | TurnFacts) -> int:
    items = turn.recalled.get("items") if isinstance(turn.recalled, dict) else None
    return (
        sum(bool(item.get("in_prompt")) for item in items if isinstance(item, dict)) if isinstance(items, list) else 0
    )


def _longest(silences: list[tuple[int, int]]) -> str:
    if not silences:
        return "none"
    start, end = max(silences, key=lambda span: span[1] - span[0])
    return f"longest {milliseconds(end - start)}"


def _share(caller_ms: int, agent_ms: int) -> str:
    both = caller_ms + agent_ms
    return f"{caller_ms * 100 // both} % · {100 - caller_ms * 100 // both} %" if both else "no data"

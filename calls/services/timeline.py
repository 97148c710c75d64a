"""A call's entries folded into turns and totals. Pure: the same entries always give the same result.

What the core said (``TurnClosed``, ``EndCall``) is taken as it is. Only where a process died before it could say
so is the open turn put together from what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from calls.core.commands import AskModel, Clear, Command, EndCall, Recall, Say, TurnClosed
from calls.core.events import (
    AudioSent,
    CallStarted,
    EarFailed,
    ErrorRaised,
    Event,
    MarkReturned,
    MemoryRecalled,
    ModelFailed,
    TimedWord,
    VoiceFailed,
    WordsTimed,
)
from calls.core.record import payload
from calls.latency import answer_latency_ms
from calls.services.entries import Entry, clean, clean_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The kind of a turn that answers the caller; others begin without them.
ANSWER = "answer"
_BYTES_PER_MS = 8
_FAILURES = (EarFailed, ErrorRaised, ModelFailed, VoiceFailed)


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """One turn. Times on the call's clock; ``None`` where it did not happen.

    ``recalled``: ``outcome``, ``took_ms`` and ``items`` of what was found in the caller's memory for its last request, each item as
    in ``calls.core.events.Recalled``. What came after the model was asked has ``outcome`` ``late`` and is ``in_prompt`` nowhere.
    Empty where nothing was asked of the memory. ``causes``: what failed in it, as in ``calls.core.commands.TurnClosed``.
    """

    number: int
    kind: str
    outcome: str
    user_text: str
    generated_text: str
    heard_text: str
    speech_ended_ms: int | None
    committed_ms: int | None
    first_audio_ms: int | None
    closed_ms: int | None
    answer_audio_ms: int | None = None
    wasted_chars: int = 0
    wasted_tokens: int = 0
    spoken_words: tuple[dict[str, Any], ...] = ()
    recalled: dict[str, Any] = field(default_factory=dict)
    causes: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the caller spoke over it and it stayed cut."""
        return self.outcome == "interrupted"

    @property
    def latency_ms(self) -> int | None:
        """How long the caller waited for the model's words; ``None`` where none were heard (``calls.latency``)."""
        return answer_latency_ms(self)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What a call comes to. ``end_reason`` is empty while no ``EndCall`` was recorded."""

    turns: tuple[TurnFacts, ...]
    end_reason: str
    first_wall_ms: int | None
    last_wall_ms: int | None
    duration_ms: int
    errors: int
    broken: int
    missing: int
    entries: int

    @property
    def turn_count(self) -> int:
        """Turns that the caller took: answers, not the greeting, prompts and notices. What every page calls turns."""
        return sum(turn.kind == ANSWER for turn in self.turns)

    @property
    def barge_ins(self) -> int:
        """Turns that the caller cut."""
        return sum(turn.interrupted for turn in self.turns)

    @property
    def latencies_ms(self) -> list[int]:
        """Of the answers that have one, in order."""
        return [turn.latency_ms for turn in self.turns if turn.latency_ms is not None]

    @property
    def latency_median_ms(self) -> int | None:
        """Rounded; ``None`` without any."""
        return round(median(self.latencies_ms)) if self.latencies_ms else None

    @property
    def latency_max_ms(self) -> int | None:
        """``None`` without any."""
        return max(self.latencies_ms, default=None)


@dataclass(slots=True)
class _Audio:
    """What is known of one epoch's audio: pieces sent, marks back, word times."""

    sent_ms: dict[int, int] = field(default_factory=dict)
    total_ms: int = 0
    heard_ms: int = 0
    words: list[TimedWord] = field(default_factory=list)
    cleared: bool = False


@dataclass(slots=True)
class _Open:
    """A turn that nothing has closed yet."""

    user_text: str = ""
    said: str = ""
    first_audio_ms: int | None = None
    audio: dict[int, _Audio] = field(default_factory=dict)


@dataclass(slots=True)
class _Recall:
    """What became of the newest recall for a turn; ``is_over`` once the model was asked."""

    epoch: int
    is_over: bool = False
    found: MemoryRecalled | None = None
    is_late: bool = False


@dataclass(slots=True)
class _Memory:
    """What was recalled for each turn. The last attempt at a turn counts: earlier ones were guesses, or amended."""

    recalls: dict[int, _Recall] = field(default_factory=dict)

    def follow(self, value: Event | Command | None) -> None:
        """The next entry of the log."""
        if isinstance(value, Recall):
            self.recalls[value.turn] = _Recall(value.epoch)
        elif isinstance(value, (AskModel, MemoryRecalled)):
            recall = self.recalls.get(value.turn)
            if recall is None or recall.epoch != value.epoch:
                return
            if isinstance(value, AskModel):
                recall.is_over = True
            else:
                recall.found, recall.is_late = value, recall.is_over

    def of(self, turn: int) -> dict[str, Any]:
        """What was recalled for this turn, as ``TurnFacts.recalled``."""
        recall = self.recalls.get(turn)
        if recall is None:
            return {}
        found = recall.found
        if found is None:
            return {"outcome": "late" if recall.is_over else "dropped", "took_ms": None, "items": []}
        items: list[dict[str, Any]] = clean_tree(payload(found.items))
        if recall.is_late:
            items = [{**item, "in_prompt": False, "why_not": item["why_not"] or "late"} for item in items]
        outcome = "late" if recall.is_late else found.outcome
        return {"outcome": clean(outcome), "took_ms": found.took_ms, "items": items}


def fold(entries: Sequence[Entry]) -> CallFacts:
    """The turns and totals of a call."""
    closed: dict[int, TurnFacts] = {}
    open_turns: dict[int, _Open] = {}
    memory = _Memory()
    end_reason = ""
    errors = 0
    for entry in entries:
        value = entry.value
        memory.follow(value)
        if isinstance(value, TurnClosed):
            closed[value.turn] = closed_turn(value, entry.data)
            open_turns.pop(value.turn, None)
        elif isinstance(value, EndCall):
            end_reason = value.reason[:40]
        elif isinstance(value, _FAILURES):
            errors += 1
        else:
            _follow(open_turns, closed, value)
    lost = {number: _lost_turn(number, turn) for number, turn in open_turns.items() if _is_real(turn)}
    turns = {number: replace(turn, recalled=memory.of(number)) for number, turn in (closed | lost).items()}
    good = [entry for entry in entries if entry.kind != "broken"]
    return CallFacts(
        turns=tuple(turns[number] for number in sorted(turns)),
        end_reason=end_reason,
        first_wall_ms=_first_wall(good),
        last_wall_ms=max((entry.wall_ms for entry in good if entry.wall_ms), default=None),
        duration_ms=max((entry.at_ms for entry in good), default=0),
        errors=errors,
        broken=len(entries) - len(good),
        missing=_missing(entries),
        entries=len(entries),
    )


def _first_wall(entries: Iterable[Entry]) -> int | None:
    """Unix time of the start of the call's clock."""
    for entry in entries:
        if isinstance(entry.value, CallStarted) or entry.wall_ms:
            return max(0, entry.wall_ms - entry.at_ms)
    return None


def _missing(entries: Sequence[Entry]) -> int:
    """Sequence numbers that were never written or got lost, up to the last one."""
    return max((entry.seq for entry in entries), default=0) - len(entries)


def closed_turn(said: TurnClosed, data: Mapping[str, Any]) -> TurnFacts:
    """A turn as the core closed it. ``data`` is the record of it, which tells what it did not know yet."""
    # Records of rules before version 3 do not tell the model's words from a filler.
    answered_ms = said.answer_audio_ms if "answer_audio_ms" in data else said.first_audio_ms
    return TurnFacts(
        number=max(0, said.turn),
        kind=said.kind[:16],
        outcome=said.outcome[:24],
        user_text=clean(said.user_text),
        generated_text=clean(said.generated_text),
        heard_text=clean(said.heard_text),
        speech_ended_ms=_time(said.speech_ended_ms),
        committed_ms=_time(said.committed_ms),
        first_audio_ms=_time(said.first_audio_ms),
        closed_ms=_time(said.closed_ms),
        answer_audio_ms=_time(answered_ms),
        wasted_chars=max(0, said.wasted_chars),
        wasted_tokens=max(0, said.wasted_tokens),
        spoken_words=tuple({**payload(word), "text": clean(word.text)} for word in said.words),
        causes=tuple(clean(cause) for cause in said.causes),
    )


def _time(at_ms: int) -> int | None:
    return at_ms if at_ms >= 0 else None


# --- a turn that nobody closed ------------------------------------------------------------------------------------


def _follow(open_turns: dict[int, _Open], closed: dict[int, TurnFacts], value: Event | Command | None) -> None:
    """Remember what an open turn would need if its end is never recorded."""
    if isinstance(value, Clear):
        for turn in open_turns.values():
            for epoch, audio in turn.audio.items():
                audio.cleared |= epoch <= value.epoch
        return
    number = getattr(value, "turn", None)
    if not isinstance(number, int) or number in closed:
        return
    turn = open_turns.setdefault(number, _Open())
    if isinstance(value, AskModel):
        turn.user_text = next((m.text for m in reversed(value.messages) if m.role == "user"), "")
    elif isinstance(value, Say):
        turn.said += value.text
    elif isinstance(value, (AudioSent, WordsTimed, MarkReturned)):
        _follow_audio(turn, value)


def _follow_audio(turn: _Open, value: AudioSent | WordsTimed | MarkReturned) -> None:
    audio = turn.audio.setdefault(value.epoch, _Audio())
    if isinstance(value, AudioSent):
        audio.total_ms += value.size_bytes // _BYTES_PER_MS
        audio.sent_ms[value.piece] = audio.total_ms
        if turn.first_audio_ms is None:
            turn.first_audio_ms = value.at_ms
    elif isinstance(value, WordsTimed):
        audio.words.extend(value.words)
    elif not audio.cleared:
        # After a clear the carrier returns all marks at once, and they say nothing about what was heard.
        audio.heard_ms = max(audio.heard_ms, audio.sent_ms.get(value.piece, 0))


def _is_real(turn: _Open) -> bool:
    return bool(turn.said or turn.audio)


def _lost_turn(number: int, turn: _Open) -> TurnFacts:
    heard = [
        word.text
        for epoch in sorted(turn.audio)
        for word in turn.audio[epoch].words
        if word.end_ms <= turn.audio[epoch].heard_ms
    ]
    return TurnFacts(
        number=max(0, number),
        kind=ANSWER if turn.user_text else "notice",
        outcome="call_ended",
        user_text=clean(turn.user_text),
        generated_text=clean(turn.said),
        heard_text=clean(" ".join(heard)),
        speech_ended_ms=None,
        committed_ms=None,
        first_audio_ms=turn.first_audio_ms,
        closed_ms=None,
    )


def with_reason(facts: CallFacts, reason: str) -> CallFacts:
    """The same facts, ended for this reason unless the record has one. A crash of our own counts as an error."""
    if facts.end_reason:
        return facts
    return replace(facts, end_reason=reason, errors=facts.errors + (reason == "internal_error"))

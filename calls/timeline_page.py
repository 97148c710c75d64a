"""What the timeline page shows, made of rows: texts, marks on the ribbon, sentences about events. No queries here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from calls.core.state import END_REASONS
from calls.models import CallEvent, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from calls.models import Call

#: Silence before an answer that people still take for a conversation.
OBJECTIVE_MS = 1000
_RIBBON_WIDTH = 1000
_SUMMARY_CHARS = 150

#: Ends that the core does not know: the call never reached it.
_OUTER_REASONS = {
    "not_connected": "the call was over before its stream began",
    "carrier_busy": "the carrier reported busy",
    "carrier_failed": "the carrier could not connect the call",
    "carrier_no_answer": "nobody answered",
    "caller_gave_up": "the caller hung up before the call was answered",
    "no_agent": "no agent answers this number",
    "overload": "the process was full, or could not keep up with the call",
}
_KINDS = {"greeting": "Greeting", "answer": "Answer", "prompt": "Silence prompt", "notice": "Notice"}


@dataclass(frozen=True, slots=True)
class Note:
    """A line beside the words: a tool, a key, a failure."""

    at: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn as it is read. ``unheard`` is what was generated and never played to the caller."""

    turn: Turn
    kind: str
    seek_s: str
    said_at: str
    heard_at: str
    latency: str
    is_slow: bool
    heard: str
    unheard: str
    before: list[Note] = field(default_factory=list)
    after: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the ribbon, in thousandths of the call."""

    x: float
    width: float
    mode: str
    label: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """A row of the log."""

    event: CallEvent
    at: str
    summary: str
    json: str


def clock(at_ms: int | None) -> str:
    """An offset within the call: ``1:07.3``. Empty for ``None``."""
    if at_ms is None:
        return ""
    tenths = at_ms // 100
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def exact_clock(at_ms: int) -> str:
    """An offset to the millisecond: ``1:07.342``."""
    return f"{at_ms // 60_000}:{at_ms // 1000 % 60:02d}.{at_ms % 1000:03d}"


def milliseconds(value: int | None) -> str:
    """Milliseconds below ten seconds, then seconds; ``no data`` for ``None``."""
    if value is None:
        return "no data"
    return f"{value:,} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def length(duration_ms: int | None) -> str:
    """How long a call was: ``3 min 12 s``."""
    if duration_ms is None:
        return "no data"
    seconds = round(duration_ms / 1000)
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def end_reason(call: Call) -> str:
    """Why the call ended, in words; empty while it has not."""
    return END_REASONS.get(call.end_reason) or _OUTER_REASONS.get(call.end_reason) or call.end_reason.replace("_", " ")


def exchanges(turns: Iterable[Turn], events: Sequence[CallEvent]) -> list[Exchange]:
    """The conversation, each turn with the notes that belong to it."""
    shown = [_exchange(turn) for turn in turns]
    by_number = {exchange.turn.number: exchange for exchange in shown}
    for event in events:
        home = by_number.get(event.turn) or (shown[-1] if shown else None)
        note = _note(event)
        if home and note:
            spoke = home.turn.first_audio_ms
            (home.after if spoke is not None and event.at_ms >= spoke else home.before).append(note)
    return shown


def _exchange(turn: Turn) -> Exchange:
    heard, unheard = split_heard(turn.generated_text, turn.heard_text)
    began = turn.speech_ended_ms if turn.speech_ended_ms is not None else turn.committed_ms
    seek = next((at for at in (turn.first_audio_ms, began, turn.closed_ms) if at is not None), 0)
    return Exchange(
        turn=turn,
        kind=_KINDS.get(turn.kind, turn.kind),
        seek_s=f"{seek / 1000:.1f}",
        said_at=clock(began),
        heard_at=clock(turn.first_audio_ms),
        latency=milliseconds(turn.latency_ms) if turn.latency_ms is not None else "",
        is_slow=turn.latency_ms is not None and turn.latency_ms > OBJECTIVE_MS,
        heard=heard,
        unheard=unheard,
    )


def split_heard(generated: str, heard: str) -> tuple[str, str]:
    """What was heard of a reply and what was not, by words: spacing may differ between the two texts."""
    if not heard.strip():
        return "", generated.strip()
    position = 0
    for word in heard.split():
        found = generated.find(word, position)
        if found < 0 or generated[position:found].strip():
            return heard.strip(), "" if len(heard) >= len(generated) else generated[len(heard) :].strip()
        position = found + len(word)
    return generated[:position].strip(), generated[position:].strip()


# --- notes and summaries ------------------------------------------------------------------------------------------

_NOTES: dict[str, tuple[Callable[[dict[str, Any]], str], bool]] = {
    "RunTool": (lambda d: f"Tool {d.get('name')} started. {_plain(d.get('arguments'))}", False),
    "ToolSettled": (lambda d: f"Tool finished, {d.get('outcome')}. {_plain(d.get('output'))}", False),
    "DtmfPressed": (lambda d: f"The caller pressed {d.get('digit')}", False),
    "PlayTones": (lambda d: f"Tones sent: {d.get('digits')}", False),
    "Transfer": (lambda d: f"Transferred to {d.get('to')}", False),
    "PlayPhrase": (lambda d: f"Recorded phrase played: {d.get('phrase')}", False),
    "EarFailed": (lambda d: f"Speech recognition failed: {d.get('kind')}", True),
    "ModelFailed": (lambda d: f"The model failed: {d.get('kind')}", True),
    "VoiceFailed": (lambda d: f"The voice failed: {d.get('kind')}", True),
    "ErrorRaised": (lambda d: f"An error of our own in {d.get('where')}: {d.get('error')}", True),
    "HangUpAsked": (lambda d: f"End of the call asked for by {d.get('by')}", False),
    "CarrierGone": (lambda d: f"The carrier's stream ended: {d.get('how')}", False),
    "EndCall": (lambda d: f"The call ended: {END_REASONS.get(d.get('reason', ''), d.get('reason', ''))}", False),
}


def _plain(text: Any) -> str:
    """A flat JSON object as words; anything else as it is."""
    try:
        values = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return str(text)
    if not isinstance(values, dict):
        return str(text)
    return ", ".join(f"{str(name).replace('_', ' ')}: {value}" for name, value in values.items())


def _note(event: CallEvent) -> Note | None:
    if event.type not in _NOTES or not isinstance(event.data, dict):
        return None
    say, is_error = _NOTES[event.type]
    return Note(clock(event.at_ms), _short(say(event.data).strip()), is_error)


def event_line(event: CallEvent) -> EventLine:
    """A row of the log: its values in one line, and all of it as JSON."""
    return EventLine(
        event=event,
        at=exact_clock(event.at_ms),
        summary=event.error or _short(_summary(event.data)),
        json=json.dumps(event.data, indent=2, ensure_ascii=False, sort_keys=True),
    )


def _summary(data: Any) -> str:
    if not isinstance(data, dict):
        return str(data)
    return ", ".join(f"{name} {_value(value)}" for name, value in data.items() if name not in ("type", "at_ms"))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]"
    if isinstance(value, dict):
        return "{…}"
    return f"“{value}”" if isinstance(value, str) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= _SUMMARY_CHARS else text[: _SUMMARY_CHARS - 1] + "…"


# --- the ribbon ---------------------------------------------------------------------------------------------------


def ribbon(changes: Sequence[tuple[int, str]], duration_ms: int) -> list[Segment]:
    """Who had the floor when, as stretches that fill the width."""
    if not changes or duration_ms <= 0:
        return []
    ends = [at_ms for at_ms, _mode in changes[1:]] + [duration_ms]
    return [
        Segment(
            x=_place(at_ms, duration_ms),
            width=round(_place(end_ms, duration_ms) - _place(at_ms, duration_ms), 2),
            mode=mode.lower(),
            label=f"{mode.capitalize()} from {clock(at_ms)} to {clock(end_ms)}",
        )
        for (at_ms, mode), end_ms in zip(changes, ends, strict=True)
        if end_ms > at_ms
    ]


def stops(at_ms: Iterable[int], duration_ms: int) -> list[Segment]:
    """Where the caller's voice stopped the agent."""
    return [
        Segment(_place(at, duration_ms), 0, "stop", f"Agent stopped at {clock(at)}") for at in at_ms if duration_ms > 0
    ]


def _place(at_ms: int, duration_ms: int) -> float:
    return round(min(max(at_ms, 0), duration_ms) / duration_ms * _RIBBON_WIDTH, 2)

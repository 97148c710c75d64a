"""What pages of calls show, made of rows: texts, times to listen from, sentences about events. No queries here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from calls.core.state import END_REASONS
from calls.models import CallEvent, Turn
from calls.services.timeline import ANSWER
from calls.timeline_format import clock, milliseconds
from calls.timeline_memory import Memories, memories
from calls.timeline_turns import SLOW_MS, Course, Waits, course

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from calls.models import Call

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
KINDS = {
    "greeting": "Greeting",
    "prompt": "Silence prompt",
    "notice": "Notice",
    "say": "An operator's sentence",
    "operator": "With an operator",
    "return": "After an operator",
}
INTERVENED = {
    ("whisper", "shown"): "The note was shown to the model",
    ("whisper", "dropped"): "The note never reached the model",
    ("say", "said"): "The operator's sentence was heard",
    ("say", "cut"): "The operator's sentence was cut short",
    ("say", "failed"): "The voice failed at the operator's sentence",
    ("say", "dropped"): "The operator's sentence was not said",
    ("take_over", "taken"): "The operator has the floor",
    ("take_over", "refused"): "The take-over was refused",
    ("hand_back", "done"): "The assistant has the floor again",
    ("hand_back", "refused"): "The hand-back was refused",
    ("hand_back", "lost"): "The operator was cut off; the assistant goes on",
}


@dataclass(frozen=True, slots=True)
class Note:
    """A line beside the words: a tool, a key, a failure."""

    at: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the call: as people read it, and in seconds as a player takes it."""

    at: str
    seek_s: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn as it is read. ``unheard`` is what was generated and never played to the caller."""

    turn: Turn
    title: str
    caller: Place | None
    agent: Place | None
    latency: str
    slow_above: str
    waits: Waits | None
    memories: Memories | None
    heard: str
    unheard: str
    before: list[Note] = field(default_factory=list)
    after: list[Note] = field(default_factory=list)

    @property
    def at(self) -> str:
        """When it began, for whichever of the two began; empty for a turn that came to nothing."""
        place = self.caller or self.agent
        return place.at if place else ""


def end_reason(call: Call) -> str:
    """Why the call ended, in words; empty while it has not."""
    return reason_text(call.end_reason)


def reason_text(reason: str) -> str:
    """An end reason as a sentence."""
    return END_REASONS.get(reason) or _OUTER_REASONS.get(reason) or reason.replace("_", " ")


def exchanges(turns: Iterable[Turn], log: Sequence[CallEvent]) -> list[Exchange]:
    """The conversation, each turn with the notes that belong to it. ``log`` is what ``selectors.beside_turns`` gives."""
    shown = _exchanges(turns, course(log))
    by_number = {exchange.turn.number: exchange for exchange in shown}
    for event in log:
        note = _note(event)
        home = by_number.get(event.turn) or (shown[-1] if shown else None)
        if home and note:
            spoke = home.turn.first_audio_ms
            (home.after if spoke is not None and event.at_ms >= spoke else home.before).append(note)
    return shown


def _exchanges(turns: Iterable[Turn], course: Course) -> list[Exchange]:
    shown: list[Exchange] = []
    ended_ms, answers = -1, 0
    for turn in turns:
        answers += turn.kind == ANSWER
        title = f"Turn {answers}" if turn.kind == ANSWER else KINDS.get(turn.kind, turn.kind)
        shown.append(_exchange(turn, title, course.began_ms(turn, ended_ms), course.waits(turn)))
        ended_ms = max(ended_ms, turn.speech_ended_ms or -1)
    return shown


def _exchange(turn: Turn, title: str, began_ms: int | None, waits: Waits | None) -> Exchange:
    heard, unheard = split_heard(turn.generated_text, turn.heard_text)
    spoke_ms = turn.committed_ms if began_ms is None else began_ms
    is_slow = turn.latency_ms is not None and turn.latency_ms > SLOW_MS
    return Exchange(
        turn=turn,
        title=title,
        caller=_place(spoke_ms) if turn.user_text else None,
        agent=_place(turn.first_audio_ms),
        latency=milliseconds(turn.latency_ms) if turn.latency_ms is not None else "",
        slow_above=milliseconds(SLOW_MS) if is_slow else "",
        waits=waits,
        memories=memories(turn.recalled),
        heard=heard,
        unheard=unheard,
    )


def _place(at_ms: int | None) -> Place | None:
    return None if at_ms is None else Place(clock(at_ms), f"{at_ms / 1000:.2f}")


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
    "CardLoaded": (lambda d: "The caller's card was loaded" if d.get("text") or d.get("name") else "No card", False),
    "DtmfPressed": (lambda d: f"The caller pressed {d.get('digit')}", False),
    "PlayTones": (lambda d: f"Tones sent: {d.get('digits')}", False),
    "Transfer": (lambda d: f"Transferred to {d.get('to')}", False),
    "PlayPhrase": (lambda d: f"Recorded phrase played: {d.get('phrase')}", False),
    "EarFailed": (lambda d: f"Speech recognition failed: {d.get('kind')}", True),
    "ModelFailed": (lambda d: f"The model failed: {d.get('kind')}", True),
    "ModelAttemptFailed": (lambda d: f"The model failed, and was asked again: {d.get('kind')}", True),
    "VoiceFailed": (lambda d: f"The voice failed: {d.get('kind')}", True),
    "ErrorRaised": (lambda d: f"An error of our own in {d.get('where')}: {d.get('error')}", True),
    "HangUpAsked": (
        lambda d: f"End of the call asked for by {d.get('operator') or d.get('by')}{_because(d.get('why'))}",
        False,
    ),
    "OperatorListening": (
        lambda d: f"{d.get('by')} {'listens' if d.get('on') else 'does not listen any more'}",
        False,
    ),
    "OperatorWhispered": (lambda d: f"{d.get('by')} whispered: {d.get('text')}", False),
    "OperatorSaid": (lambda d: f"{d.get('by')} had said, {_when(d.get('when'))}: {d.get('text')}", False),
    "OperatorTookOver": (lambda d: f"{d.get('by')} takes the call over", False),
    "OperatorConnected": (
        lambda d: f"The connection of {d.get('by')} is {'there again' if d.get('on') else 'lost'}",
        False,
    ),
    "OperatorHandedBack": (lambda d: f"{d.get('by')} hands the call back: {d.get('summary')}", False),
    "Intervened": (
        lambda d: INTERVENED.get(
            (str(d.get("action")), str(d.get("outcome"))), f"{d.get('action')}: {d.get('outcome')}"
        ),
        False,
    ),
    "CarrierGone": (lambda d: f"The carrier's stream ended: {d.get('how')}", False),
    "EndCall": (lambda d: f"The call ended: {reason_text(str(d.get('reason', '')))}", False),
}


def _because(why: Any) -> str:
    return f": {why}" if why else ""


def _when(when: Any) -> str:
    return str(when).replace("_", " ")


def _plain(text: Any) -> str:
    """A flat JSON object as words; anything else as it is."""
    try:
        values = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return str(text)
    if not isinstance(values, dict):
        return str(text)
    return ", ".join(f"{str(name).replace('_', ' ')}: {value}" for name, value in values.items())


def note_text(kind: str, data: dict[str, Any]) -> tuple[str, bool] | None:
    """An entry of this type as a line beside the words, and whether it tells of a failure; ``None`` for what needs no line."""
    if kind not in _NOTES:
        return None
    say, is_error = _NOTES[kind]
    return _short(say(data).strip()), is_error


def _note(event: CallEvent) -> Note | None:
    found = note_text(event.type, event.data) if isinstance(event.data, dict) else None
    return Note(clock(event.at_ms), *found) if found else None


def as_json(value: Any) -> str:
    """A JSON value to read."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def summary(event: CallEvent) -> str:
    """An entry's values in one line; of a broken one, what is wrong with it."""
    return event.error or _short(_summary(event.data))


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

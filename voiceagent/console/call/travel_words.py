"""What a moment of a call is in an operator's words: tables of sentences over ``calls.replay.why``, and the state in groups.

Texts of callers and of the assistant go through ``shown`` first, which is what the reader may see of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.core.state import END_REASONS
from calls.replay.track import LENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.replay.log import Line
    from calls.replay.track import Dropped, Moment
    from calls.replay.why import Link, Waits, Why

_SECONDS_FROM_MS, _MINUTES_FROM_MS = 10_000, 120_000

Shown = Callable[[str], str]

#: Cause → what it is, and what that means.
CAUSES: dict[str, tuple[str, str]] = {
    "connecting": ("The call is connecting.", "The stream is up; the call's first event is still to come."),
    "ended": ("The call has ended.", ""),
    "ending": ("The call is being ended.", "The carrier was asked to end it and has not said yet that it did."),
    "operator": ("An operator has taken over.", "The assistant is silent and keeps listening until the call is handed back."),
    "speaking": ("The assistant is speaking.", "Something of its words is at the carrier and was not heard to its end yet."),
    "interrupted": ("The caller interrupted the assistant.", "It stopped at once. What follows decides whether it goes on where it was."),
    "gate_closed": ("The answer is held back.", "The caller went on before it could be heard: the gate is closed until it is clear what they said."),
    "voice_failed": ("The voice failed.", "The words are there; nobody could speak them. They are tried once more, then a recorded sentence stands in."),
    "model_failed": ("The model failed.", "It gave no answer, or only half of one. It is asked once more, then a recorded sentence stands in."),
    "tool": ("It waits for a function.", "The model has called a function and must see its result before it can go on."),
    "recall": ("It looks up what is remembered.", "The model is asked as soon as the memory has answered, or its time is over."),
    "model_slow": ("The model is slow.", "It has been asked and has not said a word for long."),
    "model": ("It waits for the model's first word.", "The model has been asked a moment ago."),
    "voice": ("It waits for the voice.", "The words are there; their first sound is still to come."),
    "caller_speaks": ("The caller is speaking.", "Nothing is answered before they have finished."),
    "end_of_turn": ("It waits until the caller has certainly finished.", "Words were heard, but the end of the turn is not sure yet."),
    "keys": ("The caller is pressing keys.", "They count as complete after # or a pause."),
    "ear_away": ("The recogniser is away.", "What the caller says cannot be understood until it is back."),
    "silence": ("Nobody is speaking.", "Everything that was said has been answered; the floor is free."),
}  # fmt: skip

#: What is waited for.
WAITS: dict[str, str] = {
    "stream": "the call's first event",
    "carrier": "the carrier's word that the call is over",
    "hand_back": "the operator to hand the call back",
    "heard": "the caller to hear it to its end",
    "words": "words that say whether the sound was meant to interrupt",
    "end_of_turn": "the recogniser's end of the turn",
    "own_silence": "silence long enough to end the turn",
    "voice": "sound of the voice",
    "model": "words of the model",
    "patience": "a few words of ours, asking for patience",
    "tool": "the function's result",
    "filler": "a few words of ours, while the function runs",
    "memory": "the memory's answer",
    "caller_stops": "the caller to stop",
    "keys": "more keys, or a pause",
    "ear": "the recogniser to come back",
    "prompt": "the caller to say something before they are asked whether they are there",
    "caller": "the caller",
}

#: Change → what followed in that step.
EFFECTS: dict[str, str] = {
    "phase": "the call went into another phase",
    "ending": "the end of the call was decided",
    "ear_away": "the recogniser's state changed",
    "reply": "an answer was begun",
    "resumed": "the stopped answer went on",
    "answered_cut": "the stopped answer was given up, and a new one begun",
    "confirmed": "the answer was sure, and might be heard",
    "held": "the answer was held back",
    "released": "the held answer was let out",
    "cut": "the assistant was stopped: model and voice cancelled, the carrier's buffer emptied",
    "recall": "the memory was asked",
    "asked": "the model was asked",
    "voice": "the voice got words to speak",
    "first_token": "the model's first word came",
    "failed": "a failure was noted",
    "audible": "the caller began to hear it",
    "tool": "a function was started",
    "closed": "the turn was closed",
    "gate": "the gate to the carrier changed",
    "speaks": "",
    "silent": "",
    "words": "",
    "digits": "",
}

_TIMERS = {
    "reply": "limit of the answer's present stage",
    "patience": "asking for patience",
    "verdict": "verdict over an interruption",
    "idle": "asking whether the caller is there",
    "hangup": "the carrier's time to end the call",
    "goodbye": "limit of the last words",
    "turn_end": "giving up on the recogniser's end of turn",
    "recall": "the memory's time",
    "silence": "silence that ends a turn",
    "dtmf": "pause that ends the keys",
    "filler": "bridging a slow function",
    "ear_away": "telling that nobody listens",
    "max_call": "longest call",
}
_DROPPED = {
    "cancelled": "it belonged to an answer that was cancelled in step {since}",
    "over": "it belonged to an answer that is over",
    "timer": "its timer was set anew or cancelled in step {since}",
    "ended": "the call was ending since step {since}",
    "twice": "it was known already",
}
_KINDS = {
    "greeting": "greeting",
    "answer": "answer",
    "prompt": "question whether the caller is there",
    "notice": "recorded sentence",
}
_STAGES = {"none": "at rest", "running": "running", "done": "done", "failed": "failed"}


class Sentence(NamedTuple):
    """A step of the chain: when, which event, and what followed."""

    step: int
    at_ms: int
    event: str
    effect: str


class Awaited(NamedTuple):
    """Something that is waited for; ``in_ms`` from the moment on, ``None`` where nothing limits it."""

    what: str
    due_ms: int | None
    in_ms: int | None
    set_in: int


class Group(NamedTuple):
    """A part of the state."""

    title: str
    rows: tuple[tuple[str, str], ...]


def _quoted(data: Mapping[str, Any], name: str, shown: Shown) -> str:
    text = shown(str(data.get(name, "")).strip())
    return f" “{text}”" if text else ""


_Event = Callable[["Mapping[str, Any]", Shown], str]
_EVENTS: dict[str, _Event] = {
    "CallStarted": lambda d, s: "The call began",
    "CardLoaded": lambda d, s: "What is on file about the caller was there",
    "SpeechStarted": lambda d, s: "The caller began to make a sound",
    "SpeechEnded": lambda d, s: "The caller fell silent",
    "TurnOpened": lambda d, s: "The recogniser heard a turn begin",
    "WordsHeard": lambda d, s: f"Words were recognised:{_quoted(d, 'text', s)}",
    "EagerEnd": lambda d, s: f"The turn was probably over:{_quoted(d, 'text', s)}",
    "TurnResumed": lambda d, s: "The caller went on after all",
    "TurnEnded": lambda d, s: f"The caller's turn ended:{_quoted(d, 'text', s)}"
    if str(d.get("text", "")).strip()
    else "The turn ended without a word",
    "EarFailed": lambda d, s: f"The recogniser failed{' for good' if d.get('final') else ''} ({d.get('kind')})",
    "EarReady": lambda d, s: "The recogniser was listening",
    "MemoryRecalled": lambda d, s: f"The memory answered: {d.get('outcome')}, {len(d.get('items', ()))} found in {d.get('took_ms')} ms",
    "ModelText": lambda d, s: f"The model said:{_quoted(d, 'text', s)}",
    "ModelToolCall": lambda d, s: f"The model called {d.get('name')}",
    "ModelFinished": lambda d, s: "The model had finished",
    "ModelFailed": lambda d, s: f"The model failed ({d.get('kind')})",
    "ModelAttemptFailed": lambda d, s: f"An attempt at the model failed ({d.get('kind')}), another followed",
    "ToolSettled": lambda d, s: f"The function came back: {d.get('outcome')}",
    "AudioSent": lambda d, s: "Sound went to the carrier",
    "WordsTimed": lambda d, s: "The voice said where its words lie",
    "VoiceFinished": lambda d, s: "The voice had finished",
    "VoiceFailed": lambda d, s: f"The voice failed ({d.get('kind')})",
    "MarkReturned": lambda d, s: "The carrier reported a piece as played",
    "DtmfPressed": lambda d, s: f"The caller pressed {d.get('digit')}",
    "TimerFired": lambda d, s: f"A time was over: {_TIMERS.get(str(d.get('timer')), d.get('timer'))}",
    "HangUpAsked": lambda d, s: f"The end of the call was asked for ({d.get('by')})",
    "CarrierGone": lambda d, s: f"The stream ended ({d.get('how')})",
    "ErrorRaised": lambda d, s: f"Our own code failed ({d.get('where')})",
    "OperatorListening": lambda d, s: f"{d.get('by')} {'began' if d.get('on') else 'ceased'} to listen",
    "OperatorWhispered": lambda d, s: f"{d.get('by')} whispered:{_quoted(d, 'text', s)}",
    "OperatorSaid": lambda d, s: f"{d.get('by')} had it say:{_quoted(d, 'text', s)}",
    "OperatorTookOver": lambda d, s: f"{d.get('by')} took the call over",
    "OperatorConnected": lambda d, s: f"{d.get('by')}'s connection {'was there again' if d.get('on') else 'was lost'}",
    "OperatorHandedBack": lambda d, s: f"{d.get('by')} handed the call back:{_quoted(d, 'summary', s)}",
}  # fmt: skip


def event_words(line: Line | None, shown: Shown) -> str:
    """An event in a sentence; one that has none, by its name."""
    if line is None:
        return "This step cannot be read"
    words = _EVENTS.get(line.type)
    return words(line.data, shown) if words else line.type


def sentence(link: Link, line: Line | None, shown: Shown) -> Sentence:
    """A link of the chain."""
    effects = [words for name in link.changed if (words := EFFECTS.get(name, name))]
    return Sentence(link.step, line.at_ms if line else 0, event_words(line, shown), "; ".join(effects))


def awaited(waits: Waits, moment: Moment) -> Awaited:
    """What is waited for, with its limit."""
    if waits.due_ms < 0:
        return Awaited(WAITS[waits.what], None, None, 0)
    return Awaited(WAITS[waits.what], waits.due_ms, max(0, waits.due_ms - moment.now_ms), waits.set_in)


def dropped(found: Why) -> list[tuple[int, str, str]]:
    """Step, event and reason of what came too late. The same of many steps stands once, with its last step."""
    rows: dict[tuple[str, str], Dropped] = {}
    for one in found.dropped:
        rows[one.type, _DROPPED[one.why].format(since=one.since)] = one
    return [(one.step, name, reason) for (name, reason), one in rows.items()]


# --- the state ----------------------------------------------------------------------------------------------------


def groups(moment: Moment, shown: Shown) -> list[Group]:
    """The state at a moment, worded. Fields that rules of an older version did not have are left out."""
    state = moment.state
    found = [_call(moment), _caller(moment, shown)]
    if state.reply is not None:
        found.append(_reply("Answer", state.reply, moment, shown))
    if state.cut is not None:
        found.append(_reply("Stopped answer", state.cut, moment, shown))
    found.append(_timers(moment))
    found.append(_known(state))
    return [group for group in found if group.rows]


def _call(moment: Moment) -> Group:
    state = moment.state
    rows = [("Phase", str(state.phase)), ("Who has the floor", str(state.mode).lower()), ("Turn", str(state.turn))]
    if state.ending:
        rows.append(("Ends because", END_REASONS.get(state.ending, state.ending)))
    if operator := getattr(state, "operator", ""):
        rows.append(("Operator", operator))
    gate = moment.origins.gate
    words = "the operator's microphone" if gate == LENT else f"attempt {gate}" if gate else "closed"
    rows.append(("Gate to the carrier", f"{words}{_since(moment, 'gate')}"))
    if state.failures:
        rows.append(("Model failures in a row", str(state.failures)))
    return Group("Call", tuple(rows))


def _caller(moment: Moment, shown: Shown) -> Group:
    caller = moment.state.caller
    rows = []
    if caller.speaking:
        rows.append(("Makes a sound", f"for {duration(moment.now_ms - caller.voiced_at_ms)}"))
    elif caller.voiced_until_ms >= 0:
        rows.append(("Silent", f"for {duration(moment.now_ms - caller.voiced_until_ms)}"))
    for label, text in (
        ("Words of the open turn", caller.text),
        ("Said over a notice, still to be answered", caller.kept),
        ("Keys", caller.digits),
    ):
        if text.strip():
            rows.append((label, shown(text)))
    if caller.idle_count:
        rows.append(("Asked whether they are there", f"{caller.idle_count} times"))
    if away := getattr(moment.state, "ear_away", ""):
        rows.append(("Recogniser", f"away ({away}){_since(moment, 'ear_away')}"))
    return Group("Caller", tuple(rows))


def _reply(title: str, reply: Any, moment: Moment, shown: Shown) -> Group:
    text, said = reply.text, reply.said
    rows = [
        ("What", f"{_KINDS.get(reply.kind, reply.kind)}, turn {reply.turn}, attempt {reply.epoch}"),
        ("Certain", "yes" if reply.confirmed else "no: begun on a guess, behind the closed gate"),
    ]
    if reply.user_text:
        rows.append(("Answers", shown(reply.user_text)))
    if reply.held:
        rows.append(("Held back", f"yes{_since(moment, 'held')}"))
    rows += [
        (label, _STAGES.get(str(value), str(value)))
        for label, value in (("Memory", getattr(reply, "recall", None)), ("Model", reply.model), ("Voice", reply.voice))
        if value is not None and reply.kind == "answer"
    ]
    if reply.cut_at >= 0:
        rows.append(("Heard before it was stopped", shown(text[: reply.cut_at]) or "nothing"))
        rows.append(("Not heard", shown(text[reply.cut_at :]) or "nothing"))
    elif text:
        rows.append(("Given to the voice", shown(text[:said]) or "nothing yet"))
        if text[said:].strip():
            rows.append(("Only generated", shown(text[said:])))
    if reply.playback.outstanding:
        rows.append(("At the carrier, unheard", f"{len(reply.playback.outstanding)} pieces"))
    rows += [
        (f"Function {tool.name}", tool.outcome or ("running" if tool.started else "waiting")) for tool in reply.tools
    ]
    if causes := getattr(reply, "causes", ()):
        rows.append(("What failed in it", ", ".join(causes)))
    return Group(title, tuple(rows))


def _timers(moment: Moment) -> Group:
    rows = []
    for timer in sorted(moment.state.timers, key=lambda timer: timer.due_ms):
        in_ms = max(0, timer.due_ms - moment.now_ms)
        rows.append(
            (
                _TIMERS.get(timer.name, timer.name).capitalize(),
                f"in {duration(in_ms)}{_since(moment, f'timer:{timer.name}')}",
            )
        )
    return Group("Times that run", tuple(rows))


def _known(state: Any) -> Group:
    reply = state.reply or state.cut
    recalled = getattr(reply, "recalled", ()) if reply is not None else ()
    in_prompt = sum(bool(item.in_prompt) for item in recalled)
    rows = [("Messages of the conversation", str(len(state.history)))]
    if getattr(state, "card", None) is not None:
        rows.append(("On file about the caller", "yes" if state.card.text else "nothing"))
    if recalled:
        rows.append(("Recalled for this answer", f"{len(recalled)}, of which {in_prompt} reached the model"))
    return Group("What the model knows", tuple(rows))


def duration(ms: int) -> str:
    """Milliseconds below ten seconds, then seconds with one decimal, from two minutes on minutes and seconds."""
    if ms < _SECONDS_FROM_MS:
        return f"{ms:,} ms"
    return f"{ms / 1000:.1f} s" if ms < _MINUTES_FROM_MS else f"{ms // 60_000} min {ms // 1000 % 60} s"


def _since(moment: Moment, name: str) -> str:
    step = moment.origins.steps.get(name, 0)
    return f", since step {step}" if step else ""

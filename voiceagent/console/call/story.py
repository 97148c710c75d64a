"""A call as its page draws it, taken from the log entry by entry: who had the floor, what stands out, what each turn waited for.

Pure, and the same for a call that is archived and one that goes on: an archived log is taken at once, a live one as it
grows. Only some entries matter (``KEPT``, and every change of who has the floor); the others may be left out without
changing anything, so that an hour of talk is read in a moment.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.timeline_page import INTERVENED
from voiceagent.console.call.wording import distinct, unsteady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: A quiet moment is longer than this.
SILENCE_MS = 3000
#: States that the mode of an entry does not say: the call around the turns.
CONNECTING, LISTENING, OPERATOR, ENDING = "CONNECTING", "LISTENING", "OPERATOR", "ENDING"
#: Of a turn that was closed: what its waterfall reads. Its words stand in the turn.
_CLOSED = ("kind", "speech_ended_ms", "committed_ms", "first_audio_ms", "answer_audio_ms")
#: So many interim wordings of one turn are kept; who speaks on and on has more.
_MOST_WORDINGS = 200


class Line(NamedTuple):
    """An entry of a log. ``data`` may lack what ``Story`` does not read of its type."""

    seq: int
    kind: str
    type: str
    at_ms: int
    mode: str
    turn: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on the timeline. ``kind`` is one of ``MARKS``; ``until_ms`` where it lasted, else -1."""

    at_ms: int
    kind: str
    text: str
    turn: int
    seq: int
    until_ms: int = -1


#: Kind → its sign and its word.
MARKS: dict[str, tuple[str, str]] = {
    "barge-in": ("▼", "barge-in"),
    "memory": ("◆", "memory"),
    "tool": ("⚙", "tool"),
    "error": ("✕", "error"),
    "operator": ("●", "operator"),
    "network": ("⌁", "network"),
    "key": ("#", "key pressed"),
}


@dataclass(slots=True)
class Tool:
    """A function call: when it ran and how it ended."""

    name: str
    from_ms: int
    until_ms: int = -1
    outcome: str = ""


@dataclass(slots=True)
class Request:
    """One request to the model: when it was made, and gave its first token, -1 where none came; ``called``: a function call."""

    asked_ms: int
    token_ms: int = -1
    called: bool = False


@dataclass(slots=True)
class Attempt:
    """One attempt at a reply: first times of its steps on the call's clock, -1 for what was not recorded."""

    epoch: int
    speculative: bool = False
    recall_ms: int = -1
    recalled_ms: int = -1
    requests: list[Request] = field(default_factory=list)
    said_ms: int = -1
    voiced_ms: int = -1
    sent_ms: int = -1
    marked_ms: int = -1
    finished_ms: int = -1
    cancelled_ms: int = -1
    phrase: str = ""


@dataclass(slots=True)
class Steps:
    """What happened for one turn. ``first_seq`` and ``last_seq`` bound its entries in the log, the caller's words included.

    ``wordings``: what the recogniser had understood so far, and when; ``unsteady``: which words of the final text it had
    otherwise before (``wording.unsteady``).
    """

    attempts: dict[int, Attempt] = field(default_factory=dict)
    tools: dict[str, Tool] = field(default_factory=dict)
    first_seq: int = 0
    last_seq: int = 0
    began_ms: int = -1
    detector_ms: int = -1
    finalized_ms: int = -1
    ended_ms: int = -1
    closed: dict[str, Any] | None = None
    wordings: list[tuple[int, str]] = field(default_factory=list)
    unsteady: dict[int, str] = field(default_factory=dict)

    def attempt(self, epoch: int) -> Attempt:
        """The attempt with this number."""
        found = self.attempts.get(epoch)
        if found is None:
            found = self.attempts[epoch] = Attempt(epoch)
        return found


@dataclass(slots=True)
class _Floor:
    """The caller's side since the last turn: what will belong to the next one."""

    first_seq: int = 0
    began_ms: int = -1
    detector_ms: int = -1
    finalized_ms: int = -1
    ended_ms: int = -1
    wordings: list[tuple[int, str]] = field(default_factory=list)


class Story:
    """Take lines in order; read what they come to at any time."""

    def __init__(self) -> None:
        self.states: list[tuple[int, str]] = []
        self.marks: list[Mark] = []
        self.turns: dict[int, Steps] = {}
        self.speech: list[list[int]] = []
        self.unheard: list[tuple[int, int]] = []
        self.at_ms = 0
        self.last_seq = 0
        self.end_reason = ""
        self.model = ""
        self.tokens = {"input": 0, "output": 0, "cached": 0}
        #: What the voice was given to say, heard or not.
        self.voiced_chars = 0
        self.retries = self.errors = 0
        self.agent: dict[str, Any] = {}
        #: What the open turn is made of so far, for a call in progress.
        self.interim = ""
        self.said: dict[int, str] = {}
        self._phase = CONNECTING
        self._floor = _Floor()
        self._open_turn = 0
        self._voiced_ms = -1
        self._before, self._event = (-1, CONNECTING), ""
        self._tools: dict[str, tuple[int, int]] = {}

    def take(self, line: Line) -> None:
        """The next line of the log."""
        self.last_seq = max(self.last_seq, line.seq)
        self.at_ms = max(self.at_ms, line.at_ms)
        handler = _HANDLERS.get(line.type) if line.kind != "broken" else None
        if handler is not None:
            handler(self, line)
        if line.kind == "event":
            self._state(line)

    def take_all(self, lines: Iterable[Line]) -> Story:
        """These lines; gives itself."""
        for line in lines:
            self.take(line)
        return self

    @property
    def is_over(self) -> bool:
        """Whether its end is on record."""
        return bool(self.end_reason)

    # --- who has the floor

    def _state(self, line: Line) -> None:
        self._before = line.at_ms, self.states[-1][1] if self.states else CONNECTING
        self._event = line.type
        state = self._phase if self._phase in (CONNECTING, OPERATOR, ENDING) else line.mode or LISTENING
        self._enter(line.at_ms, state)

    def _enter(self, at_ms: int, state: str) -> None:
        """A state from now on; what lasted no millisecond is no state."""
        if self.states and self.states[-1][0] == at_ms:
            self.states.pop()
        if not self.states or self.states[-1][1] != state:
            self.states.append((at_ms, state))

    def _started(self, line: Line) -> None:
        self._phase = LISTENING
        agent = line.data.get("agent")
        self.agent = agent if isinstance(agent, dict) else {}
        if not self.states and line.at_ms > 0:
            self.states.append((0, CONNECTING))

    def _ending(self, line: Line) -> None:
        if self._phase != ENDING:
            self._phase = ENDING
            self._enter(line.at_ms, ENDING)

    def _ended(self, line: Line) -> None:
        self.end_reason = str(line.data.get("reason") or "unknown")

    def _intervened(self, line: Line) -> None:
        """What became of an operator's request: a take-over and its end change who has the floor."""
        what = str(line.data.get("action")), str(line.data.get("outcome"))
        if what == ("take_over", "taken"):
            self._phase = OPERATOR
            self._enter(line.at_ms, OPERATOR)
        elif what[0] == "hand_back" and what[1] in ("done", "lost") and self._phase == OPERATOR:
            self._phase = LISTENING
            self._enter(line.at_ms, line.mode or LISTENING)
        if text := INTERVENED.get(what, ""):
            self._mark(line, "operator", f"{text} ({_by(line)})")

    # --- the caller

    def _speech_started(self, line: Line) -> None:
        at_ms = _ms(line, "voiced_at_ms")
        self._voiced_ms = line.at_ms if at_ms < 0 else at_ms
        self._touch(line)
        if self._floor.began_ms < 0:
            self._floor.began_ms = self._voiced_ms
        if self.speech and self.speech[-1][1] < 0:
            return
        self.speech.append([self._voiced_ms, -1])

    def _speech_ended(self, line: Line) -> None:
        until_ms = _ms(line, "voiced_until_ms")
        self._touch(line)
        self._floor.detector_ms = line.at_ms
        if self.speech and self.speech[-1][1] < 0:
            self.speech[-1][1] = max(until_ms if until_ms >= 0 else line.at_ms, self.speech[-1][0])

    def _turn_opened(self, line: Line) -> None:
        self._touch(line)
        if self._floor.began_ms < 0:
            self._floor.began_ms = line.at_ms

    def _words(self, line: Line) -> None:
        self._touch(line)
        self.interim = str(line.data.get("text") or "")
        wordings = self._floor.wordings
        if self.interim.strip() and len(wordings) < _MOST_WORDINGS and wordings[-1:] != [(line.at_ms, self.interim)]:
            wordings.append((line.at_ms, self.interim))

    def _turn_ended(self, line: Line) -> None:
        self._words(line)
        self._floor.ended_ms = line.at_ms

    def _finalized(self, line: Line) -> None:
        self._floor.finalized_ms = line.at_ms

    def _touch(self, line: Line) -> None:
        if not self._floor.first_seq:
            self._floor.first_seq = line.seq

    # --- the turn

    def _steps(self, line: Line) -> Steps | None:
        number = line.data.get("turn")
        if not isinstance(number, int):
            return None
        steps = self.turns.get(number)
        if steps is None:
            steps = self.turns[number] = Steps(first_seq=self._floor.first_seq or line.seq)
        steps.last_seq = max(steps.last_seq, line.seq)
        self._open_turn = number
        return steps

    def _attempt(self, line: Line) -> Attempt | None:
        steps, epoch = self._steps(line), line.data.get("epoch")
        return steps.attempt(epoch) if steps is not None and isinstance(epoch, int) else None

    def _first(self, name: str, line: Line) -> Attempt | None:
        """Note the first time of a step."""
        attempt = self._attempt(line)
        if attempt is not None and getattr(attempt, name) < 0:
            setattr(attempt, name, line.at_ms)
        return attempt

    def _asked(self, line: Line) -> None:
        attempt = self._attempt(line)
        if attempt is not None:
            attempt.speculative |= bool(line.data.get("speculative"))
            attempt.requests.append(Request(line.at_ms))

    def _token(self, line: Line) -> None:
        attempt = self._attempt(line)
        if attempt is not None and attempt.requests and attempt.requests[-1].token_ms < 0:
            attempt.requests[-1].token_ms, attempt.requests[-1].called = line.at_ms, line.type == "ModelToolCall"

    def _said(self, line: Line) -> None:
        attempt = self._first("said_ms", line)
        if attempt is not None and isinstance(text := line.data.get("text"), str):
            self.voiced_chars += len(text)
            self.said[attempt.epoch] = self.said.get(attempt.epoch, "") + text

    def _phrase(self, line: Line) -> None:
        attempt = self._first("said_ms", line)
        if attempt is not None:
            attempt.phrase = str(line.data.get("phrase") or "")

    def _sent(self, line: Line) -> None:
        attempt = self._first("sent_ms", line)
        if attempt is not None and attempt.voiced_ms < 0:
            attempt.voiced_ms = line.at_ms

    def _finished(self, line: Line) -> None:
        self._first("finished_ms", line)
        self.model = str(line.data.get("model") or self.model)
        for name in self.tokens:
            count = line.data.get(f"{name}_tokens")
            self.tokens[name] += count if isinstance(count, int) else 0

    def _closed(self, line: Line) -> None:
        steps = self._steps(line)
        if steps is None:
            return
        floor, number = self._floor, int(line.data["turn"])
        ended_ms = _ms(line, "speech_ended_ms")
        steps.closed = {name: line.data[name] for name in _CLOSED if name in line.data}
        if ended_ms >= 0 and steps.detector_ms < 0:
            steps.detector_ms, steps.finalized_ms, steps.ended_ms = (
                floor.detector_ms,
                floor.finalized_ms,
                floor.ended_ms,
            )
        steps.began_ms = self._began_ms(ended_ms)
        if (text := str(line.data.get("user_text") or "")) and steps.wordings:
            steps.wordings = distinct(steps.wordings)
            steps.unsteady = unsteady((wording for _, wording in steps.wordings), text)
        self._hatch(line)
        for epoch in steps.attempts:
            self.said.pop(epoch, None)
        if number == self._open_turn:
            self._open_turn = 0

    def _committed(self, line: Line) -> None:
        """The gate opens for a turn: the caller's side so far is this turn's."""
        steps = self._steps(line)
        if steps is None or steps.closed is not None:
            return
        floor = self._floor
        if floor.first_seq and steps.began_ms < 0:
            steps.first_seq = min(steps.first_seq, floor.first_seq)
            steps.began_ms, steps.detector_ms = floor.began_ms, floor.detector_ms
            steps.finalized_ms, steps.ended_ms = floor.finalized_ms, floor.ended_ms
        steps.wordings += floor.wordings
        self._floor = _Floor()
        self.interim = ""

    def _began_ms(self, ended_ms: int) -> int:
        """First sound of the stretch of speech that ended then; -1 where the turn has none."""
        if ended_ms < 0 or not self.speech:
            return ended_ms
        place = bisect_right(self.speech, ended_ms, key=lambda stretch: stretch[0])
        return self.speech[place - 1][0] if place else ended_ms

    def _hatch(self, line: Line) -> None:
        """Audio that was sent and cleared before it was heard: from the cut to where it would have ended."""
        words = line.data.get("words")
        flushed = [word for word in words if word.get("state") == "flushed"] if isinstance(words, list) else []
        spans = [(word.get("start_ms", -1), word.get("end_ms", -1)) for word in flushed]
        if spans := [(start, end) for start, end in spans if 0 <= start < end]:
            self.unheard.append((min(start for start, _ in spans), max(end for _, end in spans)))

    # --- what stands out

    def _mark(self, line: Line, kind: str, text: str, at_ms: int = -1, until_ms: int = -1) -> None:
        number = line.data.get("turn")
        turn = number if isinstance(number, int) else line.turn
        self.marks.append(Mark(at_ms if at_ms >= 0 else line.at_ms, kind, text, turn, line.seq, until_ms))

    def _cleared(self, line: Line) -> None:
        """A clear by which the caller took the floor; not one at the end of the call, or by an operator."""
        if self._before != (line.at_ms, "SPEAKING") or self._event not in _CALLER or self.states[-1][1] == "SPEAKING":
            return
        began_ms = self._voiced_ms if 0 <= line.at_ms - self._voiced_ms < SILENCE_MS else line.at_ms
        took = line.at_ms - began_ms
        self._mark(line, "barge-in", f"barge-in: silent {took} ms after the caller's first sound", began_ms, line.at_ms)

    def _recalled(self, line: Line) -> None:
        attempt = self._first("recalled_ms", line)
        shown = line.data.get("shown")
        if shown is None:
            items = line.data.get("items")
            shown = sum(bool(item.get("in_prompt")) for item in items) if isinstance(items, list) else 0
        if attempt is not None and shown:
            self._mark(line, "memory", f"{shown} recalled")

    def _tool(self, line: Line) -> None:
        steps, call_id = self._steps(line), str(line.data.get("call_id"))
        name = str(line.data.get("name") or "tool")
        if steps is not None:
            steps.tools[call_id] = Tool(name, line.at_ms)
            self._tools[call_id] = int(line.data["turn"]), len(self.marks)
            self._mark(line, "tool", name)

    def _settled(self, line: Line) -> None:
        call_id = str(line.data.get("call_id"))
        turn, place = self._tools.pop(call_id, (-1, -1))
        steps = self.turns.get(turn)
        tool = steps.tools.get(call_id) if steps is not None else None
        if steps is not None and tool is not None:
            steps.last_seq = max(steps.last_seq, line.seq)
            tool.until_ms, tool.outcome = line.at_ms, str(line.data.get("outcome"))
            mark = self.marks[place]
            text = f"{tool.name}: {tool.outcome} after {line.at_ms - tool.from_ms} ms"
            kind = "tool" if tool.outcome in ("ok", "cancelled") else "error"
            self.marks[place] = Mark(mark.at_ms, kind, text, mark.turn, mark.seq, line.at_ms)

    def _failed(self, line: Line) -> None:
        self.errors += 1
        what = _FAILURES[line.type]
        self._mark(line, "error", f"{what}: {line.data.get('kind') or line.data.get('error') or 'failed'}")

    def _attempt_failed(self, line: Line) -> None:
        self.retries += 1
        self._mark(line, "error", f"model failed, asked again: {line.data.get('kind')}")

    def _gone(self, line: Line) -> None:
        how = line.data.get("how")
        if how in ("closed", "silent", "protocol"):
            self._mark(line, "network", {"closed": "the stream broke off", "silent": "no audio came any more"}.get(
                str(how), "the stream could not be understood"))  # fmt: skip
        if self.speech and self.speech[-1][1] < 0:
            self.speech[-1][1] = line.at_ms

    def _operator(self, line: Line) -> None:
        words = str(line.data.get("text") or line.data.get("summary") or "")
        on = bool(line.data.get("on"))
        values = {
            "by": _by(line),
            "text": words,
            "on": "begins" if on else "ceases",
            "there": "there again" if on else "lost",
        }
        self._mark(line, "operator", _OPERATORS[line.type].format(**values))

    def _hang_up(self, line: Line) -> None:
        if line.data.get("by") == "operator":
            self._mark(line, "operator", "an operator ended the call")

    # --- what it comes to

    def silences(self) -> list[tuple[int, int]]:
        """Stretches of more than 3 s in which neither was heard, the call's own end left out."""
        audible = sorted([*self._agent(), *((start, end if end >= 0 else self.at_ms) for start, end in self.speech)])
        found, quiet_from = [], 0
        for start, end in audible:
            if start - quiet_from > SILENCE_MS:
                found.append((quiet_from, start))
            quiet_from = max(quiet_from, end)
        return found

    def talk_ms(self) -> tuple[int, int]:
        """How long the caller was heard, and the assistant."""
        caller = sum((end if end >= 0 else self.at_ms) - start for start, end in self.speech)
        return caller, sum(end - start for start, end in self._agent())

    def _agent(self) -> list[tuple[int, int]]:
        ends = [at_ms for at_ms, _ in self.states[1:]] + [self.at_ms] * bool(self.states)
        return [(at, end) for (at, state), end in zip(self.states, ends, strict=True) if state == "SPEAKING"]


def _by(line: Line) -> str:
    return str(line.data.get("by") or "an operator")


def _ms(line: Line, name: str) -> int:
    value = line.data.get(name)
    return value if isinstance(value, int) else -1


#: Events by which a caller takes the floor.
_CALLER = ("SpeechStarted", "TurnOpened", "WordsHeard", "EagerEnd", "TurnEnded", "DtmfPressed")
_FAILURES = {
    "EarFailed": "speech recognition failed",
    "ModelFailed": "the model failed",
    "VoiceFailed": "the voice failed",
    "ErrorRaised": "an error of our own",
}
_OPERATORS = {
    "OperatorListening": "{by} {on} to listen",
    "OperatorWhispered": "{by} whispered: {text}",
    "OperatorSaid": "{by} asked for this to be said: {text}",
    "OperatorTookOver": "{by} takes the call over",
    "OperatorConnected": "{by}'s connection is {there}",
    "OperatorHandedBack": "{by} hands the call back: {text}",
}


def _note_first(name: str) -> Callable[[Story, Line], None]:
    def note(story: Story, line: Line) -> None:
        story._first(name, line)

    return note


#: Type of line → what it does.
_HANDLERS: dict[str, Callable[[Story, Line], None]] = {
    "CallStarted": Story._started,
    "HangUp": Story._ending,
    "Transfer": Story._ending,
    "EndCall": Story._ended,
    "CarrierGone": Story._gone,
    "SpeechStarted": Story._speech_started,
    "SpeechEnded": Story._speech_ended,
    "TurnOpened": Story._turn_opened,
    "WordsHeard": Story._words,
    "EagerEnd": Story._words,
    "TurnEnded": Story._turn_ended,
    "FinalizeEar": Story._finalized,
    "Recall": _note_first("recall_ms"),
    "MemoryRecalled": Story._recalled,
    "AskModel": Story._asked,
    "ModelText": Story._token,
    "ModelToolCall": Story._token,
    "ModelFinished": Story._finished,
    "CancelModel": _note_first("cancelled_ms"),
    "RunTool": Story._tool,
    "ToolSettled": Story._settled,
    "Say": Story._said,
    "PlayPhrase": Story._phrase,
    "WordsTimed": _note_first("voiced_ms"),
    "AudioSent": Story._sent,
    "MarkReturned": _note_first("marked_ms"),
    "OpenGate": Story._committed,
    "Clear": Story._cleared,
    "TurnClosed": Story._closed,
    "DtmfPressed": lambda story, line: story._mark(line, "key", f"key {line.data.get('digit')}"),
    "HangUpAsked": Story._hang_up,
    "ModelAttemptFailed": Story._attempt_failed,
    "Intervened": Story._intervened,
    **dict.fromkeys(_FAILURES, Story._failed),
    **dict.fromkeys(_OPERATORS, Story._operator),
}
#: Requests and their tokens: each request counts, and its first token. Of these and the next no more than turn and epoch.
ASK, TOKENS = "AskModel", ("ModelText", "ModelToolCall")
#: Of these only the first of each attempt counts.
FIRSTS = ("Recall", "MemoryRecalled", "WordsTimed", "AudioSent", "MarkReturned")
#: All others that count, with what they say.
KEPT = tuple(name for name in _HANDLERS if name not in (ASK, *TOKENS, *FIRSTS))

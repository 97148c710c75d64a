"""A call in progress as one row of the operators' board, made of its steps alone: the same steps give the same row. Pure.

Taking a step costs a look-up or two and never any I/O; what is shown is worked out by ``facts``, as seldom as somebody looks.
Times in facts are milliseconds on the call's own clock unless they are called ``*_at``, which are Unix milliseconds.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from calls.attention import Failure, Seen, signals
from calls.core import commands as c
from calls.core import events as e
from calls.core import speech
from calls.core.state import FAILED_ENDS, Mode, Phase, Work
from calls.latency import answer_latency_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from calls.bus import StepTaken
    from calls.tickets import Ticket

RIBBON_MS: Final = 60_000
WORDS_CHARS: Final = 160
#: Two replies are the same if they share this many of their words, in hundredths, and have a few of them.
_SAME_SHARE, _SAME_WORDS, _SAME_AMONG = 85, 5, 4
#: Of a state that cannot be told by its first letter.
_LETTERS: Final = {"ended": "·", "failed": "!"}
_CALLERS = e.SpeechStarted | e.TurnOpened | e.WordsHeard | e.EagerEnd | e.TurnEnded | e.DtmfPressed


@dataclass(frozen=True, slots=True)
class Identity:
    """Which call it is. ``model``: the one that should answer; another one that does is a second one."""

    call_sid: str
    from_number: str
    to_number: str
    agent: str
    model: str
    started_at: int
    is_test: bool = False


def identity_of(ticket: Ticket, model: str, started_at: int) -> Identity:
    """Of a call whose stream has shown this ticket."""
    return Identity(
        ticket.call_sid,
        ticket.caller_number or ticket.from_number,
        ticket.to_number,
        ticket.agent.name,
        model,
        started_at,
        ticket.is_test,
    )


class LiveRow:
    """One call. ``take`` every step it made, then ask for ``facts`` at any time.

    ``latencies_ms`` and ``failures`` are for who sums up calls: they take what is there and clear it.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.zero_at = identity.started_at
        self.latencies_ms: list[int] = []
        self.failures: list[Failure] = []
        self.ended_at = 0
        self.reason = ""
        self._seen = Seen()
        self._shown = "connecting"
        self._moves: deque[tuple[int, str]] = deque([(0, "connecting")], maxlen=400)
        self._answered_turn = -1
        self._said: deque[frozenset[str]] = deque(maxlen=_SAME_AMONG)
        self._recalled: set[str] = set()
        self._written = 0
        self._remembering: set[str] = set()
        self._last: tuple[str, str] = ("", "")
        self._listening: set[str] = set()

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self.ended_at > 0

    def take(self, step: StepTaken) -> None:
        """One step of the call, in order."""
        event, state = step.event, step.state
        if self._seen.state is None:
            self.zero_at = step.wall_ms - event.at_ms
        self._seen.state = state
        shown = state.mode.value if state.phase is Phase.ACTIVE else state.phase.value
        if shown != self._shown and state.phase is not Phase.ENDED:  # ``end`` says how
            self._move(shown, event.at_ms)
        note = _NOTES.get(type(event))
        if note is not None:
            note(self, event, step)
        for command in step.commands:
            note = _NOTES.get(type(command))
            if note is not None:
                note(self, command, step)

    def end(self, reason: str, wall_ms: int) -> None:
        """The call is over, whether its steps said so or not; the first reason counts."""
        if not self.is_over:
            self.ended_at, self.reason, self._seen.is_over = max(wall_ms, 1), reason, True
            failed = reason in FAILED_ENDS
            self._move("failed" if failed else "ended", max(0, wall_ms - self.zero_at))
            if failed:
                self._fail(self.ended_at - self.zero_at, f"end:{reason}")

    # --- what is shown ----------------------------------------------------------------------------------------------

    def facts(self, wall_ms: int) -> dict[str, Any]:
        """The row at this moment, as plain JSON values."""
        at_ms = max(0, min(wall_ms, self.ended_at or wall_ms) - self.zero_at)
        while len(self._moves) > 1 and self._moves[1][0] <= at_ms - RIBBON_MS:
            self._moves.popleft()
        who, words, interim = self._words(at_ms)
        score, found = signals(self._seen, at_ms)
        identity, seen, state = self.identity, self._seen, self._seen.state
        answers_ms = seen.answers_ms
        return {
            "call_sid": identity.call_sid,
            "from_number": identity.from_number,
            "to_number": identity.to_number,
            "agent": identity.agent,
            "is_test": identity.is_test,
            "name": state.card.name if state is not None else "",
            "zero_at": self.zero_at,
            "state": self._moves[-1][1].lower(),
            "since_ms": self._moves[-1][0],
            "turn": state.turn if state is not None else 0,
            "ribbon": [[moved_ms, _LETTERS.get(shown) or shown[0].upper()] for moved_ms, shown in self._moves],
            "cuts": [cut_ms for cut_ms in seen.cuts if cut_ms > at_ms - RIBBON_MS],
            "who": who,
            "words": words,
            "interim": interim,
            "answer_ms": answers_ms[-1] if answers_ms else None,
            "median_ms": round(median(answers_ms[:-1])) if len(answers_ms) > 1 else None,
            "answers": len(answers_ms),
            "signals": [list(signal) for signal in found],
            "score": score,
            "recalled": len(self._recalled),
            "written": self._written,
            "operators": self._operators(),
            "reason": self.reason,
            "ended_at": self.ended_at,
        }

    def _words(self, at_ms: int) -> tuple[str, str, bool]:
        """Who says what now: the caller's interim words, the assistant's as far as they were heard; else what was said last."""
        state = self._seen.state
        if state is not None and not self.is_over:
            caller, reply = state.caller, state.reply
            if caller.text and (caller.speaking or reply is None or not reply.playback.sent_bytes):
                return "caller", _end_of(caller.text), True
            if reply is not None and reply.playback.sent_bytes:
                complete = reply.voice in (Work.DONE, Work.NONE)
                until = speech.heard_until(reply.playback, reply.text, reply.said, at_ms, complete=complete)
                if heard := reply.text[:until].strip():
                    return "assistant", _end_of(heard), False
            if state.cut is not None and (heard := state.cut.text[: state.cut.cut_at].strip()):
                return "assistant", _end_of(heard), False
            if reply is not None and reply.confirmed and reply.user_text:
                return "caller", _end_of(reply.user_text), False
        who, text = self._last
        return who, _end_of(text), False

    def _operators(self) -> list[list[str]]:
        """Who of us is there, and what they do. Whoever has the floor is the core's to say: it may also just lapse."""
        if self.is_over:
            return []
        speaks = self._seen.state.operator if self._seen.state is not None else ""
        listening = [[name, "listening"] for name in sorted(self._listening - {speaks})]
        return [[speaks, "speaking"], *listening] if speaks else listening

    # --- what is noted ----------------------------------------------------------------------------------------------

    def _move(self, shown: str, at_ms: int) -> None:
        if self._shown == Mode.SPEAKING:
            self._seen.sounded_ms = at_ms
        self._shown = shown
        self._moves.append((at_ms, shown))

    def _fail(self, at_ms: int, cause: str) -> None:
        self._seen.failed = Failure(at_ms, cause)
        self.failures.append(self._seen.failed)

    def _started(self, event: e.CallStarted, _: StepTaken) -> None:
        self._seen.sounded_ms = event.at_ms

    def _cleared(self, _command: c.Clear, step: StepTaken) -> None:
        if isinstance(step.event, _CALLERS):
            self._seen.cuts.append(step.event.at_ms)
            self._seen.barge_ins += 1

    def _sent(self, _event: e.AudioSent, step: StepTaken) -> None:
        """The answer's first sound: its time is known now, long before its turn is closed."""
        reply = step.state.reply
        if reply is None or reply.answer_audio_ms < 0 or reply.turn == self._answered_turn or reply.kind != "answer":
            return
        if 0 <= reply.speech_ended_ms <= reply.answer_audio_ms:
            self._answered_turn = reply.turn
            self._seen.answers_ms.append(reply.answer_audio_ms - reply.speech_ended_ms)

    def _turn_closed(self, turn: c.TurnClosed, _: StepTaken) -> None:
        latency_ms = answer_latency_ms(turn)
        if latency_ms is not None:
            self.latencies_ms.append(latency_ms)
        elif turn.turn == self._answered_turn and self._seen.answers_ms:
            self._seen.answers_ms.pop()  # an apology is no answer, however fast it came
        if turn.heard_text.strip():
            self._last = "assistant", turn.heard_text
        elif turn.user_text.strip():
            self._last = "caller", turn.user_text
        if turn.kind == "answer":
            self._compare(turn.heard_text)

    def _compare(self, text: str) -> None:
        words = frozenset(re.findall(r"\w+", text.lower()))
        if len(words) < _SAME_WORDS:
            return
        self._seen.repeated += any(
            100 * len(words & before) >= _SAME_SHARE * len(words | before) for before in self._said
        )
        self._said.append(words)

    def _turn_ended(self, event: e.TurnEnded, step: StepTaken) -> None:
        self._seen.unclear += not event.text.strip() and step.state.caller.voiced_at_ms >= 0

    def _recall(self, event: e.MemoryRecalled, _: StepTaken) -> None:
        self._recalled.update(item.id for item in event.items if item.in_prompt)

    def _run_tool(self, command: c.RunTool, _: StepTaken) -> None:
        if command.name == "remember":
            self._remembering.add(command.call_id)

    def _tool_settled(self, event: e.ToolSettled, _: StepTaken) -> None:
        if event.outcome in ("error", "timeout"):
            self._fail(event.at_ms, f"tool:{event.outcome}")
        elif event.call_id in self._remembering and event.outcome == "ok":
            self._written += 1
        self._remembering.discard(event.call_id)

    def _finished(self, event: e.ModelFinished, _: StepTaken) -> None:
        if event.model and self.identity.model and event.model != self.identity.model:
            self._seen.fallback = "model"

    def _phrase(self, command: c.PlayPhrase, _: StepTaken) -> None:
        self._seen.fallback = f"phrase:{command.phrase}"

    def _attempt_failed(self, event: e.ModelAttemptFailed, _: StepTaken) -> None:
        self.failures.append(Failure(event.at_ms, f"model:{event.kind}"))
        self._seen.fallback = self._seen.fallback or "again"

    def _vendor_failed(self, event: e.ModelFailed | e.VoiceFailed | e.EarFailed, _: StepTaken) -> None:
        self._fail(event.at_ms, f"{_VENDORS[type(event)]}:{event.kind}")

    def _raised(self, event: e.ErrorRaised, _: StepTaken) -> None:
        self._fail(event.at_ms, "internal")

    def _listens(self, event: e.OperatorListening, _: StepTaken) -> None:
        (self._listening.add if event.on else self._listening.discard)(event.by)

    def _ended(self, command: c.EndCall, step: StepTaken) -> None:
        self.end(command.reason, step.wall_ms)


_VENDORS: Final[Mapping[type, str]] = {e.ModelFailed: "model", e.VoiceFailed: "voice", e.EarFailed: "ear"}
_NOTES: Final[Mapping[type, Callable[[LiveRow, Any, StepTaken], None]]] = {
    e.CallStarted: LiveRow._started,
    c.Clear: LiveRow._cleared,
    e.AudioSent: LiveRow._sent,
    c.TurnClosed: LiveRow._turn_closed,
    e.TurnEnded: LiveRow._turn_ended,
    e.MemoryRecalled: LiveRow._recall,
    c.RunTool: LiveRow._run_tool,
    e.ToolSettled: LiveRow._tool_settled,
    e.ModelFinished: LiveRow._finished,
    c.PlayPhrase: LiveRow._phrase,
    e.ModelAttemptFailed: LiveRow._attempt_failed,
    **dict.fromkeys(_VENDORS, LiveRow._vendor_failed),
    e.ErrorRaised: LiveRow._raised,
    e.OperatorListening: LiveRow._listens,
    c.EndCall: LiveRow._ended,
}


def _end_of(text: str) -> str:
    """The last of it, from the beginning of a word on."""
    text = " ".join(text[-4 * WORDS_CHARS :].split())
    if len(text) <= WORDS_CHARS:
        return text
    tail = text[-WORDS_CHARS:]
    space = tail.find(" ")
    return "…" + (tail[space + 1 :] if 0 <= space < WORDS_CHARS // 2 else tail)

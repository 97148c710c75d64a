"""One call as structured log lines, enough to tell its course from them alone. Words and numbers only in ``pii`` fields.

A line for the call's start and end, for each turn as it closes, and for what explains it: the reply that was stopped, what
was recalled, functions, recorded phrases, keys, failures. Nothing for what happens many times in a turn: that is in the
record, and its sums are in the metrics. ``docs/logs.md`` lists all events.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import structlog

from calls.bus import StepTaken
from calls.core import commands as c
from calls.core import events as e
from calls.latency import answer_latency_ms

if TYPE_CHECKING:
    from calls.bus import Bus
    from calls.logcontext import CallPlace
    from calls.tickets import Ticket

_log = structlog.get_logger("calls")
#: Which vendor a failure is of.
_VENDORS: dict[type, str] = {e.EarFailed: "ear", e.ModelFailed: "model", e.VoiceFailed: "voice"}


class CallLog:
    """Subscribes to one call's bus. ``place`` is kept up to date: what the lines of the call's tasks say of it."""

    def __init__(self, bus: Bus, ticket: Ticket, place: CallPlace) -> None:
        self._ticket = ticket
        self._place = place
        self._turns = 0
        self._barge_ins = 0
        self._latencies_ms: list[int] = []
        self._tools: dict[str, tuple[str, int]] = {}
        self._asked_epoch = -1
        bus.subscribe(StepTaken, self._moved)
        heard: dict[type, Any] = {
            e.CallStarted: self._started,
            e.CardLoaded: self._known,
            e.MemoryRecalled: self._recalled,
            c.AskModel: self._asked,
            c.Clear: self._stopped,
            c.RunTool: self._tool,
            e.ToolSettled: self._tool_settled,
            c.PlayPhrase: self._phrase,
            e.DtmfPressed: self._key,
            c.TurnClosed: self._turn,
            **dict.fromkeys(_VENDORS, self._failed),
            e.ModelAttemptFailed: self._attempt_failed,
            e.ErrorRaised: self._error,
            e.CarrierGone: self._gone,
            e.HangUpAsked: self._hang_up,
            e.OperatorListening: self._listening,
            e.OperatorConnected: self._connected,
            c.Intervened: self._intervened,
            c.Transfer: self._transfer,
            c.EndCall: self._ended,
        }
        for cls, subscriber in heard.items():
            bus.subscribe(cls, subscriber)

    def _moved(self, step: StepTaken, _: StepTaken) -> None:
        self._place.turn_id, self._place.state = step.state.turn, step.state.mode.value

    def _line(self, name: str, step: StepTaken, level: str = "info", **fields: object) -> None:
        state = step.state
        getattr(_log, level)(
            name,
            call_sid=self._ticket.call_sid,
            trace_id=self._place.trace_id,
            turn_id=state.turn,
            state=state.mode.value,
            at_ms=step.event.at_ms,
            **fields,
        )

    def _started(self, event: e.CallStarted, step: StepTaken) -> None:
        self._line(
            "call.started",
            step,
            agent=event.agent.name,
            agent_version=event.agent.version,
            rules=event.agent.policy.version,
            pii_from=self._ticket.from_number,
            pii_to=self._ticket.to_number,
        )

    def _known(self, event: e.CardLoaded, step: StepTaken) -> None:
        self._line("caller.looked_up", step, known=bool(event.text or event.name), pii_name=event.name)

    def _recalled(self, event: e.MemoryRecalled, step: StepTaken) -> None:
        """What the memory gave, and what came of it: nothing where the model was asked before."""
        is_late = event.epoch == self._asked_epoch
        shown = [] if is_late else [item for item in event.items if item.in_prompt]
        self._line(
            "memory.recalled",
            step,
            for_turn=event.turn,
            outcome="late" if is_late else event.outcome,
            took_ms=event.took_ms,
            items=len(event.items),
            in_prompt=len(shown),
            level_found=max((item.level for item in shown), default="none"),
        )

    def _asked(self, ask: c.AskModel, _: StepTaken) -> None:
        self._asked_epoch = ask.epoch

    def _stopped(self, clear: c.Clear, step: StepTaken) -> None:
        """The reply was silenced: by the caller's voice, their words or keys, or by our own end of the call."""
        event = step.event
        began_ms = event.voiced_at_ms if isinstance(event, e.SpeechStarted) else None
        self._line("reply.stopped", step, epoch=clear.epoch, by=type(event).__name__, voiced_at_ms=began_ms)

    def _tool(self, command: c.RunTool, step: StepTaken) -> None:
        self._tools[command.call_id] = (command.name, step.event.at_ms)
        self._line("tool.started", step, tool=command.name, for_turn=command.turn, call_id=command.call_id)

    def _tool_settled(self, event: e.ToolSettled, step: StepTaken) -> None:
        name, began_ms = self._tools.pop(event.call_id, ("", event.at_ms))
        level = "warning" if event.outcome in ("error", "timeout") else "info"
        took_ms = event.at_ms - began_ms
        self._line(
            "tool.settled", step, level, tool=name, call_id=event.call_id, outcome=event.outcome, took_ms=took_ms
        )

    def _phrase(self, command: c.PlayPhrase, step: StepTaken) -> None:
        self._line("phrase.played", step, phrase=command.phrase, for_turn=command.turn)

    def _key(self, event: e.DtmfPressed, step: StepTaken) -> None:
        self._line("key.pressed", step, pii_key=event.digit)

    def _turn(self, turn: c.TurnClosed, step: StepTaken) -> None:
        self._turns += turn.kind == "answer"
        self._barge_ins += turn.outcome == "interrupted"
        latency_ms = answer_latency_ms(turn)
        if latency_ms is not None:
            self._latencies_ms.append(latency_ms)
        self._line(
            "turn.closed",
            step,
            closed_turn=turn.turn,
            kind=turn.kind,
            outcome=turn.outcome,
            causes=list(turn.causes),
            latency_ms=latency_ms,
            speech_ended_ms=_time(turn.speech_ended_ms),
            committed_ms=_time(turn.committed_ms),
            first_audio_ms=_time(turn.first_audio_ms),
            answer_audio_ms=_time(turn.answer_audio_ms),
            closed_ms=turn.closed_ms,
            wasted_chars=turn.wasted_chars,
            wasted_tokens=turn.wasted_tokens,
            pii_user=turn.user_text,
            pii_heard=turn.heard_text,
        )

    def _failed(self, event: e.VoiceFailed | e.EarFailed | e.ModelFailed, step: StepTaken) -> None:
        if isinstance(event, e.EarFailed):
            of_turn, final = None, event.final
        else:
            of_turn, final = event.turn, not event.retryable
        vendor = _VENDORS[type(event)]
        self._line("vendor.failed", step, "warning", vendor=vendor, kind=event.kind, for_turn=of_turn, final=final)

    def _attempt_failed(self, event: e.ModelAttemptFailed, step: StepTaken) -> None:
        where = {"vendor": "model", "endpoint": event.endpoint}
        self._line("vendor.attempt_failed", step, "warning", kind=event.kind, for_turn=event.turn, **where)

    def _error(self, event: e.ErrorRaised, step: StepTaken) -> None:
        self._line("call.error_recorded", step, "error", where=event.where, error=event.error)

    def _gone(self, event: e.CarrierGone, step: StepTaken) -> None:
        level = "info" if event.how == "stop" else "warning"
        self._line("carrier.gone", step, level, how=event.how)

    def _hang_up(self, event: e.HangUpAsked, step: StepTaken) -> None:
        self._line("call.end_asked", step, by=event.by, pii_operator=event.operator, pii_why=event.why)

    def _listening(self, event: e.OperatorListening, step: StepTaken) -> None:
        self._line("operator.listening", step, on=event.on, pii_operator=event.by)

    def _connected(self, event: e.OperatorConnected, step: StepTaken) -> None:
        self._line("operator.connection", step, "info" if event.on else "warning", on=event.on, pii_operator=event.by)

    def _intervened(self, command: c.Intervened, step: StepTaken) -> None:
        self._line(
            "operator.intervened",
            step,
            action=command.action,
            outcome=command.outcome,
            for_turn=command.turn,
            key=command.key,
            pii_operator=command.by,
        )

    def _transfer(self, command: c.Transfer, step: StepTaken) -> None:
        self._line("call.transferred", step, pii_to=command.to)

    def _ended(self, end: c.EndCall, step: StepTaken) -> None:
        self._line(
            "call.ended",
            step,
            reason=end.reason,
            duration_ms=step.event.at_ms,
            turns=self._turns,
            barge_ins=self._barge_ins,
            turn_latency_ms=median(self._latencies_ms) if self._latencies_ms else None,
            agent=self._ticket.agent.name,
            pii_from=self._ticket.from_number,
        )


def _time(at_ms: int) -> int | None:
    return at_ms if at_ms >= 0 else None

"""One call as structured log lines: its start, each turn, its failures, its end. Words and numbers only in ``pii`` fields."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import structlog

from calls.core.commands import EndCall, TurnClosed
from calls.core.events import CallStarted, EarFailed, ErrorRaised, ModelFailed, VoiceFailed

if TYPE_CHECKING:
    from calls.bus import Bus, StepTaken
    from calls.tickets import Ticket

_log = structlog.get_logger("calls")


class CallLog:
    """Subscribes to one call's bus."""

    def __init__(self, bus: Bus, ticket: Ticket) -> None:
        self._ticket = ticket
        self._turns = 0
        self._barge_ins = 0
        self._latencies_ms: list[int] = []
        bus.subscribe(CallStarted, self._started)
        bus.subscribe(TurnClosed, self._turn)
        bus.subscribe(EndCall, self._ended)
        bus.subscribe(VoiceFailed, self._failed)
        bus.subscribe(EarFailed, self._failed)
        bus.subscribe(ModelFailed, self._failed)
        bus.subscribe(ErrorRaised, self._error)

    def _line(self, name: str, step: StepTaken, **fields: object) -> None:
        state = step.state
        _log.info(
            name,
            call_sid=self._ticket.call_sid,
            turn_id=state.turn,
            state=state.mode.value,
            at_ms=step.event.at_ms,
            **fields,
        )

    def _started(self, event: CallStarted, step: StepTaken) -> None:
        self._line(
            "call.started",
            step,
            agent=event.agent.name,
            agent_version=event.agent.version,
            pii_from=self._ticket.from_number,
            pii_to=self._ticket.to_number,
        )

    def _turn(self, turn: TurnClosed, step: StepTaken) -> None:
        self._turns += turn.kind == "answer"
        self._barge_ins += turn.outcome == "interrupted"
        latency = (
            turn.first_audio_ms - turn.speech_ended_ms if min(turn.first_audio_ms, turn.speech_ended_ms) >= 0 else None
        )
        if turn.kind == "answer" and latency is not None:
            self._latencies_ms.append(latency)
        self._line(
            "turn.closed",
            step,
            closed_turn=turn.turn,
            kind=turn.kind,
            outcome=turn.outcome,
            latency_ms=latency,
            pii_user=turn.user_text,
            pii_heard=turn.heard_text,
        )

    def _failed(self, event: VoiceFailed | EarFailed | ModelFailed, step: StepTaken) -> None:
        self._line("vendor.failed", step, event_type=type(event).__name__, kind=event.kind)

    def _error(self, event: ErrorRaised, step: StepTaken) -> None:
        self._line("call.error_recorded", step, where=event.where, error=event.error)

    def _ended(self, end: EndCall, step: StepTaken) -> None:
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

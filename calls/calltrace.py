"""One call as spans: the call, each turn, and the stages of each. Built when a turn closes, off the hot path.

Spans get their times from the call's own clock, as the record has them: a stage in the trace is as long as in the
timeline. Nothing that was said is in them unless ``TraceConf.with_words``. Whether the trace is kept is decided at the
call's end (``calls.tracing``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from calls.core.commands import EndCall, TurnClosed
from calls.core.events import CallStarted, ToolSettled
from calls.core.state import FAILED_ENDS
from calls.stages import Stage, StageNotes
from calls.tracing import SAMPLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

    from calls.bus import Bus, StepTaken
    from calls.stages import TurnStages
    from calls.tickets import Ticket
    from calls.tracing import Tracing

_NS_PER_MS = 1_000_000
_ERROR = Status(StatusCode.ERROR)


class CallTrace:
    """Subscribes to one call's bus. ``models`` names what answers and what speaks; ``close`` when the call is over."""

    def __init__(
        self, bus: Bus, ticket: Ticket, parent: SpanContext, tracing: Tracing, models: tuple[str, str], now_ns: int
    ) -> None:
        self._tracing, self._conf, self._models = tracing, tracing.conf, models
        self._zero_ns = now_ns
        self._last_ms = 0
        self._why = ""
        self._is_closed = False
        #: Turns that closed while a function of theirs ran on.
        self._awaited: dict[str, tuple[Stage, SpanContext]] = {}
        tracing.keeper.begin(parent.trace_id)
        under = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=SAMPLED)
        self._call = tracing.tracer.start_span(
            "call",
            context=_under(under),
            start_time=now_ns,
            attributes={
                gen_ai.GEN_AI_CONVERSATION_ID: ticket.call_sid,
                gen_ai.GEN_AI_AGENT_NAME: ticket.agent.name,
                gen_ai.GEN_AI_AGENT_VERSION: str(ticket.agent.version),
            },
        )
        self._notes = StageNotes(bus, self._failed, tracing.conf.with_words)
        bus.subscribe(CallStarted, self._started)
        bus.subscribe(TurnClosed, self._turn_closed)
        bus.subscribe(ToolSettled, self._tool_settled)
        bus.subscribe(EndCall, self._ended)

    @property
    def context(self) -> Context:
        """For what runs in the call: spans that are made there belong to it."""
        return trace.set_span_in_context(self._call)

    def close(self, end_reason: str, now_ns: int) -> tuple[bool, SpanContext]:
        """The call is over: decide, and let its span go. Whether the trace is kept, and where later work belongs."""
        own, keeper = self._call.get_span_context(), self._tracing.keeper
        sampled = keeper.is_sampled(own.trace_id)
        if not self._is_closed:
            self._is_closed = True
            for turn in self._notes.take_all():
                self._build(turn, self._call, self._last_ms)
            if end_reason in FAILED_ENDS:
                self._failed(end_reason, self._last_ms)
            why = self._why or ("share" if sampled else "")
            self._call.set_attributes({"voiceagent.end_reason": end_reason, "voiceagent.kept_for": why})
            if self._why not in ("", "slow"):
                self._call.set_attribute(ERROR_TYPE, self._why)
                self._call.set_status(_ERROR)
            self._call.end(now_ns)
            keeper.settle(own.trace_id, keep=bool(why))
        keep = sampled or bool(self._why)
        flags = SAMPLED if keep else TraceFlags(TraceFlags.DEFAULT)
        return keep, SpanContext(own.trace_id, own.span_id, is_remote=False, trace_flags=flags)

    def _failed(self, why: str, at_ms: int, **facts: str) -> None:
        """The call is kept, for the first failure; that it was slow before says less."""
        if self._why in ("", "slow"):
            self._why = why
        self._call.add_event("failed", {ERROR_TYPE: why, **_ours(facts)}, self._ns(at_ms))

    # --- from the bus -------------------------------------------------------------------------------------------------

    def _started(self, event: CallStarted, step: StepTaken) -> None:
        self._zero_ns = (step.wall_ms - event.at_ms) * _NS_PER_MS

    def _ended(self, _end: EndCall, step: StepTaken) -> None:
        self._last_ms = step.event.at_ms

    def _turn_closed(self, closed: TurnClosed, _: StepTaken) -> None:
        self._last_ms = closed.closed_ms
        turn = self._notes.take(closed.turn)
        waits = turn.waits(closed)
        answered_ms = closed.answer_audio_ms - closed.speech_ended_ms if waits and closed.answer_audio_ms >= 0 else -1
        failed = closed.outcome == "failed_to_fallback"
        if failed or closed.causes:
            self._failed("turn_failed" if failed else "turn_mended", closed.closed_ms, causes=" ".join(closed.causes))
        if turn.waited_ms(closed) > self._conf.slow_turn_ms and not self._why:
            self._why = "slow"
        if 0 <= closed.speech_ended_ms <= closed.committed_ms:
            turn.add(Stage("endpointing", closed.speech_ended_ms, until_ms=closed.committed_ms))
        times = [self._notes.began_ms(closed), closed.first_audio_ms, *(stage.from_ms for stage in turn.stages)]
        facts = {
            "turn": closed.turn,
            "turn.kind": closed.kind,
            "turn.outcome": closed.outcome,
            **({"turn.causes": closed.causes} if closed.causes else {}),
            **({"latency_ms": sum(waits.values())} if waits else {}),
            **({"answer_latency_ms": answered_ms} if answered_ms >= 0 else {}),
            **{f"wait.{name}_ms": wait_ms for name, wait_ms in waits.items()},
            "wasted_characters": closed.wasted_chars,
            "wasted_tokens": closed.wasted_tokens,
            **({"stages_left_out": turn.left_out} if turn.left_out else {}),
        }
        if self._conf.with_words:
            facts |= {"said": closed.user_text, "generated": closed.generated_text, "heard": closed.heard_text}
        began_ms = min((at_ms for at_ms in times if at_ms >= 0), default=closed.closed_ms)
        span = self._tracing.tracer.start_span(
            "turn", self.context, attributes=_ours(facts), start_time=self._ns(began_ms)
        )
        if failed:
            span.set_status(_ERROR)
        self._build(turn, span, closed.closed_ms)
        span.end(self._ns(max(began_ms, closed.closed_ms)))

    def _tool_settled(self, event: ToolSettled, _: StepTaken) -> None:
        if (found := self._awaited.pop(event.call_id, None)) is not None:
            stage, turn = found
            self._span(stage, _under(turn))

    # --- spans --------------------------------------------------------------------------------------------------------

    def _build(self, turn: TurnStages, parent: trace.Span, closed_ms: int) -> None:
        """The spans of a turn's stages. A function that still runs gets its own when it settles."""
        running = {} if self._is_closed else {stage: call_id for call_id, stage in self._notes.tools.items()}
        under = trace.set_span_in_context(parent)
        for stage in turn.stages:
            if (call_id := running.get(stage)) is not None:
                self._awaited[call_id] = (stage, parent.get_span_context())
            else:
                stage.end(closed_ms)
                self._span(stage, under)

    def _span(self, stage: Stage, under: Context) -> None:
        kind, attributes = _ABOUT[stage.name](stage, self._models)
        model = attributes.get(gen_ai.GEN_AI_REQUEST_MODEL, "") if stage.name == "chat" else stage.what
        span = self._tracing.tracer.start_span(
            f"{stage.name} {model}".rstrip(), under, kind, attributes, start_time=self._ns(stage.from_ms)
        )
        if stage.error:
            span.set_attribute(ERROR_TYPE, stage.error)
            span.set_status(_ERROR)
        span.end(self._ns(max(stage.until_ms, stage.from_ms)))

    def _ns(self, at_ms: int) -> int:
        return self._zero_ns + at_ms * _NS_PER_MS


def _under(parent: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent))


# --- what is said of a stage, by its name. Names of ``gen_ai`` are OpenTelemetry's, others ours --------------------------


def _ours(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {f"voiceagent.{name}": value for name, value in facts.items()}


def _plain(stage: Stage, _models: tuple[str, str]) -> tuple[SpanKind, dict[str, Any]]:
    return SpanKind.INTERNAL, _ours({f"{stage.name}.{name}": value for name, value in stage.facts.items()})


def _chat(stage: Stage, models: tuple[str, str]) -> tuple[SpanKind, dict[str, Any]]:
    facts = dict(stage.facts)
    attributes: dict[str, Any] = {
        gen_ai.GEN_AI_OPERATION_NAME: "chat",
        gen_ai.GEN_AI_PROVIDER_NAME: "openai",
        gen_ai.GEN_AI_REQUEST_MODEL: models[0],
        gen_ai.GEN_AI_REQUEST_STREAM: True,
        gen_ai.GEN_AI_OUTPUT_TYPE: "text",
    }
    if stage.first_ms >= 0:
        attributes[gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = (stage.first_ms - stage.from_ms) / 1000
    if answered := facts.pop("model", ""):
        attributes[gen_ai.GEN_AI_RESPONSE_MODEL] = answered
    if reason := facts.pop("reason", ""):
        attributes[gen_ai.GEN_AI_RESPONSE_FINISH_REASONS] = (reason,)
    if tokens := facts.pop("tokens", None):
        attributes[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] = tokens["input"]
        attributes[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] = tokens["output"]
        attributes[gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] = tokens["cached"]
    if messages := facts.pop("messages", None):
        shown = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages]
        attributes[gen_ai.GEN_AI_INPUT_MESSAGES] = json.dumps(shown)
    return SpanKind.CLIENT, attributes | _ours(facts)


def _tool(stage: Stage, _models: tuple[str, str]) -> tuple[SpanKind, dict[str, Any]]:
    names = {
        "call_id": gen_ai.GEN_AI_TOOL_CALL_ID,
        "arguments": gen_ai.GEN_AI_TOOL_CALL_ARGUMENTS,
        "result": gen_ai.GEN_AI_TOOL_CALL_RESULT,
        "outcome": "voiceagent.tool.outcome",
    }
    attributes = {names[name]: value for name, value in stage.facts.items()}
    attributes[gen_ai.GEN_AI_OPERATION_NAME] = "execute_tool"
    attributes[gen_ai.GEN_AI_TOOL_NAME] = stage.what
    return SpanKind.INTERNAL, attributes


def _voice(stage: Stage, models: tuple[str, str]) -> tuple[SpanKind, dict[str, Any]]:
    attributes: dict[str, Any] = {
        gen_ai.GEN_AI_PROVIDER_NAME: "cartesia",
        gen_ai.GEN_AI_REQUEST_MODEL: models[1],
        gen_ai.GEN_AI_OUTPUT_TYPE: "speech",
    }
    if stage.first_ms >= 0:
        attributes["voiceagent.time_to_first_audio_ms"] = stage.first_ms - stage.from_ms
    return SpanKind.CLIENT, attributes | _ours(stage.facts)


_ABOUT: dict[str, Callable[[Stage, tuple[str, str]], tuple[SpanKind, dict[str, Any]]]] = {
    "endpointing": _plain,
    "recall": _plain,
    "chat": _chat,
    "execute_tool": _tool,
    "voice": _voice,
    "phrase": _plain,
    "playback": _plain,
    "barge_in": _plain,
}

"""The trace of a call: its id, and how it travels from the webhook to the stream and on to the archive.

A call is one trace, from the webhook that announced it to the tasks that archive and distil it. ``Traces()`` traces
nothing, but still gives every call an id, for its log lines; ``voiceagent.telemetry`` builds the other kind where an
exporter is configured. Which calls are kept: ``calls.tracekeeper``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from calls.conf import TraceConf

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_IDS = RandomIdGenerator()
_PROPAGATOR = TraceContextTextMapPropagator()


class Verdicts(Protocol):
    """What decides which calls are kept: ``calls.tracekeeper.Keeper``."""

    def is_sampled(self, trace_id: int) -> bool: ...
    def begin(self, trace_id: int) -> None: ...
    def settle(self, trace_id: int, keep: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Tracing:
    """The parts that tracing needs, where it is on."""

    tracer: Tracer
    keeper: Verdicts
    conf: TraceConf


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces of a process's calls. ``on`` is missing where nothing is exported."""

    on: Tracing | None = None

    def here(self) -> SpanContext:
        """The trace of the request that is being served; a new one, of which nothing is recorded, where there is none."""
        current = trace.get_current_span().get_span_context()
        return current if current.is_valid else fresh()

    def refuse(self) -> None:
        """The request that is being served announced a call that does not come about: that is kept."""
        current = trace.get_current_span().get_span_context()
        if self.on is not None and current.is_valid:
            self.on.keeper.settle(current.trace_id, keep=True)


def fresh() -> SpanContext:
    """A trace with nobody's span."""
    return SpanContext(_IDS.generate_trace_id(), _IDS.generate_span_id(), is_remote=False)


def to_text(context: SpanContext) -> str:
    """As a W3C ``traceparent``; empty for none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(context)))
    return carrier.get("traceparent", "")


def from_text(text: str) -> SpanContext:
    """Back from ``to_text``; a new trace for what is none."""
    context = _PROPAGATOR.extract({"traceparent": text}) if text else None
    found = trace.get_current_span(context).get_span_context() if context is not None else INVALID_SPAN_CONTEXT
    return found if found.is_valid else fresh()


def id_of(context: SpanContext) -> str:
    """The trace's id, as people and backends write it: 32 hex digits."""
    return trace.format_trace_id(context.trace_id)

"""OpenTelemetry's SDK, set up: where spans go, what of them may leave, and which libraries make some by themselves.

A receiver that is away, hangs or refuses costs spans, never a call: they wait in a
bounded queue, a thread of the SDK sends them, and what is lost is counted (``trace_spans_lost_total``) and told once.

Requests are traced by Django's instrumentation (``voiceagent.requesttraces``), those of the memory's MCP server, which is
none of Django's, by ASGI's. Sockets are not traced.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from calls import metrics
from calls.tracekeeper import CallSampler, Keeper
from calls.tracing import Traces, Tracing
from voiceagent.requesttraces import Requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from voiceagent.conf import TelemetryConf

_log = structlog.get_logger(__name__)

#: Spans that wait for the receiver at most; a turn makes about ten.
QUEUE_SPANS = 4096
BATCH_SPANS = 512
SEND_EVERY_MS = 2000
SEND_TIMEOUT_S = 5.0
#: How long a stop waits for the last spans.
FLUSH_S = 3.0
#: Beginnings of attributes that may leave the process; values of queries, addresses of people and texts of errors do not.
SHOWN = (
    "gen_ai.", "voiceagent.", "http.request.method", "http.response.status_code", "http.route", "url.scheme", "server.",
    "network.protocol.", "network.transport", "db.", "messaging.", "celery.action", "celery.state", "celery.task_name",
    "celery.retries", "celery.hostname", "error.type", "exception.type",
)  # fmt: skip
_MCP = "/mcp"
_ANNOUNCES = frozenset({"/twilio/voice", "/twilio/voice/"})
#: What an outsider says of a trace is not taken up: it would decide what is kept here.
_FOREIGN = frozenset({b"traceparent", b"tracestate", b"baggage"})


class Outlet(SpanExporter):
    """Takes out of spans what must not leave, and counts what did not arrive. In the SDK's thread."""

    def __init__(self, exporter: SpanExporter, with_words: bool) -> None:
        self._exporter = exporter
        self._with_words = with_words
        self._is_away = False
        self._lock = threading.Lock()
        #: Spans given to the queue and not yet through here.
        self.waiting = 0

    def admit(self) -> bool:
        """Whether there is room for one more span; it counts as waiting then."""
        with self._lock:
            self.waiting += (has_room := self.waiting < QUEUE_SPANS)
        return has_room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See ``SpanExporter``."""
        with self._lock:
            self.waiting -= len(spans)
        shown = spans if self._with_words else [without_texts(span) for span in spans]
        try:
            result = self._exporter.export(shown)
        except Exception as error:  # noqa: BLE001 - whatever the exporter meets, the next batch is tried
            _log.warning("traces.export_broken", error=type(error).__name__)
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self._is_away:
                _log.info("traces.receiver_back")
            self._is_away = False
        else:
            metrics.SPANS_LOST.labels("export").inc(len(spans))
            if not self._is_away:
                _log.warning("traces.receiver_away", spans=len(spans))
            self._is_away = True
        return result

    def shutdown(self) -> None:
        """See ``SpanExporter``."""
        self._exporter.shutdown()


def without_texts(span: ReadableSpan) -> ReadableSpan:
    """The same span with the attributes that may leave; errors by their kind alone."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_shown(span.attributes),
        events=[Event(event.name, _shown(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _shown(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (attributes or {}).items() if name.startswith(SHOWN)}


class Telemetry:
    """What was started; ``stop`` it. One in a process at a time, after any fork."""

    def __init__(self, conf: TelemetryConf, role: str) -> None:
        exporter = OTLPSpanExporter(
            endpoint=conf.traces_url, headers=conf.headers, timeout=SEND_TIMEOUT_S, compression=Compression.Gzip
        )
        self._outlet = Outlet(exporter, conf.traces.with_words)
        self._batches = BatchSpanProcessor(
            self._outlet,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=SEND_EVERY_MS,
            max_export_batch_size=BATCH_SPANS,
        )
        self.keeper = Keeper(conf.traces, self._queue)
        self.provider = TracerProvider(
            sampler=CallSampler(self.keeper, _ANNOUNCES.__contains__),
            resource=Resource.create({"service.name": conf.service_name, "voiceagent.process": role}),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self.keeper)
        self.traces = Traces(Tracing(self.provider.get_tracer("voiceagent.calls"), self.keeper, conf.traces))
        # The names of the stable conventions, without a value of any query.
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
        self._instrumentors = (Requests(), PsycopgInstrumentor(), RedisInstrumentor(), CeleryInstrumentor())  # type: ignore[no-untyped-call]
        for instrumentor in self._instrumentors:
            instrumentor.instrument(tracer_provider=self.provider, skip_dep_check=True)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """``app``, made while this is on, with a span for each of its requests that is not quiet; nothing for sockets."""
        traced = OpenTelemetryMiddleware(
            app, default_span_details=_mcp, tracer_provider=self.provider, exclude_spans=["receive", "send"]
        )

        async def routed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            own = [(name, value) for name, value in scope["headers"] if name.lower() not in _FOREIGN]
            by_django = scope["path"].rstrip("/") != _MCP
            await (app if by_django else traced)({**scope, "headers": own}, receive, send)

        return routed

    def stop(self, within_s: float = FLUSH_S) -> bool:
        """Send what waits, for at most so long. Whether all of it went."""
        for instrumentor in self._instrumentors:
            instrumentor.uninstrument()
        sending = threading.Thread(target=self._batches.shutdown, name="traces-flush", daemon=True)
        sending.start()
        sending.join(within_s)
        if sending.is_alive():
            self._outlet.shutdown()  # ends the pauses between attempts
            _log.warning("traces.not_flushed", spans=self._outlet.waiting)
            return False
        return True

    def _queue(self, span: ReadableSpan) -> None:
        if self._outlet.admit():
            self._batches.on_end(span)
        else:
            metrics.SPANS_LOST.labels("queue").inc()


def _mcp(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Name and route of a request to the memory's MCP server."""
    return f"{scope.get('method', 'GET')} {_MCP}", {"http.route": _MCP}

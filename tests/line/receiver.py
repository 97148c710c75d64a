"""A receiver of traces: OTLP over HTTP as protobuf, on loopback, as well or as badly behaved as a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass
class Got:
    """One span as it arrived. Times in ms since 1970, ids in hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ms: float
    end_ms: float
    is_error: bool
    facts: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]

    @property
    def length_ms(self) -> float:
        """How long it took."""
        return self.end_ms - self.start_ms


@dataclass
class Receiver:
    """Listens from ``start`` to ``stop``. ``mode``: ``take``, ``refuse`` (503) or ``hang``."""

    mode: str = "take"
    spans: list[Got] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _runner: web.AppRunner | None = None
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where traces are posted to."""
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Let go of what hangs, and close."""
        self._let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.headers = dict(request.headers)
        body = await request.read()
        if self.mode == "hang":
            await self._let_go.wait()
        if self.mode != "take":
            return web.Response(status=503)
        self.bodies.append(body)
        self.spans.extend(_spans(body))
        return web.Response(body=b"", content_type="application/x-protobuf")

    def named(self, name: str) -> list[Got]:
        """Spans of this name, by their start."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_ms)

    def under(self, parent: Got) -> list[Got]:
        """The children of a span, by their start."""
        found = (span for span in self.spans if span.parent_id == parent.span_id and span.trace_id == parent.trace_id)
        return sorted(found, key=lambda span: span.start_ms)


def _spans(body: bytes) -> Iterator[Got]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Got(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    start_ms=span.start_time_unix_nano / 1e6,
                    end_ms=span.end_time_unix_nano / 1e6,
                    is_error=span.status.code == 2,
                    facts={pair.key: _value(pair.value) for pair in span.attributes},
                    events=[(e.name, {pair.key: _value(pair.value) for pair in e.attributes}) for e in span.events],
                )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None

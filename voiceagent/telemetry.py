"""Traces on or off, in this process. Off, which is the default, loads nothing of the exporter (``voiceagent.otlp``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace

from calls.tracing import Traces

if TYPE_CHECKING:
    from voiceagent.conf import TelemetryConf
    from voiceagent.otlp import Telemetry

_log = structlog.get_logger(__name__)

_started: Telemetry | None = None


def start(conf: TelemetryConf | None, role: str) -> Telemetry | None:
    """Start tracing in this process where it is configured. ``role``: what the process is, for its resource."""
    global _started
    if conf is not None and _started is None:
        from voiceagent.otlp import Telemetry  # a third of a second, for those who want it

        _started = Telemetry(conf, role)
        trace.set_tracer_provider(_started.provider)
        _log.info("traces.started", share=conf.traces.share, role=role)
    return _started


def stop() -> None:
    """Stop what ``start`` started, if it did: what waits is sent first, for a bounded time."""
    global _started
    if _started is not None:
        _started.stop()
        _started = None


def current() -> Traces:
    """The traces of this process's calls."""
    return _started.traces if _started is not None else Traces()

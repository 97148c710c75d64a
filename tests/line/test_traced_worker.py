"""A worker of its own, which forks: what its children do about a call arrives, sent after the fork and before their end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from calls.logcontext import enter
from calls.tasks import archive
from calls.tracing import SAMPLED, fresh, id_of
from tests.line.hostile import eventually, sid

if TYPE_CHECKING:
    from tests.conftest import TestServers
    from tests.line.receiver import Receiver
    from voiceagent.otlp import Telemetry

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


async def test_a_worker_that_forks_sends_the_spans_of_its_tasks(
    traced: Telemetry, receiver: Receiver, test_servers: TestServers, redis_url: str, transactional_db: None
) -> None:
    from django.db import connection

    database = test_servers.database_url.rpartition("/")[0] + "/" + connection.settings_dict["NAME"]
    env = {
        **os.environ,
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "DJANGO_SETTINGS_MODULE": "voiceagent.settings.production",
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "celery", "-A", "voiceagent", "worker", "-c", "1", "--loglevel", "INFO",
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        call = fresh()
        call_sid = sid()
        enter(call_sid, id_of(call))
        with use_span(NonRecordingSpan(SpanContext(call.trace_id, call.span_id, False, SAMPLED))):
            await asyncio.to_thread(archive.apply_async, (call_sid,))
        await eventually(lambda: bool(receiver.named("run/calls.tasks.archive")), timeout_s=60)
    finally:
        if worker.returncode is None:
            worker.send_signal(signal.SIGTERM)
        output, _ = await worker.communicate()
    (run,) = receiver.named("run/calls.tasks.archive")
    assert run.trace_id == id_of(call)
    roles = {
        attribute.value.string_value
        for body in receiver.bodies
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for attribute in of_resource.resource.attributes
        if attribute.key == "voiceagent.process" and "run/" in str(of_resource)
    }
    assert roles == {"worker"}
    assert b"traces.started" in output

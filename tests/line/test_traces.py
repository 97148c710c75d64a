"""Whole calls as traces, seen from the receiver's side: real sockets, the official exporter, a real worker."""

from __future__ import annotations

import asyncio
import io
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from prometheus_client import REGISTRY

from calls.conf import TraceConf
from calls.models import Call
from calls.tasks import send_archive
from tests.line.conftest import PATIENT, Line, make_agent, open_line, policy, speech
from tests.line.hostile import answered, eventually, exchange, keyed, listening, quick, sid, wire
from tests.line.test_hostile_logs import logged
from tests.worker import working
from voiceagent.celery import app as celery_app
from voiceagent.sandbox.carrier import AgentStarted, Cleared
from voiceagent.sandbox.control import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from calls.conf import CallsConf
    from calls.models import Agent
    from tests.line.receiver import Got, Receiver
    from voiceagent.otlp import Telemetry

LONG = "First there is the pasta, then there is the fish, and after that a very long list of desserts. " * 3
BOOKING = {"name": "Maria", "party_size": 2, "date": "2026-11-24", "time": "19:00"}


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that waits for the caller to speak."""
    return make_agent(greeting="", policy=policy(**PATIENT, speculative=False))


async def a_talk(line: Line) -> str:
    """A booking, a long answer that is cut, a last one. Gives the call's id."""
    quick(line)
    line.ears.utterances("A table for two tomorrow at seven, Maria.", "Tell me everything.", "Thanks.")
    line.answers(("everything", Reply(text=LONG)), ("thanks", Reply(text="You are welcome.")))
    line.model.reply("One moment. ", tool_calls=[ToolCall(name="book_table", arguments=BOOKING)])
    line.model.reply("It is booked.")
    phone = await answered(line)
    await listening(line, phone.call_sid)
    await exchange(phone, speech(700))
    count = len(phone.timeline.events)
    await phone.speak(speech(700))
    await phone.wait_for(AgentStarted, after=count)
    count = len(phone.timeline.events)
    await phone.speak(speech(900))
    await phone.wait_for(Cleared, after=count)
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    await phone.hang_up()
    return phone.call_sid


def names(spans: list[Got]) -> list[str]:
    """Their names, those of queries left out."""
    return [span.name for span in spans if "db.system.name" not in span.facts]


async def test_a_call_is_one_trace_with_its_turns_and_their_stages(traced_line: Line, receiver: Receiver) -> None:
    call_sid = await a_talk(traced_line)
    await eventually(lambda: call_sid in traced_line.archived and bool(receiver.named("call")))
    row = await Call.objects.aget(call_sid=call_sid)
    turns = {turn.number: turn async for turn in row.turns.all()}
    (call,) = receiver.named("call")
    assert (row.trace_id, row.trace_kept) == (call.trace_id, True)
    assert call.facts["gen_ai.conversation.id"] == call_sid
    assert receiver.headers["api-key"] == "k1"

    # Above it the webhook, with what that asked of PostgreSQL and Redis.
    (webhook,) = receiver.named("POST /twilio/voice")
    assert (webhook.trace_id, webhook.span_id, webhook.parent_id) == (call.trace_id, call.parent_id, "")
    assert webhook.facts["http.response.status_code"] == 200
    assert {span.facts["db.system.name"] for span in receiver.under(webhook) if span is not call} == {
        "postgresql", "redis",
    }  # fmt: skip

    # Below it one span for each turn, and in each what it was made of.
    spans = {span.facts["voiceagent.turn"]: span for span in receiver.named("turn")}
    assert [spans[number].facts["voiceagent.turn.outcome"] for number in (1, 2, 3)] == [
        "answered", "interrupted", "answered",
    ]  # fmt: skip
    assert all(span.parent_id == call.span_id for span in spans.values())
    stages = {number: names(receiver.under(span)) for number, span in spans.items()}
    model = "chat gpt-6-luna"
    assert sorted(set(stages[1]) - {"endpointing", "recall"}) == [model, "execute_tool book_table", "playback", "voice"]
    assert stages[1].count(model) == 2
    assert {"endpointing", model, "voice", "playback", "barge_in"} <= set(stages[2])
    assert {"endpointing", model, "voice", "playback"} <= set(stages[3])

    # The stages are as long as the record says, and what an answer waited for adds up to its latency.
    for number in (2, 3):
        turn, facts, below = turns[number], spans[number].facts, receiver.under(spans[number])
        waits = [facts[f"voiceagent.wait.{name}_ms"] for name in ("endpointing", "model", "voice")]
        assert sum(waits) == facts["voiceagent.latency_ms"] == turn.latency_ms
        by_name = {span.name: span for span in below}
        chat, voice, playback = by_name[model], by_name["voice"], by_name["playback"]
        assert by_name["endpointing"].length_ms == pytest.approx(waits[0], abs=0.01)
        assert turn.committed_ms is not None and turn.first_audio_ms is not None
        assert voice.start_ms - by_name["endpointing"].end_ms == pytest.approx(waits[1], abs=0.01)
        assert playback.start_ms - voice.start_ms == pytest.approx(waits[2], abs=0.01)
        assert chat.start_ms <= voice.start_ms <= playback.start_ms <= spans[number].end_ms
        assert chat.facts["gen_ai.response.time_to_first_chunk"] > 0
        assert voice.facts["voiceagent.time_to_first_audio_ms"] == waits[2]
        assert all(spans[number].start_ms <= span.start_ms <= span.end_ms for span in below)
    asked, told = (span for span in receiver.under(spans[1]) if span.name == model)
    assert asked.facts["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert (told.facts["gen_ai.response.finish_reasons"], told.facts["voiceagent.attempt"]) == (["stop"], 2)
    assert told.facts["gen_ai.usage.output_tokens"] > 0
    (cut,) = (span for span in receiver.under(spans[2]) if span.name == model)
    assert cut.kind == told.kind == 3  # client

    # Hundreds of frames made no span, and the log's writer, which asks Redis all the time, none either.
    assert row.duration_ms is not None and row.duration_ms > 2000
    assert [span for span in receiver.spans if "websocket" in span.name.lower() or "stream" == span.name] == []
    assert len([span for span in receiver.spans if span.trace_id == call.trace_id]) < 80
    assert [span for span in receiver.spans if not span.parent_id and span.kind != 2] == []


class TestWhatIsKept:
    """Of calls that are not of the share."""

    @pytest.fixture
    def kept(self) -> TraceConf:
        return TraceConf(share=0.0, slow_turn_ms=60_000)

    async def test_a_good_call_leaves_nothing_a_failed_one_everything(
        self, traced_line: Line, traced: Telemetry, receiver: Receiver
    ) -> None:
        quick(traced_line)
        traced_line.answers(("keypad", Reply(text="Fine.")))
        good = await answered(traced_line)
        await keyed(good)
        assert traced.keeper.held > 5
        await good.hang_up()
        row = await traced_line.archived_call(good)
        assert len(row.trace_id) == 32 and not row.trace_kept
        failed = await answered(traced_line)
        traced_line.model.fault("openai.chat", "refuse", status=401)
        await keyed(failed)
        await failed.hang_up()
        row = await traced_line.archived_call(failed)
        async with wire(traced_line) as made:
            await made.post("/twilio/voice", made.fields(sid(), To="+15557654321"))
        await eventually(lambda: bool(receiver.named("call")) and len(receiver.named("POST /twilio/voice")) == 2)
        (call,) = receiver.named("call")
        assert (row.trace_id, row.trace_kept) == (call.trace_id, True)
        assert call.is_error and call.facts["voiceagent.kept_for"] == call.facts["error.type"] == "model_auth"
        assert [event for event, _ in call.events][:1] == ["failed"]
        (turn,) = receiver.named("turn")
        assert turn.facts["voiceagent.turn.outcome"] == "failed_to_fallback"
        (chat,) = receiver.named("chat gpt-6-luna")
        assert chat.is_error and chat.facts["error.type"] == "auth"
        # The webhooks of the failed call, and of the one that nobody answers.
        webhook, refused = receiver.named("POST /twilio/voice")
        assert webhook.trace_id == call.trace_id != refused.trace_id
        assert {span.trace_id for span in receiver.spans} == {call.trace_id, refused.trace_id}
        assert traced.keeper.held == 0

    async def test_a_slow_one_is_kept(self, traced_line: Line, traced: Telemetry, receiver: Receiver) -> None:
        quick(traced_line)
        object.__setattr__(traced.traces.on.conf, "slow_turn_ms", 1)  # type: ignore[union-attr]
        traced_line.ears.utterances("How are you?")
        traced_line.answers(("how are you", Reply(text="Fine.")))
        phone = await answered(traced_line)
        await listening(traced_line, phone.call_sid)
        await exchange(phone, speech(900))
        await phone.hang_up()
        await eventually(lambda: bool(receiver.named("call")))
        (call,) = receiver.named("call")
        assert (call.facts["voiceagent.kept_for"], call.is_error) == ("slow", False)


async def test_a_receiver_that_refuses_or_hangs_disturbs_nothing(
    traced_line: Line, traced: Telemetry, receiver: Receiver
) -> None:
    quick(traced_line)
    traced_line.answers(("keypad", Reply(text="Fine.")))

    def lost() -> float:
        return REGISTRY.get_sample_value("trace_spans_lost_total", {"why": "export"}) or 0.0

    before = lost()
    with logged() as (lines, _):
        for mode in ("refuse", "hang"):
            receiver.mode, asked = mode, receiver.requests
            phone = await answered(traced_line)
            await keyed(phone)
            await phone.hang_up()
            row = await traced_line.archived_call(phone)
            assert (row.end_reason, row.turn_count) == ("caller_hung_up", 1)
            await eventually(lambda asked=asked: receiver.requests > asked)  # type: ignore[misc]
        began = time.monotonic()
        assert not await asyncio.to_thread(traced.stop, 0.2)
        assert time.monotonic() - began < 1.5
    assert lost() > before
    told = [line for line in lines.getvalue().splitlines() if "traces.receiver_away" in line]
    assert len(told) == 1
    assert "Failed to export" not in lines.getvalue()
    assert isinstance(lines, io.StringIO)


@pytest.fixture
async def worked_line(
    agent: Agent, traced: Telemetry, calls_conf: CallsConf, unused_tcp_port: int, settings: Any, tmp_path: Path
) -> AsyncIterator[Line]:
    """A traced line whose calls are archived and distilled by a worker, over the broker; its model is the stand-in."""
    from voiceagent import asgi

    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    async with AsyncExitStack() as stack:
        opened = await open_line(stack, calls_conf, unused_tcp_port, asgi.house(traced), send_archive)
        settings.OPENAI_DISTIL_MODEL = "gpt-6-luna"
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = opened.model.key, opened.sandbox.openai_url
        worker = working(celery_app, 10)
        await asyncio.to_thread(worker.__enter__)
        try:
            yield opened
        finally:
            await asyncio.to_thread(worker.__exit__, None, None, None)
    await sync_to_async(connections.close_all)()


async def test_what_the_worker_does_about_a_call_belongs_to_its_trace_and_says_so_in_its_lines(
    worked_line: Line, receiver: Receiver
) -> None:
    quick(worked_line)
    worked_line.ears.utterances("My name is Maria.")
    worked_line.answers(("maria", Reply(text="Hello Maria.")))
    with logged() as (lines, _):
        phone = await answered(worked_line)
        await exchange(phone, speech(900))
        await phone.hang_up()
        await eventually(lambda: bool(receiver.named("run/memory.tasks.card")), timeout_s=20)
    (call,) = receiver.named("call")
    tasks = ["calls.tasks.archive", "calls.tasks.remember", *(f"memory.tasks.{n}" for n in ("embed", "distil", "card"))]
    for task in tasks:
        (run,) = receiver.named(f"run/{task}")
        assert run.trace_id == call.trace_id, task
        assert [span.span_id for span in receiver.named(f"apply_async/{task}")] == [run.parent_id]
    (sent,) = receiver.named("apply_async/calls.tasks.archive")
    assert sent.parent_id == call.span_id
    (distil,) = receiver.named("run/memory.tasks.distil")
    asked = [span for span in receiver.under(distil) if span.name == "chat gpt-6-luna"]
    assert asked and asked[0].facts["gen_ai.operation.name"] == "chat"
    assert asked[0].facts["voiceagent.asked_for"] == "facts"
    for wanted in ("call.archived", "call.remembered", "memory.distilled"):
        (line,) = (line for line in lines.getvalue().splitlines() if f'"event":"{wanted}"' in line)
        assert phone.call_sid in line and call.trace_id in line, line

"""The lines that a person reads, and the logs they come from."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis

from calls.logkeys import LIVE_KEY
from voiceagent.embedded.state import free_port
from voiceagent.supervise.child import Child, ChildError, Spec, python, rotate
from voiceagent.supervise.claim import StartError, check_port, only_run
from voiceagent.supervise.lines import follow, render
from voiceagent.supervise.record import until_archived

if TYPE_CHECKING:
    from pathlib import Path


def line(event: str, **fields: Any) -> bytes:
    return json.dumps({"event": event, "timestamp": "2026-11-01T12:03:11.5Z", **fields}).encode()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (line("call.started", call_sid="CA1", agent="Bella"), "{clock}  call CA1 started, answered by Bella"),
        (line("call.started", call_sid="CA1", pii_from="+1555"), "{clock}  call CA1 started from +1555"),
        (
            line(
                "call.ended",
                call_sid="CA1",
                duration_ms=61250,
                turns=4,
                barge_ins=1,
                turn_latency_ms=480.4,
                reason="hung up",
            ),
            "{clock}  call CA1 ended: 61.2 s, 4 turns, 1 barge-in, answers in 480 ms, hung up",
        ),
        (line("call.ended", call_sid="CA1", turns=True), "{clock}  call CA1 ended: "),
        (line("call.ended", call_sid="CA1", turns=2), "{clock}  call CA1 ended: 2 turns, answers: no data"),
        (b'{"event": "call.started", "call_sid": "CA1"}', "--:--:--  call CA1 started"),
        (
            line("call.refused", call_sid="CA1", why="overload"),
            "{clock}  call CA1 refused: MAX_CALLS calls are in progress, or those in progress suffer",
        ),
        (
            line("call.refused", call_sid="CA1", why="rate"),
            "{clock}  call CA1 refused: the number has called too often within a minute (CALLS_PER_NUMBER_PER_MINUTE)",
        ),
        (line("call.refused", call_sid="CA1", why="new_reason"), "{clock}  call CA1 refused: new reason"),
        (
            line("webhook.refused", path="/twilio/voice", why="mismatch"),
            "{clock}  request to /twilio/voice refused: its signature does not fit: "
            "PUBLIC_BASE_URL must be what the carrier calls, TWILIO_AUTH_TOKEN the account's",
        ),
        (line("stream.refused", why="signature_missing"), "{clock}  media stream refused: it is not signed"),
        (line("stream.refused", why="bad_ticket"), "{clock}  media stream refused: bad ticket"),
        (
            line("call.archived", call_sid="CA1", reason="process_died", result="archived"),
            "{clock}  call CA1 had lost its process; what was recorded is archived",
        ),
        (line("call.archived", call_sid="CA1", reason="process_died", result="already"), None),
        (line("call.archived", call_sid="CA1", reason="caller_hung_up", result="archived"), None),
        (line("call.abandoned", call_sid="CA1", reason="not_connected"), "{clock}  call CA1 closed: not connected"),
        (
            line("drain.begun", calls=2, seconds=8),
            "Waiting for 2 calls, up to 8 s. Ctrl-C again to stop at once.",
        ),
        (line("drain.closing", calls=1, seconds=12.0), "Time is up: 1 call told goodbye, up to 12 s more."),
        (line("turn.ended", call_sid="CA1"), None),
        (line("call.other"), None),
        (b'{"event": "call.started"', None),
        (b'["call.started"]', None),
        (b"Traceback", None),
    ],
)
def test_a_call_is_one_line_when_it_starts_and_one_when_it_ends(raw: bytes, shown: str | None) -> None:
    clock = f"{datetime.datetime(2026, 11, 1, 12, 3, 11, tzinfo=datetime.UTC).astimezone():%H:%M:%S}"
    assert render(raw) == (shown and shown.format(clock=clock))


def holds(log: Path, text: bytes) -> bool:
    return log.exists() and text in log.read_bytes()


async def until_written(log: Path, text: bytes) -> None:
    while not holds(log, text):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.02)


async def test_following_says_what_comes_after_even_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_bytes(line("call.started", call_sid="CA0") + b"\n")
    said: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(follow(log, said.put_nowait))
    await asyncio.sleep(0)
    whole = line("call.started", call_sid="CA1") + b"\n"
    with log.open("ab") as file:
        file.write(whole[:20])
        file.flush()
        await asyncio.sleep(0.3)
        file.write(whole[20:])
    async with asyncio.timeout(5):
        assert "CA1" in await said.get()
        log.rename(tmp_path / "web.log.1")
        log.write_bytes(line("call.ended", call_sid="CA2") + b"\n")
        assert "CA2" in await said.get()
    assert said.empty()
    with log.open("ab") as file:
        file.write(line("call.ended", call_sid="CA3") + b"\n")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert "CA3" in said.get_nowait(), "what came last is said at the end"


def test_a_large_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voiceagent.supervise.child._LOG_BYTES_KEPT", 10)
    log = tmp_path / "web.log"
    log.write_text("short", encoding="utf-8")
    rotate(log)
    assert log.exists()
    log.write_text("a longer text", encoding="utf-8")
    rotate(log)
    assert not log.exists()
    assert (tmp_path / "web.log.1").read_text(encoding="utf-8") == "a longer text"


async def test_a_child_that_keeps_dying_is_explained(tmp_path: Path) -> None:
    said: list[str] = []
    spec = Spec("web", python("-c", "raise SystemExit('no such thing')"), tmp_path / "web.log", health_port=9)
    child = Child(spec, {}, said.append)
    child.start()
    try:
        with pytest.raises(ChildError, match="no such thing"):
            await child.ready(timeout_s=30)
    finally:
        await child.stop()
    assert said[0] == "web ended (exit code 1); starting it again in 0.5 s."
    assert said[1] == "web ended (exit code 1); starting it again in 1 s."
    assert any("keeps dying" in entry and "no such thing" in entry for entry in said)


async def test_a_child_that_is_back_says_so(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    port = free_port()
    serving = (
        "import http.server as h\n"
        "class Answer(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        f"h.HTTPServer(('127.0.0.1', {port}), Answer).serve_forever()"
    )
    child = Child(Spec("web", python("-c", serving), tmp_path / "web.log", health_port=port), {}, said.put_nowait)
    child.start()
    try:
        await child.ready(timeout_s=30)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            assert await said.get() == "web ended (killed by SIGKILL); starting it again in 0.5 s."
            assert await said.get() == "web runs again."
    finally:
        await child.stop()
    assert said.empty()


async def test_a_child_is_urged_only_while_it_ends(tmp_path: Path) -> None:
    counting = (
        "import itertools, signal, sys, time\n"
        "told = itertools.count(1)\n"
        "def on(*_):\n"
        "    if next(told) == 2: sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, on); print('up', flush=True); time.sleep(60); time.sleep(60)"
    )
    said: list[str] = []
    child = Child(Spec("web", python("-c", counting), tmp_path / "web.log", patience_s=30), {}, said.append)
    child.start()
    async with asyncio.timeout(20):
        await until_written(tmp_path / "web.log", b"up")
        child.urge()
        stopping = asyncio.create_task(child.stop())
        while not stopping.done():
            await asyncio.sleep(0.05)
            child.urge()
        await stopping
    assert said == []


def keep_live(client: redis.Redis, call_sid: str, age_ms: int) -> None:
    """A call in progress, as the log's heartbeat reports it."""
    client.zadd(LIVE_KEY, {call_sid: time.time_ns() // 1_000_000 - age_ms})


async def test_a_stop_waits_for_the_records_of_its_calls_only(redis_url: str) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    now_ms = time.time_ns() // 1_000_000
    with redis.Redis.from_url(redis_url) as client:
        keep_live(client, "CA0", age_ms=3_600_000)
        async with asyncio.timeout(5):
            await until_archived(redis_url, now_ms, asyncio.Event(), said.put_nowait)
            assert said.empty()
            keep_live(client, "CA1", age_ms=0)
            waiting = asyncio.create_task(until_archived(redis_url, now_ms, asyncio.Event(), said.put_nowait))
            assert await said.get() == "Archiving 1 call."
            client.zrem(LIVE_KEY, "CA1")
            await waiting
    assert said.empty()


async def test_records_are_not_waited_for_for_ever_nor_without_redis(redis_url: str) -> None:
    said: list[str] = []
    now_ms = time.time_ns() // 1_000_000
    with redis.Redis.from_url(redis_url) as client:
        keep_live(client, "CA1", age_ms=0)
        keep_live(client, "CA2", age_ms=0)
    async with asyncio.timeout(5):
        await until_archived(redis_url, now_ms, asyncio.Event(), said.append, limit_s=0.2)
        await until_archived("redis://127.0.0.1:9/0", now_ms, asyncio.Event(), said.append)
    assert said == ["Archiving 2 calls.", "2 calls will be archived at the next start."]


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = Child(Spec("web", python("-c", stubborn), tmp_path / "web.log", patience_s=0.3), {}, said.append)
    child.start()
    async with asyncio.timeout(20):
        await until_written(tmp_path / "web.log", b"up")
        await child.stop()
    assert child.pid is None
    assert said == ["web did not end within 0 s: killed."]


def test_two_claims_on_a_folder(tmp_path: Path) -> None:
    with only_run(tmp_path, "http://here", ""):
        noted = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
        assert noted["url"] == "http://here"
        with pytest.raises(StartError, match=f"process {noted['pid']}, http://here"), only_run(tmp_path, "x", ""):
            pass
        assert (tmp_path / "run.json").exists()
    assert not (tmp_path / "run.json").exists()


def test_a_host_that_is_not_ours_cannot_be_listened_on() -> None:
    with pytest.raises(StartError, match=r"Cannot listen on 192\.0\.2\.1"):
        check_port("192.0.2.1", 8000)

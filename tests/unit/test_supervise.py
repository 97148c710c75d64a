"""The lines that a person reads, and the logs they come from."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from voiceagent.supervise.child import Child, ChildError, Spec, python, rotate
from voiceagent.supervise.claim import StartError, check_port, only_run
from voiceagent.supervise.lines import follow, render

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
        (b'{"event": "call.started", "call_sid": "CA1"}', "--:--:--  call CA1 started"),
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
    task.cancel()
    assert said.empty()


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

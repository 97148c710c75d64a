"""`make call` as a user meets it: the process, what it prints and its exit code, also where something dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from redis.asyncio import Redis

from calls.logkeys import events_key
from tests.contract.sandbox.callee import ACCOUNT, TOKEN, Callee, media
from voiceagent.embedded import state
from voiceagent.embedded.valkey import Valkey
from voiceagent.sandbox import sound
from voiceagent.sandbox.call import lines, transcript
from voiceagent.sandbox.call.conversation import Conversation
from voiceagent.sandbox.call.outcome import Outcome, waited
from voiceagent.sandbox.call.printer import Printer
from voiceagent.sandbox.call.transcript import EventStreamSource
from voiceagent.sandbox.carrier import AgentStopped, CallerStarted, Carrier, HungUp

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

    from voiceagent.sandbox.call.narration import Note

GREETING = sound.mulaw_tone()[:4800]


async def greet(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """A server that says something at the start and after each key."""
    if message["event"] in ("start", "dtmf"):
        await socket.send_json(media(message["streamSid"], GREETING))


@pytest.fixture
async def callee() -> AsyncIterator[Callee]:
    async with Callee() as server:
        server.on_message = greet
        yield server


async def started(folder: Path, *arguments: str) -> Process:
    environ = os.environ | {"DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", "voiceagent.sandbox.call", *arguments]
    return await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ)


async def ended(process: Process) -> tuple[int | None, str, str]:
    """Exit code and what was printed; a traceback is never part of it."""
    out, err = await process.communicate()
    assert b"Traceback" not in out + err, err.decode()
    return process.returncode, out.decode(), err.decode()


async def test_a_call_that_goes_well_leaves_with_nothing_to_complain_of(callee: Callee, tmp_path: Path) -> None:
    process = await started(tmp_path, "--url", callee.url, "--auth-token", TOKEN, "--dtmf", "1")
    code, out, err = await ended(process)
    assert (code, err) == (0, "")
    assert "1 answer began " in out
    assert out.endswith("The call went well.\n")
    assert callee.posts("/twilio/status")[0]["CallStatus"] == "completed"


@pytest.mark.long
async def test_a_silent_recording_is_said_to_be_silent(callee: Callee, tmp_path: Path) -> None:
    recording = tmp_path / "mute.wav"
    recording.write_bytes(sound.wav_bytes(np.zeros(4000, dtype=np.int16), sound.PHONE_RATE))
    where = ["--url", callee.url, "--auth-token", TOKEN]
    process = await started(tmp_path, *where, "--wav", str(recording), "--dtmf", "1")
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode().startswith("“mute.wav” is silence")
    process.send_signal(signal.SIGTERM)
    await ended(process)


@pytest.mark.long
async def test_without_a_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    code, out, err = await ended(await started(tmp_path))
    assert (code, out) == (2, "")
    assert err == f"No server runs on {tmp_path}. Start one with `make run`, or name another with --url.\n"


@pytest.mark.long
async def test_a_note_of_a_server_that_is_gone_is_seen_through(tmp_path: Path, unused_tcp_port: int) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    state.write_json(tmp_path / "run.json", {"pid": 1, "url": "http://127.0.0.1:1", "sandbox_url": address})
    code, out, err = await ended(await started(tmp_path))
    assert (code, out) == (2, "")
    assert err == f"The stand-ins at {address} cannot be reached: Connection refused. Does `make run` still run?\n"


async def test_a_file_that_is_no_recording_is_named_before_anything_rings(callee: Callee, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    where = ["--url", callee.url, "--auth-token", TOKEN]
    code, out, err = await ended(await started(tmp_path, *where, "--wav", str(tmp_path / "empty.wav")))
    assert (code, out) == (2, "")
    assert err.startswith(f"{tmp_path / 'empty.wav'} is no recording")
    assert err.count("\n") == 1
    assert callee.forms == []


@pytest.mark.parametrize(
    ("token", "port", "cause"),
    [
        (TOKEN, 1, "11205: http://127.0.0.1:1/twilio/voice could not be reached: Connection refused"),
        ("wrong", None, "answered 403; the server does not take the signature: --auth-token must be"),
    ],
)
async def test_a_server_that_refuses_is_told_in_a_line(
    callee: Callee, tmp_path: Path, token: str, port: int | None, cause: str
) -> None:
    url = f"http://127.0.0.1:{port or callee.port}"
    code, out, err = await ended(await started(tmp_path, "--url", url, "--auth-token", token))
    assert (code, err) == (1, "")
    assert "Problem: the call did not come about: " in out
    assert cause in out
    assert out.endswith("The call went wrong.\n")


@pytest.mark.parametrize(
    ("number", "calls"),
    [
        (signal.SIGINT, 2),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.long),
    ],
)
async def test_a_signal_hangs_up(callee: Callee, tmp_path: Path, number: signal.Signals, calls: int) -> None:
    process = await started(tmp_path, "--url", callee.url, "--auth-token", TOKEN, "--calls", str(calls))
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"has stopped" not in await process.stdout.readline():
            pass
    process.send_signal(number)
    code, out, err = await ended(process)
    assert (code, err) == (128 + number, "")
    assert "Hanging up." in out
    assert out.count("was interrupted after") == (calls if calls > 1 else 0)
    assert len(callee.of("stop")) == calls
    assert [form["CallStatus"] for form in callee.posts("/twilio/status")] == ["completed"] * calls


@pytest.mark.long
async def test_a_reader_who_leaves_does_not_end_the_call(callee: Callee, tmp_path: Path) -> None:
    process = await started(tmp_path, "--url", callee.url, "--auth-token", TOKEN, "--dtmf", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert await process.stderr.read() == b""
    assert await process.wait() == 0
    assert len(callee.of("dtmf")) == 1


# What the words come from --------------------------------------------------------------------------------------------


@pytest.fixture
async def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Valkey]:
    """A Valkey that may be stopped, and a source that soon gives it up."""
    monkeypatch.setattr(transcript, "_RETRIES", 1)
    server = Valkey(tmp_path / "own", lambda _: None)
    await asyncio.to_thread(server.ensure)
    yield server
    await asyncio.to_thread(server.stop)


def recorder(redis_url: str, *entries: tuple[str, dict[str, Any]]) -> Callable[..., Awaitable[None]]:
    """A server that records these entries at the start of a call, and answers keys and silence after speech."""
    owes, quiet_frames = False, 0

    async def record(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        nonlocal owes, quiet_frames
        if message["event"] == "start":
            async with Redis.from_url(redis_url) as redis:
                for kind, data in entries:
                    key = events_key(message["start"]["callSid"])
                    await redis.xadd(key, {"type": kind, "step": "1", "data": json.dumps(data)})
        if message["event"] == "media":
            loud = not message["media"]["payload"].startswith("////")
            owes, quiet_frames = owes or loud, 0 if loud else quiet_frames + 1
            if owes and quiet_frames == 15:
                owes = False
                await socket.send_json(media(message["streamSid"], GREETING))
        await greet(socket, message)

    return record


async def follow(callee: Callee, redis_url: str, *said: lines.Line) -> tuple[Outcome, list[Note]]:
    """A call with the words of the server's record: lines and then a key."""
    notes: list[Note] = []
    async with Carrier(callee.url, account_sid=ACCOUNT, auth_token=TOKEN) as carrier:
        source = EventStreamSource(redis_url)
        outcome = await Conversation(carrier.call(), lines.Script(said), "1", source, notes.append).run()
    return outcome, notes


async def test_the_words_come_from_the_servers_record(callee: Callee, own_redis: Valkey, tmp_path: Path) -> None:
    url = state.addresses(tmp_path / "own")["REDIS_URL"]
    callee.on_message = recorder(
        url, ("Say", {"epoch": 1, "text": "Hello."}), ("EndSay", {"epoch": 1}), ("AudioSent", {"epoch": 1})
    )
    outcome, notes = await follow(callee, url)
    assert outcome.problems == []
    assert [(note.kind, note.text) for note in notes] == [("agent", "Hello.")]


async def test_a_prompt_is_no_answer_to_what_was_not_understood(
    callee: Callee, own_redis: Valkey, tmp_path: Path
) -> None:
    url = state.addresses(tmp_path / "own")["REDIS_URL"]
    callee.on_message = recorder(url, ("TurnEnded", {"text": "One."}))
    outcome, notes = await follow(callee, url, lines.Line("one", GREETING), lines.Line("two", GREETING))
    assert outcome.problems == ["the server understood only 1 of the 2 things that the caller said"]
    assert [(note.kind, note.text) for note in notes] == [("understood", "One.")]


async def test_a_record_that_dies_in_the_call_is_a_problem_and_the_call_goes_on(
    callee: Callee, own_redis: Valkey, tmp_path: Path
) -> None:
    async def stop(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            await asyncio.to_thread(own_redis.stop)
        await greet(socket, message)

    callee.on_message = stop
    outcome, notes = await follow(callee, state.addresses(tmp_path / "own")["REDIS_URL"])
    (problem,) = outcome.problems
    assert problem.startswith("the server's record of the words cannot be read: Redis at 127.0.0.1:")
    assert [(note.kind, note.text) for note in notes] == [("warning", problem)]
    assert outcome.turns == 1


async def test_a_record_that_is_not_there_is_a_problem_too(
    callee: Callee, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "_RETRIES", 1)
    outcome, _ = await follow(callee, f"redis://127.0.0.1:{unused_tcp_port}/0")
    (problem,) = outcome.problems
    assert problem.endswith(f"cannot be read: Redis at 127.0.0.1:{unused_tcp_port}: Connection refused")
    assert outcome.turns == 1


# Figures and lines ---------------------------------------------------------------------------------------------------


def test_the_median_of_an_even_number_of_answers_lies_between_them() -> None:
    outcomes = [Outcome(waits_ms=[1000, 100]), Outcome(waits_ms=[400, 200], key_waits_ms=[70])]
    assert waited(outcomes) == (
        "4 answers began 300 ms (median), at most 1000 ms after the caller stopped; "
        "1 answer began 70 ms after the last key"
    )
    assert waited([Outcome()]) == ""


def test_times_never_run_backwards_and_what_is_told_late_says_when_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer("1  ")
    printer.event(CallerStarted(2500.0, "wait"))
    printer.event(AgentStopped(2100.0))
    printer.event(HungUp(2600.0, "server", "done"))
    assert capsys.readouterr().out.splitlines() == [
        "1      2.50 s  caller    “wait”",
        "1      2.50 s  agent     has stopped (at 2.10 s)",
        "1      2.60 s  hung up   by the server: done",
    ]

"""`make call`: a script is spoken as a person would, and a call that went wrong says why."""

from __future__ import annotations

import argparse
import json
import wave
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.sandbox.callee import ACCOUNT, TOKEN, Callee, media
from voiceagent.sandbox import sound
from voiceagent.sandbox.call import __main__ as command
from voiceagent.sandbox.call import conversation, lines
from voiceagent.sandbox.call.conversation import Conversation, Outcome
from voiceagent.sandbox.call.find import NoServerError, Target, find_target
from voiceagent.sandbox.call.transcript import NoSource
from voiceagent.sandbox.carrier import CallerStarted, Carrier, Cleared

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

LOUD = sound.mulaw_tone()


class Partner:
    """Greets, answers when the caller has been quiet for 300 ms, and stops when spoken over."""

    def __init__(self, answers: int = 99, greets: bool = True, answer_ms: int = 600, stops: bool = True) -> None:
        self.answers, self.greets, self.answer_ms, self.stops = answers, greets, answer_ms, stops
        self._quiet_frames, self._owes, self._speaks_frames = 0, False, 0

    async def hear(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        sid = message.get("streamSid", "")
        if message["event"] == "start" and self.greets:
            await self._speak(socket, sid)
        if message["event"] != "media":
            return
        self._speaks_frames -= 1
        loud = not message["media"]["payload"].startswith("////")
        self._quiet_frames = 0 if loud else self._quiet_frames + 1
        if loud and self._speaks_frames > 0 and self.stops:
            self._speaks_frames = 0
            await socket.send_json({"event": "clear", "streamSid": sid})
        self._owes = self._owes or loud
        if self._owes and self._quiet_frames == 15:
            self._owes = False
            if self.answers > 0:
                self.answers -= 1
                await self._speak(socket, sid)
            else:
                await socket.close()

    async def _speak(self, socket: web.WebSocketResponse, sid: str) -> None:
        self._speaks_frames = self.answer_ms // 20
        await socket.send_json(media(sid, LOUD[: self.answer_ms * 8]))


def line(text: str, **options: Any) -> lines.Line:
    return lines.Line(text, LOUD[:4000] + b"\xff" * 400, patience_ms=0, **options)


async def talk(partner: Partner, script: lines.Script) -> tuple[Outcome, Any]:
    async with Callee() as callee, Carrier(callee.url, account_sid=ACCOUNT, auth_token=TOKEN) as carrier:
        callee.on_message = partner.hear
        call = carrier.call()
        return await Conversation(call, script, "", NoSource(), lambda note: None).run(), call


async def test_lines_wait_for_the_answer_and_a_barge_in_does_not() -> None:
    script = lines.Script((line("one"), line("two"), line("three", barge_in_after_ms=300)))
    outcome, call = await talk(Partner(answer_ms=1000), script)
    assert outcome.problems == []
    assert len(outcome.waits_ms) == 3
    assert all(250 < wait < 600 for wait in outcome.waits_ms)
    began = [event.at_ms for event in call.timeline.all(CallerStarted)]
    assert began[1] - began[0] > 2000
    assert began[2] - began[1] < 1700
    cleared = call.timeline.all(Cleared)
    assert len(cleared) == 1
    assert cleared[0].after_caller_ms < 200


@pytest.mark.parametrize(
    ("partner", "script", "problem"),
    [
        (Partner(greets=False), lines.Script((line("one"),)), "no greeting"),
        (Partner(answers=1), lines.Script((line("one"), line("two"), line("three"))), "ended early"),
        (Partner(stops=False, answer_ms=2500), lines.Script((line("a"), line("b", barge_in_after_ms=200))), "did not stop"),
        (Partner(), lines.Script((line("one"),), ends_by_server=True), "did not hang up"),
    ],
)  # fmt: skip
async def test_a_call_that_goes_wrong_says_why(
    partner: Partner, script: lines.Script, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GREETING_S", 1.0)
    monkeypatch.setattr(conversation, "HANG_UP_S", 1.0)
    monkeypatch.setattr(conversation, "ANSWER_S", 1.5)
    outcome, _ = await talk(partner, script)
    assert any(problem in found for found in outcome.problems), outcome.problems


async def test_a_refused_webhook_is_a_problem_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with Callee() as callee:
        options = argparse.Namespace(calls=2, caller="+1", called="+2", dtmf="")
        target = Target(callee.url, callee.url, ACCOUNT, "another token")
        outcomes = await command.place(options, target, lines.Script(()))
    assert command.report(outcomes) == 1
    printed = capsys.readouterr().out
    assert printed.count("CallSid CA") == 2
    assert "answered 403" in printed


async def test_a_server_behind_another_public_address_is_reached() -> None:
    async with (
        Callee(public_url="http://voice.example.test") as callee,
        Carrier(callee.local_url, account_sid=ACCOUNT, auth_token=TOKEN, public_url=callee.url) as carrier,
    ):
        call = carrier.call()
        await call.start()
        await call.hang_up()
    assert callee.refused == []
    assert callee.of("stop")


def test_recordings_of_any_rate_become_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound.wav_bytes(sound.tone(22050)[:22050], 22050))
    script = lines.from_files([path, path], barge_in_after_ms=500)
    assert [item.barge_in_after_ms for item in script.lines] == [None, 500]
    assert len(script.lines[0].audio) == pytest.approx(8000, abs=2)
    (tmp_path / "b.wav").write_bytes(b"not a recording")
    with pytest.raises(wave.Error):
        lines.from_files([tmp_path / "b.wav"], None)


def test_the_bundled_conversation_has_what_it_must_show() -> None:
    script = lines.bundled()
    assert len(script.lines) >= 4
    assert sum(item.barge_in_after_ms is not None for item in script.lines) == 1
    assert script.functions == ("book_table",)
    assert script.ends_by_server
    assert all(len(item.audio) > 4000 for item in script.lines)
    assert [item.barge_in_after_ms for item in lines.bundled(900).lines if item.barge_in_after_ms] == [900]


def test_the_running_server_is_found_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("PUBLIC_BASE_URL", "TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID", "TWILIO_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    options = command.parser().parse_args([])
    with pytest.raises(NoServerError, match="make run"):
        find_target(options)
    running = {"pid": 1, "url": "http://127.0.0.1:8123", "sandbox_url": "http://127.0.0.1:8124"}
    (tmp_path / "run.json").write_text(json.dumps(running))
    target = find_target(options)
    assert (target.url, target.public_url, target.rest_url) == (running["url"], running["url"], running["sandbox_url"])
    assert target.account_sid.startswith("AC")
    assert len(target.auth_token) == 32
    with pytest.raises(NoServerError, match="auth-token"):
        find_target(command.parser().parse_args(["--url", "https://voice.example.com"]))

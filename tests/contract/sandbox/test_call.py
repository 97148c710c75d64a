"""`make call`: a script is spoken as a person would, and a call that went wrong says why."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.sandbox.callee import ACCOUNT, TOKEN, Callee, media
from voiceagent.sandbox import sound
from voiceagent.sandbox.call import command, conversation, lines
from voiceagent.sandbox.call.conversation import Conversation
from voiceagent.sandbox.call.find import NoServerError, Target, find_target
from voiceagent.sandbox.call.options import parse
from voiceagent.sandbox.call.transcript import NoSource
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, Carrier, Cleared

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from voiceagent.sandbox.call.outcome import Outcome

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
        if message["event"] == "dtmf" and message["dtmf"]["digit"] == "2":
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


def at(callee: Callee) -> Target:
    return Target(callee.url, callee.url, ACCOUNT, TOKEN)


async def talk(partner: Partner, script: lines.Script, keys: str = "") -> tuple[Outcome, Any]:
    async with Callee() as callee, Carrier(callee.url, account_sid=ACCOUNT, auth_token=TOKEN) as carrier:
        callee.on_message = partner.hear
        call = carrier.call()
        return await Conversation(call, script, keys, NoSource(), lambda note: None).run(), call


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
        (Partner(answers=1), lines.Script((line("one"), line("two"), line("three"))), "the call ended before “two” was answered"),
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


async def test_an_interruption_that_comes_too_late_says_so() -> None:
    script = lines.Script((line("one"), line("two", barge_in_after_ms=1200)))
    outcome, _ = await talk(Partner(answer_ms=400), script)
    assert outcome.problems == ["“two” was to interrupt after 1200 ms, but the answer was already over: wait less"]
    assert outcome.turns == 2


async def test_silence_cannot_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 0.5)
    silence = lines.Line("nothing", b"\xff" * 4000, barge_in_after_ms=100)
    outcome, _ = await talk(Partner(answer_ms=1500), lines.Script((line("one"), silence)))
    assert "“nothing” was to interrupt, but there is nothing to hear in it" in outcome.problems


async def test_an_agent_that_answers_before_the_caller_is_done_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 1.5)
    hasty = lines.Line("hasty", LOUD[:2400] + b"\xff" * 3200 + LOUD[:2400], patience_ms=0)
    outcome, call = await talk(Partner(stops=False, answer_ms=2000), lines.Script((hasty,)))
    assert outcome.problems == []
    assert (outcome.turns, outcome.waits_ms) == (1, [])
    assert len(call.timeline.all(AgentStarted)) == 2  # the greeting, and one answer


async def test_an_answer_to_keys_is_counted_from_the_last_key() -> None:
    outcome, _ = await talk(Partner(), lines.Script((line("one"),)), "12")
    assert outcome.problems == []
    assert outcome.turns == 2
    assert len(outcome.waits_ms) == 1
    (wait,) = outcome.key_waits_ms
    assert wait < 400


async def test_a_server_that_dies_in_the_call_is_the_cause() -> None:
    partner = Partner()

    async def die(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        await partner.hear(socket, message)
        if message["event"] == "media" and message["media"]["chunk"] == "100":
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.abort()

    script = lines.Script((line("one"), line("two")))
    async with Callee() as callee, Carrier(callee.url, account_sid=ACCOUNT, auth_token=TOKEN) as carrier:
        callee.on_message = die
        outcome = await Conversation(carrier.call(), script, "", NoSource(), lambda note: None).run()
    lost = "the server dropped the media stream (close code 1006: abnormal closure)"
    assert outcome.problems == [f"the call ended before “one” was answered: {lost}"]


async def test_a_number_without_an_agent_is_told_in_the_servers_words() -> None:
    async with Callee("<Response><Say>Not in service.</Say><Hangup/></Response>") as callee:
        (outcome,) = await command.place(parse([]), at(callee), lines.Script(()))
    assert outcome.problems == ["the call did not come about: the server said “Not in service.” and hung up"]


async def test_several_calls_have_a_line_each_and_the_words_of_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    partners: dict[str, Partner] = {}

    async def hear(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        # The second call is hung up on where it should be answered.
        partner = partners.setdefault(message.get("streamSid", ""), Partner(answers=0 if len(partners) == 2 else 9))
        await partner.hear(socket, message)

    async with Callee() as callee:
        callee.on_message = hear
        outcomes = await command.place(parse(["--calls", "3"]), at(callee), lines.Script((line("one"),)))
    assert command.report(outcomes) == 1
    printed = capsys.readouterr().out.splitlines()
    ends = sorted(text for text in printed if " went " in text and " CA" in text)
    assert [text[:3] for text in ends] == ["  1", "  2", "  3"]
    assert "went well" in ends[0]
    assert re.search(
        r"CA\w{32} went well after \d\.\d s: 1 turn, answered in \d+ ms \(median\); hung up by the caller", ends[2]
    )
    assert "went wrong" in ends[1]
    assert printed[printed.index(ends[1]) + 1].startswith("  2      Problem: the call ended before “one” was answered")
    assert any(re.match(r"  1 .* caller +“one”", text) for text in printed)
    assert not any(re.match(r"  [23] +[0-9.]+ s ", text) for text in printed)
    assert re.match(r"2 answers began \d+ ms \(median\), at most \d+ ms after the caller stopped\.", printed[-2])
    assert printed[-1] == "1 of 3 calls went wrong."


async def test_a_refused_webhook_is_a_problem_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with Callee() as callee:
        target = Target(callee.url, callee.url, ACCOUNT, "another token")
        outcomes = await command.place(parse(["--calls", "2"]), target, lines.Script(()))
    assert command.report(outcomes) == 1
    printed = capsys.readouterr().out
    assert len(re.findall(r"^  [12]  CA\w{32} went wrong", printed, re.MULTILINE)) == 2
    assert printed.count("answered 403; the server does not take the signature: --auth-token must be") == 2


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
    options = parse([])
    with pytest.raises(NoServerError, match="make run"):
        find_target(options)
    running = {"pid": 1, "url": "http://127.0.0.1:8123", "sandbox_url": "http://127.0.0.1:8124"}
    (tmp_path / "run.json").write_text(json.dumps(running))
    target = find_target(options)
    assert (target.url, target.public_url, target.rest_url) == (running["url"], running["url"], running["sandbox_url"])
    assert target.account_sid.startswith("AC")
    assert len(target.auth_token) == 32
    there = find_target(parse(["--url", "https://voice.example.com/", "--auth-token", "t"]))
    assert (there.url, there.public_url, there.auth_token) == ("https://voice.example.com",) * 2 + ("t",)
    assert (there.rest_url, there.redis_url) == (None, None)

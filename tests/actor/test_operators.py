"""Operators around the real actor, mailbox and gate, in virtual time: their line, their microphone, their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from calls.core import events as e
from calls.core.commands import Intervened, LendGate
from calls.core.state import Phase
from calls.desk import MOST_KEPT, Desk
from calls.media.operator import LEASE_MS, MOST_AHEAD_MS, OperatorLine
from tests.actor.line import Line, call
from tests.unit.core.world import agent
from voiceagent.demo.virtual import run

LONG = "We have a table for two at seven and another one at eight, both are by the window. "
FRAME = b"\x55" * 160


class Watched(Line):
    """With what a session has besides."""

    desk: Desk
    operator: OperatorLine
    changes: int

    def open(self) -> None:
        self.changes = 0
        self.operator = OperatorLine(self.gate, self.bus, self.post, lambda: self.actor.state, self.clock.now_ms)
        self.desk = Desk(self.bus, self.post, lambda: self.actor.state, self._changed)

    def _changed(self) -> None:
        self.changes += 1


Scene = Callable[[Watched], Coroutine[Any, Any, None]]


def scene(play: Scene) -> Callable[[], None]:
    """A test that plays this on a call."""

    async def main() -> None:
        async with call(agent(), prepare=_prepare) as line:
            assert isinstance(line, Watched)
            await play(line)
            line.operator.close()

    def test() -> None:
        run(main())

    test.__name__ = play.__name__
    return test


def _prepare(line: Line) -> None:
    line.__class__ = Watched
    line.open()  # type: ignore[attr-defined]


async def ask(line: Watched, action: str, by: str = "ada", key: str = "k", **args: Any) -> tuple[bool, str]:
    outcome = await line.desk.ask(action, by, key, args)
    return outcome.accepted, outcome.why


async def spoken_to(line: Watched) -> None:
    line.model.scripts.append([(100, LONG)])
    await line.say("is there a table")
    await line.wait(1500)


@scene
async def test_nothing_of_the_assistant_is_on_the_wire_after_a_take_over(line: Watched) -> None:
    line.voice.deaf = True
    await spoken_to(line)
    epoch = line.actor.state.epoch
    assert await ask(line, "take_over") == (True, "")
    at = len(line.carrier.wire)
    assert line.carrier.wire[-1][1] == "clear"
    assert line.operator.audio("ada", FRAME)
    await line.say("can I sit outside")
    await line.wait(3000)
    assert [value for _, what, value in line.carrier.wire[at:] if what == "media"] == [FRAME[0]]
    assert line.of(LendGate)[0].epoch > epoch
    assert len(line.model.asked) == 1


@scene
async def test_an_operators_audio_passes_only_while_they_have_the_call(line: Watched) -> None:
    assert not line.operator.audio("ada", FRAME)
    assert not line.operator.present("ada")
    await ask(line, "take_over")
    assert not line.operator.audio("bob", FRAME)
    assert not line.operator.audio("", FRAME)
    assert line.operator.audio("ada", FRAME)
    await ask(line, "hand_back", key="h", text="settled")
    before = line.dropped_bytes
    assert not line.operator.audio("ada", FRAME)
    assert not line.gate.operator_audio(FRAME)
    assert line.dropped_bytes == before + len(FRAME)


@scene
async def test_a_burst_does_not_make_everything_after_it_late(line: Watched) -> None:
    await ask(line, "take_over")
    passed = sum(line.operator.audio("ada", FRAME) for _ in range(200))
    assert passed == MOST_AHEAD_MS // 20 + 1
    await line.wait(1000)
    assert line.operator.audio("ada", FRAME)


@scene
async def test_an_operator_who_gives_no_sign_is_gone_and_the_assistant_goes_on(line: Watched) -> None:
    await ask(line, "take_over")
    for _ in range(10):
        await line.wait(LEASE_MS - 1000)
        line.operator.present("ada")
    assert line.of(e.OperatorConnected) == []
    await line.wait(LEASE_MS + 2000)
    assert [x.on for x in line.of(e.OperatorConnected)] == [False]
    line.operator.audio("ada", FRAME)
    await line.wait(3000)
    assert [x.on for x in line.of(e.OperatorConnected)] == [False, True]
    line.operator.gone("bob")
    line.operator.gone("ada")
    line.operator.gone("ada")
    await line.wait(10_500)
    assert line.actor.state.phase is Phase.ACTIVE
    assert line.of(Intervened)[-1].outcome == "lost"
    await line.wait(200)
    assert line.voice.said


@scene
async def test_the_same_request_twice_has_one_effect_and_one_answer(line: Watched) -> None:
    both = await asyncio.gather(*(ask(line, "whisper", text="Offer the terrace.") for _ in range(2)))
    assert both == [(True, "")] * 2
    assert len(line.of(e.OperatorWhispered)) == 1
    for number in range(MOST_KEPT + 1):
        await ask(line, "take_over", key=f"t{number}")
    assert len(line.desk._asked) == MOST_KEPT


@scene
async def test_two_take_over_at_once_and_one_has_it(line: Watched) -> None:
    first, second = await asyncio.gather(ask(line, "take_over", "ada", "a"), ask(line, "take_over", "bob", "b"))
    assert first == (True, "")
    assert second == (False, "ada has taken this call over.")
    assert await ask(line, "hand_back", "bob", "c", text="x") == (False, "ada has taken this call over.")
    assert await ask(line, "say", "bob", "d", text="Hello") == (False, "ada has taken this call over.")
    assert line.desk.status()["holder"] == "ada"


@scene
async def test_what_cannot_be_done_is_refused_with_a_reason(line: Watched) -> None:
    assert await ask(line, "hand_back", text="x") == (False, "Nobody has taken this call over.")
    for number in range(8):
        await ask(line, "whisper", key=f"n{number}", text="note")
    assert await ask(line, "whisper", key="n8", text="note") == (False, "Too many notes wait already.")
    assert await ask(line, "whisper", key="n9", text="") == (False, "The note is empty.")
    assert await ask(line, "say", key="s", text="x", when="soon") == (
        False,
        "A sentence is said now, or at the next pause.",
    )
    for action, by, key in (("dance", "ada", "q"), ("whisper", "", "r"), ("whisper", "ada", "k" * 65)):
        assert await ask(line, action, by, key, text="x") == (False, "This request is not understood.")
    status = line.desk.status()
    assert (status["phase"], len(status["notes"])) == ("active", 8)
    assert await ask(line, "end", key="end", reason="abuse") == (True, "")
    assert await ask(line, "whisper", key="late", text="x") == (False, "The call has ended.")


@scene
async def test_who_listens_is_told(line: Watched) -> None:
    before = line.changes
    for by, on in (("ada", True), ("ada", True), ("bob", True), ("ada", False), ("bob", False)):
        line.post(e.OperatorListening(by=by, on=on))
    line.post(e.OperatorConnected(by="ada", on=True))
    await line.wait(10)
    assert line.desk.status()["listeners"] == ["ada"]
    assert line.changes > before


def test_a_call_that_has_not_begun_and_one_that_does_not_answer() -> None:
    async def main() -> None:
        async with call(agent(), prepare=_prepare) as line:
            assert isinstance(line, Watched)
            state, line.actor.state = line.actor.state, type(line.actor.state)()
            assert await ask(line, "whisper", text="x") == (False, "The call is not connected yet.")
            line.actor.state = state
            silent = Desk(line.bus, lambda _: None, lambda: line.actor.state, lambda: None)
            outcome = await silent.ask("whisper", "ada", "k", {"text": "x"})
            assert (outcome.accepted, outcome.why[:27]) == (False, "The call does not answer; l")

    run(main())

"""What operators hear of a live call and what of theirs is heard in it, over real sockets and a real Redis."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from calls import control
from calls.codecs import mulaw
from calls.listening import LEASE_S
from calls.media import operator
from calls.media.tap import Batch, decoded
from calls.models import CallEvent
from tests.line.pages import message, page_socket
from tests.line.test_operators import elsewhere  # noqa: F401 - requests go by Redis, as from another process
from voiceagent.console.live import FORBIDDEN, NOT_FOUND, SIGNED_OUT
from voiceagent.console.models import AuditEntry
from voiceagent.console.phone import speak
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply
from voiceagent.sandbox.sound import FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall

#: What the page adds: its buffer. In all a listener is less than 400 ms behind.
BUFFER_MS, MOST_BEHIND_MS = 200, 400


class Listener:
    """Takes what comes, with its age: how long ago the oldest sound in it was heard."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.ages_ms: list[float] = []
        self.over = ""

    async def run(self, socket: ClientConnection) -> None:
        async for data in socket:
            if isinstance(data, str):
                self.over = data
                continue
            batch = decoded(data)
            self.batches.append(batch)
            self.ages_ms.append(time.time() * 1000 - batch.taken_at_ms + len(batch.agent) / mulaw.BYTES_PER_MS)

    def side(self, name: str) -> bytes:
        return b"".join(getattr(batch, name) for batch in self.batches)


async def greeted(line: Line) -> PhoneCall:
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    return phone


async def test_a_listener_hears_both_sides_as_they_are_heard(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("What time do you open?")
    line.answers(("open", Reply(text="We open at noon, every day but Monday.")))
    phone = await greeted(line)
    async with page_socket(line, f"/console/listen/{phone.call_sid}") as socket:
        assert (await message(socket))["call_sid"] == phone.call_sid
        listener = Listener()
        running = asyncio.create_task(listener.run(socket))
        count = len(phone.timeline.events)
        said = talk(900)
        await phone.speak(said)
        await phone.wait_for(AgentStarted, after=count)
        await phone.wait_for_quiet()
        await phone.hang_up()
        async with asyncio.timeout(10):
            await running

    assert '"over"' in listener.over, "the end of the call is told"
    assert [batch.number for batch in listener.batches] == list(range(1, len(listener.batches) + 1))
    # Listening begins within the frame that comes in while it is asked for.
    assert said[2 * FRAME_BYTES :] in listener.side("caller")
    loud = next(at for at in range(0, 80_000, 160) if mulaw.level_dbfs(listener.side("agent")[at : at + 160]) > -30)
    assert listener.side("agent")[loud + 800 : loud + 8800] in phone.heard, "the answer as the caller heard it"
    assert median(listener.ages_ms) + BUFFER_MS < MOST_BEHIND_MS, sorted(listener.ages_ms)
    row = await line.archived_call(phone)
    listened = [event.data["on"] async for event in CallEvent.objects.filter(call=row, type="OperatorListening")]
    assert listened[0] is True
    entry = await AuditEntry.objects.aget(action="call.listened")
    assert (entry.call_sid, entry.username) == (phone.call_sid, "operator")


async def test_who_listens_is_told_and_leaves(line: Line) -> None:
    phone = await greeted(line)
    session = line.runtime.registry.live[phone.call_sid]
    async with page_socket(line, f"/console/listen/{phone.call_sid}") as socket:
        await message(socket)
        assert (await control.ask(phone.call_sid, "status", "")).data["listeners"] == ["operator"]
    async with asyncio.timeout(5):
        while (await control.ask(phone.call_sid, "status", "")).data["listeners"]:  # noqa: ASYNC110 - by Redis
            await asyncio.sleep(0.05)
        while session.listening._task is not None:  # noqa: ASYNC110 - the publisher ends by itself
            await asyncio.sleep(0.05)
    await phone.hang_up()


async def test_who_may_not_is_told_and_closed(line: Line) -> None:
    for role, path, code in (
        ("reviewer", "listen", FORBIDDEN),
        ("viewer", "speak", FORBIDDEN),
        (None, "listen", SIGNED_OUT),
        ("operator", "speak", NOT_FOUND),
        ("operator", "listen", NOT_FOUND),
    ):
        async with page_socket(line, f"/console/{path}/CA{'9' * 32}", role) as socket:
            assert (await message(socket))["type"] == "refused"
            await socket.wait_closed()
            assert (role, path, socket.close_code) == (role, path, code)


async def test_the_microphone_of_whoever_holds_the_call_is_heard_and_nobody_elses(line: Line) -> None:
    phone = await greeted(line)
    taken = await control.ask(phone.call_sid, "take_over", "operator", key="t1")
    assert taken.accepted, taken.why
    tone = mulaw.tone((440,), 1000)
    frames = [tone[at : at + 160] for at in range(0, len(tone), 160)]
    before = len(phone.heard)
    async with page_socket(line, f"/console/speak/{phone.call_sid}") as socket:
        assert (await message(socket))["type"] == "snapshot"
        await socket.send(b"x" * 801)
        assert (await message(socket))["type"] == "refused"
        for frame in frames:
            await socket.send(frame)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            while tone[1600:3200] not in phone.heard[before:]:  # noqa: ASYNC110 - frame by frame
                await asyncio.sleep(0.05)
        async with page_socket(line, f"/console/speak/{phone.call_sid}", username="bob") as other:
            assert (await message(other))["type"] == "refused"
    async with asyncio.timeout(5):
        while line.runtime.registry.live[phone.call_sid].operator._lost is False:  # noqa: ASYNC110 - by Redis
            await asyncio.sleep(0.05)
    await phone.hang_up()


async def test_an_operator_whose_open_socket_brings_nothing_any_more_is_gone(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network does that dies: nobody closes anything, and the caller must not be left alone for it."""
    monkeypatch.setattr(speak, "RECHECK_S", 0.1)
    monkeypatch.setattr(operator, "LEASE_MS", 800)
    phone = await greeted(line)
    gate = line.runtime.registry.live[phone.call_sid].operator
    assert (await control.ask(phone.call_sid, "take_over", "operator", key="t1")).accepted
    async with page_socket(line, f"/console/speak/{phone.call_sid}") as socket:
        assert (await message(socket))["type"] == "snapshot"
        for _ in range(75):
            await socket.send(b"\xff" * FRAME_BYTES)  # muted
            await asyncio.sleep(0.02)
        assert gate._lost is False, "a muted microphone is there"
        async with asyncio.timeout(5):
            while gate._lost is False:  # noqa: ASYNC110 - it becomes true by time passing
                await asyncio.sleep(0.02)
        await socket.send(b"\xff" * FRAME_BYTES)
        async with asyncio.timeout(5):
            while gate._lost:  # noqa: ASYNC110 - by Redis
                await asyncio.sleep(0.02)
    await phone.hang_up()


@pytest.mark.long
async def test_a_listener_that_says_nothing_any_more_is_let_go_of(line: Line) -> None:
    phone = await greeted(line)
    session = line.runtime.registry.live[phone.call_sid]
    session.listening.listen("page", "ada")
    await asyncio.sleep(LEASE_S + 0.5)
    assert not session.listening._listeners
    assert session.listening._task is None
    await phone.hang_up()


async def test_without_redis_a_listener_is_refused_and_the_call_goes_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await greeted(line)
    session = line.runtime.registry.live[phone.call_sid]
    monkeypatch.setattr(line.runtime.redis, "pubsub", _away)
    async with page_socket(line, f"/console/listen/{phone.call_sid}") as socket:
        assert "Redis" in (await message(socket))["why"]
    monkeypatch.setattr(line.runtime.redis, "publish", _away)
    session.listening.listen("page", "ada")
    await asyncio.sleep(0.4)
    session.listening.unlisten("page")
    assert phone.is_up
    await phone.hang_up()


def _away(*_: Any, **__: Any) -> Any:
    raise ConnectionRefusedError

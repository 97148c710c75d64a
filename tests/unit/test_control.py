"""Requests of operators over a channel layer that comes and goes. Whole calls over Redis: ``tests/line/test_operators.py``."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from channels.layers import InMemoryChannelLayer

from calls import control
from calls.control import AWAY, GROUP, NOBODY, Control, ask
from calls.desk import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SID = "CA1"


class Layer(InMemoryChannelLayer):  # type: ignore[misc]  # Channels has no types
    """Channels' own layer in memory, which can be away, as Redis can."""

    away = False

    async def group_add(self, group: str, channel: str) -> None:
        self._look()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._look()
        await super().group_send(group, message)

    async def receive(self, channel: str) -> Any:
        while True:
            self._look()
            try:
                async with asyncio.timeout(0.02):
                    return await super().receive(channel)
            except TimeoutError:
                continue

    def _look(self) -> None:
        if self.away:
            raise ConnectionError("Redis is away")


class Desk:
    """Takes what is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def ask(self, *of: Any) -> Outcome:
        self.asked.append(of)
        return Outcome(accepted=True, data={"holder": ""})

    def status(self) -> dict[str, Any]:
        return {"phase": "active"}


class Session:
    """What of a session a request reaches."""

    def __init__(self) -> None:
        self.desk = Desk()


class Calls:
    """A registry with one call."""

    def __init__(self) -> None:
        self.live: dict[str, Any] = {SID: Session()}


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    made = Layer()
    monkeypatch.setattr(control, "get_channel_layer", lambda: made)
    monkeypatch.setattr(control, "AGAIN_S", 0.02)
    monkeypatch.setattr(control, "JOIN_EVERY_S", 0.05)
    monkeypatch.setattr(control, "ANSWER_S", 0.4)
    monkeypatch.setattr(control, "TELL_EVERY_S", 0.01)
    return made


@asynccontextmanager
async def serving(registry: Any, *, near: bool = False) -> AsyncIterator[Control]:
    """A process that has the call; ``near``: the one that asks."""
    made = Control(registry)
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0.01)
    if not near:
        control._here.clear()
        control._here.append(Control(Calls()))  # for ``run`` to remove; it serves nobody
    yield made
    control._here[:] = [made]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert control._here == []


@pytest.mark.parametrize("near", [True, False])
async def test_a_request_reaches_the_call_and_the_answer_comes_back(layer: Layer, near: bool) -> None:
    calls = Calls()
    async with serving(calls, near=near):
        outcome = await ask(SID, "whisper", "ada", "k1", text="Offer the terrace.")
        assert (outcome.accepted, outcome.data) == (True, {"holder": ""})
        assert calls.live[SID].desk.asked == [("whisper", "ada", "k1", {"text": "Offer the terrace."})]
        assert (await ask(SID, "dance", "ada")).why == "There is no action 'dance'."
        assert (await ask(SID, "status", "ada")).data == {"phase": "active"}


async def test_a_call_that_nobody_has(layer: Layer) -> None:
    async with serving(Calls()):
        assert (await ask("CA2", "status", "ada")).why == NOBODY
    assert (await ask(SID, "status", "ada")).why == NOBODY


async def test_a_layer_that_is_away_is_told_and_joined_again(layer: Layer) -> None:
    async with serving(Calls()):
        layer.away = True
        assert (await ask(SID, "status", "ada")).why == AWAY
        await asyncio.sleep(0.1)
        layer.away = False
        await asyncio.sleep(0.1)
        assert (await ask(SID, "status", "ada")).accepted


async def test_a_store_that_was_emptied_is_joined_again(layer: Layer) -> None:
    async with serving(Calls()):
        await layer.group_discard(GROUP, next(iter(layer.groups[GROUP])))
        await asyncio.sleep(0.2)
        assert (await ask(SID, "status", "ada")).accepted


async def test_pages_are_told_what_changed_and_that_a_call_is_over(layer: Layer) -> None:
    calls = Calls()
    await layer.group_add(control.group_of(SID), "page")
    async with serving(calls) as made:
        for _ in range(3):
            made.changed(SID)
        assert await layer.receive("page") == {"type": "operate.changed", "status": {"phase": "active"}}
        del calls.live[SID]
        made.changed(SID)
        assert (await layer.receive("page"))["status"] == {"phase": "ended"}
        layer.away = True
        made.changed(SID)
        await asyncio.sleep(0.05)

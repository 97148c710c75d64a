"""``@scenario``: a test that is a conversation with a bot, run beside the others of its package."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, overload

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.conformance.bot import Bot

    Talk = Callable[[Bot], Awaitable[None]]
    Test = Callable[..., Awaitable[None]]

#: All conversations are begun with the first test, so that a test may have to wait for those before it.
TIMEOUT_S = 600


@overload
def scenario(talk: Talk) -> Test: ...
@overload
def scenario(*, steered: bool = False, needs: str = "", alone: bool = False) -> Callable[[Talk], Test]: ...
def scenario(
    talk: Talk | None = None, *, steered: bool = False, needs: str = "", alone: bool = False
) -> Test | Callable[[Talk], Test]:
    """Make ``async def test_…(bot)`` a test.

    ``steered``: needs the vendors' stand-ins. ``needs``: a field of the target that must be set. ``alone``: runs after
    all others, by itself.
    """
    if talk is None:
        return lambda talk: _as_test(talk, steered, needs, alone)
    return _as_test(talk, steered, needs, alone)


def _as_test(talk: Talk, steered: bool, needs: str, alone: bool) -> Test:
    async def test(floor: Floor, request: pytest.FixtureRequest) -> None:
        await floor.outcome(request.node.nodeid)

    test.__name__, test.__doc__, test.__module__ = talk.__name__, talk.__doc__, talk.__module__  # type: ignore[attr-defined]
    test.talk, test.alone = talk, alone  # type: ignore[attr-defined]
    test.needs = ["steered"] * steered + [needs] * bool(needs)  # type: ignore[attr-defined]
    if steered:
        pytest.mark.steered(test)
    return pytest.mark.timeout(TIMEOUT_S)(pytest.mark.asyncio(loop_scope="session")(test))


class Floor:
    """Runs the conversations of a session's tests, some at once; each test then waits for its own."""

    def __init__(self, bot: Bot, items: Sequence[pytest.Item]) -> None:
        self._bot = bot
        self._places = asyncio.Semaphore(bot.target.at_once)
        talks: dict[str, Any] = {item.nodeid: item.function for item in items}  # type: ignore[attr-defined]
        self._tasks = {name: asyncio.create_task(self._run(it.talk)) for name, it in talks.items() if not it.alone}
        beside = list(self._tasks.values())
        for name, it in talks.items():
            if it.alone:
                self._tasks[name] = asyncio.create_task(self._run_after(list(beside), it.talk))
                beside.append(self._tasks[name])

    async def _run(self, talk: Talk) -> None:
        async with self._places:
            await talk(self._bot)

    async def _run_after(self, others: list[asyncio.Task[None]], talk: Talk) -> None:
        if others:
            await asyncio.wait(others)
        await talk(self._bot)

    async def outcome(self, name: str) -> None:
        """How a conversation went; raises what it raised."""
        await self._tasks[name]

    async def aclose(self) -> None:
        """Drop what has not been waited for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

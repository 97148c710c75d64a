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
        await floor.outcome(request.node)

    test.__name__, test.__doc__, test.__module__ = talk.__name__, talk.__doc__, talk.__module__  # type: ignore[attr-defined]
    test.talk, test.alone = talk, alone  # type: ignore[attr-defined]
    test.needs = ["steered"] * steered + [needs] * bool(needs)  # type: ignore[attr-defined]
    if steered:
        pytest.mark.steered(test)
    return pytest.mark.timeout(TIMEOUT_S)(pytest.mark.asyncio(loop_scope="session")(test))


def at_once(config: pytest.Config) -> bool:
    """Whether this process has all tests of the session to run, and need not wait until it is given one."""
    return not hasattr(config, "workerinput")


class Floor:
    """Runs the conversations of a session's tests, some at once; each test then waits for its own.

    ``items``: the tests that are sure to come. One that is not among them begins when it is asked for.
    """

    def __init__(self, bot: Bot, items: Sequence[pytest.Item]) -> None:
        self._bot = bot
        self._places = asyncio.Semaphore(bot.target.at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        for item in sorted(items, key=lambda item: item.function.alone):  # type: ignore[attr-defined]
            self._begin(item)

    def _begin(self, item: pytest.Item) -> None:
        test: Any = item.function  # type: ignore[attr-defined]
        earlier = list(self._tasks.values())
        talk = self._run_after(earlier, test.talk) if test.alone else self._run(test.talk)
        self._tasks[item.nodeid] = asyncio.create_task(talk)

    async def _run(self, talk: Talk) -> None:
        async with self._places:
            await talk(self._bot)

    async def _run_after(self, others: list[asyncio.Task[None]], talk: Talk) -> None:
        if others:
            await asyncio.wait(others)
        await talk(self._bot)

    async def outcome(self, item: pytest.Item) -> None:
        """How a conversation went; raises what it raised."""
        if item.nodeid not in self._tasks:
            self._begin(item)
        await self._tasks[item.nodeid]

    async def aclose(self) -> None:
        """Drop what has not been waited for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

"""Where the scenarios run: against the bot of the command line, or against our own server with scripted vendors."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.conformance import target as targets
from tests.conformance.bot import Bot
from tests.conformance.scenario import Floor, at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conformance.target import Target
    from tests.conftest import TestServers


def pytest_addoption(parser: pytest.Parser) -> None:
    """The bot's address and what is known of it."""
    targets.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """The markers of scenarios and of what proves them."""
    config.addinivalue_line("markers", "steered: needs the vendors' stand-ins, which a foreign bot may not use")
    config.addinivalue_line("markers", "own_bots: brings the bots it needs, so that a foreign one is not tested")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with the reason, what cannot be run against this bot."""
    target = targets.chosen(config)
    for item in items:
        if target.server and item.get_closest_marker("own_bots"):
            item.add_marker(pytest.mark.skip(reason="proves the scenarios, not the bot"))
        needs = getattr(getattr(item, "function", None), "needs", ())
        for reason in filter(None, ((target if target.server else targets.LOCAL).lacks(need) for need in needs)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def _stay_on_this_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    """As for all tests, unless a bot elsewhere is what is tested."""
    if not targets.chosen(request.config).server:
        request.getfixturevalue("_stay_on_this_machine")
    yield


@contextmanager
def database() -> Iterator[None]:
    """The test database, where no test of the session has asked pytest-django for it."""
    from django.db import connections
    from django.test.utils import setup_databases, teardown_databases

    settings = connections["default"].settings_dict
    if settings["NAME"] == settings["TEST"]["NAME"]:
        yield
        return
    made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    yield
    teardown_databases(made, verbosity=0)


@pytest.fixture(scope="package")
def own_servers(request: pytest.FixtureRequest) -> Iterator[TestServers | None]:
    """PostgreSQL, migrated, and Valkey, for our own server; nothing where the bot is a foreign one."""
    if targets.chosen(request.config).server:
        yield None
        return
    servers, blocker = (request.getfixturevalue(name) for name in ("test_servers", "django_db_blocker"))
    request.getfixturevalue("django_db_setup")
    with blocker.unblock(), database():
        yield servers


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def target(
    own_servers: TestServers | None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    """The bot under test."""
    if own_servers is None:
        yield targets.chosen(request.config)
        return
    from tests.conformance.local import own_server  # with all of our server, which a foreign bot does not need

    async with AsyncExitStack() as stack:
        yield await own_server(stack, own_servers, tmp_path_factory.mktemp("conformance"))


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def floor(target: Target, request: pytest.FixtureRequest) -> AsyncIterator[Floor]:
    """The conversations of all tests that were chosen, under way."""
    items = [
        item
        for item in request.session.items
        if hasattr(getattr(item, "function", None), "talk") and item.get_closest_marker("skip") is None
    ]
    if not at_once(request.config):
        items = []
    async with Bot(target) as bot:
        floor = Floor(bot, items)
        yield floor
        await floor.aclose()

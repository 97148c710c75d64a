"""A running server under uvicorn, or under each server there is, and tokens to it.

It ends with the tests of this folder: a process of the product tells in Redis that it lives, where others' tests look.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connection, connections
from django.utils import timezone

from memory.services import tokens
from tests.protocol.house import COMMANDS, Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.conftest import TestServers


def environ_of(servers: TestServers) -> dict[str, str]:
    """The test's own database, Redis and keys."""
    address, _, _ = servers.database_url.rpartition("/")
    return {
        "DATABASE_URL": f"{address}/{connection.settings_dict['NAME']}",
        "REDIS_URL": servers.redis_url,
        "SECRET_KEY": django_settings.SECRET_KEY,
        "CALLER_HASH_KEY": django_settings.CALLER_HASH_KEY,
        "MEMORY_KEY": ",".join(django_settings.MEMORY_KEYS),
    }


@pytest.fixture(scope="package", params=sorted(COMMANDS))
def each_server(
    request: pytest.FixtureRequest, django_db_setup: None, test_servers: TestServers, tmp_path_factory: Any
) -> Iterator[Served]:
    """The product under one server after the other."""
    with Served(request.param, tmp_path_factory.mktemp(request.param), **environ_of(test_servers)) as served:
        yield served


@pytest.fixture(scope="package")
def served(django_db_setup: None, test_servers: TestServers, tmp_path_factory: Any) -> Iterator[Served]:
    """The product under uvicorn."""
    with Served("uvicorn", tmp_path_factory.mktemp("served"), **environ_of(test_servers)) as served:
        yield served


@pytest_asyncio.fixture(autouse=True)
async def _threads_give_connections_back() -> AsyncIterator[None]:
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def token(transactional_db: None) -> Callable[..., str]:
    """``token(*people, scopes=…)``: the secret of a new token for these callers, or for ``every`` one."""

    def issue(*people: Any, every: bool = False, **options: Any) -> str:
        number = tokens.ApiToken.objects.count()
        _, secret = tokens.issue(
            options.pop("name", f"token {number}"),
            options.pop("scopes", ["read", "write", "erase", "admin"]),
            None if every else [person.id for person in people],
            options.pop("expires_at", timezone.now() + timedelta(days=1)),
            **options,
        )
        return secret

    return issue

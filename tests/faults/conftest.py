"""Plays the cells of a module once, before its first test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.test import override_settings

from tests.faults.matrix import Played, play_all
from tests.faults.storms import Stormed, play_storms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.plugin import DjangoDbBlocker

    from calls.conf import CallsConf
    from tests.conftest import TestServers

House = tuple["CallsConf", pytest.MonkeyPatch]


@pytest.fixture(scope="module")
def house(
    test_servers: TestServers,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """An empty house for a module: its configuration, and a patch that is undone after it."""
    from voiceagent import conf

    with redis.Redis.from_url(test_servers.redis_url) as client:
        client.flushdb()
    data_dir = str(tmp_path_factory.mktemp("faults"))
    with (
        django_db_blocker.unblock(),
        override_settings(DATA_DIR=data_dir, ALLOWED_HOSTS=["127.0.0.1"]),
        pytest.MonkeyPatch.context() as patch,
    ):
        yield conf.current(), patch


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, house: House) -> Played:
    """What became of the cells that are tested in this module, now."""
    return play_all(_asked_for(request), *house)


@pytest.fixture(scope="module")
def stormed(request: pytest.FixtureRequest, house: House) -> Stormed:
    """What became of the calls in the cells that are tested in this module, now."""
    return play_storms(_asked_for(request), *house)


def _asked_for(request: pytest.FixtureRequest) -> list[Any]:
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    return list(dict.fromkeys(test.callspec.params["cell"] for test in tests if test.module is request.module))

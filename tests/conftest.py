"""What all levels share: real embedded servers on demand, configuration of this session, no way out of the machine.

A test that needs the database uses pytest-django's ``db`` or ``transactional_db``; one that needs Redis uses
``redis_url``. Both bring up the embedded servers of ``var/test``, once per session; pure tests start nothing.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import hypothesis
import pytest
import redis
from blockbuster import blockbuster_ctx

from tests import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.plugin import DjangoDbBlocker

    from calls.conf import CallsConf

#: A deadline per example measures the machine, not the code.
hypothesis.settings.register_profile("voiceagent", deadline=None)
hypothesis.settings.load_profile("voiceagent")

ROOT = Path(__file__).resolve().parent.parent
TEST_DATA_DIR = ROOT / "var" / "test"
# Valkey has 16 databases: so many sessions can run beside each other.
SLOTS = 16


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Called where there are workers."""
    from tests.schedule import Scheduling

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With workers what is run, and in which order, is up to ``tests.schedule``."""
    if hasattr(config, "workerinput"):
        from tests.schedule import put_in_order

        put_in_order(config, items)


@dataclass(frozen=True, slots=True)
class TestServers:
    """The servers of this session; ``slot`` keeps sessions that run at the same time apart."""

    __test__ = False

    database_url: str
    redis_url: str
    slot: int


@pytest.fixture(scope="session", autouse=True)
def static_files_found_once() -> Iterator[None]:
    """Every client of a test has a handler of its own, which looks through all static files: 50 ms. Here the first does."""
    from servestatic.middleware import ServeStaticMiddleware

    look = ServeStaticMiddleware.add_files_from_finders
    found: dict[str, Any] = {}

    def look_once(self: ServeStaticMiddleware) -> None:
        if not found:
            look(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", look_once)
        yield


@pytest.fixture(scope="session")
def test_servers() -> Iterator[TestServers]:
    """PostgreSQL and Valkey, started for this session unless another one has them running."""
    from voiceagent.embedded import state
    from voiceagent.embedded.servers import running

    with ExitStack() as stack:
        stack.enter_context(running({"DATA_DIR": str(TEST_DATA_DIR)}))
        slot, lock = _take_slot()
        stack.enter_context(lock)
        addresses = state.addresses(TEST_DATA_DIR)
        servers = TestServers(addresses["DATABASE_URL"], addresses["REDIS_URL"].removesuffix("0") + str(slot), slot)
        _point_settings_at(servers)
        database.hurry(servers.database_url)
        yield servers


def _take_slot() -> tuple[int, IO[str]]:
    for slot in range(SLOTS):
        lock = (TEST_DATA_DIR / f"slot-{slot}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return slot, lock
    pytest.exit(f"{SLOTS} test sessions are running already")


def _point_settings_at(servers: TestServers) -> None:
    """Put the addresses where Django, Channels, Celery and ``voiceagent.conf`` look; nothing has connected yet."""
    from django.conf import settings

    from voiceagent import conf
    from voiceagent.celery import app
    from voiceagent.database import database as django_database

    os.environ.update(DATABASE_URL=servers.database_url, REDIS_URL=servers.redis_url)
    conf.current.cache_clear()
    settings.DATABASES["default"].update(django_database(servers.database_url, pool_size=0))
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = f"test_voiceagent_{servers.slot}"
    settings.REDIS_URL = servers.redis_url
    settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = [servers.redis_url]
    app.conf.broker_url = servers.redis_url


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    test_servers: TestServers, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> ExitStack:
    """pytest-django's hook before it makes the test database: a copy, what it is copied from is held until it is made."""
    from django.conf import settings

    held = ExitStack()
    with django_db_blocker.unblock():
        held.enter_context(database.template(test_servers.database_url, TEST_DATA_DIR))
    settings.DATABASES["default"]["TEST"]["TEMPLATE"] = database.TEMPLATE
    return held


@pytest.fixture(scope="session")
def django_db_setup(django_db_modify_db_settings: ExitStack, django_db_setup: None) -> Iterator[None]:
    """The test database, which a test that commits empties in a quicker way than Django's own."""
    from django.test import TransactionTestCase

    django_db_modify_db_settings.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _test: database.empty())
        yield


@pytest.fixture
def redis_url(test_servers: TestServers) -> str:
    """The address of an empty Redis database of this session."""
    with redis.Redis.from_url(test_servers.redis_url) as client:
        client.flushdb()
    return test_servers.redis_url


@pytest.fixture
def calls_conf(redis_url: str) -> CallsConf:
    """The configuration of calls with this session's Redis; vendors' addresses refuse until a test replaces them."""
    from voiceagent import conf

    return conf.current()


@pytest.fixture
def no_blocking() -> Iterator[None]:
    """Fail a test in which something blocks the event loop."""
    with blockbuster_ctx():
        yield


@pytest.fixture(autouse=True)
def _breakers_of_no_other_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test installs between the memory or the recorded phrases and a vendor guards no later test."""
    from calls import breakers, surroundings
    from memory import guards

    monkeypatch.setattr(guards, "_guard", nullcontext)
    monkeypatch.setattr(surroundings, "_guard", [breakers.UNGUARDED])


@pytest.fixture(autouse=True)
def _runtime_of_no_other_test() -> Iterator[None]:
    """The process's runtime is closed by the test that had it built, in its loop; that of a package's fixture was there before.

    One that stays has threads, and connections of a loop that is gone: it would tell the breakers of later tests what it saw.
    """
    before = _building()
    yield
    left = _building()
    if left is not None and left is not before:
        sys.modules["calls.runtime"]._provider.building = None
        pytest.fail(f"the process's runtime is still there: {left}")


def _building() -> Any:
    module = sys.modules.get("calls.runtime")
    return module and module._provider.building


@pytest.fixture(scope="session", autouse=True)
def _stay_on_this_machine() -> Iterator[None]:
    """Refuse connections and look-ups beyond loopback."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name != "localhost" and not _is_address(name):
            raise AssertionError(f"a test looked up {name}")
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    patch.undo()


def _check(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0]
    if host not in ("", "localhost") and not (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        raise AssertionError(f"a test connected to {host}: tests stay on this machine")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

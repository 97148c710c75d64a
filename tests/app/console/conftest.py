"""People of each role."""

from __future__ import annotations

from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import Client

from voiceagent.console import roles, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def somebody(role: str, username: str = "") -> User:
    """A user with this role, which a test that flushes the database has removed."""
    if not Group.objects.filter(name=role).exists():
        roles.install(apps)
    user, _ = User.objects.get_or_create(username=username or role.replace(" ", "-"))
    user.groups.set([Group.objects.get(name=role)])
    return user


@pytest.fixture(autouse=True)
def _closed_connections() -> Iterator[None]:
    """Channels' communicators keep the connections of other threads open for the time of a test; here they end."""
    yield
    close_connections()


def close_connections() -> None:
    """Have each of the console's threads close what it has open."""
    both = Barrier(threads.COUNT)

    def close() -> None:
        both.wait(10)
        connections.close_all()

    for done in [threads._THREADS.submit(close) for _ in range(threads.COUNT)]:
        done.result(20)


@pytest.fixture
def as_role(db: None) -> Callable[[str], Client]:
    """A client that has signed in as somebody with this role."""

    def client(role: str) -> Client:
        made = Client()
        made.force_login(somebody(role))
        return made

    return client

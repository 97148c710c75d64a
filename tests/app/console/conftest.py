"""People of each role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client

from voiceagent.console import roles

if TYPE_CHECKING:
    from collections.abc import Callable


def somebody(role: str, username: str = "") -> User:
    """A user with this role, which a test that flushes the database has removed."""
    if not Group.objects.filter(name=role).exists():
        roles.install(apps)
    user, _ = User.objects.get_or_create(username=username or role.replace(" ", "-"))
    user.groups.set([Group.objects.get(name=role)])
    return user


@pytest.fixture
def as_role(db: None) -> Callable[[str], Client]:
    """A client that has signed in as somebody with this role."""

    def client(role: str) -> Client:
        made = Client()
        made.force_login(somebody(role))
        return made

    return client

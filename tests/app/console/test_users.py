"""Users and groups in Django's admin: an administrator gives what they have, and no more, and to nobody who has more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from tests.app.console.conftest import somebody

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    """An administrator of the console, let into Django's admin."""
    made = somebody("admin", "ada")
    User.objects.filter(pk=made.pk).update(is_staff=True)
    return User.objects.get(pk=made.pk)


@pytest.fixture
def client(ada: User) -> Client:
    """Their browser."""
    made = Client()
    made.force_login(ada)
    return made


def saved(client: Client, user: User, groups: Iterable[Group] = (), **fields: Any) -> Any:
    """The form of a user, sent as a forger would: with every field, offered or not."""
    given = {
        "username": user.username, "is_active": "on", "is_staff": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00",
        "groups": [group.pk for group in groups], **fields,
    }  # fmt: skip
    return client.post(f"/admin/auth/user/{user.pk}/change/", given)


def group(name: str) -> Group:
    return Group.objects.get(name=name)


def test_nobody_makes_themself_a_superuser(client: Client, ada: User) -> None:
    page = client.get(f"/admin/auth/user/{ada.pk}/change/").text
    assert 'name="is_superuser"' not in page
    assert 'name="is_staff"' in page
    assert saved(client, ada, [group("admin")], is_superuser="on").status_code == 302
    ada.refresh_from_db()
    assert not ada.is_superuser
    assert [found.name for found in ada.groups.all()] == ["admin"]


def test_what_one_has_not_got_is_neither_offered_nor_taken(client: Client, ada: User) -> None:
    theirs = Permission.objects.get(codename="delete_call")
    stronger = Group.objects.create(name="stronger")
    stronger.permissions.add(theirs)
    page = client.get(f"/admin/auth/user/{ada.pk}/change/").text
    assert f'<option value="{theirs.pk}"' not in page
    assert ">stronger<" not in page
    assert saved(client, ada, [group("admin")], user_permissions=[theirs.pk]).status_code == 200
    assert saved(client, ada, [group("admin"), stronger]).status_code == 200
    ada = User.objects.get(pk=ada.pk)
    assert not ada.has_perm("calls.delete_call")
    place = f"/admin/auth/group/{group('viewer').pk}/change/"
    assert client.post(place, {"name": "viewer", "permissions": [theirs.pk]}).status_code == 200
    assert theirs not in group("viewer").permissions.all()
    assert client.post(f"/admin/auth/group/{stronger.pk}/change/", {"name": "stronger"}).status_code == 403


@pytest.mark.parametrize("is_active", [True, False], ids=("active", "not active"))
def test_who_has_more_is_not_changed_removed_or_given_a_password(client: Client, *, is_active: bool) -> None:
    root = User.objects.create_superuser("root", password="x" * 20)
    strong = User.objects.create_user("strong")
    strong.user_permissions.add(Permission.objects.get(codename="delete_call"))
    User.objects.filter(pk__in=(root.pk, strong.pk)).update(is_active=is_active)
    for other in (root, strong):
        assert saved(client, other).status_code == 403
        assert client.get(f"/admin/auth/user/{other.pk}/password/").status_code == 403
        assert client.post(f"/admin/auth/user/{other.pk}/delete/", {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
        client.post("/admin/auth/user/", chosen)
        assert User.objects.filter(pk=other.pk).exists()


def test_operators_are_made_and_given_their_role(client: Client) -> None:
    sent = {
        "username": "otto",
        "usable_password": "true",
        "password1": "a long enough one",
        "password2": "a long enough one",
    }
    assert client.post("/admin/auth/user/add/", sent).status_code == 302
    otto = User.objects.get(username="otto")
    assert saved(client, otto, [group("operator")]).status_code == 302
    assert User.objects.get(pk=otto.pk).has_perm("console.whisper")
    assert re.search(r"<option[^>]*>engineer</option>", client.get(f"/admin/auth/user/{otto.pk}/change/").text)


def test_a_superuser_may_all_of_it() -> None:
    root = User.objects.create_superuser("root", password="x" * 20)
    client = Client()
    client.force_login(root)
    otto = User.objects.create_user("otto")
    assert saved(client, otto, is_superuser="on").status_code == 302
    assert User.objects.get(pk=otto.pk).is_superuser

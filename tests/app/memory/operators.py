"""Operators to test the admin with, and how they come to its pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Permission, User

from memory import selectors
from memory.models import Access, Conversation

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client

    from memory.people import Person

CALLERS = "/admin/memory/caller/"
FACTS, SAID = "/admin/memory/memory/", "/admin/memory/utterance/"
TOKENS, RECEIPTS = "/admin/memory/apitoken/", "/admin/memory/erasurerequest/"
SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True, slots=True)
class Cast:
    """``viewer`` sees the list, ``reader`` reads, ``corrector`` corrects, ``eraser`` erases, ``clerk`` issues tokens,
    ``nobody`` is staff without any permission, ``root`` may do everything."""

    viewer: User
    reader: User
    corrector: User
    eraser: User
    clerk: User
    nobody: User
    root: User


MAY: dict[str, tuple[str, ...]] = {
    "viewer": ("view_caller",),
    "reader": ("view_caller", "read_caller"),
    "corrector": ("view_caller", "read_caller", "see_number", "correct_caller"),
    "eraser": ("view_caller", "read_caller", "erase_caller"),
    "clerk": ("view_apitoken", "add_apitoken", "change_apitoken", "read_caller"),
    "nobody": (),
}


def make_cast() -> Cast:
    """The operators, as users with their permissions."""
    people_of = {name: User.objects.create_user(name, is_staff=True) for name in MAY}
    for name, codes in MAY.items():
        people_of[name].user_permissions.set(
            Permission.objects.filter(content_type__app_label="memory", codename__in=codes)
        )
    return Cast(root=User.objects.create_superuser("root"), **people_of)


def url(person: Person, *rest: object) -> str:
    """A page of a caller."""
    return f"{CALLERS}{person.id}/" + "".join(f"{part}/" for part in rest or ("change",))


def html(client: Client, address: str, status: int = 200) -> str:
    """A page that is there."""
    response = client.get(address)
    assert response.status_code == status, (address, response.status_code, response.headers.get("Location"))
    return str(response.content.decode())


def conversation(person: Person) -> Conversation:
    """The only one."""
    return Conversation.objects.get(caller_id=person.id)


def account(person: Person) -> str:
    """The id of the fact that was heard."""
    return next(one.id for one in selectors.facts(person) if one.slot == "identity.account")


def accesses() -> list[tuple[str, str, str]]:
    """Who did what with which outcome, in order."""
    return list(Access.objects.order_by("at", "pk").values_list("by", "action", "outcome"))


def posted(client: Client, address: str, **values: Any) -> HttpResponse:
    """What comes of sending a form."""
    return client.post(address, values, follow=True)  # type: ignore[return-value]

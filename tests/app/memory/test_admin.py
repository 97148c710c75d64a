"""Who sees and does what in the memory's admin, and that it is on record."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from memory import selectors
from memory.models import Access, ApiToken, Caller, ErasureRequest, Memory
from memory.services import tokens
from tests.app.memory.operators import (
    CALLERS,
    FACTS,
    RECEIPTS,
    SAID,
    TOKENS,
    Cast,
    accesses,
    account,
    conversation,
    html,
    posted,
    url,
)
from tests.app.memory.people import DAY, MARIA

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client

    from memory.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


def addresses(person: Person) -> dict[str, str]:
    fact, talked = account(person), conversation(person).pk
    return {
        "list": CALLERS,
        "caller": url(person),
        "conversation": url(person, "conversation", talked),
        "facts": FACTS,
        "said": SAID,
        "enter": url(person, "enter"),
        "correct": url(person, "fact", fact, "correct"),
        "retract": url(person, "fact", fact, "retract"),
        "forget": url(person, "fact", fact, "forget"),
        "forget_conversation": url(person, "conversation", talked, "forget"),
        "erase": url(person, "erase"),
        "keep": url(person, "keep"),
        "tokens": TOKENS,
        "issue": f"{TOKENS}add/",
        "receipts": RECEIPTS,
        "accesses": "/admin/memory/access/",
        "tombstones": "/admin/memory/tombstone/",
    }


READS = {"list", "caller", "conversation", "facts", "said"}
SEES = {
    "viewer": {"list"},
    "reader": READS,
    "corrector": READS | {"enter", "correct", "retract"},
    "eraser": READS | {"forget", "forget_conversation", "erase", "keep", "receipts"},
    "clerk": {"tokens", "issue"},
    "nobody": set(),
}


@pytest.mark.parametrize("name", SEES)
def test_everybody_sees_what_they_may_and_nothing_else(name: str, known: Person, cast: Cast, client: Client) -> None:
    client.force_login(getattr(cast, name))

    found = {page: client.get(address).status_code for page, address in addresses(known).items()}

    assert found == {page: 200 if page in SEES[name] else 403 for page in found}


@pytest.mark.parametrize("name", SEES)
def test_nobody_changes_what_they_may_not(name: str, known: Person, cast: Cast, client: Client) -> None:
    client.force_login(getattr(cast, name))
    refused = [page for page in ("enter", "correct", "retract", "forget", "forget_conversation", "erase", "keep")]

    for page in (page for page in refused if page not in SEES[name]):
        response = client.post(
            addresses(known)[page], {"text": "x", "kind": "fact", "how": "changed", "digits": "0001", "days": "1"}
        )
        assert response.status_code == 403, page

    assert not ErasureRequest.objects.exists()
    assert len(selectors.facts(known)) == 2
    assert {outcome for by, action, outcome in accesses() if by == f"operator:{name}"} <= {"refused"}


def test_who_is_not_signed_in_is_asked_to(known: Person, client: Client) -> None:
    for address in addresses(known).values():
        response = client.get(address)
        assert response.status_code == 302, address
        assert response.headers["Location"].startswith("/admin/login/"), address
    assert not Access.objects.exists()


def test_rows_cannot_be_edited_past_the_services(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    row = Memory.objects.filter(caller_id=known.id).first()
    assert row
    for address in (
        f"{CALLERS}add/",
        f"{CALLERS}{known.id}/delete/",
        f"{FACTS}add/",
        f"{FACTS}{row.pk}/change/",
        f"{FACTS}{row.pk}/delete/",
        f"{SAID}add/",
        "/admin/memory/access/add/",
        "/admin/memory/tombstone/add/",
        f"{RECEIPTS}add/",
    ):
        assert client.post(address, {"post": "yes"}).status_code in (302, 403, 404), address
    assert Caller.objects.filter(pk=known.id).exists()
    assert Memory.objects.filter(pk=row.pk).exists()


def test_numbers_and_names_are_for_whoever_may_see_them(known: Person, cast: Cast, client: Client) -> None:
    for user, list_has, page_has in (
        (cast.viewer, (False, False), None),
        (cast.reader, (False, True), False),
        (cast.corrector, (False, True), True),
    ):
        client.force_login(user)
        page = html(client, CALLERS)
        assert "••• 0001" in page
        assert (MARIA in page, "Maria" in page) == list_has
        if page_has is not None:
            assert (MARIA in html(client, url(known))) is page_has
    assert ("operator:corrector", "see number", "done") in accesses()
    assert ("operator:reader", "see number", "done") not in accesses()


def issue(client: Client, **values: Any) -> HttpResponse:
    return posted(client, f"{TOKENS}add/", **{
        "name": "crm", "scopes": ["read"], "callers": MARIA, "days": "30", "rate_per_minute": "60", **values
    })  # fmt: skip


def test_a_secret_is_shown_once_and_works(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.clerk)

    answer = issue(client)

    page = answer.content.decode()
    (secret,) = re.findall(rf"{tokens.MARK}[\w-]+", page)
    row = tokens.find(secret)
    assert row is not None
    assert (row.name, row.scopes, row.rate_per_minute, row.created_by) == ("crm", ["read"], 60, cast.clerk)
    assert [one.pk for one in row.callers.all()] == [known.id]
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)
    assert "no-store" in answer.headers["Cache-Control"]
    for address in (TOKENS, f"{TOKENS}{row.pk}/change/"):
        shown = html(client, address)
        assert secret not in shown
        assert row.token_hash not in shown
        assert "never" in shown
    assert "There is a token of this name already." in issue(client).content.decode()
    assert ApiToken.objects.count() == 1


def test_nobody_hands_out_what_they_may_not_do(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.clerk)
    for values, told in (
        ({"scopes": ["read", "erase"]}, "You may not do that yourself: erase."),
        ({"scopes": []}, "This field is required."),
        ({"callers": ""}, "Say whose memory it reaches"),
        ({"callers": f"{MARIA}\n+15550199999"}, "Line 2: there is no caller"),
        ({"every_caller": "on"}, "Choose one"),
        ({"days": "0"}, "greater than or equal to 1"),
    ):
        page = issue(client, **values).content.decode()
        assert told in page, told
        assert tokens.MARK not in page
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked(known: Person, cast: Cast, client: Client) -> None:
    row, _ = tokens.issue("crm", ["read"], None, timezone.now() + DAY)
    client.force_login(cast.clerk)
    address = f"{TOKENS}{row.pk}/revoke/"
    assert "Its next request is refused." in html(client, address)
    row.refresh_from_db()
    assert row.revoked_at is None

    posted(client, address)

    row.refresh_from_db()
    assert row.revoked_at is not None
    assert "revoked" in html(client, TOKENS)
    assert ("operator:clerk", "revoke token", "done") in accesses()
    client.force_login(cast.reader)
    assert client.post(address).status_code == 403

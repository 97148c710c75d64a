"""Who comes in where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, transaction
from django.test import Client, RequestFactory

from tests.app.console.conftest import somebody
from voiceagent.console import audit, masks, roles
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db


def test_the_roles_are_groups_each_with_what_the_one_before_may() -> None:
    before: set[str] = set()
    for role, codenames in roles.ROLES.items():
        has = set(
            Group.objects.get(name=role)
            .permissions.filter(content_type__app_label="console")
            .values_list("codename", flat=True)
        )
        assert has == set(codenames) > before
        before = has
    assert before == set(roles.PERMISSIONS)


@pytest.mark.django_db(transaction=True)
def test_the_start_is_the_console_and_asks_who_comes(as_role: Callable[[str], Client]) -> None:
    assert Client().get("/").headers["Location"] == "/console/"
    there = Client().get("/console/?order=newest")
    assert there.status_code == 302
    assert there.headers["Location"].endswith("?next=/console/%3Forder%3Dnewest")
    page = as_role("viewer").get("/console/")
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]


def test_a_refusal_names_what_is_missing_and_who_has_it(as_role: Callable[[str], Client]) -> None:
    refused = as_role("engineer").get("/console/audit/")
    assert refused.status_code == 403
    assert "console.view_audit" in refused.text
    assert "<em>admin</em>" in refused.text


@pytest.mark.parametrize("place", ["nowhere/", "calls/%00/", "agents/2147483647/", "calls/CA1/turns/1/nowhere/"])
def test_what_is_not_there_is_told_in_the_consoles_frame(place: str, as_role: Callable[[str], Client]) -> None:
    page = as_role("viewer").get(f"/console/{place}")
    assert page.status_code == 404
    assert 'class="console-nav"' in page.text and "To the live board" in page.text
    assert "no-store" in page.headers["Cache-Control"]
    for nobody in (Client(), as_role("viewer")):
        elsewhere = nobody.get("/nowhere/")
        assert elsewhere.status_code == 404 and "console-nav" not in elsewhere.text
    assert "console-nav" not in Client().get("/console/nowhere/").text


def test_the_audit_trail_is_only_added_to() -> None:
    request = RequestFactory().post("/")
    request.user = somebody("operator", "ann")
    entry = audit.record(request, "call.ended", call_sid="CA1", reason="abuse")
    assert (entry.username, entry.address, entry.call_sid, entry.reason) == ("ann", "127.0.0.1", "CA1", "abuse")
    for change in (entry.save, entry.delete):
        with pytest.raises(TypeError):
            change()
    for sql in (AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(reason="none")):
        with pytest.raises(DatabaseError, match="neither changed nor removed"), transaction.atomic():
            sql()
    with pytest.raises(KeyError):
        audit.record(request, "call.enjoyed")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+442079460123", "+44 •••• ••0123"),
        ("+15550100001", "+1 •••• ••0001"),
        ("+353861234567", "+353 •••• ••4567"),
        ("02079460123", "•••• ••0123"),
        ("1234", "••••"),
        ("anonymous", "••••"),
        ("", ""),
    ],
)
def test_numbers_are_masked(number: str, shown: str) -> None:
    assert masks.masked(number) == shown


def test_only_pages_that_need_the_microphone_may_ask_for_it(as_role: Callable[[str], Client]) -> None:
    operator = as_role("operator")
    places = {"/console/": "(self)", "/console/phone/": "(self)", "/console/health/": "()", "/console/calls/": "()"}
    for place, whose in places.items():
        policy = operator.get(place).headers["Permissions-Policy"]
        assert f"microphone={whose}" in policy, place
        assert "camera=()" in policy

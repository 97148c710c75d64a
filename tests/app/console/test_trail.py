"""The audit trail's page and its files; numbers that are revealed."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, RequestFactory

from calls.models import Call
from memory import people
from tests.app.console.conftest import somebody
from voiceagent.console import audit, exports
from voiceagent.console.models import AuditEntry
from voiceagent.console.trail import filters

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\u202e=cmd|' /C calc'!A0"


def act(name: str, action: str, **of: Any) -> AuditEntry:
    request = RequestFactory().post("/")
    request.user = somebody("operator", name)
    return audit.record(request, action, **of)


def test_the_trail_shows_who_did_what_to_whom_and_why(as_role: Callable[[str], Client]) -> None:
    act("ann", "call.ended", call_sid="CA1", reason=HOSTILE)
    act("bob", "memory.corrected", entry="fact 7", before={"value": "<b>"}, after={"value": "tea"})
    page = as_role("admin").get("/console/audit/").text
    assert "ended a call" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "&lt;b&gt;" in page
    assert page.index("corrected a memory") < page.rindex("ended a call")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("who=AN", {"ann"}),
        ("action=call.whispered", {"bob"}),
        ("call=CA1", {"ann"}),
        ("reason=abuse", {"ann"}),
        ("entry=fact", {"eve"}),
        ("since=2001-01-01&until=2001-01-02", set()),
        ("since=2001-01-01", {"ann", "bob", "eve"}),
        ("since=nonsense&until=9999-12-31&action=nothing&who=%00", {"ann", "bob", "eve"}),
    ],
)
def test_filters_narrow_it_and_nonsense_is_left_out(
    as_role: Callable[[str], Client], query: str, names: set[str]
) -> None:
    act("ann", "call.ended", call_sid="CA1", reason="abuse of staff")
    act("bob", "call.whispered", call_sid="CA2")
    act("eve", "memory.forgotten", entry="fact 7")
    page = as_role("admin").get(f"/console/audit/?{query}")
    assert page.status_code == 200
    assert {name for name in ("ann", "bob", "eve") if f"<bdi>{name}</bdi>" in page.text} == names


def test_older_entries_are_a_page_away(as_role: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "PAGE", 3)
    for number in range(7):
        act("ann", "call.said", call_sid=f"CA{number}")
    client, below, seen = as_role("admin"), "", []
    while True:
        page = client.get(f"/console/audit/?who=ann{below}")
        seen += [entry.call_sid for entry, _ in page.context["entries"]]
        if page.context["older"] is None:
            break
        below = f"&before={page.context['older']}"
    assert seen == [f"CA{number}" for number in range(6, -1, -1)]
    assert client.get("/console/audit/?before=" + "9" * 400).status_code == 200


def test_the_admin_shows_it_and_changes_nothing(as_role: Callable[[str], Client]) -> None:
    entry = act("ann", "call.ended", call_sid="CA1", reason=HOSTILE)
    person, client = somebody("admin", "adam"), Client()
    User.objects.filter(pk=person.pk).update(is_staff=True)
    client.force_login(person)
    index = client.get("/admin/").text
    assert 'href="/console/"' in index
    place = "/admin/console/auditentry/"
    assert place in index
    assert "&lt;script&gt;" in client.get(place).text
    assert client.get(f"{place}{entry.pk}/change/").status_code == 200
    for refused in (f"{place}add/", f"{place}{entry.pk}/delete/"):
        assert client.get(refused).status_code == 403
    assert client.post(f"{place}{entry.pk}/change/", {"reason": "none"}).status_code == 403
    client.post(place, {"action": "delete_selected", "_selected_action": entry.pk, "post": "yes"})
    entry.refresh_from_db()
    assert entry.reason == HOSTILE
    User.objects.filter(pk=somebody("engineer", "eve").pk).update(is_staff=True)
    eve = Client()
    eve.force_login(User.objects.get(username="eve"))
    assert eve.get(place).status_code == 403


async def _export(format: str, **asked: str) -> bytes:
    client = AsyncClient()
    await client.aforce_login(await _admin())
    answer = await client.post("/console/audit/export/", {"format": format, **asked})
    if not answer.streaming:
        return str(answer.status_code).encode()
    return b"".join([piece async for piece in answer])  # type: ignore[union-attr]


async def _admin() -> Any:
    from asgiref.sync import sync_to_async

    return await sync_to_async(somebody)("admin")


@pytest.mark.django_db(transaction=True)
async def test_a_file_has_what_the_filters_show_and_taking_it_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from asgiref.sync import sync_to_async
    from django.db import connections

    from voiceagent.console.trail import views

    monkeypatch.setattr(views, "_PIECE", 2)
    for number in range(5):
        await sync_to_async(act)("ann", "call.ended", call_sid=f"CA{number}", reason=HOSTILE if number else "=1+1")
    await sync_to_async(act)("bob", "call.said", call_sid="CA9")
    rows = list(csv.DictReader(io.StringIO((await _export("csv", who="ann")).decode())))
    assert [row["call_sid"] for row in rows] == ["CA4", "CA3", "CA2", "CA1", "CA0"]
    assert rows[0]["reason"] == HOSTILE
    assert rows[-1]["reason"] == "'=1+1"
    lines = [json.loads(line) for line in (await _export("jsonl", who="ann")).splitlines()]
    assert [line["call_sid"] for line in lines] == [row["call_sid"] for row in rows]
    assert await _export("xlsx") == b"400"
    taken = [entry async for entry in AuditEntry.objects.filter(action="audit.exported").order_by("id")]
    assert [entry.after for entry in taken] == [{"format": "csv", "who": "ann"}, {"format": "jsonl", "who": "ann"}]
    await sync_to_async(connections.close_all)()


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert exports.cell(text) == f"'{text}"
    assert exports.cell(-1) == "-1"


def test_a_number_is_revealed_to_whoever_may_and_that_is_written_down(as_role: Callable[[str], Client]) -> None:
    Call.objects.create(call_sid="CA1", from_number="+15550001111")
    person = people.ensure("+15550002222")
    reviewer = as_role("reviewer")
    assert reviewer.post("/console/reveal/", {"call": "CA1"}).json() == {"number": "+15550001111"}
    assert reviewer.post("/console/reveal/", {"caller": str(person.id)}).json() == {"number": "+15550002222"}
    entries = AuditEntry.objects.filter(action="number.revealed").order_by("id")
    assert [(entry.call_sid, entry.entry) for entry in entries] == [("CA1", ""), ("", f"caller {person.id}")]
    for forged in ({"call": "CA2"}, {"caller": "7"}, {"caller": "\x00"}, {"call": "\x00"}, {}):
        assert reviewer.post("/console/reveal/", forged).status_code == 404
    assert reviewer.get("/console/reveal/?call=CA1").status_code == 405
    assert as_role("viewer").post("/console/reveal/", {"call": "CA1"}).status_code == 403
    assert entries.count() == 2

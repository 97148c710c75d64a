"""Stepping in: who may, what is said of bad requests, and that the trail is written first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from calls import control
from calls.desk import MOST_CHARS, Outcome
from calls.models import Call
from tests.app.console.conftest import close_connections
from voiceagent.console.models import AuditEntry
from voiceagent.console.operate.views import ACTIONS
from voiceagent.console.operate.watch import OperateWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

SID = "CA" + "7" * 32
#: What each action needs to be understood.
GOOD: dict[str, dict[str, str]] = {
    "whisper": {"text": "Offer the terrace."},
    "say": {"text": "We close at ten.", "when": "now"},
    "take_over": {},
    "hand_back": {"text": "It is booked."},
    "end": {"reason": "abuse", "text": "Goodbye."},
}
HOSTILE = "<script>alert(1)</script> \u202e\u0007 drop"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches a call that accepts everything, with how many entries the trail had by then."""
    found: list[tuple[Any, ...]] = []

    async def ask(call_sid: str, action: str, by: str, key: str = "", **args: Any) -> Outcome:
        found.append((call_sid, action, by, key, args, await AuditEntry.objects.acount()))
        return Outcome(accepted=True)

    monkeypatch.setattr(control, "ask", ask)
    return found


def post(client: Client, action: str, **fields: str) -> Any:
    return client.post(f"/console/operate/{SID}/{action}", fields)


@pytest.mark.parametrize("action", ACTIONS)
def test_only_operators_step_in(
    action: str, as_role: Callable[[str], Client], client: Client, asked: list[Any]
) -> None:
    for refused in (as_role("viewer"), as_role("reviewer")):
        assert post(refused, action, **GOOD[action]).status_code == 403
    assert post(client, action, **GOOD[action]).status_code == 302
    assert as_role("operator").get(f"/console/operate/{SID}/{action}").status_code == 405
    assert asked == []
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_the_trail_is_written_before_the_call_is_asked_and_once_for_a_key(
    action: str, as_role: Callable[[str], Client], asked: list[Any]
) -> None:
    client = as_role("operator")
    for _ in range(2):
        answer = post(client, action, **GOOD[action], key="k1")
        assert answer.json() == {"accepted": True, "why": "", "key": "k1"}
    assert asked == [(SID, action, "operator", "k1", GOOD[action], 1)] * 2
    entry = AuditEntry.objects.get()
    said = {name: value for name, value in GOOD[action].items() if name != "reason"}
    assert (entry.action, entry.call_sid, entry.entry) == (ACTIONS[action][1], SID, "k1")
    assert (entry.reason, entry.after) == (GOOD[action].get("reason", ""), said or None)


@pytest.mark.parametrize(
    ("action", "fields", "why"),
    [
        ("whisper", {"text": " \u200b\n"}, "The note is empty."),
        ("whisper", {"text": "x" * 10_000}, f"it may have {MOST_CHARS['note']:,}"),
        ("say", {}, "The sentence is empty."),
        ("say", {"text": "Hello", "when": "later"}, "now, or at the next pause"),
        ("hand_back", {}, "The summary is empty."),
        ("end", {"text": "Goodbye."}, "The reason is empty."),
    ],
)
def test_what_is_not_understood_is_refused_and_not_done(
    action: str, fields: dict[str, str], why: str, as_role: Callable[[str], Client], asked: list[Any]
) -> None:
    answer = post(as_role("operator"), action, **fields)
    assert answer.status_code == 400
    assert why in answer.json()["why"]
    assert asked == []
    assert not AuditEntry.objects.exists()


def test_json_is_taken_too_and_what_is_none_is_refused(as_role: Callable[[str], Client], asked: list[Any]) -> None:
    client = as_role("operator")
    address = f"/console/operate/{SID}/whisper"
    assert client.post(address, {"text": HOSTILE}, content_type="application/json").status_code == 200
    assert asked[0][4] == {"text": HOSTILE}
    for body in ("{", "[]", '{"text": 5}'):
        assert client.post(address, body, content_type="application/json").status_code == 400


def test_a_call_that_no_process_has(as_role: Callable[[str], Client]) -> None:
    answer = post(as_role("operator"), "say", text="Hello")
    assert (answer.status_code, answer.json()["why"]) == (409, control.NOBODY)


async def test_a_call_that_is_over_is_told_at_once_and_nobody_is_asked(asked: list[tuple[Any, ...]]) -> None:
    over = {"status": Call.Status.ENDED, "ended_at": timezone.now(), "end_reason": "caller_hung_up"}
    call = await Call.objects.acreate(call_sid=SID, account_sid="AC1", **over)
    watch = OperateWatch()
    watch.scope = {"user": User(username="ada"), "url_route": {"kwargs": {"call_sid": SID}}}
    assert await watch.snapshot() == {"status": {"phase": "ended"}, "why": ""}
    assert asked == []
    await Call.objects.filter(pk=call.pk).aupdate(status=Call.Status.IN_PROGRESS, ended_at=None, end_reason="")
    await watch.snapshot()
    assert [(sid, action) for sid, action, *_ in asked] == [(SID, "status")]
    await sync_to_async(close_connections)()
    await sync_to_async(connections.close_all)()

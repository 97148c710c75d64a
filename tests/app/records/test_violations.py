"""What the watch over the invariants found stands on the archived call, and people find it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse
from structlog.testing import capture_logs

from calls.models import Call
from calls.replay.digest import LayoutError, StateDigest
from calls.services.archive import archive_call
from tests.app.records.conftest import meta_of, write_log
from tests.app.records.conversation import booked_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis
    from django.test import Client

    from calls.models import AgentVersion
    from tests.app.records.conftest import Cast

FOUND = [{"invariant": "heard_truth", "step": 17}]


@pytest.fixture
def archive(redis_url: str, version: AgentVersion, client_redis: redis.Redis, recordings: Path) -> Callable[..., Call]:
    def make(number: int, **facts: str) -> Call:
        sid = f"CA{number:032d}"
        asyncio.run(write_log(redis_url, booked_table(sid), meta_of(version, **facts)))
        archive_call(sid, client_redis)
        return Call.objects.get(call_sid=sid)

    return make


def test_a_flag_in_the_log_is_a_flag_on_the_call(archive: Callable[..., Call]) -> None:
    violated = archive(1, checked="1", violations=json.dumps(FOUND))
    held, unwatched = archive(2, checked="1"), archive(3)
    assert (violated.checked, violated.violations) == (True, FOUND)
    assert (held.checked, held.violations) == (True, [])
    assert (unwatched.checked, unwatched.violations) == (False, [])


@pytest.mark.parametrize("text", ["", "[", "{}", "null", "[" * 100_000])
def test_a_flag_that_cannot_be_read_is_none(archive: Callable[..., Call], text: str) -> None:
    assert archive(1, checked="1", violations=text).violations == []


def test_the_list_shows_and_filters_them(archive: Callable[..., Call], client: Client, cast: Cast) -> None:
    calls = {
        "violated": archive(1, checked="1", violations=json.dumps(FOUND)),
        "held": archive(2, checked="1"),
        "unwatched": archive(3),
    }
    client.force_login(cast.bob)
    page = client.get(reverse("admin:calls_call_changelist"), {"with": "violated"})
    assert [row.call_sid for row in page.context["cl"].result_list] == [calls["violated"].call_sid]
    assert "invariant violated" in page.content.decode()
    for case, text in (("violated", "violated: heard truth (step 17)"), ("held", "held"), ("unwatched", "not watched")):
        shown = client.get(reverse("admin:calls_call_change", args=[calls[case].pk])).content.decode()
        assert text in shown


def test_the_newest_step_of_each_write_has_a_digest_and_the_call_its_layout(archive: Callable[..., Call]) -> None:
    call = archive(1)
    signed = call.events.exclude(digest="")
    assert signed.exists()
    assert not signed.exclude(kind="event").exists()
    assert call.events.filter(kind="event").order_by("seq").last() in signed
    assert "Reply" in call.state_layout


def test_a_digest_that_cannot_be_made_costs_the_record_nothing_else(
    archive: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise LayoutError("no such field")

    monkeypatch.setattr(StateDigest, "of", fail)
    with capture_logs() as lines:
        call = archive(1)
    assert not call.events.exclude(digest="").exists()
    assert call.entry_count == call.events.count() > 100
    assert {(line["event"], line["error"]) for line in lines if line["log_level"] == "error"} == {
        ("eventlog.no_digest", "LayoutError")
    }

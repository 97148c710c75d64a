"""The board behind its page: what it words, what it counts, and how it keeps true to the batches of several processes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from django.utils import timezone

from calls.latency import FEW
from calls.livefeed import Shot
from calls.liverow import Identity, LiveRow
from calls.models import Call
from tests.app.records.conversation import booked_table
from voiceagent.console.board import reading
from voiceagent.console.board.board import UNHEARD_MS, Board
from voiceagent.console.board.rows import ORDERS, ordered, shown
from voiceagent.console.board.strip import strip
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

SIDS = "CA{:032x}"
NOW_MS = 1_795_000_030_000


def facts(call_sid: str = "CA1", more: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of a real conversation, when its second answer has begun to sound, and some steps later."""
    talk = booked_table()
    begun = next(at for at, step in enumerate(talk.steps) if step.state.turn == 2 and step.state.mode == "SPEAKING")
    steps = begun + 1 + more
    row = LiveRow(Identity(call_sid, "+442079461234", "+15005550006", "Bella Vista", "", talk.wall_ms))
    for step in talk.steps[:steps]:
        row.take(step)
    found: dict[str, Any] = orjson.loads(orjson.dumps(row.facts(talk.wall_ms + talk.steps[steps - 1].event.at_ms)))
    return found | changes


def shot(*rows: dict[str, Any], process: str = "a:1", number: int = 1, **about: Any) -> Shot:
    about = {"number": number, "at": NOW_MS, "capacity": 50, "latencies": [], "errors": [], **about}
    return Shot(process, about, {row["call_sid"]: row for row in rows})


def batch(number: int, *rows: dict[str, Any], gone: tuple[str, ...] = (), **about: Any) -> bytes:
    about = {"number": number, "at": NOW_MS, "capacity": 50, **about}
    return orjson.dumps({"about": about, "rows": rows, "gone": gone, "latencies": [], "errors": []})


def test_a_row_is_worded_for_people_and_shows_no_number() -> None:
    row = shown(facts(), 6)
    assert row["number"] == "+44 •••• ••1234" and "2079461234" not in str(row)
    assert (row["history"], row["turn"]) == ("6th call", "turn 2")
    assert row["trend"] == ["↑", "slower than this call's usual 720 ms"]
    assert row["chips"] == [["barge_in", "barge-in ×1", "", False]]
    assert shown(facts(), 1)["history"] == "new" and shown(facts(), None)["history"] == ""
    assert [shown(facts(), nth)["history"] for nth in (2, 3, 11, 22)] == [
        "2nd call",
        "3rd call",
        "11th call",
        "22nd call",
    ]


def test_each_signal_has_words_and_says_why_a_call_is_high() -> None:
    signals = [
        ["error", "model:rate_limited", True],
        ["silence", 8, True],
        ["slow", 2310, True],
        ["barge_in", 3, True],
        ["unclear", 2, True],
        ["long", 21, True],
        ["repeated", 2, False],
        ["fallback", "phrase:model_failed", False],
    ]
    row = shown(facts(signals=signals), None)
    assert row["why"] == (
        "error: model: rate limited, silence 8 s, slow answer 2,310 ms, barge-in ×3, not understood ×2, over 21 min"
    )
    assert [text for _, text, _, _ in row["chips"]][-2:] == ["repeated itself ×2", "fallback: recorded phrase"]


def test_orders_and_filters() -> None:
    rows = [
        shown(facts("CA1", zero_at=1, score=1, signals=[["long", 16, True]]), None),
        shown(facts("CA2", zero_at=3, score=32, signals=[["error", "internal", True]]), None),
        shown(facts("CA3", zero_at=2, score=0), None),
        shown(facts("CA4", zero_at=0, score=63, ended_at=9), None),
    ]
    order = {name: [row["id"] for row in ordered(rows, name, "all")] for name in ORDERS}
    assert order == {
        "attention": ["CA2", "CA1", "CA3", "CA4"],
        "newest": ["CA2", "CA3", "CA1", "CA4"],
        "longest": ["CA1", "CA3", "CA2", "CA4"],
    }
    assert [row["id"] for row in ordered(rows, "attention", "errors")] == ["CA2"]
    assert [row["id"] for row in ordered(rows, "attention", "long")] == ["CA1"]


def test_the_strip_counts_over_all_processes_and_says_over_what() -> None:
    rows = [shown(facts("CA1", zero_at=5), None), shown(facts("CA2", zero_at=3, name="Ana"), None)]
    abouts = [
        {"capacity": 30, "breakers": {"openai.reply": "closed", "cartesia.tts": "open"}},
        {"capacity": 30, "breakers": {"openai.reply": "half_open", "cartesia.tts": "closed"}},
        {"capacity": 30, "draining": True},
    ]
    errors = [[1, "model:timeout"], [2, "model:timeout"], [3, "internal"]]
    found = strip(rows, abouts, [[1, 640], [2, 1_180]], errors, {"redis": True, "database": False})
    assert found["all"]["value"] == "2 / 60" and "1 of 3 processes" in found["all"]["note"]
    assert found["slow"]["value"] == "2 answers: 640\u00a0ms · 1,180\u00a0ms"
    assert found["slow"]["note"] == "2 answers in five minutes"
    for told, value in (([640], "640\u00a0ms"), ([9, 1, 2, 3], "last 3: 1\u00a0ms · 2\u00a0ms · 3\u00a0ms")):
        assert strip([], abouts, [[0, ms] for ms in told], [], {})["slow"]["value"] == value
    assert (found["long"]["since"], found["long"]["note"]) == (3, "Ana")
    assert found["errors"]["value"] == "3" and found["errors"]["hover"] == "2 × model: timeout; 1 × our own code"
    assert found["fallback"]["value"] == "1 of 4 healthy"
    assert found["fallback"]["note"] == "database: away"
    many = strip([], abouts, [[0, ms] for ms in range(100, 100 + 10 * FEW, 10)], [], {})
    assert many["slow"]["value"] == "p50 195 ms · p95 280 ms"
    assert strip([], [], [], [], {})["all"]["off"] and strip([], [], [], [], {})["slow"]["value"] == "no data"


def test_batches_of_two_processes_are_merged_and_a_missing_number_is_noticed() -> None:
    board = Board(linger_ms=30_000)
    board.see([shot(facts("CA1")), shot(facts("CA2"), process="b:2", number=7)], NOW_MS)
    assert sorted(row["id"] for row in board.whole()["rows"]) == ["CA1", "CA2"]
    assert board.hear("a:1", 2, batch(2, facts("CA1", 40)), NOW_MS)
    changes = board.changes()
    assert list(changes) == ["rows"] and list(changes["rows"]) == ["CA1"]
    assert changes["rows"]["CA1"]["words"]
    assert "number" not in changes["rows"]["CA1"]  # what did not change is not sent
    assert board.hear("a:1", 2, batch(2, gone=("CA1",)), NOW_MS)  # again: the snapshot had it
    assert board.changes() == {}
    assert not board.hear("a:1", 4, batch(4), NOW_MS)  # 3 is missing
    assert not board.hear("c:3", 1, batch(1), NOW_MS)  # a process that is new
    assert board.hear("b:2", 8, batch(8, gone=("CA2",)), NOW_MS)
    assert board.changes() == {"gone": ["CA2"]}
    assert board.hear("a:1", 3, batch(3, closed=True), NOW_MS)
    assert board.changes() == {"gone": ["CA1"]}


def test_the_calls_of_a_process_that_died_are_lost_linger_and_go() -> None:
    board = Board(linger_ms=5_000)
    board.see([shot(facts("CA1")), shot(facts("CA2"), process="b:2")], NOW_MS)
    board.whole()
    assert not board.unheard(NOW_MS + UNHEARD_MS) and board.unheard(NOW_MS + UNHEARD_MS + 1)
    board.see([shot(facts("CA2"), process="b:2", number=9)], NOW_MS + 6_000)
    row = board.changes()["rows"]["CA1"]
    assert (row["state"], row["letter"]) == ("FAILED", "!")
    assert row["outcome"].startswith("the process died")
    board.age(NOW_MS + 10_999)
    assert "gone" not in board.changes()
    board.age(NOW_MS + 11_000)
    assert board.changes()["gone"] == ["CA1"]


def test_a_call_that_moved_its_process_is_no_longer_lost() -> None:
    board = Board(linger_ms=5_000)
    board.see([shot(facts("CA1"))], NOW_MS)
    board.see([], NOW_MS)
    board.see([shot(facts("CA1"), process="b:2")], NOW_MS)
    (row,) = board.whole()["rows"]
    assert row["state"] != "FAILED"


def test_what_was_said_is_hidden_from_who_may_not_read_it() -> None:
    board = Board(linger_ms=5_000)
    said = "My card is 4242 4242 4242 4242, thank you."
    board.see([shot(facts("CA1", words=said))], NOW_MS)
    assert board.whole()["rows"][0]["words"] == said
    board.read_by(redacted_text)
    hidden = board.changes()["rows"]["CA1"]["words"]
    assert "4242" not in hidden and hidden.endswith("thank you.") and len(hidden) == len(said)


def call(number: int, key: str, ago: timedelta, **fields: Any) -> Call:
    return Call.objects.create(
        call_sid=SIDS.format(number), caller_key=key, status="ended", end_reason="caller_hung_up",
        started_at=timezone.now() - ago, ended_at=timezone.now() - ago, duration_ms=192_000, **fields,
    )  # fmt: skip


@pytest.mark.django_db
def test_it_is_known_which_of_their_calls_it_is_and_what_today_was_like() -> None:
    for number in range(3):
        call(number, "ana", timedelta(minutes=3 - number))
    call(3, "", timedelta(minutes=1))
    call(4, "bo", timedelta(0), is_test=True)
    assert reading._nth_calls([SIDS.format(number) for number in (0, 2, 3, 9)]) == {
        SIDS.format(0): 1,
        SIDS.format(2): 3,
        SIDS.format(3): None,
    }
    today = reading.today()
    assert today.last is not None and today.last.call_sid in (SIDS.format(2), SIDS.format(3))
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    since_midnight = Call.objects.filter(started_at__gte=midnight, is_test=False).count()
    assert today.count == since_midnight == sum(hour["count"] for hour in today.hours)
    assert len(today.hours) == 24 and max(hour["height"] for hour in today.hours) <= 98


@pytest.mark.django_db(transaction=True)
def test_an_empty_board_says_when_the_last_call_ended(
    redis_url: str, as_role: Callable[[str], Client], settings: Any
) -> None:
    settings.REDIS_URL = redis_url
    call(0, "ana", timedelta(0))
    page = as_role("operator").get("/console/").text
    assert "No calls right now. The last one ended at" in page and "after 3:12" in page
    assert "Make a test call" in page
    assert "Make a test call" not in as_role("viewer").get("/console/live/empty/").text


@pytest.mark.django_db(transaction=True)
def test_the_page_says_that_redis_is_away_and_forgives_what_it_does_not_know(
    as_role: Callable[[str], Client], settings: Any
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    answer = as_role("viewer").get("/console/?order=nonsense&filter=%3Cscript%3E")
    assert answer.status_code == 200
    assert b"Redis does not answer" in answer.content and b"<script>" not in answer.content.replace(b"<script ", b"")

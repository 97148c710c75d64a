"""The health screen: its figures from known turns, its cards from what is up and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from calls import breakers
from calls.breakers import Breakers
from calls.livefeed import Shot
from calls.models import Call, Turn
from voiceagent.console.health import figures, shown, system
from voiceagent.console.health.span import RANGES, span_of
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client

    from voiceagent.console.health.span import Span

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 30, 12, 10, tzinfo=UTC)


def call(sid: str, ago: timedelta, *latencies_ms: int, **fields: Any) -> Call:
    """A call that began so long before ``NOW``, with these answers."""
    began = NOW - ago
    row = Call.objects.create(
        call_sid=sid,
        from_number="+15550100123",
        started_at=began,
        **{
            "answered_at": began,
            "ended_at": began + timedelta(minutes=2),
            "end_reason": "caller_hung_up",
            "status": "ended",
            **fields,
        },
    )
    for number, latency_ms in enumerate(latencies_ms, 1):
        Turn.objects.create(
            call=row,
            number=number,
            kind="answer",
            outcome="answered",
            latency_ms=latency_ms,
            turn_end_wait_ms=latency_ms // 2,
            model_wait_ms=latency_ms // 4,
            voice_wait_ms=latency_ms - latency_ms // 2 - latency_ms // 4,
        )
    return row


def span(name: str = "24h") -> Span:
    return span_of({"range": name}, NOW)


@pytest.mark.parametrize("name", RANGES)
def test_a_range_ends_with_the_column_under_way(name: str) -> None:
    shown_span = span(name)
    assert shown_span.begin < NOW < shown_span.end
    assert shown_span.end - NOW <= shown_span.step
    assert 48 <= len(shown_span.columns) <= 60
    assert shown_span.previous.end == shown_span.begin


@pytest.mark.parametrize("asked", [{}, {"range": "9y"}, {"version": "x"}, {"version": "9" * 40}, {"range": ""}])
def test_what_is_asked_wrongly_is_the_default(asked: dict[str, str]) -> None:
    assert span_of(asked, NOW) == span_of({}, NOW)


def test_percentiles_of_many_and_values_of_few() -> None:
    call("CA1", timedelta(hours=2), *range(100, 2600, 100))
    call("CA2", timedelta(hours=5), 700, 900)
    call("CA3", timedelta(hours=5), 9000, is_test=True)
    call("CA4", timedelta(hours=40), 8000)
    found = figures.performance(span())
    assert (found.response.count, found.response.p50, found.within) == (27, 1200, 17)
    busy, quiet = (found.by_column[at] for at in sorted(found.by_column, reverse=True))
    assert (busy.count, busy.p50, busy.p95, busy.p99, busy.values) == (25, 1300, 2400, 2500, ())
    assert (quiet.is_few, quiet.values) == (True, (700, 900))
    drawn = figures.charts(span(), found, 10)
    assert [value for value in drawn["response"]["p95"] if value is not None] == [2400]
    assert [value for value in drawn["response"]["slowest of few"] if value is not None] == [900]
    assert {len(values) for values in drawn["response"].values()} == {len(drawn["at"])}
    assert figures.summary(span().previous) == (figures.Spread(1, 8000, 8000, 8000, (8000,)), 0)


def test_the_error_budget() -> None:
    assert figures.budget_left(0, 0) is None
    assert figures.budget_left(1000, 1000) == 1
    assert figures.budget_left(1000, 950) == pytest.approx(0)
    assert figures.budget_left(1000, 900) == pytest.approx(-1)


def test_stages_lie_side_by_side_on_one_scale() -> None:
    call("CA1", timedelta(hours=1), *[800] * 19, 1600)
    medians, slow = shown.stages(figures.performance(span()))
    assert [(bar.name, bar.ms) for bar in medians[2]] == [("end of the turn", 400), ("model", 200), ("voice", 200)]
    assert medians[1] == 800
    assert [bar.x for bar in slow[2]] == [0, slow[2][0].width, slow[2][0].width + slow[2][1].width]
    assert sum(bar.width for bar in slow[2]) in range(998, 1003)


def test_a_cell_of_the_heat_map_leads_to_its_calls() -> None:
    call("CA1", timedelta(hours=1), 850, 860, 9000)
    heat = shown.heat(span(), figures.performance(span()))
    fast, slow = sorted(heat["cells"], key=lambda cell: -cell.y)
    assert (fast.title, slow.title) == ("2 answers, 800 to 1,000 ms", "1 answer, 8,000 ms and more")
    assert "response%3A800..999" in fast.address
    assert "response%3A%3E%3D8000" in slow.address
    assert "date%3A2026-11-30T11%3A00..2026-11-30T11%3A30" in fast.address
    assert fast.shade == shown.SHADES - 2 or fast.shade > slow.shade


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([(0, 50), (10, 70)], {0: 2, 1: 1}),
        ([(0, 60), (60, 70)], {0: 1, 1: 1}),
        ([(-30, 10), (20, 30)], {0: 1, 1: 0}),
        ([], {0: 0, 1: 0}),
    ],
)
def test_calls_at_once(times: list[tuple[float, float]], most: dict[int, int]) -> None:
    changes = [change for begin, end in times for change in ((begin, 1), (end, -1))]
    assert figures._at_once(changes, 60, 2) == most


def test_failures_and_refusals_are_counted_by_cause() -> None:
    row = call("CA1", timedelta(hours=1), 900, end_reason="model_failed")
    row.turns.update(causes=["model:timeout", "model:timeout", "voice:cut"])
    call("CA2", timedelta(hours=1), end_reason="overload", answered_at=None)
    found = figures.performance(span())
    assert [(cause, count) for cause, count, _ in found.failures] == [
        ("model:timeout", 2),
        ("call: model_failed", 1),
        ("voice:cut", 1),
    ]
    assert sum(found.refused.values()) == 1
    assert found.slowest[0]["call_sid"] == "CA1"


def test_the_page_says_so_where_there_is_nothing(as_role: Callable[[str], Client]) -> None:
    page = as_role("viewer").get("/console/health/")
    assert "No answers in 30 days" in page.text
    assert "no data" in page.text


def test_the_page_with_data_masks_numbers(as_role: Callable[[str], Client]) -> None:
    row = call("CA1", timedelta(0), 900, 2500)
    Call.objects.update(started_at=timezone.now(), answered_at=timezone.now(), ended_at=timezone.now())
    page = as_role("viewer").get("/console/health/?range=1h").text
    assert f"/console/calls/{row.call_sid}/?turn=2" in page
    assert "5550100123" not in page


@pytest.fixture
def vendors() -> Iterator[Breakers]:
    """Breakers of this process."""
    before = breakers.current()
    made = Breakers()
    made.expose()
    yield made
    if before is not None:
        before.expose()


async def test_an_open_breaker_says_what_callers_hear(vendors: Breakers) -> None:
    vendors.of("cartesia.tts").trip("ann", "vendor's status page")
    card = next(card for card in await system.cards([]) if card.name == "Voice")
    assert (card.state, card.word) == ("away", "held open")
    assert "recorded phrases" in card.caller


async def test_what_all_processes_asked_of_a_vendor_lately_is_told_together(vendors: Breakers) -> None:
    told = {"asked": 10, "failed": 1, "waits_ms": [200] * 9}
    others = {"asked": 30, "failed": 0, "waits_ms": [400] * 30}
    shots = [
        Shot("a:1", {"vendors": {"openai.reply": told}}),
        Shot("b:1", {"vendors": {"openai.reply": others, "openai.distil": {"asked": "rubbish"}}}),
        Shot("older", {}),
    ]
    card = next(card for card in await system.cards(shots) if card.name == "Model")
    said = {row["name"]: row["lately"] for row in card.breakers}
    assert said["openai.reply"] == (
        "last 5 minutes: 97.5% of 40 went well; first word after 400 ms (p50), 400 ms (p95 of 39)"
    )
    assert said["openai.distil"] == "no data of the last 5 minutes"


def test_a_breaker_is_operated_by_whoever_may_for_a_reason(as_role: Callable[[str], Client], vendors: Breakers) -> None:
    address = "/console/health/breakers/openai.reply/trip/"
    assert as_role("operator").post(address, {"reason": "x"}).status_code == 403
    engineer = as_role("engineer")
    engineer.post(address, {"reason": ""})
    assert str(vendors.of("openai.reply").view().phase) == "closed"
    engineer.post(address, {"reason": "it invents tables"})
    assert str(vendors.of("openai.reply").view().phase) == "forced"
    entry = AuditEntry.objects.get(action="breaker.operated")
    assert (entry.entry, entry.reason, entry.before, entry.after) == (
        "openai.reply",
        "it invents tables",
        "closed",
        "trip",
    )
    engineer.post("/console/health/breakers/openai.reply/reset/", {"reason": "mended"})
    assert str(vendors.of("openai.reply").view().phase) == "closed"
    assert engineer.post("/console/health/breakers/nothing/trip/", {"reason": "x"}).status_code == 404
    assert engineer.post("/console/health/breakers/openai.reply/burn/", {"reason": "x"}).status_code == 404
    assert engineer.get(address).status_code == 405

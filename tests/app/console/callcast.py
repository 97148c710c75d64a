"""Calls that differ in everything that the list can be asked, for tests of its pages with and without a browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from calls.agents import seed_demo_agent
from calls.models import Call, Turn
from voiceagent.console.models import CallFlag

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: What a caller may say, or a carrier send, to break a page.
HOSTILE = '<script>alert(1)</script>\u202e" onmouseover="x'


def call(sid: str, at: datetime = NOON, said: str = "", heard: str = "", **more: Any) -> Call:
    """A call of one turn."""
    end = {"status": "ended", "end_reason": "caller_hung_up", "ended_at": at, "archived_at": at, "duration_ms": 60_000}
    made = Call.objects.create(
        call_sid=sid, **{"started_at": at, "caller_key": "k", "is_returning": False, **end, **more}
    )
    Turn.objects.create(
        call=made, number=1, kind="answer", outcome="answered", user_text=said, heard_text=heard, began_ms=83_200,
        speech_ended_ms=85_000, first_audio_ms=86_000, latency_ms=made.latency_p95_ms,
    )  # fmt: skip
    return made


@dataclass(frozen=True)
class Cast:
    """Calls by the letter of their id."""

    by: dict[str, Call]


def cast() -> Cast:
    """Five calls, and a test call."""
    version = seed_demo_agent()
    made = [
        call("CAa", said="I want to cancel my order", heard="Gladly", language="en", latency_p95_ms=800, turn_count=3,
             barge_in_count=3, has_recording=True, software_version="0.1.0", agent_version=version, recalled_count=2,
             from_number="+442079461234", to_number="+15005550006"),
        call("CAb", NOON - timedelta(days=1), said="my order was cancelled", heard="Oh dear", language="en-GB",
             latency_p95_ms=1500, end_reason="ear_failed", error_kinds=["ear", "ear:cut"], error_count=1,
             fallbacks=["phrase"], is_returning=True, from_number="+15550109999"),
        call("CAc", NOON - timedelta(days=3), said="lobster", heard="We have lobster", language="de",
             latency_p95_ms=1501, end_reason="transferred", has_operator=True, turn_count=9, duration_ms=400_000),
        call("CAd", NOON - timedelta(days=40), language="", latency_p95_ms=None, end_reason="caller_gave_up",
             caller_key="", is_returning=None, turn_count=0, duration_ms=None, violations=[{"invariant": "x", "step": 1}]),
        call("CAe", NOON - timedelta(hours=1), said="hello", end_reason="", status="in_progress", ended_at=None,
             archived_at=None, broken_count=2),
        call("CAt", said="a test of lobster", is_test=True),
    ]  # fmt: skip
    CallFlag.objects.create(call=made[2], reason="rude")
    return Cast({one.call_sid[2]: one for one in made})

"""What the call page tells of memory, summary, trace and cost, and to whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from calls.models import Call, Recording, Turn
from memory import selectors
from tests.app.console import test_callers as callers
from tests.app.memory.talks import FIRST, heard
from voiceagent.console.call import spending
from voiceagent.console.call.story import Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from memory.people import Person

known = callers.known  # a fixture
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]

PAGE = f"/console/calls/{FIRST}/"
MEMORY = f"{PAGE}turns/3/memory/"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def item(level: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": "", "level": level, "kind": "fact", "text": text, "score_milli": 812, "in_prompt": True, **more}


def shown(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture
def recalled(known: Person) -> Person:
    """A turn for which something was found on every level."""
    (allergy,) = selectors.facts(known, slot="health.allergy")
    items = [
        item(
            "L2",
            "Allergic to <b>peanuts</b>",
            id=allergy.id,
            said_at="2026-02-16T12:00:00+00:00",
            quote="peanuts are bad",
        ),
        item("L1", "A table by the window"),
        item("L3", "It was my birthday.", conversation=FIRST, seq=6, audio_ms=1200, quote="It was my birthday."),
        item("L2", "Comes on Fridays", in_prompt=False, why_not="budget"),
    ]
    found = {"outcome": "words", "took_ms": 21, "items": items}
    Turn.objects.filter(call__call_sid=FIRST).update(recalled=found, user_text="What <i>do</i> you know?")
    return known


def test_what_was_used_is_told_by_level(recalled: Person, as_role: Callable[[str], Client]) -> None:
    html = as_role("reviewer").get(MEMORY).text
    text = shown(html)
    levels = re.findall(r"<h4><span class=\"chip\">(L\d)</span>", html)
    assert levels == ["L1", "L2", "L3"]
    assert "Found for: What &lt;i&gt;do&lt;/i&gt; you know? , in 21 ms; by its words alone" in text
    assert "Allergic to &lt;b&gt;peanuts&lt;/b&gt; rank 1 · fact · score 0.81 · 2 weeks old · used 0" in text, (
        "when the call began"
    )
    assert "used 0 times so far · in the prompt, about 7 tokens" in text
    assert "turn 3, at 0:01.2" in text
    assert "1 considered and not used Comes on Fridays" in text
    assert "left out: no room" in text
    assert html.count("It was my birthday.") == 1, "a quote that is the text is not told twice"


def test_who_may_not_see_everything_sees_nothing_sensitive(recalled: Person, as_role: Callable[[str], Client]) -> None:
    """As on the page of the caller: neither what was used nor what was written, nor the words it was taken from."""
    for role, there in (("viewer", False), ("reviewer", True)):
        html = as_role(role).get(MEMORY).text
        assert ("peanuts" in html) == there
        assert ("I like the window" in html) == there, "the words that it was taken from"


def test_a_place_can_be_heard_where_there_is_sound_and_one_may(
    recalled: Person, as_role: Callable[[str], Client]
) -> None:
    assert "data-clip" not in as_role("reviewer").get(MEMORY).text
    Recording.objects.create(call=Call.objects.get(), file="x.wav", duration_ms=9000, size_bytes=1, sha256="0")
    clip = f'data-clip="/console/callers/{recalled.id}/heard/?call={FIRST}&amp;at=1200"'
    assert clip in as_role("reviewer").get(MEMORY).text
    assert "data-clip" not in as_role("viewer").get(MEMORY).text


def test_the_summary_is_told_and_said_to_be_made_by_a_machine(known: Person, as_role: Callable[[str], Client]) -> None:
    assert "call-summary" not in as_role("viewer").get(PAGE).text
    heard(
        known, "The caller said: “<b>4711 000 111</b> is mine”", (FIRST, "4711 X"), kind="summary", extractor="rules-1"
    )
    viewer, reviewer = (shown(as_role(role).get(PAGE).text) for role in ("viewer", "reviewer"))
    assert (
        "“&lt;b&gt;4711 000 111&lt;/b&gt; is mine” Written by machine after the call: extraction rules-1." in reviewer
    )
    assert "Written by machine" in viewer
    assert "4711 000" not in viewer


def test_the_trace_is_linked_where_there_is_a_place_for_it(
    known: Person, as_role: Callable[[str], Client], settings: Any
) -> None:
    client = as_role("viewer")
    Call.objects.update(trace_id=TRACE, trace_kept=True)
    assert "Open trace" not in client.get(PAGE).text
    settings.TRACE_URL_TEMPLATE = "https://traces.example.com/trace/{trace_id}?a=1"
    link = f'<a href="https://traces.example.com/trace/{TRACE}?a=1" target="_blank" rel="noopener noreferrer">Open trace</a>'
    assert link in client.get(PAGE).text
    Call.objects.update(trace_kept=False)
    assert "Open trace" not in client.get(PAGE).text
    assert "not exported" in client.get(PAGE).text


def test_cost_is_told_where_prices_are_known_and_never_else(
    known: Person, as_role: Callable[[str], Client], settings: Any
) -> None:
    Call.objects.update(duration_ms=90_000, audio={"frames": 3000})
    page = shown(as_role("viewer").get(PAGE).text)
    assert "Used no data 0 characters spoken, 1:00 of sound recognised" in page
    assert "Cost" not in page
    settings.CALL_PRICES, settings.PRICE_CURRENCY = {"recognition": 0.6, "voice": 35}, "EUR"
    assert "Cost 0.0100 EUR without line" in shown(as_role("viewer").get(PAGE).text)


def test_what_was_used_is_counted_as_it_is_paid() -> None:
    story = Story()
    story.tokens, story.voiced_chars = {"input": 3000, "output": 100, "cached": 1000}, 2000
    amounts = spending.used(Call(duration_ms=120_000, audio={}), story)
    assert amounts == {
        "model_input": 2000, "model_cached": 1000, "model_output": 100, "voice": 2000,
        "recognition": 120_000, "line": 120_000,
    }  # fmt: skip
    found = spending.cost(amounts, {"model_input": 0.25, "model_output": 2, "line": 0.01})
    assert found is not None
    assert found.amount == pytest.approx(0.0005 + 0.0002 + 0.02)
    assert found.missing == ("model_cached", "voice", "recognition")
    assert spending.cost(amounts, {}) is None

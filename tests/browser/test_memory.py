"""Callers and memory in a real browser: what an operator does to an entry is seen there, in the probe, and behind the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone
from playwright.sync_api import expect

from calls.models import Call, Turn
from memory import people, selectors, surroundings
from memory.core import budget
from memory.core.index import CallerIndex, Ranking
from memory.core.text import question
from memory.live import LOOKED_AT
from memory.models import Tombstone
from memory.services import cards
from memory.services.embedding import embed_caller
from memory.tasks import finish_erasures
from tests.app.memory.people import DAY, MARIA, MONDAY
from tests.app.memory.talks import FIRST, heard
from tests.browser.console import Console, assert_clean, assert_fits, axe
from tests.browser.known import known_caller

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from memory.people import Person

STEWARD = "memory steward"
HOSTILE = "<script>document.title = 'taken over'</script> \u202egnitirw\u202c " + "x" * 10_000
QUESTION = "What is my customer number?"


@pytest.fixture
def known(console: Console) -> Person:
    """Maria: a call, a chain of seats, a number that was heard, something disputed, near duplicates, and hostile words."""
    known = known_caller()
    person = known.person
    heard(person, HOSTILE, (FIRST, "I like the window"))
    embed_caller(person)
    item = {"id": str(known.number.pk), "in_prompt": True, "score_milli": 812, "why_not": ""}
    Turn.objects.create(call=known.call, number=1, kind="speech", outcome="answered", recalled={"items": [item]})
    cards.build(person, now=MONDAY + DAY)
    return person


def probe(page: Page, asked: str = QUESTION) -> list[str]:
    """Ids of what is recalled, in the order of the page."""
    page.get_by_label("if the caller said", exact=False).fill(asked)
    page.get_by_role("button", name="Probe").click()
    expect(page.get_by_role("heading", name="Recalled", exact=True)).to_be_visible()
    return page.locator("[data-row]").evaluate_all("rows => rows.map((row) => row.dataset.row)")


def ranked(person: Person, asked: str = QUESTION) -> list[str]:
    """The same by the ranking function itself."""
    local = surroundings.embedder()
    index = CallerIndex(selectors.held(person, local.name).rows, Ranking(unrelated_cosine=local.unrelated_cosine))
    wanted = question(asked)
    vector = local.embed_query(index.in_first_person(wanted))
    return [hit.row.id for hit in budget.choose(index.search(wanted, vector, timezone.now(), LOOKED_AT))]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_every_page_is_clean_accessible_and_fits(console: Console, known: Person, scheme: Any) -> None:
    base = f"/console/callers/{known.id}/"
    wide = console.context("engineer", color_scheme=scheme)
    more = (f"{base}?tab=all&q=seat&by=meaning", f"{base}?tab=forgotten", f"{base}probe/") if scheme == "dark" else ()
    for path in ("/console/callers/", base, f"{base}erase/", *more):
        page = console.visit(wide, path)
        assert "taken over" not in page.title()
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        axe(page)
        assert_fits(page)
        page.set_viewport_size({"width": 400, "height": 800})
        assert_fits(page)
        page.close()
    probed = console.visit(wide, f"{base}probe/")
    probe(probed)
    axe(probed)
    assert_clean(console)


def test_a_correction_makes_a_chain_and_a_stale_one_shows_both(console: Console, known: Person) -> None:
    page = console.open(f"/console/callers/{known.id}/", STEWARD)
    page.get_by_role("link", name="Customer number: 4711X").last.click()
    late = console.open(page.url.removeprefix(console.url), STEWARD)

    page.locator("summary", has_text="Correct").click()
    page.get_by_label("What is right").fill("4712X")
    page.get_by_label("was never true").check()
    page.get_by_role("button", name="Correct it").click()

    expect(page.locator("#chosen .entry-text")).to_have_text("Customer number: 4712X")
    chain = page.locator(".chain li")
    expect(chain).to_have_count(2)
    expect(chain.first.locator("ins")).to_have_text("4712X")
    expect(chain.first.locator("del")).to_have_text("4711X")

    late.locator("summary", has_text="Correct").click()
    late.get_by_label("What is right").fill("4713X")
    late.get_by_role("button", name="Correct it").click()
    conflict = late.get_by_role("alert")
    expect(conflict).to_contain_text("4713X")
    expect(conflict).to_contain_text("Customer number: 4712X")
    axe(late)
    assert [one.value for one in selectors.facts(known, slot="identity.account")] == ["4712X", "4711X"]
    console.said.clear()  # Chromium tells of the status 409
    assert_clean(console)


def test_the_probe_ranks_as_calls_do_and_what_is_forgotten_leaves_it(console: Console, known: Person) -> None:
    page = console.open(f"/console/callers/{known.id}/", STEWARD)
    before = probe(page)
    assert before == ranked(known)
    number = selectors.facts(known, slot="identity.account")[0].id
    assert number in before
    expect(page.locator("tr.cut")).not_to_have_count(0)

    page.locator(f"[data-row='{number}'] a").first.click()
    page.locator("summary", has_text="Forget").click()
    page.locator("#chosen").get_by_label("Reason").last.fill("The caller asked")
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("button", name="Restore it")).to_be_visible()
    without = probe(page)
    assert number not in without
    assert "4711" not in page.locator(".recalled").inner_text()
    assert without == ranked(known)

    page.goto(f"{console.url}/console/callers/{known.id}/?tab=forgotten")
    page.get_by_role("button", name="Restore it").click()
    expect(page.get_by_role("button", name="Restore it")).to_have_count(0)
    assert probe(page) == before
    assert_clean(console)


def test_erasing_empties_every_store_and_leaves_a_tombstone(console: Console, known: Person) -> None:
    page = console.open(f"/console/callers/{known.id}/", STEWARD)
    page.get_by_role("link", name="Erase this caller").click()
    page.get_by_label("Last four digits").fill("0002")
    page.get_by_label("Reason").fill("The caller asked")
    page.get_by_role("button", name="Erase everything").click()
    expect(page.get_by_text("nothing was erased")).to_be_visible()
    console.said.clear()  # Chromium tells of the status 422
    page.get_by_label("Last four digits").fill("0001")
    page.get_by_role("button", name="Erase everything").click()
    expect(page.locator(".step-waiting")).to_have_count(5)
    axe(page)

    finish_erasures()

    expect(page.get_by_text("a search found nothing any more")).to_be_visible()
    expect(page.locator(".step-done")).to_have_count(6)
    axe(page)
    assert people.find(MARIA) is None
    with connection.cursor() as cursor:
        for table in ("caller", "card", "conversation", "utterance", "memory", "source", "memoryevent"):
            cursor.execute(f"SELECT count(*) FROM memory_{table}")  # noqa: S608 - names of our own
            assert cursor.fetchone() == (0,), table
    assert not Call.objects.exists()
    assert set(Tombstone.objects.values_list("scope", flat=True)) == {"caller", "conversation"}
    page.goto(f"{console.url}/console/callers/{known.id}/")
    expect(page.get_by_role("heading", name="This caller was erased")).to_be_visible()
    console.said.clear()  # 404
    assert_clean(console)


def test_a_number_is_shown_on_request_and_the_keyboard_walks_the_list(console: Console, known: Person) -> None:
    page = console.open("/console/callers/", "reviewer")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("[data-number]")).to_have_text("+1 •••• ••0001")
    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("[data-number]")).to_have_text(MARIA)
    assert_clean(console)

"""The list of calls in a real browser: bar, facets and histogram in step, the address is the view, nothing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.app.console.callcast import HOSTILE, NOON, call, cast
from tests.browser.console import assert_clean, assert_fits, at_200_percent, axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.console import Console

LIST = "/console/calls/"


def listed(page: Page) -> list[str]:
    """The calls on the page, in order."""
    hrefs = page.locator("#results tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.href)")
    return [href.split("?")[0].strip("/").split("/")[-1] for href in hrefs]


def asked(page: Page) -> str:
    """The query of the address, which is the one in the bar."""
    query = parse_qs(urlsplit(page.url).query).get("q", [""])[0]
    assert page.get_by_label("Query", exact=True).input_value() == query
    return query


def test_bar_facets_histogram_and_address_are_one(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=", "engineer")
    assert listed(page) == ["CAa", "CAe", "CAb", "CAc", "CAd"]
    page.locator("[data-facet=who][data-value=returning]").click()
    assert asked(page) == "who:returning"
    assert listed(page) == ["CAb"]
    page.locator("[data-facet=who][data-value=new]").click()
    assert asked(page) == "who:returning,new"
    page.locator("[data-facet=outcome][data-value=error]").click()
    assert asked(page) == "who:returning,new outcome:error"
    expect(page.locator("[data-facet=outcome][aria-current=true]")).to_have_count(1)

    page.get_by_label("Query", exact=True).fill('lobster lang:de "have lobster"')
    page.get_by_label("Query", exact=True).press("Enter")
    expect(page.locator("mark").first).to_be_visible()
    assert asked(page) == 'lobster lang:de "have lobster"'
    expect(page.locator("[data-facet=lang][data-value=de]")).to_have_attribute("aria-current", "true")
    assert listed(page) == ["CAc"]
    there = console.open(page.url.removeprefix(console.url), "engineer")
    assert listed(there) == listed(page), "the address alone gives the view"
    page.go_back()
    assert asked(page) == "who:returning,new outcome:error"

    page.get_by_role("link", name="Clear").click()
    bars = page.locator("#histogram .bar")
    expect(page.locator("#histogram .legend")).to_contain_text("completed")
    picture = page.locator("#histogram svg").bounding_box()
    assert picture is not None
    started = NOON.isoformat()
    place = bars.evaluate_all(
        "(bars, at) => bars.findIndex((bar) => new Date(bar.dataset.start) <= new Date(at) && new Date(at) < new Date(bar.dataset.end))",
        started,
    )
    step = picture["width"] / bars.count()
    page.mouse.move(picture["x"] + (place - 2.5) * step, picture["y"] + 20)
    page.mouse.down()
    page.mouse.move(picture["x"] + (place + 0.5) * step, picture["y"] + 20, steps=4)
    with page.expect_navigation():
        page.mouse.up()
    assert asked(page).startswith("date:>=2026-11-")
    assert set(listed(page)) == {"CAa", "CAe", "CAb"} or set(listed(page)) == {"CAa", "CAe", "CAb", "CAc"}
    assert_clean(console)


#: One query for each operator of the language, and the calls that it finds; every form of each is asked in
#: ``tests/app/console/test_calls.py``, without a browser.
OPERATORS = {
    "outcome:error": ["CAb"],
    "-outcome:error": ["CAa", "CAe", "CAc", "CAd"],
    "response:>1500": ["CAc"],
    "response:700..1500": ["CAa", "CAb"],
    "bargein:>2": ["CAa"],
    "lang:en": ["CAa", "CAb"],
    "who:returning,new": ["CAa", "CAe", "CAb", "CAc"],
    "has:operator": ["CAc"],
    "test:yes": ["CAt"],
    '"cancel my order"': ["CAa"],
    "lobster -order": ["CAc"],
}


def test_each_operator_of_the_query_language_is_typed_and_answered(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=", "engineer")
    for query, calls in OPERATORS.items():
        bar = page.get_by_label("Query", exact=True)
        bar.fill(query)
        with page.expect_navigation():
            bar.press("Enter")
        assert asked(page) == query
        assert listed(page) == calls, query
    page.get_by_label("Query", exact=True).fill("respons:>1500")
    with page.expect_navigation():
        page.get_by_label("Query", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("respons")
    assert listed(page) == []
    assert_clean(console)


def test_the_keyboard_goes_through_the_rows_and_opens_one(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=", "reviewer")
    page.locator("body").press("j")
    page.locator("body").press("j")
    page.locator("body").press("k")
    page.locator("body").press("j")
    expect(page.locator("tr[aria-current=true]")).to_have_attribute("data-href", "/console/calls/CAe/?q=")
    page.keyboard.press("x")
    expect(page.locator("input[name=sid]:checked")).to_have_value("CAe")
    page.get_by_label("Reason for the flag").fill("jk look")
    page.get_by_role("button", name="Flag chosen").click()
    expect(page.get_by_text("1 call flagged.")).to_be_visible()
    expect(page.locator("#results tr", has_text="flagged")).to_have_count(2)
    assert_clean(console)
    page.locator("body").press("j")
    with page.expect_request("**/console/calls/CAa/?q=*"):
        page.keyboard.press("Enter")


def test_the_empty_list_leads_out(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=lang:en+response:%3E1500", "viewer")
    page.get_by_text("Without response:>1500:").get_by_role("link", name="2 calls").click()
    assert listed(page) == ["CAa", "CAb"]
    assert_clean(console)


def test_columns_density_and_sort_are_in_the_address(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=", "viewer")
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="Errors").uncheck()
    page.get_by_role("checkbox", name="Language").check()
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="Language")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Errors")).to_have_count(0)
    page.get_by_role("link", name="Compact rows").click()
    page.get_by_label("Sort").select_option("longest")
    page.get_by_role("button", name="Sort", exact=True).click()
    given = parse_qs(urlsplit(page.url).query)
    assert (given["sort"], given["density"]) == (["longest"], ["compact"])
    assert listed(page)[0] == "CAc"
    expect(page.get_by_role("columnheader", name="Language")).to_be_visible()
    assert_clean(console)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_hostile_words_are_shown_and_the_page_is_accessible(console: Console, scheme: Any) -> None:
    cast()
    call("CAh", said=f"lobster {HOSTILE} " + "x" * 10_000, software_version="<b>1</b>", language="<i>")
    page = console.open(f"{LIST}?q=lobster", "engineer", color_scheme=scheme)
    expect(page.locator("q", has_text="<script>alert(1)</script>")).to_be_visible()
    expect(page.locator("[data-facet=version]", has_text="<b>1</b>")).to_be_visible()
    expect(page.locator("#results script, #results b, #results i, .facets b, .facets i")).to_have_count(0)
    axe(page)
    page.get_by_text("What can be asked").click()
    axe(page)
    page.goto(f"{console.url}{LIST}?q=outcome:%22%3Cscript%3E%22+nofield:1")
    expect(page.get_by_role("alert")).to_contain_text("outcome has no value '<script>'")
    axe(page)
    page.goto(f"{console.url}{LIST}?q=lobster&show=turns")
    axe(page)
    assert_fits(at_200_percent(console, f"{LIST}?q=lobster", "engineer", color_scheme=scheme))
    assert_clean(console)


def test_a_list_is_fetched_as_a_file(console: Console) -> None:
    cast()
    page = console.open(f"{LIST}?q=lang:en", "engineer")
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Export CSV").click()
    text = fetched.value.path().read_text()
    assert [line.split(",")[0] for line in text.splitlines()] == ["call_sid", *listed(page)]
    assert_clean(console)

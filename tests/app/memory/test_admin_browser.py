"""The memory's pages in a real browser: nothing that the policy has to stop, nothing that scrolls sideways, forms that work."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect, sync_playwright

from memory.models import Conversation
from memory.people import Person
from memory.services import cards, correcting, erasure, tokens
from memory.services.embedding import embed_caller
from tests.app.memory.people import DAY, MONDAY, john, maria
from tests.app.memory.talks import FIRST, heard, talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client
    from pytest_django.live_server_helper import LiveServer


#: The console is where people look at memories, and has its own tests; these look at the rows' pages beside it.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url"), pytest.mark.long]

expect.set_options(timeout=30_000)
SCRIPT = "<script>document.title = 'taken over'</script>"


@dataclass(frozen=True, slots=True)
class House:
    """A server with a caller's memory, as the browser of an operator who has signed in sees it; ``said`` is its console."""

    url: str
    person: Person
    addresses: tuple[str, ...]
    browser: Browser
    cookies: list[Any]
    said: list[str]

    def open(self, path: str, **options: Any) -> Page:
        """A page in a browser of its own."""
        context = self.browser.new_context(**options)
        context.add_cookies(self.cookies)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(f"{path}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"{path}: {error}"))
        page.goto(self.url + path)
        return page


@pytest.fixture
def house(live_server: LiveServer, client: Client) -> Iterator[House]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        pytest.skip("no Chromium: .ci/chromium finds or installs one")
    person = maria()
    talk(person)
    correcting.store(person, "", "", slot="identity.name", value="Maria Rossi", by="operator:ann", now=MONDAY)
    seat = correcting.store(person, "", "", slot="seating", value="window", by="operator:ann", now=MONDAY)
    correcting.supersede(person, seat.id, "terrace", by="operator:bob", now=MONDAY + DAY)
    correcting.store(person, "", "", slot="health.allergy", value="peanuts", by="token:crm", now=MONDAY + DAY)
    gone = correcting.store(person, "fact", "Plays the cello", by="operator:ann", now=MONDAY)
    correcting.retract(person, gone.id, by="operator:bob", now=MONDAY + DAY)
    account = heard(person, "Customer number: 4711X", (FIRST, "4711 X"), value="4711X", slot="identity.account")
    heard(
        person,
        "Best reached: before 10:00",
        (FIRST, "only before ten in the morning"),
        slot="contact.time",
        status="disputed",
    )
    heard(person, f"Says {SCRIPT}", (FIRST, "I like the window"))
    embed_caller(person)
    cards.build(person, now=MONDAY + DAY)
    other = john()
    talk(other, "CA9")
    receipt = erasure.forget_conversation(other, "CA9", by="operator:ann", now=timezone.now())
    token, _ = tokens.issue("crm", ["read", "write"], [person.id], timezone.now() + timedelta(days=30))
    talked = Conversation.objects.get(caller_id=person.id)
    base, fact = f"/admin/memory/caller/{person.id}", f"fact/{account.pk}"
    addresses = (
        "/admin/", "/admin/memory/", "/admin/memory/caller/", f"{base}/change/", f"{base}/conversation/{talked.pk}/",
        f"{base}/enter/", f"{base}/{fact}/correct/", f"{base}/{fact}/retract/", f"{base}/{fact}/forget/",
        f"{base}/conversation/{talked.pk}/forget/", f"{base}/erase/", f"{base}/keep/", "/admin/memory/memory/",
        "/admin/memory/memory/?q=customer+number", "/admin/memory/utterance/", "/admin/memory/utterance/?q=window&by=meaning",
        "/admin/memory/apitoken/", "/admin/memory/apitoken/add/", f"/admin/memory/apitoken/{token.pk}/change/",
        f"/admin/memory/apitoken/{token.pk}/revoke/", "/admin/memory/erasurerequest/",
        f"/admin/memory/erasurerequest/{receipt.pk}/change/", "/admin/memory/tombstone/", "/admin/memory/access/",
    )  # fmt: skip
    client.force_login(User.objects.create_superuser("root"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield House(live_server.url, person, addresses, browser, [cookie], [])
        browser.close()


@pytest.mark.timeout(240)
def test_every_page_keeps_to_the_policy_and_fits_a_phone(house: House) -> None:
    for scheme in ("light", "dark"):
        for path in house.addresses:
            page = house.open(path, viewport={"width": 400, "height": 800}, color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, (path, scheme)
            assert "taken over" not in page.title()
            page.context.close()
    assert house.said == []


def test_an_operator_finds_a_caller_and_corrects_what_is_known(house: House) -> None:
    page = house.open("/admin/memory/caller/", viewport={"width": 1280, "height": 900})
    page.locator("#searchbar").fill("rossi")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="••• 0001").click()
    expect(page.get_by_role("heading", name="Maria", exact=True)).to_be_visible()

    row = page.locator("tr.fact", has_text="Customer number: 4711X")
    row.get_by_role("link", name="Correct").click()
    page.get_by_label("What is right").fill("4712X")
    page.get_by_label("was never true").check()
    page.get_by_role("button", name="Correct the fact").click()
    expect(page.locator("tr.fact.state-current", has_text="Customer number: 4712X")).to_be_visible()
    expect(page.locator("tr.fact.state-corrected", has_text="Customer number: 4711X")).to_be_visible()
    assert house.said == []


def test_an_operator_erases_a_caller_and_reads_the_receipt(house: House) -> None:
    page = house.open(f"/admin/memory/caller/{house.person.id}/change/")
    page.get_by_role("link", name="Erase this caller").click()
    page.get_by_label("Last four characters of the number").fill("0001")
    page.get_by_role("button", name="Erase the caller for good").click()

    expect(page.get_by_text("verified: a search found nothing")).to_be_visible()
    expect(page.get_by_role("row", name="memory facts")).to_be_visible()
    page.goto(f"{house.url}/admin/memory/caller/?q=%2B15550100001")
    expect(page.get_by_text("No caller fits.")).to_be_visible()
    assert house.said == []


def test_a_tokens_secret_is_there_to_be_copied_once(house: House) -> None:
    page = house.open("/admin/memory/apitoken/add/")
    page.get_by_label("Name").fill("desk")
    page.get_by_label("read", exact=True).check()
    page.get_by_label("For every caller").check()
    page.get_by_role("button", name="Issue the token").click()

    secret = page.get_by_label("The token's secret").input_value()
    assert secret.startswith(tokens.MARK)
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_role("link", name="desk")).to_be_visible()
    assert secret not in page.content()
    assert house.said == []

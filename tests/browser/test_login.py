"""Coming in with both factors, in a real browser."""

from __future__ import annotations

from base64 import b32decode
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from memory import limits
from tests.app.console.conftest import somebody
from tests.app.security.test_second_factor import code
from tests.browser.console import assert_clean, assert_fits, axe

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.browser.console import Console


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_new_operator_comes_in_and_comes_back(console: Console, settings: Any, redis_url: str, scheme: Any) -> None:
    settings.TWO_FACTORS = True
    settings.REDIS_URL = redis_url
    limits._at.cache_clear()
    olga: User = somebody("operator", "olga")
    olga.set_password("right")
    olga.save()

    page = console.open("/console/health/", None, color_scheme=scheme)
    axe(page)
    page.get_by_label("User name").fill("olga")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    page.get_by_label("Password").fill("right")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Set up your second factor")
    axe(page)
    assert_fits(page)
    page.get_by_text("Cannot scan?").click()
    key = b32decode(page.locator(".secret").inner_text())
    page.get_by_role("textbox", name="Code").fill(code(key))
    page.get_by_role("button", name="Use this app").click()
    expect(page.locator(".recovery li")).to_have_count(10)
    axe(page)
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url("**/console/health/")

    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("User name").fill("olga")
    page.get_by_label("Password").fill("right")
    page.get_by_role("button", name="Sign in").click()
    axe(page)
    page.get_by_role("textbox", name="Code").fill("nonsense")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_role("textbox", name="Code").fill(code(key, 1))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
    assert_clean(console)
    limits._at.cache_clear()

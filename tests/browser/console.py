"""The console in a real browser: our application on a real socket in a thread of its own, and pages by role.

What a page did is kept: its console, violations of the policy, and every request. ``assert_clean`` looks at it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from channels.layers import channel_layers
from django.conf import settings
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, Page

from tests.app.console.conftest import close_connections, somebody

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from contextlib import AsyncExitStack

    from django.contrib.auth.models import User
    from playwright.sync_api import BrowserContext

AXE = Path(__file__).parent / "vendor/axe-core-4.14.1/axe.min.js"
#: Before the page's own scripts: what the policy stopped is told where all else is told.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} stopped ${event.blockedURI} ${event.sample}`));
"""
#: What makes a page too wide: the innermost elements that are seen, reach beyond it and lie in nothing that scrolls.
TOO_WIDE = """() => {
  const { clientWidth } = document.documentElement;
  const beyond = (one) => { const { left, right } = one.getBoundingClientRect(); return left < -1 || right > clientWidth + 1; };
  const clipped = (one) => one !== document.body && (getComputedStyle(one).overflowX !== "visible" || clipped(one.parentElement));
  return [...document.body.querySelectorAll("*")]
    .filter((one) => one.checkVisibility() && beyond(one) && !clipped(one.parentElement) && ![...one.children].some(beyond))
    .slice(0, 9).map((one) => one.outerHTML.slice(0, 160));
}"""
#: What axe must not find at all; its milder findings are for people to judge.
SERIOUS = {"serious", "critical"}


class Loop:
    """An event loop in a thread: the browser has the test's own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="console-server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Until it is stopped. Closed here too: the channel layer ends its connections then, which needs this thread."""
        self.loop.run_forever()
        self.loop.close()

    def run[T](self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 50.0) -> T:
        """Its result, from the server's loop. The page goes on meanwhile."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def close(self) -> None:
        """End the loop and give back what its threads held of the database."""
        self.run(_end_threads())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        channel_layers.backends.clear()  # the layer's lock may still be held by what ended with this loop
        close_connections()


async def _end_threads() -> None:
    from asgiref.sync import sync_to_async
    from channels.layers import get_channel_layer

    await sync_to_async(connections.close_all)()
    await get_channel_layer().close_pools()
    await asyncio.get_running_loop().shutdown_default_executor()


@dataclass
class Console:
    """A served console. ``open`` gives pages; ``run`` runs coroutines where the server is (a real line, see ``line``)."""

    url: str
    browser: Browser
    loop: Loop
    said: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    def run[T](self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 50.0) -> T:
        """A coroutine's result, run in the server's loop."""
        return self.loop.run(coroutine, timeout_s)

    def context(self, role: str | User | None = "viewer", **options: Any) -> BrowserContext:
        """A browser of its own for somebody with this role, a given user, or nobody (``None``)."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.add_init_script(TELL_VIOLATIONS)
        if role is not None:
            context.add_cookies([self.cookie(somebody(role) if isinstance(role, str) else role)])
        return context

    def cookie(self, user: User) -> Any:
        """The cookie of a session of theirs."""
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        return {"name": name, "value": client.cookies[name].value, "url": self.url}

    def open(self, path: str, role: str | User | None = "viewer", **options: Any) -> Page:
        """A page in a browser of its own. ``options`` are Playwright's: ``color_scheme``, ``viewport``, ``reduced_motion``…"""
        return self.visit(self.context(role, **options), path)

    def visit(self, context: BrowserContext, path: str) -> Page:
        """Another page of this browser."""
        page = context.new_page()
        page.on("console", lambda message: self._hear(path, message))
        page.on("pageerror", lambda error: self.said.append(f"{path}: {error}"))
        page.on("request", lambda request: self._look(path, request.url))
        page.on("websocket", lambda opened: self._look(path, opened.url))
        page.goto(self.url + path)
        self.pages.append(page)
        return page

    def _hear(self, path: str, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{path}: {message.text}")

    def _look(self, path: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.foreign.append(f"{path}: {url}")


def assert_clean(console: Console) -> None:
    """No error or warning on any page's console, no violation of the policy, no request to anybody else."""
    assert console.said == [], console.said
    assert console.foreign == [], console.foreign


def axe(page: Page, exclude: tuple[str, ...] = ()) -> None:
    """What axe-core finds serious on the page as it is now is a failure. ``exclude``: selectors, each with a reason beside it."""
    if page.evaluate("globalThis.axe === undefined"):
        page.evaluate(AXE.read_text())
    found = page.evaluate(
        "async (exclude) => (await axe.run({ exclude: exclude.map((one) => [one]) }, { resultTypes: ['violations'] })).violations",
        list(exclude),
    )
    bad = [
        f"{one['id']} ({one['impact']}): {one['help']}: "
        + json.dumps([(node["html"][:160], node["failureSummary"][:300]) for node in one["nodes"][:4]])
        for one in found
        if one["impact"] in SERIOUS
    ]
    assert bad == [], "\n".join(bad)


def assert_fits(page: Page) -> None:
    """Nothing scrolls sideways but what is made to (``.table-scroll`` and its like)."""
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{page.url}: {width[0]} in {width[1]}: {page.evaluate(TOO_WIDE)}"


def at_200_percent(console: Console, path: str, role: str = "viewer", **options: Any) -> Page:
    """The page as somebody sees it who has enlarged a window of 1280 x 900 to 200%."""
    return console.open(path, role, viewport={"width": 640, "height": 450}, device_scale_factor=2, **options)


def assert_still(page: Page) -> None:
    """Nothing moves by itself for whoever asked for reduced motion (open the page with ``reduced_motion="reduce"``)."""
    moving = page.evaluate(
        "document.getAnimations().filter((one) => one.playState === 'running').map((one) => one.effect?.target?.outerHTML.slice(0, 120))"
    )
    assert moving == [], moving


def lengthen(page: Page) -> None:
    """Make all text 40% longer, as other languages do, in a pseudo-locale that can still be read (``[Cálls ~~]``)."""
    page.evaluate(
        """() => {
          const accents = { a: "á", e: "é", i: "í", o: "ó", u: "ú", A: "Á", E: "É", I: "Í", O: "Ó", U: "Ú" };
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          const texts = [];
          while (walker.nextNode()) {
            const { data, parentElement } = walker.currentNode;
            if (data.trim() && !parentElement.closest("script, style")) texts.push(walker.currentNode);
          }
          for (const text of texts) {
            const words = text.data.trim().replace(/[aeiouAEIOU]/g, (letter) => accents[letter]);
            text.data = `[${words}${" ~~~".repeat(Math.ceil(words.length / 10))}]`;
          }
        }"""
    )


def right_to_left(page: Page) -> None:
    """Turn the layout round, as Arabic and Hebrew do."""
    page.evaluate("document.documentElement.dir = 'rtl'")


def walk(page: Page, most: int = 200) -> list[str]:
    """Where Tab leads from the start of the page to its end: each stop by its accessible description, focus visible at each."""
    page.evaluate("document.activeElement?.blur()")
    stops: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
              const here = document.activeElement;
              if (!here || here === document.body) return null;
              const style = getComputedStyle(here);
              const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
              return [`${here.tagName.toLowerCase()} ${(here.getAttribute("aria-label") ?? here.textContent ?? "").trim().slice(0, 40)}`, ring, here.outerHTML.slice(0, 200)];
            }"""
        )
        if stop is None:
            break
        assert stop[1], f"{page.url}: no visible focus on {stop[0]}: {stop[2]}"
        stops.append(stop[0])
    return stops


def wait_until(page: Page, expression: str, timeout_ms: int = 30_000) -> None:
    """Until ``expression`` is true on the page. Playwright's own way to wait evaluates on the page, which the policy forbids."""
    for _ in range(timeout_ms // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{page.url}: not within {timeout_ms} ms: {expression}")


def serve(loop: Loop, stack: AsyncExitStack) -> str:
    """The product's application on a free port of this machine; ``stack`` stops it. Returns its address."""
    from tests.line.conftest import serving
    from voiceagent.asgi import application

    # One that says it is TCP, else asyncio leaves Nagle's delay on and each answer is 40 ms late. The product's loop has it off.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    loop.run(stack.enter_async_context(serving(application, [listening])))
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def allow_sync_beside_playwright() -> Iterator[None]:
    """Playwright keeps a loop in the test's thread, in which Django would refuse the test's own queries."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]

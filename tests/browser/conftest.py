"""Chromium, and the console it looks at. The tests of a worker share the browser; each has its own server and database.

``console`` serves the pages. ``line_console`` serves them with a real line besides, on which calls can be placed:
``console.run(line.call(…)…)``. Tests here are synchronous: Playwright has their thread, the server its own.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.console import Console, Loop, allow_sync_beside_playwright, serve
from tests.line import conftest as lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from calls.conf import CallsConf
    from tests.line.conftest import Line

agent, unused_tcp_port = lines.agent, lines.unused_tcp_port  # fixtures

#: A page is there when it is there: how long it takes is the machine's, which has other things to do.
expect.set_options(timeout=30_000)
#: A microphone that plays what ``--use-file-for-fake-audio-capture`` names, or beeps; nobody is asked for it.
FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="package")
def chromium() -> str:
    """Where it is. Without one the test is skipped: ``make test`` finds or installs it."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no Chromium: .ci/chromium finds or installs one")
    return found


@pytest.fixture(scope="package")
def launch(chromium: str) -> Iterator[Callable[..., Browser]]:
    """``launch(*options)``: headless Chromium with these of its own options. One driver for all of them."""
    allowed = allow_sync_beside_playwright()
    next(allowed)
    with sync_playwright() as playwright:
        yield lambda *options: playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *options])
    next(allowed, None)


@pytest.fixture(scope="package")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """A browser without a microphone. A module that needs other options has its own."""
    launched = launch()
    yield launched
    launched.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    """The server's loop."""
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def console(browser: Browser, loop: Loop, transactional_db: None, redis_url: str, settings: Any) -> Iterator[Console]:
    """The console without a line: pages and their sockets."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    stack = AsyncExitStack()
    served = Console(serve(loop, stack), browser, loop)
    yield served
    _leave(served)
    loop.run(stack.aclose())


@pytest.fixture
def line(
    loop: Loop,
    agent: Any,
    calls_conf: CallsConf,
    unused_tcp_port: int,
    settings: Any,
    tmp_path: Any,
) -> Iterator[Line]:
    """A real line in the server's loop, with the vendors' stand-ins and a carrier (``tests.line.conftest``)."""
    settings.DATA_DIR = str(tmp_path)
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    stack = AsyncExitStack()
    yield loop.run(lines.open_line(stack, calls_conf, unused_tcp_port))
    loop.run(stack.aclose())


@pytest.fixture
def line_console(browser: Browser, loop: Loop, line: Line) -> Iterator[Console]:
    """The console of that line: its pages are served by the process that has the calls."""
    served = Console(line.url, browser, loop)
    yield served
    _leave(served)


def _leave(console: Console) -> None:
    """Close the pages first: a server waits for their sockets."""
    for context in console.browser.contexts:
        context.close()

"""The official conformance suite against our mount with the suite's fixtures, and ``mcpcheck`` against the memory itself."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from asgiref.sync import sync_to_async

from memory.conf import McpConf
from memory.mcp.asgi import Mount, Outer
from tests.app.memory.people import maria
from tests.protocol import fixtures
from tests.protocol.house import free_port
from tests.protocol.suite import NODE, SuiteMissing, fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.protocol.house import Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    # What 2026-07-28 dropped is still asked of a server of 2025-11-25.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

#: Scenarios of 2025-11-25 in which the server asks the client: without sessions there is nobody to ask (decision 7).
ASKS_THE_CLIENT = (
    "tools-call-sampling",
    "tools-call-elicitation",
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
)
#: How long the scenarios of a revision take is bounded; they need some five seconds.
_RUN_TIMEOUT_S = 120


async def _nothing_else(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def mounted(request: pytest.FixtureRequest, settings: Any) -> AsyncIterator[str]:
    """The fixtures on the mount that also carries the memory, with sessions or without; their address."""
    settings.ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
    port = free_port()
    conf = McpConf(f"http://127.0.0.1:{port}")
    app = Outer(_nothing_else, Mount(fixtures.build, lambda app: app, sessions=request.param), conf)
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, lifespan="off", log_config=None, timeout_graceful_shutdown=2)
    )
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
        await asyncio.sleep(0.01)
    yield conf.resource_url
    server.should_exit = True
    await serving


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()


async def run(*command: str, **environ: str) -> tuple[int, str]:
    """Exit code and output of a program."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environ or None
    )
    try:
        async with asyncio.timeout(_RUN_TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("mounted", "revision", "fails"),
    [(False, "2026-07-28", ()), (True, "2025-11-25", ()), (False, "2025-11-25", ASKS_THE_CLIENT)],
    indirect=["mounted"],
    ids=["2026-07-28", "2025-11-25 with sessions", "2025-11-25"],
)
async def test_the_official_suite_passes(mounted: str, revision: str, fails: tuple[str, ...], tmp_path: Path) -> None:
    try:
        program = await asyncio.to_thread(fetched)
    except SuiteMissing as reason:
        pytest.fail(str(reason))

    code, said = await run(
        NODE, str(program), "server", "--url", mounted, "--requirements", revision, "--output-dir", str(tmp_path)
    )

    scored, _, others = said.partition("Not scored for ")
    failed = set(re.findall("^✗ ([a-z0-9-]+):", scored, re.MULTILINE)) - set(re.findall("✗ ([a-z0-9-]+) ", others))
    assert failed == set(fails), said[-6000:]
    assert code == (1 if fails else 0), said[-6000:]
    assert len(re.findall("^✓ ", scored, re.MULTILINE)) >= 26, said[-6000:]


@pytest.mark.django_db(transaction=True)
async def test_mcpcheck_finds_nothing_wrong_with_the_memory(served: Served, token: Callable[..., str]) -> None:
    secret = await sync_to_async(lambda: token(maria()))()

    code, said = await run(sys.executable, "-m", "mcpcheck", served.url, "--token", secret, "--json")

    report = json.loads(said)
    assert code == 0, said
    assert {check["status"] for check in report["checks"]} == {"pass"}, said

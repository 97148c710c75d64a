"""The scenarios themselves: a bot that is right passes those that need no vendors, a wrong one fails those that it breaks."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import pytest_asyncio
from aiohttp import web

from tests.conformance import test_audio, test_endings, test_turns
from tests.conformance.bot import Bot
from tests.conformance.scenario import TIMEOUT_S, at_once
from tests.conformance.target import PREFIX, Target
from tests.conformance.wrong_bot import CAPACITY, IDLE_MS, WRONGS, WrongBot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(TIMEOUT_S),
    pytest.mark.own_bots,
    pytest.mark.long,
]

SCENARIOS: dict[str, Any] = {
    name.split("_")[1]: test
    for module in (test_audio, test_turns, test_endings)
    for name, test in vars(module).items()
    if name.startswith("test_") and not {"steered", "notice_to"} & set(test.needs)
}
TRIALS = [("right", name) for name in SCENARIOS] + [(wrong, name) for wrong, names in WRONGS.items() for name in names]
ROOT = Path(__file__).resolve().parent.parent.parent


class Trials:
    """The trials and the run of the command, each begun once."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._tasks: dict[Any, asyncio.Task[Any]] = {}

    def begin_all(self) -> None:
        """Everything at once."""
        for trial in TRIALS:
            self.begin(trial)
        self.begin(None)

    def begin(self, trial: tuple[str, str] | None) -> asyncio.Task[Any]:
        """A trial, or the run of the command, begun if it has not been."""
        if trial not in self._tasks:
            self._tasks[trial] = asyncio.create_task(self._run(self._folder) if trial is None else self._try(*trial))
        return self._tasks[trial]

    async def aclose(self) -> None:
        """Drop what has not been waited for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _try(self, wrong: str, name: str) -> None:
        target = Target(
            server=self._url,
            voice_path=f"/{wrong}/{wrong}-{name}/voice",
            status_path="",
            idle_ms=IDLE_MS,
            capacity=CAPACITY,
            answer_ms=4000,
            hangup_ms=2500,
        )
        async with Bot(target) as bot:
            await SCENARIOS[name].talk(bot)

    async def _run(self, folder: Path) -> ElementTree.Element:
        """Two scenarios from the command line, against the deaf bot."""
        report = folder / "report.xml"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", "tests/conformance/test_audio.py", "-k", "A1 or A3",
            "--server", self._url, "--auth-token", "x", "--voice-path", "/deaf/command/voice", "--status-path", "",
            "-p", "no:cacheprovider", "--junit-xml", str(report),
            cwd=ROOT, env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
        assert process.returncode == 1, printed.decode()
        return ElementTree.parse(report).getroot()  # noqa: S314 - pytest's own report


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trials(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trials]:
    async with _serving() as url:
        trials = Trials(url, tmp_path_factory.mktemp("command"))
        if at_once(request.config):
            trials.begin_all()
        yield trials
        await trials.aclose()


@asynccontextmanager
async def _serving() -> AsyncIterator[str]:
    runner = web.AppRunner(WrongBot().app(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("trial", TRIALS, ids=" ".join)
async def test_the_right_bot_passes_and_the_wrong_one_fails(trials: Trials, trial: tuple[str, str]) -> None:
    if trial[0] == "right":
        await trials.begin(trial)
        return
    with pytest.raises(AssertionError, match=re.escape(WRONGS[trial[0]][trial[1]])):
        await trials.begin(trial)


async def test_the_command_runs_against_any_address_and_skips_what_needs_the_vendors(trials: Trials) -> None:
    found = {case.attrib["name"].split("_")[1]: case for case in (await trials.begin(None)).iter("testcase")}
    assert set(found) == {"A1", "A3"}
    assert found["A1"].find("failure") is not None
    skipped = found["A3"].find("skipped")
    assert skipped is not None
    assert "--sandbox" in skipped.attrib["message"]

"""A real Prometheus scrapes the real product under a short load: web server and worker in processes of their own.

Every query of the dashboard and every alert rule is asked of it. What the load brings about must show.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections

from tests.line.conftest import ACCOUNT, Line, make_agent, policy, speech
from tests.line.hostile import TOKEN, exchange, keyed, quick
from tests.live.house import ROOT, environment
from tests.monitoring.prometheus import Prometheus, dashboard_queries, rules, scraping, selectors
from voiceagent.embedded import state
from voiceagent.sandbox.carrier import AgentStarted, CallFailedError, Carrier, PhoneCall
from voiceagent.sandbox.control import Reply, SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from calls.models import Agent
    from tests.conftest import TestServers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: What a short load of well-meant calls does not bring about: by what a query or a selector of it begins with.
QUIET = (
    "event_loop_stalled_ms_total",  # nothing blocks the loop
    'up{job="voiceagent-scheduler"}',  # the scheduler does nothing in so short a time
    "breaker_refused_total",  # no vendor failed for long enough to be given up
    "breaker_transitions_total",
    "stream_messages_bad_total",  # the carrier kept to its protocol
    "django_db_errors_total",
    "django_db_new_connection_errors_total",
    "django_cache",  # nothing in these calls asks the cache
    'celery_tasks_total{outcome=~"failed|lost|timed_out"}',
    "twilio_error_total",
    "swept_total",  # every call came to its end
    'ALERTS{alertstate="firing"}',
)
#: Everything here shares a machine with the tests beside it.
PATIENCE_S = 30
LONG = "We have pasta, we have fish, and we have a very good soup of the day with bread and butter."


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One that greets in a word."""
    return make_agent(greeting="Hello.", policy=policy(speculative=False))


def ports(folder: Path) -> dict[str, int]:
    """A port for each process, by its job."""
    return {f"voiceagent-{name}": state.port(folder, name) for name in ("web", "worker")}


@contextmanager
def processes(environ: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Web server and worker, as production starts them."""
    commands = (
        ("voiceagent.web",),
        ("voiceagent.background", "worker", "--concurrency", "1", "--without-gossip", "--without-mingle"),
    )
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f"{command[-1]}.log").open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=dict(environ), stdout=log, stderr=log
            )
            stack.callback(_stop, process)
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@asynccontextmanager
async def watched(servers: TestServers, folder: Path) -> AsyncIterator[tuple[Line, Prometheus]]:
    """The product in processes of its own, with scripted vendors in this loop, scraped each second."""
    async with SandboxServer() as sandbox:
        ears, model = sandbox.handle(), sandbox.handle()
        targets = ports(folder)
        url = f"http://127.0.0.1:{targets['voiceagent-web']}"
        database = servers.database_url.rsplit("/", 1)[0] + "/" + str(connection.settings_dict["NAME"])
        environ = environment(
            folder,
            DJANGO_SETTINGS_MODULE="voiceagent.settings.embedded",
            DATABASE_URL=database,
            REDIS_URL=servers.redis_url,
            PORT=str(targets["voiceagent-web"]),
            WORKER_METRICS_PORT=str(targets["voiceagent-worker"]),
            CARTESIA_API_KEY=ears.key,
            CARTESIA_BASE_URL=sandbox.url,
            OPENAI_API_KEY=model.key,
            OPENAI_BASE_URL=sandbox.openai_url,
            OPENAI_DISTIL_MODEL="none",
            TWILIO_ACCOUNT_SID=ACCOUNT,
            TWILIO_AUTH_TOKEN=TOKEN,
            TWILIO_API_BASE_URL=sandbox.url,
            DRAIN_SECONDS="0",
            OVERLOAD_LAG_MS="0",  # however busy the machine is
            LOG_FORMAT="json",
        )
        with scraping(targets, folder) as prometheus, processes(environ, folder):
            async with Carrier(url, account_sid=ACCOUNT, auth_token=TOKEN, rest_url=sandbox.url) as carrier:
                line = Line(
                    url=url,
                    runtime=cast("Any", None),
                    carrier=carrier,
                    sandbox=sandbox,
                    ears=ears,
                    model=model,
                    second=model,
                    archived=[],
                )
                yield line, prometheus


async def shows(prometheus: Prometheus, expression: str, timeout_s: float = 40) -> None:
    """Wait until an expression has a sample."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(prometheus.query, expression):  # noqa: ASYNC110 - another process knows
            await asyncio.sleep(0.2)


async def load(line: Line, prometheus: Prometheus) -> None:
    """Calls as callers make them, some on a bad day of a vendor."""
    quick(line)
    line.ears.utterances("How are you?", "And you?", "Wait!", "Go on.")
    fine = Reply(text="Fine, thank you.")
    line.answers(*((text, fine) for text in ("how are you", "and you", "wait", "go on")), ("keypad", Reply(text=LONG)))

    async def up(**options: Any) -> PhoneCall:
        phone = line.call(**options)
        await phone.start()
        await phone.wait_for(
            AgentStarted, timeout_s=PATIENCE_S
        )  # greeted: a key that is pressed before that counts for nothing
        await phone.wait_for_quiet()
        return phone

    async def talks_and_interrupts() -> None:
        phone = await up()
        for _ in range(2):
            await exchange(phone, speech(600), timeout_s=PATIENCE_S)
        count = len(phone.timeline.events)
        await phone.dtmf("#", gap_ms=0)
        await phone.wait_for(AgentStarted, after=count, timeout_s=PATIENCE_S)
        await exchange(phone, speech(600), timeout_s=PATIENCE_S)  # over the agent's words
        await phone.hang_up()

    async def loses_an_answer() -> None:
        phone = await up()
        line.model.fault("openai.chat", "refuse", status=401)  # not worth another attempt: a recorded phrase at once
        count = len(phone.timeline.events)
        await phone.dtmf("#", gap_ms=0)
        await phone.wait_for(AgentStarted, after=count, timeout_s=PATIENCE_S)
        await phone.hang_up()

    async def has_its_vendors_mended() -> None:
        line.ears.fault("cartesia.stt.turns", "refuse", status=500)
        line.ears.fault("cartesia.tts.context", "error", status=500)
        phone = await up()
        await keyed(phone, timeout_s=PATIENCE_S)
        await phone.hang_up()

    await talks_and_interrupts()
    # The caller is known from here on.
    await shows(prometheus, 'celery_tasks_total{task="memory.tasks.card",outcome="succeeded"}')
    await loses_an_answer()
    await has_its_vendors_mended()
    with pytest.raises(CallFailedError):
        await line.carrier.call(called="+15005550009").start()
    async with aiohttp.ClientSession() as session:
        await (await session.get(f"{line.url}/admin/login/")).read()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(line.url.replace("http", "ws", 1) + "/twilio/stream")


async def test_what_a_load_does_shows_in_every_query(
    agent: Agent, test_servers: TestServers, redis_url: str, tmp_path: Path
) -> None:
    async with watched(test_servers, tmp_path) as (line, prometheus):
        for job in ports(tmp_path):
            await shows(prometheus, f'up{{job="{job}"}} == 1')
        await load(line, prometheus)
        await shows(prometheus, 'celery_tasks_total{task="memory.tasks.card",outcome="succeeded"} > 1')
        await shows(prometheus, "min(count_over_time(streams_refused_total[1m])) > 2")  # a rate takes two samples
        # A scrape that was late leaves a gap for a second: what is missing must stay missing to count.
        missing = [""]
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                while missing := await asyncio.to_thread(unanswered, prometheus):  # noqa: ASYNC110 - another process knows
                    await asyncio.sleep(0.5)
        loaded = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert not missing, "\n".join(missing)
    assert {rule["name"]: rule["health"] for rule in loaded} == {rule["alert"]: "ok" for rule in rules()}
    await sync_to_async(connections.close_all)()


def unanswered(prometheus: Prometheus) -> list[str]:
    """What should have data and has none: queries of the dashboard, and selectors of the rules."""
    asked = {*dashboard_queries(), *(selector for rule in rules() for selector in selectors(rule["expr"]))}
    return [query for query in sorted(asked) if not is_quiet(query) and not prometheus.query(query)]


def is_quiet(expression: str) -> bool:
    """Whether nothing of this can be there after this load."""
    return all(selector.startswith(QUIET) for selector in selectors(expression)) or expression in QUIET

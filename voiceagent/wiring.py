"""Builds the runtime of a web process: the only place that knows both what calls need and what provides it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog
from asgiref.sync import SyncToAsync
from channels.layers import get_channel_layer
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from calls import phrasebook, runtime, surroundings
from calls.breakers import Breakers
from calls.breakersync import Sharing
from calls.callermemory import CallerMemory
from calls.control import Control
from calls.eventlog import LogWriter
from calls.livefeed import FeedConf, LiveFeed
from calls.media import vad
from calls.providers.cartesia.client import CartesiaClient
from calls.providers.cartesia.stt import make_ear
from calls.providers.cartesia.tts import CartesiaVoice
from calls.providers.openai.model import OpenAIModel
from calls.providers.twilio.rest import TwilioControl
from calls.providers.twilio.signature import SignatureChecker
from calls.registry import Registry
from calls.runtime import Runtime
from calls.strain import Bounds, Strains
from calls.tasks import send_archive
from calls.tickets import Tickets
from calls.tools import run_tool
from memory import manager
from memory.loopredis import loop_client
from memory.ringing import CallMemories
from voiceagent import conf as site
from voiceagent import guards, health, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.conf import CallsConf, LimitsConf

_log = structlog.get_logger(__name__)

_REDIS_TIMEOUT_S = 2.0
_DATABASE_THREADS = 8
#: How long a slot is kept for a call whose webhook was answered. Its stream comes within a second or two, perhaps to another
#: process; from then on, or where the caller hung up and the carrier told another process, the slot would be kept for nobody.
_RESERVATION_S = 15.0


async def build() -> Runtime:
    """The runtime of this process, from its environment. Loads what the first call would otherwise wait for."""
    return build_for(site.current())


def build_for(
    conf: CallsConf, archive: Callable[[str], None] = send_archive, breakers: Breakers | None = None
) -> Runtime:
    """A runtime for this configuration, inside the running loop. ``archive`` is told of every finished call, in a thread."""
    vad.session()
    phrasebook.load_all()
    client = loop_client(
        conf.redis_url,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )
    disk = ThreadPoolExecutor(1, "recordings")
    database = ThreadPoolExecutor(_DATABASE_THREADS, "call-database")
    twilio = conf.twilio
    memories = CallMemories(manager.current(), database)
    memories.start()
    breakers = breakers or Breakers()
    breakers.expose()
    guards.install(breakers)
    sharing = Sharing(breakers, conf.redis_url)
    sharing.start()
    cartesia = CartesiaClient(conf.cartesia, breakers)
    registry = Registry(conf.limits.max_calls, _RESERVATION_S, strains=Strains(_bounds(conf.limits)))
    process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    built = Runtime(
        conf=conf,
        redis=client,
        tickets=Tickets(client, twilio.token_ttl_s),
        signatures=SignatureChecker(twilio.auth_token, twilio.public_base_url, twilio.stream_url),
        registry=registry,
        log_writer=LogWriter(client, archive, database),
        model=OpenAIModel(conf.openai, breakers),
        control=TwilioControl(twilio, breakers.of("twilio.rest")),
        make_ear=lambda agent, post: make_ear(cartesia, agent, post),
        make_voice=lambda agent, sink, post: CartesiaVoice(cartesia, agent, sink, post),
        run_tool=run_tool,
        disk=disk,
        database=database,
        recordings_dir=surroundings.recordings_dir(),
        memory=CallerMemory(memories),
        traces=telemetry.current(),
        process_name=process,
        breakers=breakers,
        operators=Control(registry, process),
        feed=LiveFeed(
            client,
            _tell_group,
            process,
            lambda: _about(built, breakers),
            _feed_conf(),
            vendors=lambda: breakers.fared,
        ),
        closers=(cartesia.aclose, lambda: asyncio.to_thread(sharing.stop)),
    )
    health.set_live_provider(
        lambda: health.Live(
            len(built.registry.live),
            built.registry.max_calls,
            built.registry.draining,
            breakers.phases,
            built.registry.no_room(),
        )
    )
    return built


async def _tell_group(group: str, message: dict[str, Any]) -> None:
    """Found anew each time: the layer belongs to the loop that asks."""
    await get_channel_layer().group_send(group, message)


def _about(built: Runtime, breakers: Breakers) -> dict[str, Any]:
    """What the console is told of this process beside its calls."""
    return {
        "capacity": built.registry.max_calls,
        "draining": built.registry.draining,
        "no_room": built.registry.no_room(),
        "breakers": breakers.phases,
        "lag_ms": built.loop_watch.lag_ms,
        "entries_waiting": built.log_writer.waiting,
        "jobs_waiting": _waiting(SyncToAsync.single_thread_executor, built.database, built.disk),
    }


def _waiting(*pools: Executor) -> int:
    """How many jobs wait for one of these threads; the standard library tells it no other way."""
    return sum(pool._work_queue.qsize() for pool in pools if isinstance(pool, ThreadPoolExecutor))


def _feed_conf() -> FeedConf:
    return FeedConf(linger_ms=settings.BOARD_LINGER_S * 1000)


def _bounds(limits: LimitsConf) -> Bounds:
    """When new calls are turned away for the sake of those in progress."""
    return Bounds(high_ms=limits.overload_lag_ms, low_ms=limits.overload_lag_ms * 2 // 5)


def install() -> None:
    """Make ``build`` the way this process gets its runtime."""
    runtime.provide(build)

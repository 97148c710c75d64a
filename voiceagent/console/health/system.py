"""The system tab: a card for each dependency, what callers notice of its state, the processes, and what is installed.

Everything is asked when somebody looks, in time or not at all; an answer that did not come is a state like any other.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import django
import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from django.core.checks import run_checks
from django.core.checks.messages import WARNING
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from calls import breakers, livefeed
from calls.breakerrules import Phase
from calls.breakerwords import row_of
from calls.latency import FEW, p50_p95
from calls.runtime import current_if_built
from calls.vendorwaits import SPAN_MS, Fared
from voiceagent import backlog, health
from voiceagent.console import threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calls.breakers import Breaker
    from calls.livefeed import Shot

_log = structlog.get_logger(__name__)

_DEADLINE_S: Final = 1.5
#: Operations of each card, the most important first.
VENDORS: Final[Mapping[str, tuple[str, ...]]] = {
    "Speech in": ("cartesia.stt", "cartesia.stt_batch"),
    "Voice": ("cartesia.tts",),
    "Model": ("openai.reply", "openai.reply_second", "openai.embeddings", "openai.distil"),
    "Carrier": ("twilio.rest",),
}
#: What a caller experiences while an operation is not asked (docs/resilience.md); where it is, the sentence of the card.
WITHOUT: Final[Mapping[str, str]] = {
    "cartesia.stt": "Callers are not heard live: each sentence is transcribed when it is over, and answers come later.",
    "cartesia.stt_batch": "Words said while a recogniser's connection is lost are not recovered.",
    "cartesia.tts": "Callers hear recorded phrases instead of answers; after several the call is passed on or ends politely.",
    "openai.reply": "The second model answers if one is configured; else callers hear an apology and an offer.",
    "openai.reply_second": "Nobody steps in for the first model.",
    "openai.embeddings": "Callers notice nothing; the console's search by meaning finds less.",
    "openai.distil": "Callers notice nothing now; what they said is remembered by rules alone.",
    "twilio.rest": "Calls end when the stream does, and cannot be passed on.",
}
WELL: Final[Mapping[str, str]] = {
    "Speech in": "Callers are heard.",
    "Voice": "Callers hear the agent's voice.",
    "Model": "Callers get answers.",
    "Carrier": "Calls are answered, passed on and ended.",
}
#: What of an operation its callers wait for.
WAITS: Final[Mapping[str, str]] = {
    "cartesia.stt": "connected after",
    "cartesia.stt_batch": "text after",
    "cartesia.tts": "first sound after",
    "openai.reply": "first word after",
    "openai.reply_second": "first word after",
    "openai.embeddings": "vectors after",
    "openai.distil": "facts after",
    "twilio.rest": "answer after",
}
_WORST: Final = (Phase.CLOSED, Phase.HALF_OPEN, Phase.OPEN, Phase.FORCED)
#: Archive and memory are late from here on; the alerts of docs/monitoring say the same.
_LATE_MS: Final = 300_000
_MANY_TASKS: Final = 100


@dataclass(slots=True)
class Card:
    """One dependency. ``state``: ``ok``, ``troubled`` or ``away``; ``word`` says it in one or two words."""

    name: str
    state: str
    word: str
    caller: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    breakers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Process:
    """One process that takes calls, as it told of itself last. ``jobs_waiting``: for the thread that synchronous code shares, and
    for those of calls' rows and recordings; ``None`` from an older release."""

    name: str
    calls: int
    capacity: int
    draining: bool
    lag_ms: int
    entries_waiting: int
    jobs_waiting: int | None
    is_here: bool


async def cards(shots: Sequence[Shot]) -> list[Card]:
    """All of them, in the order in which a call needs them. ``shots``: what the processes tell of their vendors."""
    fared = _fared(shots)
    dependencies, layer, database, backlogs = await asyncio.gather(
        health.dependencies(), _layer(), _in_time(_database), _in_time(backlog.read)
    )
    return [
        *(_vendor(name, operations, fared) for name, operations in VENDORS.items()),
        _dependency(
            "Database",
            dependencies["database"],
            "Calls are recorded and callers recognised.",
            "Calls go on. New callers are not recognised and agents' changes are not seen; records wait in Redis.",
        ),
        _vectors(database),
        _dependency(
            "Redis",
            dependencies["redis"],
            "Calls are logged as they happen.",
            "Calls go on; a process that dies now loses the log of its calls. This console's live pages stand still.",
        ),
        layer,
        _queues(backlogs),
    ]


async def shots() -> list[Shot]:
    """All processes that live, as they told of themselves last. Raises nothing: none where Redis is away."""
    runtime = current_if_built()
    if runtime is None:
        return []
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await livefeed.shots(runtime.redis)
    except Exception as error:  # noqa: BLE001 - the page says that there are none to be seen
        _log.info("console.no_processes", error=type(error).__name__)
        return []


def processes(shots: Sequence[Shot]) -> list[Process]:
    """A row for each."""
    runtime = current_if_built()
    return [
        Process(
            name=shot.process,
            calls=sum(not row.get("ended_at") for row in shot.rows.values()),
            capacity=int(shot.about.get("capacity", 0)),
            draining=bool(shot.about.get("draining")),
            lag_ms=int(shot.about.get("lag_ms", 0)),
            entries_waiting=int(shot.about.get("entries_waiting", 0)),
            jobs_waiting=shot.about.get("jobs_waiting"),
            is_here=runtime is not None and shot.process == runtime.process_name,
        )
        for shot in shots
    ]


def _fared(shots: Sequence[Shot]) -> dict[str, Fared]:
    """How each operation fared in the last minutes, in all processes together."""
    each: dict[str, list[Fared]] = {}
    for shot in shots:
        for operation, told in shot.about.get("vendors", {}).items():
            with suppress(ValueError):  # another release's
                each.setdefault(operation, []).append(Fared.of(told))
    return {operation: Fared.together(several) for operation, several in each.items()}


def lately(operation: str, fared: Fared) -> str:
    """``99.2% of 1,204 attempts well; first word after 310 ms, 95% within 540 ms``; of few waits the waits themselves."""
    minutes = f"{SPAN_MS // 60_000} minutes"
    if not fared.asked:
        return f"no data of the last {minutes}"
    share = (fared.asked - fared.failed) / fared.asked
    told = f"last {minutes}: {_share(share)} of {fared.asked:,} went well"
    waits_ms = sorted(fared.waits_ms)
    if not waits_ms:
        return told
    if len(waits_ms) < FEW:
        return f"{told}; {WAITS[operation]} {', '.join(f'{wait_ms:,}' for wait_ms in waits_ms)} ms"
    p50, p95 = p50_p95(waits_ms)
    return f"{told}; {WAITS[operation]} {p50:,} ms (p50), {p95:,} ms (p95 of {len(waits_ms):,})"


def _share(share: float) -> str:
    """A share that is not whole is never shown as 100%."""
    return "100%" if share == 1 else f"{math.floor(share * 1000) / 10:.1f}%"


def installation() -> dict[str, Any]:
    """What runs: versions, profile, unapplied migrations, failed checks. Synchronous; the checks are run once."""
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        migrations: list[str] | None = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            (server,) = cursor.fetchone()
    except DatabaseError:
        migrations, server = None, "no data"
    return {
        "profile": settings.ENVIRONMENT,
        "settings": os.environ.get("DJANGO_SETTINGS_MODULE", "").rpartition(".")[2],
        "versions": [
            ("Django", django.get_version()),
            *((name, version(name)) for name in ("channels", "celery", "openai", "cartesia", "pgvector")),
            ("PostgreSQL", server),
        ],
        "migrations": migrations,
        "checks": _checks(),
    }


@cache
def _checks() -> list[tuple[str, str]]:
    """What ``check --deploy`` would say, as id and text: settings do not change while a process lives."""
    found = run_checks(include_deployment_checks=settings.ENVIRONMENT == "production")
    return [(str(message.id or ""), str(message.msg)) for message in found if message.level >= WARNING]


def _row(breaker: Breaker, fared: Fared) -> dict[str, Any]:
    """An operation. What workers ask is in the window that breakers share, and told there alone."""
    asked = bool(breaker.view().attempts)
    return row_of(breaker) | {"lately": lately(breaker.name, fared) if fared.asked or not asked else "", "asked": asked}


def _vendor(name: str, operations: tuple[str, ...], fared: Mapping[str, Fared]) -> Card:
    known = {breaker.name: breaker for breaker in breakers.current() or ()}
    rows = [_row(known[operation], fared.get(operation, Fared())) for operation in operations if operation in known]
    troubled = [row for row in rows if row["phase"] is not Phase.CLOSED]
    card = Card(name, "ok", "closed", WELL[name], breakers=rows)
    if not rows:
        card.state, card.word, card.caller = (
            "away",
            "no data",
            "This process takes no calls: another one must be asked.",
        )
    elif troubled:
        worst = max(troubled, key=lambda row: _WORST.index(row["phase"]))
        is_first = worst["name"] == operations[0]
        card.state = "away" if is_first and worst["phase"] is not Phase.HALF_OPEN else "troubled"
        card.word = worst["state"]
        card.caller = " ".join(WITHOUT[row["name"]] for row in troubled)
    return card


def _dependency(name: str, answer: Mapping[str, Any], well: str, without: str) -> Card:
    if answer["ok"]:
        return Card(name, "ok", "answers", well, [("answered after", f"{answer['ms']:,} ms")])
    return Card(name, "away", "away", without, [("error", answer["error"])])


async def _layer() -> Card:
    """A message to ourselves and back."""
    layer, began = get_channel_layer(), time.perf_counter()
    try:
        async with asyncio.timeout(_DEADLINE_S):
            channel = await layer.new_channel("health")
            await layer.send(channel, {"type": "health.probe"})
            await layer.receive(channel)
    except Exception as error:  # noqa: BLE001 - away, in any of its ways
        return Card(
            "Channel layer",
            "away",
            "away",
            "Callers notice nothing. Operators' pages stand still, and nobody can step in.",
            [("error", type(error).__name__)],
        )
    took = f"{(time.perf_counter() - began) * 1000:,.1f} ms"
    return Card(
        "Channel layer", "ok", "carries", "Operators see calls live and can step in.", [("there and back", took)]
    )


def _vectors(found: dict[str, Any] | None) -> Card:
    without = "Callers are greeted by name; what they said long ago is found by its words only."
    if found is None:
        return Card("Vector index", "away", "no data", without)
    facts = [("pgvector", found["version"] or "none"), ("indexes", f"{found['valid']} of {found['all']} usable")]
    if not found["version"] or found["valid"] < found["all"]:
        return Card("Vector index", "troubled", "incomplete", without, facts)
    return Card("Vector index", "ok", "usable", "What callers said is found by its meaning.", facts)


def _database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
        cursor.execute(
            """
            SELECT count(*), count(*) FILTER (WHERE i.indisvalid) FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname IN ('hnsw', 'ivfflat')
            """
        )
        every, valid = cursor.fetchone()
    return {"version": row[0] if row else "", "all": every, "valid": valid}


def _queues(figures: Mapping[str, Mapping[str, float]] | None) -> Card:
    without = "Callers notice nothing yet. Calls are archived late, and what they taught is not known to the next one."
    if figures is None or "celery_queue_length" not in figures:
        return Card("Task queues", "away", "no data", without)
    waiting = sum(figures["celery_queue_length"].values())
    archive_ms = figures["archive_lag_ms"][""]
    memory = figures.get("memory_waiting", {})
    facts = [
        ("tasks waiting", f"{waiting:,.0f}"),
        ("taken by workers", f"{sum(figures['celery_tasks_taken'].values()):,.0f}"),
        ("calls to archive", f"{figures['archive_waiting_calls']['']:,.0f}"),
        ("oldest of them", f"{archive_ms / 1000:,.0f} s"),
        ("for the memory", f"{sum(memory.values()):,.0f}"),
    ]
    if waiting > _MANY_TASKS or archive_ms > _LATE_MS:
        return Card("Task queues", "troubled", "late", without, facts)
    return Card("Task queues", "ok", "keep up", "Calls are on record soon after they end.", facts)


async def _in_time[T](ask: Any) -> T | None:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            found: T = await threads.run(ask)
            return found
    except Exception as error:  # noqa: BLE001 - away or late: the card says so
        _log.info("console.not_asked", what=ask.__name__, error=type(error).__name__)
        return None

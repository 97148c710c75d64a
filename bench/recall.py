"""Recall with 100,000 rows over 1,000 callers, twenty calls asking once a second; and the card, cold and warm.

Everything is as in a call, in one process: PostgreSQL with the rows, Redis, the local embedding, the index of each
caller (2,000 rows, the most that are held). Each question is new, nothing of it was heard before, so the time includes
its embedding. The reference, measured in the same run, is that embedding by itself with nothing else running.

The rows are made once, through the memory's own writing, and stay under ``var/bench``.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.rig import DATA_DIR
from voiceagent.embedded.profile import install_defaults
from voiceagent.embedded.servers import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memory.manager import MCPMemoryManager
    from memory.people import Person

CALLERS, ROWS = 1_000, 100_000
#: Those that call; the others share what is left of the rows.
ASKING, ROWS_EACH, LINES = 20, 2_000, 40
ROUNDS = 30
DEADLINE_MS, PATIENT_MS = 30, 5_000
WANTED_MS = {"recall": 30.0, "cold": 30.0, "warm": 10.0}
_BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
_WHO = ("my brother", "the receptionist", "our neighbour", "my wife", "the doctor", "a colleague", "my daughter", "I")
_DID = ("booked", "cancelled", "ordered", "forgot", "moved", "asked about", "paid for", "recommended", "mentioned")
_WHAT = (
    "the table by the window", "the spring delivery", "a gluten-free cake", "the Tuesday appointment", "a second opinion",
    "the blue curtains", "two train tickets", "the heating repair", "a birthday dinner", "the allergy test",
    "the spare keys", "the garden furniture", "a parking permit", "the piano lessons", "the insurance form",
)  # fmt: skip
_WHEN = (
    "last week",
    "on Monday",
    "before Easter",
    "in the evening",
    "around noon",
    "twice",
    "for eight people",
    "again",
)


def number(caller: int) -> str:
    """The number of the caller with this place."""
    return f"+1555{caller:07d}"


def sentences() -> list[str]:
    """Everything that is ever said here."""
    return [f"{who} {did} {what} {when}." for who in _WHO for did in _DID for what in _WHAT for when in _WHEN]


def fill(manager: MCPMemoryManager) -> None:
    """Write the rows, unless they are there."""
    from django.db import connection

    from memory import selectors
    from memory.models import Utterance

    if Utterance.objects.exclude(vector=None).count() == ROWS:
        return
    print(
        f"writing {ROWS:,} rows for {CALLERS:,} callers (once, some minutes; goes on where it was stopped)", flush=True
    )
    pool = sentences()
    vectors = dict(zip(pool, manager.embedder.embed_many(pool), strict=True))
    shares = [ROWS_EACH] * ASKING
    left, others = ROWS - sum(shares), CALLERS - ASKING
    shares += [left // others + (place < left % others) for place in range(others)]
    for caller, share in enumerate(shares):
        person = manager.find(number(caller))
        if person and Utterance.objects.filter(caller_id=person.id).exclude(vector=None).count() == share:
            continue
        person = write(manager, caller, share, pool, random.Random(caller))
        rows = [
            Utterance(pk=line.id, vector=vectors[line.text], vector_model=manager.embedder.name)
            for line in selectors.lines(person)
        ]
        Utterance.objects.bulk_update(rows, ["vector", "vector_model"], batch_size=500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def write(manager: MCPMemoryManager, caller: int, rows: int, pool: list[str], rng: random.Random) -> Person:
    """One caller's conversations, ``LINES`` lines each."""
    from memory.core.values import Said

    for conversation, first in enumerate(range(0, rows, LINES)):
        began_at = _BEGAN + timedelta(days=conversation)
        said = [
            Said(seq, ("user", "assistant")[seq % 2], rng.choice(pool), began_at)
            for seq in range(min(LINES, rows - first))
        ]
        manager.write_call(number(caller), f"CA{caller:06d}-{conversation:03d}", said, began_at=began_at)
    person = manager.find(number(caller))
    assert person is not None
    return person


def questions(rng: random.Random) -> Iterator[str]:
    """Questions that were not asked before."""
    seen = set()
    while True:
        asked = (
            f"Did {rng.choice(_WHO)} say anything on {rng.choice(_WHAT)} or {rng.choice(_WHAT)} {rng.choice(_WHEN)}?"
        )
        if asked not in seen:
            seen.add(asked)
            yield asked


async def recalls(manager: MCPMemoryManager, deadline_ms: int) -> tuple[list[float], list[float], Counter[str]]:
    """``ASKING`` calls that each ask once a second. Each recall's ms as its caller sees it, what a load took, outcomes."""
    from memory.ringing import CallMemories

    database = ThreadPoolExecutor(8, "database")
    memories = CallMemories(manager, database)
    asked, outcomes = questions(random.Random(deadline_ms)), Counter[str]()
    took_ms: list[float] = []
    load_ms: list[float] = []

    async def call(place: int) -> None:
        started = time.perf_counter()
        memory = memories.open(f"CA-bench-{place}", number(place))
        await memory.loaded()
        load_ms.append((time.perf_counter() - started) * 1000)
        await ready.wait()  # nobody asks while others still load
        await asyncio.sleep(place / ASKING)
        for _ in range(ROUNDS):
            question = next(asked)
            started = time.perf_counter()
            found = await memory.recall(question, deadline_ms)
            ended = time.perf_counter()
            took_ms.append((ended - started) * 1000)
            outcomes[found.outcome] += 1
            assert found.hits, "a recall that finds nothing measures nothing"
            await asyncio.sleep(max(0.0, 1 - (ended - started)))
        await memory.aclose()

    ready = asyncio.Barrier(ASKING)
    await asyncio.gather(*(call(place) for place in range(ASKING)))
    await memories.aclose()
    database.shutdown()
    return took_ms, load_ms, outcomes


def cards(manager: MCPMemoryManager) -> dict[str, list[float]]:
    """The card of a caller who rings: from the database, and from Redis where the last call left it."""
    from memory import people, selectors
    from memory.models import Card

    took: dict[str, list[float]] = {"cold": [], "warm": []}
    for caller in range(ASKING, ASKING + 200):
        person = manager.find(number(caller))
        assert person is not None
        Card.objects.update_or_create(
            caller_id=person.id,
            defaults={
                "name_sealed": person.seal("Maria", "card", person.id, "name"),
                "text_sealed": person.seal("Allergic to nuts. " * 60, "card", person.id, "text"),
                "facts": 12,
                "built_at": _BEGAN,
            },
        )
        manager.l1.drop_card(person.key_hash)

        started = time.perf_counter()
        found = people.find(number(caller))
        assert found is not None
        card = selectors.card(found)
        took["cold"].append((time.perf_counter() - started) * 1000)

        assert card is not None
        manager.l1.put_card(found, people.sealed_key(found), card)
        started = time.perf_counter()
        prepared = manager.l1.card(people.hash_of(number(caller)))
        took["warm"].append((time.perf_counter() - started) * 1000)
        assert prepared is not None
        assert prepared.card == card
    return took


def alone(manager: MCPMemoryManager) -> list[float]:
    """The embedding of a question by itself, ms each."""
    asked, took = questions(random.Random(0)), []
    for _ in range(200):
        question = next(asked)
        started = time.perf_counter()
        manager.embedder.embed_query(question)
        took.append((time.perf_counter() - started) * 1000)
    return took


def figures(name: str, took_ms: list[float], wanted_ms: float | None = None) -> float:
    """Print one line; returns the 99th percentile."""
    p99 = statistics.quantiles(took_ms, n=100)[98]
    wanted = "" if wanted_ms is None else f"   wanted p99 < {wanted_ms:.0f} ms: {'yes' if p99 < wanted_ms else 'NO'}"
    print(
        f"  {name:34} n {len(took_ms):4}  p50 {statistics.median(took_ms):6.2f}  p99 {p99:6.2f}  max {max(took_ms):6.2f} ms{wanted}"
    )
    return p99


def in_django(work: Callable[[MCPMemoryManager], None]) -> None:
    """Run with the embedded servers of ``var/bench`` and Django on them."""
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    os.environ.update(
        DATA_DIR=str(DATA_DIR),
        DJANGO_SETTINGS_MODULE="voiceagent.settings.embedded",
        ENV_FILE=os.devnull,
        LOG_LEVEL="ERROR",
    )
    with running({"DATA_DIR": str(DATA_DIR)}) as servers:
        os.environ.update(servers.addresses())
        install_defaults(os.environ)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from django.db import connection

        from memory.manager import current

        try:
            work(current())
        finally:
            connection.close_pool()


def measure(manager: MCPMemoryManager) -> None:
    """Everything, printed."""
    fill(manager)
    print(f"{ROWS:,} rows, {CALLERS:,} callers; {ASKING} calls of {ROWS_EACH:,} rows each ask once a second")
    reference = alone(manager)
    figures("embedding a question, alone", reference)
    took_ms, load_ms, outcomes = asyncio.run(recalls(manager, PATIENT_MS))
    figures("loading an index, 20 at once", load_ms)
    p99 = figures("recall, waiting for all of it", took_ms, WANTED_MS["recall"])
    print(f"  {'':34} p99 is {p99 / statistics.median(reference):.1f} × the median of the embedding alone")
    took_ms, _, outcomes = asyncio.run(recalls(manager, DEADLINE_MS))
    figures(f"recall with a deadline of {DEADLINE_MS} ms", took_ms, WANTED_MS["recall"])
    told = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items()))
    print(f"  {'':34} {told}; deadline missed {sum(ms > DEADLINE_MS for ms in took_ms)}")
    for name, took in cards(manager).items():
        figures(f"profile card, {name}", took, WANTED_MS[name])


def main() -> None:
    """Measure and print."""
    in_django(measure)

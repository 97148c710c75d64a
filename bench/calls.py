"""The list of calls with 100,000 calls, 400,000 turns and 20,000 vectors: pages as an operator gets them, facets and histogram included.

Rows are made by SQL in a database of their own, once, and stay under ``var/bench``; every hundredth call's turns have a
vector less, so that the filter by model has work. Figures are medians of warm requests through the application itself:
session, permissions, queries and template; without a socket. ``EXPLAIN=1`` prints the plan of every statement over 20 ms, ``ONLY=WORD`` measures the pages
with that word in their name.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg

from bench.rig import DATA_DIR
from voiceagent.embedded.profile import install_defaults
from voiceagent.embedded.servers import running

CALLS, TURNS_EACH, VECTORS, ROUNDS = 100_000, 4, 20_000, 7
WANTED_MS = 200
_DATABASE = "bench_calls"
#: What is measured: the parameters of the page. By meaning and words that every second call has are the hardest.
PAGES: dict[str, dict[str, str]] = {
    "everything": {"q": ""},
    "outcome": {"q": "outcome:error"},
    "brief's example": {"q": "outcome:error response:>1500 bargein:>2 lang:en -test:yes has:operator"},
    "rare words": {"q": '"piano lessons"'},
    "common word": {"q": "order"},
    "words and facets": {"q": '"cancel my order" outcome:completed response:>1000 date:30d'},
    "negated": {"q": "-outcome:completed -error:model who:returning"},
    "last digits": {"q": "caller:1234"},
    "flagged": {"q": "has:flagged"},
    "last week": {"q": "date:7d"},
    "nothing fits": {"q": "lang:fr bargein:>900 outcome:error"},
    "slowest first": {"q": "", "sort": "slowest"},
    "turns": {"q": "order", "show": "turns"},
    "turns, slow": {"q": "response:>3000", "show": "turns"},
    "meaning": {"q": '"I want my money back"', "by": "meaning"},
    "meaning, filtered": {"q": '"I want my money back" outcome:error lang:de', "by": "meaning"},
    "counted": {"q": "outcome:error", "count": "1"},
}

#: The list, and what is counted beside it, each a request of its own.
PARTS = ("", "beside/facets", "beside/histogram")

_CALLS = """
INSERT INTO calls_call (call_sid, account_sid, agent_version_id, from_number, to_number, caller_key, direction, status,
    end_reason, started_at, answered_at, ended_at, duration_ms, turn_count, barge_in_count, latency_median_ms,
    latency_max_ms, latency_p95_ms, error_count, carrier_status, carrier_sequence, process, entry_count, broken_count,
    archived_at, language, is_returning, has_operator, has_recording, recalled_count, error_kinds, fallbacks,
    software_version, is_test)
SELECT 'CA' || md5(n::text), '', NULL, '+1555' || lpad((random() * 9999999)::int::text, 7, '0'), '+15005550006',
    CASE WHEN n %% 20 = 0 THEN '' ELSE md5((n %% 7000)::text) END, 'inbound', 'ended',
    (ARRAY['caller_hung_up', 'agent_hung_up', 'caller_hung_up', 'agent_hung_up', 'transferred', 'caller_silent',
        'caller_gave_up', 'stream_lost', 'model_failed', 'drain'])[1 + (random() * 9)::int],
    now() - n * interval '26 seconds', now() - n * interval '26 seconds', now() - n * interval '25 seconds',
    (random() * 300000)::int, 4, (random() ^ 4 * 6)::int, latency, latency * 2, latency * 2,
    (random() < 0.05)::int, 'completed', 1, 'bench', 400, 0, now() - n * interval '25 seconds',
    (ARRAY['en', 'en', 'en', 'de', 'en-GB'])[1 + (random() * 4)::int],
    CASE WHEN n %% 20 = 0 THEN NULL ELSE random() < 0.7 END, random() < 0.02, random() < 0.9, (random() * 4)::int,
    CASE WHEN random() < 0.05 THEN ARRAY['model', 'model:timeout'] WHEN random() < 0.03 THEN ARRAY['ear', 'ear:cut'] ELSE '{}' END,
    CASE WHEN random() < 0.04 THEN ARRAY['phrase'] ELSE '{}' END,
    (ARRAY['0.1.0', '0.1.1', '0.2.0'])[1 + (random() * 2)::int], random() < 0.02
FROM (SELECT n, (300 + random() ^ 3 * 2500)::int AS latency FROM generate_series(1, %s) n) made
"""
_TURNS = """
INSERT INTO calls_turn (call_id, number, kind, outcome, interrupted, user_text, generated_text, heard_text,
    speech_ended_ms, committed_ms, first_audio_ms, closed_ms, began_ms, latency_ms, wasted_chars, wasted_tokens, spoken_words)
SELECT c.id, k, 'answer', 'answered', false, said, heard, heard, k * 20000 + 3000, k * 20000 + 3200, k * 20000 + 4000,
    k * 20000 + 9000, k * 20000, (300 + random() ^ 3 * 4000)::int, 0, 0, '[]'
FROM calls_call c, generate_series(1, %s) k, LATERAL (SELECT
    (ARRAY['I would like to', 'can you', 'please', 'could somebody', 'I need to', 'my wife wants to'])[1 + (random() * 5)::int + c.id * 0]
    || ' ' || (ARRAY['cancel', 'change', 'confirm', 'ask about', 'pay for', 'track', 'return'])[1 + (random() * 6)::int + c.id * 0]
    || ' my ' || (CASE WHEN random() < 0.002 THEN 'piano lessons' ELSE
        (ARRAY['order', 'table', 'reservation', 'delivery', 'invoice', 'ticket', 'subscription', 'parcel'])[1 + (random() * 7)::int] END)
    || ' for ' || (ARRAY['tonight', 'tomorrow', 'Friday', 'eight people', 'next week'])[1 + (random() * 4)::int + k * 0] AS said,
    'Gladly. Let me look that up for you; it takes a moment.'::text AS heard) words
"""
_VECTORS = """
INSERT INTO calls_turnmeaning (turn_id, model, vector)
SELECT t.id, CASE WHEN t.id %% 100 = 0 THEN 'other' ELSE %s END,
    (SELECT array_agg(one)::real[] FROM (SELECT random() - 0.5 + t.id * 0 AS one FROM generate_series(1, 384)) many)::vector::halfvec
FROM calls_turn t WHERE t.number = 1 ORDER BY t.id LIMIT %s
"""
_INDEX = "CREATE INDEX turn_meaning_near ON calls_turnmeaning USING hnsw (vector halfvec_cosine_ops)"


def fill() -> None:
    """Make the rows, unless they are there."""
    from django.db import connection

    from calls.models import Call, Turn, TurnMeaning
    from memory import surroundings
    from voiceagent.console.models import CallFlag

    if TurnMeaning.objects.count() == VECTORS:
        return
    print(f"making {CALLS:,} calls (once, a few minutes)", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.5)")
        if Turn.objects.count() != CALLS * TURNS_EACH:
            cursor.execute("TRUNCATE calls_call CASCADE")
            cursor.execute(_CALLS, [CALLS])
            cursor.execute(_TURNS, [TURNS_EACH])
        cursor.execute("DROP INDEX IF EXISTS turn_meaning_near; TRUNCATE calls_turnmeaning")
        cursor.execute(_VECTORS, [surroundings.embedder().name, VECTORS])
        cursor.execute("SET maintenance_work_mem = '256MB'")
        cursor.execute(_INDEX)
    CallFlag.objects.bulk_create(
        [CallFlag(call=call) for call in Call.objects.order_by("pk")[:CALLS:400]], ignore_conflicts=True
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def measured(client: Any, given: dict[str, str], part: str) -> tuple[list[float], float, list[tuple[float, str]]]:
    """The ms of warm requests, the CPU ms of one here and in the database, and the statements of one, longest first."""
    from django.db import connection

    address = f"/console/calls/{part}?{urlencode(given)}"
    asked: list[tuple[float, str]] = []

    def note(execute: Any, sql: Any, values: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, values, many, context)
        finally:
            took_ms = (time.perf_counter() - began) * 1000
            asked.append((took_ms, _filled_in(context, sql, values) if os.environ.get("EXPLAIN") else ""))

    client.get(address)
    with connection.execute_wrapper(note):
        assert client.get(address).status_code == 200, given
    taken = []
    began_cpu = _cpu_ms()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get(address)
        taken.append((time.perf_counter() - began) * 1000)
    cpu_ms = (_cpu_ms() - began_cpu) / ROUNDS
    return taken, cpu_ms, sorted(asked, key=lambda one: -one[0])


def _filled_in(context: Any, sql: str, values: Any) -> str:
    """A statement with its values. In a cursor of its own: that of the page has its answer still to be read."""
    return psycopg.ClientCursor(context["connection"].connection).mogrify(sql, values)


def _cpu_ms() -> float:
    """What this process and its one backend have computed: on a busy machine the truer figure."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone() or (0,)
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return time.process_time() * 1000 + (int(user) + int(system)) * 1000 / os.sysconf("SC_CLK_TCK")


def explain(sql: str) -> None:
    """Print the plan of a statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + sql.replace("%", "%%"), [])
        print("\n".join(row[0] for row in cursor.fetchall()))


def report() -> bool:
    """Measure and print. Whether every page stays below what is wanted."""
    from django.contrib.auth.models import User
    from django.test import Client

    user, _ = User.objects.get_or_create(username="bench", defaults={"is_superuser": True, "is_staff": True})
    client = Client()
    client.force_login(user)
    good = True
    print(f"{'page':20} {'part':10} {'median':>8} {'worst':>8} {'CPU':>8}   statements: number, ms together, longest")
    only = os.environ.get("ONLY", "")
    for name, part, given in [(n, part, given) for n, given in PAGES.items() for part in PARTS if only in n]:
        taken, cpu_ms, asked = measured(client, given, part)
        median = statistics.median(taken)
        good &= median < WANTED_MS
        print(
            f"{name:20} {part.rpartition('/')[2] or 'list':10} {median:6.0f} ms {max(taken):5.0f} ms {cpu_ms:5.0f} ms   {len(asked):3} {sum(ms for ms, _ in asked):6.0f} {asked[0][0]:6.0f}"
        )
        if os.environ.get("EXPLAIN"):
            for ms, sql in asked:
                if ms > 20:
                    print(f"-- {ms:.0f} ms: {sql}")
                    explain(sql)
    return good


def main() -> None:
    """Make the rows, measure and print."""
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
        os.environ["DATABASE_URL"] = _own_database(os.environ["DATABASE_URL"])
        install_defaults(os.environ)
        import django
        from django.core.management import call_command

        django.setup()
        from django.conf import settings
        from django.db import connection

        settings.ALLOWED_HOSTS = ["testserver"]
        try:
            call_command("migrate", verbosity=0)
            fill()
            print("every page below" if report() else "NOT every page below", f"{WANTED_MS} ms in the median")
        finally:
            connection.close_pool()


def _own_database(url: str) -> str:
    """The address of this bench's database on the same server; made if it is not there."""
    with psycopg.connect(url, autocommit=True) as server:
        if server.execute("SELECT FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone() is None:
            server.execute(f"CREATE DATABASE {_DATABASE}")
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{_DATABASE}"))

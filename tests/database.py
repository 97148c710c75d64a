"""The database of a session of tests: a copy of one that was migrated once, and emptied by removing what a test has left.

Django empties a database by truncating every table, which costs PostgreSQL a fifth of a second of work for a row or two,
and migrates each session's database from its beginning.
"""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "test_voiceagent_template"
#: A schema with the rows of the migrations, in tables of the same names: emptying brings them back.
KEPT = "kept"


def hurry(url: str) -> None:
    """A server of tests may lose everything when the machine fails: it waits for no disk."""
    with psycopg.connect(url, autocommit=True) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            server.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        server.execute("SELECT pg_reload_conf()")


@contextmanager
def template(url: str, folder: Path) -> Iterator[None]:
    """Have the database ``TEMPLATE`` while the block copies it; migrated anew whenever the product's code has changed.

    Needs Django's settings to point at the server of ``url``; the first of several sessions at once makes it.
    """
    with (folder / "template.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = _state_of_the_code()
        with psycopg.connect(url, autocommit=True) as server:
            if _remark(server) != state:
                _make(server)
                server.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(TEMPLATE), sql.Literal(state))
                )
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _state_of_the_code() -> str:
    """What decides on tables and on the rows of migrations, and everything else of ours besides."""
    seen = hashlib.sha256()
    for folder in ("calls", "memory", "voiceagent"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            seen.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    seen.update(Path(__file__).read_bytes() + (ROOT / "requirements.txt").read_bytes())
    return seen.hexdigest()


def _remark(server: psycopg.Connection) -> str | None:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    row = server.execute(query, [TEMPLATE]).fetchone()
    return row and row[0]


def _make(server: psycopg.Connection) -> None:
    from django.core.management import call_command
    from django.db import connection

    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(TEMPLATE)))
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = TEMPLATE
    try:
        call_command("migrate", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(KEPT)))
            for table in _filled(cursor, _tables()):
                cursor.execute(
                    sql.SQL("CREATE TABLE {} AS TABLE {}").format(sql.Identifier(KEPT, table), sql.Identifier(table))
                )
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name


def empty() -> None:
    """Leave the rows of the migrations and no other. Waits for transactions that still write."""
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        tables = _tables()
        cursor.execute(
            sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(map(sql.Identifier, tables)))
        )
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger and no reference stands in the way
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [KEPT])
        kept = {row[0] for row in cursor.fetchall()}
        for table in [table for table in _filled(cursor, tables) if table not in kept] + _changed(cursor, sorted(kept)):
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            if table in kept:
                cursor.execute(
                    sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE TABLE {}").format(
                        sql.Identifier(table), sql.Identifier(KEPT, table)
                    )
                )
    ContentType.objects.clear_cache()


def _tables() -> list[str]:
    from django.db import connection

    return sorted(connection.introspection.django_table_names(only_existing=True, include_views=False))


def _filled(cursor: Any, tables: list[str]) -> list[str]:
    """Those that have a row."""
    return _where(cursor, tables, "EXISTS (TABLE {table})")


def _changed(cursor: Any, tables: list[str]) -> list[str]:
    """Those that have not the rows of the migrations."""
    return _where(
        cursor,
        tables,
        "EXISTS (TABLE {table} EXCEPT TABLE {kept}) OR EXISTS (TABLE {kept} EXCEPT TABLE {table})",
    )


def _where(cursor: Any, tables: list[str], condition: str) -> list[str]:
    asked = [
        sql.SQL(condition).format(table=sql.Identifier(table), kept=sql.Identifier(KEPT, table)) for table in tables
    ]
    cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(asked)))
    return [table for table, holds in zip(tables, cursor.fetchone(), strict=True) if holds]

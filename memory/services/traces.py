"""Looking for what should be gone, everywhere: each column of each table, each key of Redis, whatever its name."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import redis

    from memory.services.subjects import Subject

#: What stays by design has keyed hashes only: what was erased, receipts, and who reached for it.
HASHES_ONLY = frozenset({"memory_tombstone", "memory_erasurerequest", "memory_access"})
#: Fewer digits than this stand in other numbers by chance.
FEWEST_DIGITS = 8
#: Kinds of columns that can hold what somebody said or is called. Vectors are floats: they go with their row.
_TYPES = frozenset({"text", "varchar", "bpchar", "name", "json", "jsonb", "uuid", "bytea", "tsvector", "_text"})
_TYPES_OF_ARRAYS = frozenset({"_varchar", "_uuid", "_jsonb"})
_FEWEST_CHARS_OF_ID = 16
_PAGE = 500
_DIGITS = re.compile(r"\+?\d+")


@dataclass(slots=True)
class Traces:
    """What a search found (rows by table, keys by their first part), and how much it looked at."""

    found: Counter[str] = field(default_factory=Counter)
    searched: Counter[str] = field(default_factory=Counter)


def wanted(subject: Subject, *, by_number: bool = True) -> str:
    """What to look for after an erasure: ids, the names of calls, and for a whole caller the number and its hash."""
    needles = {name for name in subject.conversations if subject.is_call and _is_id(name)} | set(subject.ids)
    if subject.is_whole:
        needles.add(str(subject.caller_id or ""))
        needles |= {subject.number, subject.caller_hash} if by_number else set()
    return pattern(needles)


def _is_id(name: str) -> bool:
    """Whether this name of a conversation can only mean it: an import's may be "1"."""
    return len(name) >= _FEWEST_CHARS_OF_ID and any(character.isdigit() for character in name)


def pattern(needles: Iterable[str]) -> str:
    """A regular expression, for Python and PostgreSQL alike, that finds one of these; empty for none.

    Numbers are found with and without their plus, not as a part of longer ones; those too short to be told are left out.
    """
    parts = []
    for needle in sorted(set(filter(None, needles))):
        if not _DIGITS.fullmatch(needle):
            parts.append(re.sub(r"([^\w])", r"\\\1", needle))
        elif len(digits := needle.lstrip("+")) >= FEWEST_DIGITS:
            parts.append(f"(^|[^0-9]){digits}([^0-9]|$)")
    return "|".join(f"({part})" for part in parts)


def in_tables(sought: str, skip: Iterable[str] = HASHES_ONLY) -> Traces:
    """Rows in which ``sought`` stands in any column, in all tables of the schema but ``skip``."""
    traces, left_out = Traces(), frozenset(skip)
    for table, columns in _columns().items():
        if table in left_out:
            continue
        traces.searched["tables"] += 1
        traces.searched["columns"] += len(columns)
        if sought:
            traces.found[table] += _rows(table, columns, sought)
    traces.found = +traces.found
    return traces


def _columns() -> Mapping[str, list[tuple[str, str]]]:
    """Tables with those of their columns that can hold text: name and type."""
    found: dict[str, list[tuple[str, str]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.table_name, c.column_name, c.udt_name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.udt_name = ANY(%s)"
            " ORDER BY c.table_name, c.ordinal_position",
            [sorted(_TYPES | _TYPES_OF_ARRAYS)],
        )
        for table, column, kind in cursor.fetchall():
            found.setdefault(table, []).append((column, kind))
    return found


def _rows(table: str, columns: Iterable[tuple[str, str]], sought: str) -> int:
    quote = connection.ops.quote_name
    # Bytes as they are where they print, so that text in them is found.
    texts = [
        f"encode({quote(name)}, 'escape')" if kind == "bytea" else f"{quote(name)}::text" for name, kind in columns
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {quote(table)} WHERE concat_ws(E'\\n', {', '.join(texts)}) ~* %s",  # noqa: S608 - names of the catalogue, quoted
            [sought],
        )
        return int(cursor.fetchone()[0])


def in_redis(client: redis.Redis, sought: str, skip: Iterable[str] = ()) -> Traces:
    """Keys in whose name or content ``sought`` stands. Raises ``RedisError``."""
    traces, left_out = Traces(), frozenset(skip)
    finder = re.compile(sought.encode(), re.IGNORECASE) if sought else None
    for raw in cast("Iterable[bytes]", client.scan_iter(count=_PAGE)):
        name = raw.decode(errors="replace")
        if name in left_out:
            continue
        traces.searched["redis keys"] += 1
        if finder and any(finder.search(text) for text in (raw, *_content(client, raw))):
            traces.found[f"redis {name.split(':')[0]}"] += 1
    return traces


def _content(client: redis.Redis, key: bytes) -> Iterator[bytes]:
    kind = cast("bytes", client.type(key))
    if kind == b"string":
        yield cast("bytes | None", client.get(key)) or b""
    elif kind == b"list":
        for item in _pages(client, key):
            yield item
            yield message_body(item)
    elif kind == b"hash":
        for name, value in client.hscan_iter(key):
            yield name + b"=" + value
    elif kind == b"set":
        yield from cast("Iterable[bytes]", client.sscan_iter(key))
    elif kind == b"zset":
        yield from (member for member, _ in client.zscan_iter(key))
    elif kind == b"stream":
        yield from _entries(client, key)


def _pages(client: redis.Redis, key: bytes) -> Iterator[bytes]:
    start = 0
    while items := cast("list[bytes]", client.lrange(cast("str", key), start, start + _PAGE - 1)):
        yield from items
        start += _PAGE


def _entries(client: redis.Redis, key: bytes) -> Iterator[bytes]:
    first = "-"
    while page := cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(key, min=first, count=_PAGE)):
        for _, fields in page:
            yield b"\n".join(name + b"=" + value for name, value in fields.items())
        first = "(" + page[-1][0].decode()


def message_body(message: bytes) -> bytes:
    """The body of a queued task, which the broker keeps as base64; empty for anything else."""
    found = re.search(rb'"body": ?"([A-Za-z0-9+/=]+)"', message)
    try:
        return base64.b64decode(found[1]) if found else b""
    except ValueError:
        return b""


def purge_queue(client: redis.Redis, queue: str, sought: str) -> int:
    """Take tasks about what is erased out of a queue. How many. Raises ``RedisError``."""
    if not sought or client.type(queue) != b"list":
        return 0
    finder = re.compile(sought.encode(), re.IGNORECASE)
    about = [item for item in _pages(client, queue.encode()) if finder.search(item + message_body(item))]
    return sum(int(client.lrem(queue, 0, cast("str", item))) for item in about)

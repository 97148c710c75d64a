"""Where a call's page gets its lines: the archive, or for a call in progress its stream in Redis. As few as the page needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from django.db import connection

from calls.services.entries import clean_tree
from voiceagent.console.call.story import ASK, FIRSTS, KEPT, TOKENS, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from calls.models import Call

_WHOLE = """
SELECT seq, kind, type, at_ms, mode, turn, CASE WHEN type = ANY(%(kept)s) THEN data ELSE '{}'::jsonb END
FROM (
  SELECT *, lag(mode) OVER (PARTITION BY kind ORDER BY seq) AS before FROM calls_callevent WHERE call_id = %(call)s
) AS told
WHERE kind <> 'broken' AND (type = ANY(%(kept)s) OR (kind = 'event' AND mode IS DISTINCT FROM before))
"""
_SLIM = """jsonb_build_object('turn', data->'turn', 'epoch', data->'epoch', 'speculative', data->'speculative', 'shown',
    CASE WHEN type = 'MemoryRecalled' THEN jsonb_array_length(
      jsonb_path_query_array(data, '$.items[*] ? (@.in_prompt == true)')) END)"""
_ATTEMPT = "(data->>'turn')::bigint, (data->>'epoch')::bigint"
_FIRST = f"""
SELECT DISTINCT ON (type, {_ATTEMPT}) seq, kind, type, at_ms, mode, turn, {_SLIM}
FROM calls_callevent WHERE call_id = %(call)s AND type = ANY(%(firsts)s) AND kind <> 'broken'
ORDER BY type, {_ATTEMPT}, seq
"""  # noqa: S608 - made of our own constants
_REQUESTS = f"""
SELECT seq, kind, type, at_ms, mode, turn, {_SLIM} FROM (
  SELECT *, lag(type) OVER (PARTITION BY {_ATTEMPT} ORDER BY seq) AS before
  FROM calls_callevent WHERE call_id = %(call)s AND type = ANY(%(model)s) AND kind <> 'broken'
) AS told WHERE type = %(ask)s OR before = %(ask)s
"""  # noqa: S608 - made of our own constants


def archived(call: Call) -> list[Line]:
    """The lines that count of an archived call, in order."""
    values: dict[str, Any] = {
        "call": call.pk,
        "kept": list(KEPT),
        "firsts": list(FIRSTS),
        "model": [ASK, *TOKENS],
        "ask": ASK,
    }
    found: dict[int, Line] = {}
    with connection.cursor() as cursor:
        for sql in (_WHOLE, _FIRST, _REQUESTS):
            cursor.execute(sql, values)
            for seq, kind, name, at_ms, mode, turn, data in cursor.fetchall():
                found[seq] = Line(seq, kind, name, at_ms, mode, turn, _object(data))
    return [found[seq] for seq in sorted(found)]


def _object(data: Any) -> dict[str, Any]:
    value = orjson.loads(data) if isinstance(data, (str, bytes)) else data
    return value if isinstance(value, dict) else {}


def streamed(raw: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Line]:
    """Entries of a call's stream as lines; what cannot be read is passed over."""
    lines = []
    for _stream_id, fields in raw:
        try:
            data = clean_tree(orjson.loads(fields[b"data"]))
            line = Line(
                seq=int(fields[b"seq"]),
                kind=fields[b"kind"].decode(),
                type=fields[b"type"].decode(),
                at_ms=int(fields[b"at_ms"]),
                mode=fields[b"mode"].decode(),
                turn=int(fields[b"turn"]),
                data=data if isinstance(data, dict) else {},
            )
        except (KeyError, ValueError):
            continue
        lines.append(line)
    return lines

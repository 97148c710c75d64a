"""Where a call's page gets its story: the archive, or for a call in progress its stream in Redis.

The log of an archived call does not change: its story is made once, from as few lines as it needs, and kept beside the call.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from django.db import IntegrityError, connection, transaction

from calls.services.entries import clean_tree
from voiceagent.console.call import keeping
from voiceagent.console.call.story import ASK, FIRSTS, KEPT, TOKENS, Line, Story
from voiceagent.console.models import CallStory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from calls.models import Call

# What is looked through is narrow, so that an hour of talk is sorted in memory; the values come with what is taken.
_WHOLE = """
SELECT seq, kind, type, at_ms, mode, turn, CASE WHEN type = ANY(%(kept)s) THEN data ELSE '{}'::jsonb END
FROM calls_callevent WHERE call_id = %(call)s AND kind <> 'broken' AND (type = ANY(%(kept)s) OR seq IN (
  SELECT seq FROM (
    SELECT seq, mode, lag(mode) OVER (ORDER BY seq) AS before
    FROM calls_callevent WHERE call_id = %(call)s AND kind = 'event'
  ) AS told WHERE mode IS DISTINCT FROM before
))
"""
_SLIM = """jsonb_build_object('turn', data->'turn', 'epoch', data->'epoch', 'speculative', data->'speculative', 'shown',
    CASE WHEN type = 'MemoryRecalled' THEN jsonb_array_length(
      jsonb_path_query_array(data, '$.items[*] ? (@.in_prompt == true)')) END)"""
_ATTEMPT = "data->'turn', data->'epoch'"
_FIRST = f"""
SELECT seq, kind, type, at_ms, mode, turn, {_SLIM} FROM calls_callevent WHERE call_id = %(call)s AND seq IN (
  SELECT min(seq) FROM calls_callevent
  WHERE call_id = %(call)s AND type = ANY(%(firsts)s) AND kind <> 'broken' GROUP BY type, {_ATTEMPT}
)
"""  # noqa: S608 - made of our own constants
_REQUESTS = f"""
SELECT seq, kind, type, at_ms, mode, turn, {_SLIM} FROM calls_callevent WHERE call_id = %(call)s AND seq IN (
  SELECT seq FROM (
    SELECT seq, type, lag(type) OVER (PARTITION BY {_ATTEMPT} ORDER BY seq) AS before
    FROM calls_callevent WHERE call_id = %(call)s AND type = ANY(%(model)s) AND kind <> 'broken'
  ) AS told WHERE type = %(ask)s OR before = %(ask)s
)
"""  # noqa: S608 - made of our own constants


def story_of(call: Call) -> Story:
    """The story of an archived call: as it was kept, or made now and kept."""
    kept = CallStory.objects.filter(call=call, layout=keeping.LAYOUT, entries=call.entry_count).first()
    if kept is not None:
        return keeping.opened(kept.told)
    story = Story().take_all(archived(call))
    row = CallStory(call=call, layout=keeping.LAYOUT, entries=call.entry_count, told=keeping.closed(story))
    with suppress(IntegrityError), transaction.atomic():  # the call may be erased at this very moment
        CallStory.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["call"], update_fields=["layout", "entries", "told"]
        )
    return story


def archived(call: Call) -> list[Line]:
    """The lines that count of an archived call, in order: three queries, whatever its length."""
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

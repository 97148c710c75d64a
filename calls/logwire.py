"""How entries travel to Redis: one script call for all calls of a process, with everything in one JSON argument.

A pipeline of ``XADD`` costs some 100 µs of CPU per entry in the client, for packing twenty arguments and reading an
answer. Here Redis itself unpacks the entries and appends them; the client pays for one command. The script is one
atomic step on one Redis (not a cluster), refuses nothing silently, and can be sent again after a broken connection:
an entry's stream id is its number, and Redis refuses a number that is there already.

Who wrote the log first owns it: the field ``log`` of the call's meta. The entries of another log of the same call are
not written and reported as ``taken``, whatever their numbers are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from calls.core.commands import Command
from calls.core.events import Event
from calls.core.record import tagged
from calls.logkeys import LIVE_KEY, events_key, meta_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from redis.asyncio import Redis


_log = structlog.get_logger(__name__)

_SCRIPT = """
local function append(key, e)
  local added = redis.pcall('XADD', key, e[1] .. '-0', 'seq', e[1], 'step', e[2], 'kind', e[3], 'type', e[4],
    'at_ms', e[5], 'wall_ms', e[6], 'mode', e[7], 'turn', e[8], 'data', e[9], 'digest', e[10])
  if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then
    return added.err
  end
  return ''
end

local function write(share)
  local meta_key, owner = share[2], share[3]
  local first = redis.pcall('HGET', meta_key, 'log')
  if type(first) == 'table' then return first.err end
  if first and first ~= owner then return 'taken' end
  if not first then redis.call('HSET', meta_key, 'log', owner) end
  if #share[4] > 0 then redis.call('HSET', meta_key, unpack(share[4])) end
  for _, entry in ipairs(share[5]) do
    local refusal = append(share[1], entry)
    if refusal ~= '' then return refusal end
  end
  return ''
end

local answers = {}
for i, share in ipairs(cjson.decode(ARGV[1])) do answers[i] = write(share) end
for _, sid in ipairs(cjson.decode(ARGV[2])) do redis.call('ZADD', KEYS[1], ARGV[3], sid) end
return answers
"""
TAKEN = b"taken"


@dataclass(frozen=True, slots=True)
class Noted:
    """A step as it waits: what its entries need and nothing of the state, which would be kept alive by it.

    ``digest`` is of the state after the step, where it was made.
    """

    first_seq: int
    step: int
    wall_ms: int
    event: Event
    commands: tuple[Command, ...]
    mode: str
    turn: int
    digest: str = ""

    @property
    def count(self) -> int:
        """How many entries it makes: the event and each command."""
        return 1 + len(self.commands)


class Wire:
    """Sends shares of several calls at once."""

    def __init__(self, redis: Redis) -> None:
        self._run = redis.register_script(_SCRIPT)

    async def send(self, shares: Sequence[list[Any]], alive: Collection[str], now_ms: int) -> list[bytes]:
        """Write these shares and report these calls as alive.

        Gives one answer per share: empty, ``TAKEN``, or what Redis refused it with; what came before in a refused
        share is written. Raises ``RedisError`` or ``OSError`` where it is unknown what was written.
        """
        arguments: list[bytes | str] = [orjson.dumps(shares), orjson.dumps(list(alive)), str(now_ms)]
        answers: list[bytes] = await self._run(keys=[LIVE_KEY], args=arguments)
        return answers


def share_of(call_sid: str, owner: str, meta: Mapping[str, str], steps: Sequence[Noted]) -> list[Any]:
    """What one call has to write, as the script reads it."""
    flat = [clean for pair in meta.items() for clean in map(_writable, pair)]
    return [
        events_key(call_sid),
        meta_key(call_sid),
        owner,
        flat,
        [entry for noted in steps for entry in _entries(noted)],
    ]


def _entries(noted: Noted) -> list[list[str]]:
    """The event, then its commands, each with the fields of ``calls.logkeys.FIELDS`` in order."""
    step, at_ms, wall_ms, turn = map(str, (noted.step, noted.event.at_ms, noted.wall_ms, noted.turn))
    values: tuple[Event | Command, ...] = (noted.event, *noted.commands)
    return [
        [
            str(seq),
            step,
            "command" if place else "event",
            type(value).__name__,
            at_ms,
            wall_ms,
            noted.mode,
            turn,
            encoded(value),
            "" if place else noted.digest,
        ]
        for place, (seq, value) in enumerate(enumerate(values, noted.first_seq))
    ]


def encoded(value: Event | Command) -> str:
    """The same JSON as ``calls.core.record.dumps``, by a faster library.

    A vendor can send half of a surrogate pair, which UTF-8 has no bytes for: then everything beyond ASCII is escaped.
    """
    try:
        return orjson.dumps(tagged(value), option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return _encoded_slowly(value)


def _encoded_slowly(value: Event | Command) -> str:
    try:
        return json.dumps(tagged(value), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        _log.error("eventlog.unwritable", type=type(value).__name__, error=type(error).__name__)
        return json.dumps({"type": type(value).__name__, "unwritable": type(error).__name__})


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()

"""What the processes' breakers tell each other, through Redis: a thread per process, one script call per round.

A round tells every breaker's ruling and window and brings the greatest ruling, the others' windows, and the lease of the
next probe. Telling is idempotent: a ruling is kept if it outranks the one that is there, a window replaces the same
process's last one. So a round that failed half-way, or a Redis that comes back empty, needs no care: the next round says
everything again. Nobody waits for a round: while Redis is away, each process decides by itself.

A round lasts well under a millisecond in Redis and comes every ``EVERY_S``, sooner when a breaker has just opened or
closed, never sooner than ``APART_S``. That is what bounds its load; publishing would add a second way to hear the same.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from calls.breakerrules import ruling_of

if TYPE_CHECKING:
    from calls.breakers import Breaker, Breakers

_log = structlog.get_logger(__name__)

EVERY_S: Final = 0.5
APART_S: Final = 0.1
#: How long the right to the next probe lasts unless it is asked for again: three rounds.
LEASE_MS: Final = 1_500
_TIMEOUT_S: Final = 1.0
_PREFIX: Final = "breakers"

# Leases and windows are kept with the time by Redis's own clock, which all processes share. Who holds the lease and has
# nobody waiting does not get it again while another has.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = ARGV[2] ~= '' and tonumber(ARGV[2]) or time[1] * 1000 + math.floor(time[2] / 1000)
local told = cjson.decode(ARGV[1])
local me, lease_ms, rulings = told[1], told[2], KEYS[1]

local function outranks(one, other)
  for i = 1, 4 do
    if one[i] ~= other[i] then return one[i] > other[i] end
  end
  return false
end

local function rank_of(text)
  local ok, kept = pcall(cjson.decode, text)
  if not ok or type(kept) ~= 'table' then return nil end
  local rank = {kept.acts, kept.epoch, kept.since_ms, kept.made_by}
  for i, kind in ipairs({'number', 'number', 'number', 'string'}) do
    if type(rank[i]) ~= kind then return nil end
  end
  return rank
end

local function windows_of(key, window, keep_ms)
  if window ~= '' then
    redis.call('HSET', key, me, now .. ' ' .. window)
    redis.call('PEXPIRE', key, keep_ms)
  else
    redis.call('HDEL', key, me)
  end
  local found, all = {}, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local at, text = string.match(all[i + 1], '^(%d+) (.*)$')
    if not at or now - at > keep_ms then
      redis.call('HDEL', key, all[i])
    elseif all[i] ~= me then
      found[#found + 1] = text
    end
  end
  return found
end

local function lease_of(key, wants)
  local kept = redis.call('HMGET', key, 'holder', 'until', 'waiter', 'waits_until')
  local held = kept[2] and now < tonumber(kept[2])
  local awaited = kept[3] and kept[3] ~= me and now < tonumber(kept[4])
  local mine = held and kept[1] == me
  if (mine or not held) and (wants >= 2 or not awaited) then
    redis.call('HSET', key, 'holder', me, 'until', now + lease_ms)
    if not awaited then redis.call('HDEL', key, 'waiter', 'waits_until') end
    redis.call('PEXPIRE', key, lease_ms * 4)
    return 1
  end
  if wants == 2 and not mine and not awaited then
    redis.call('HSET', key, 'waiter', me, 'waits_until', now + 2 * lease_ms)
  end
  return 0
end

local answers = {}
for i, share in ipairs(told[3]) do
  local name, rank, ruling, window, keep_ms, wants = unpack(share)
  local kept = redis.call('HGET', rulings, name)
  local kept_rank = kept and rank_of(kept)
  local lease = 0
  if not kept_rank or outranks(rank, kept_rank) then
    redis.call('HSET', rulings, name, ruling)
    kept, kept_rank = ruling, rank
  end
  if wants > 0 and not outranks(kept_rank, rank) then lease = lease_of(rulings .. ':lease:' .. name, wants) end
  answers[i] = {kept, lease, windows_of(rulings .. ':window:' .. name, window, keep_ms)}
end
return {now, answers}
"""


class Exchange:
    """One process's rounds over one Redis. ``shared_ms`` instead of Redis's clock is for tests."""

    def __init__(self, breakers: Breakers, redis: Redis, shared_ms: int | None = None) -> None:
        self._breakers = breakers
        self._run = redis.register_script(_SCRIPT)
        self.shared_ms = shared_ms

    def round(self) -> None:
        """Tell and hear, once. Raises ``RedisError`` or ``OSError``."""
        env = self._breakers.env
        shares = [_share(breaker) for breaker in self._breakers]
        sent_ms = env.now_ms()
        told = json.dumps([env.process, LEASE_MS, shares])
        now_ms, answers = self._run(keys=[_PREFIX], args=[told, "" if self.shared_ms is None else str(self.shared_ms)])
        if self.shared_ms is None:
            # Half of the way there and back is over since Redis looked at its clock.
            self._breakers.clock.set(now_ms + (env.now_ms() - sent_ms) // 2)
        for breaker, (ruling, leased, windows) in zip(self._breakers, answers, strict=True):
            try:
                breaker.learn(
                    ruling_of(json.loads(ruling)),
                    [_window(text) for text in windows],
                    sent_ms + LEASE_MS if leased else 0,
                    sent_ms,
                )
            except (TypeError, ValueError) as error:
                _log.error("breakers.unreadable", breaker=breaker.name, error=type(error).__name__)


def _window(text: bytes) -> tuple[Any, Any]:
    rank, window = json.loads(text)
    return rank, window


def _share(breaker: Breaker) -> list[Any]:
    report = breaker.report(round(EVERY_S * 1000))
    rank = report.ruling.rank
    window = json.dumps([rank, report.window]) if report.window else ""
    return [breaker.name, rank, json.dumps(report.ruling.record()), window, breaker.rules.window_ms, report.wants]


class Sharing:
    """The thread that shares a process's breakers. ``start`` after a fork, never before it."""

    def __init__(self, breakers: Breakers, redis_url: str) -> None:
        self._breakers = breakers
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._exchange = Exchange(breakers, self._redis)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._share, name="breakers", daemon=True)
        self._away = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the last news and end; waits for it, two seconds at most. Never on an event loop."""
        self._stopping.set()
        self._breakers.stirred.set()
        if self._thread.is_alive():
            self._thread.join(2 * _TIMEOUT_S)
        self._redis.close()

    def _share(self) -> None:
        while True:
            ending = self._stopping.is_set()
            self._breakers.stirred.clear()
            try:
                self._exchange.round()
            except (RedisError, OSError) as error:
                if not self._away:
                    _log.warning("breakers.alone", error=type(error).__name__)
                self._away = True
            except Exception as error:  # noqa: BLE001 - without the thread the processes would never agree again
                _log.error("breakers.round_failed", error=type(error).__name__)
            else:
                if self._away:
                    _log.info("breakers.shared_again")
                self._away = False
            if ending:
                return
            self._stopping.wait(APART_S)
            self._breakers.stirred.wait(EVERY_S - APART_S)

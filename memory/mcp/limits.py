"""How many requests a token may make: counted in Redis for all processes, in this process while Redis is away."""

from __future__ import annotations

import time
from functools import lru_cache

import structlog
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from memory import surroundings

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 0.5
#: For how long Redis is not asked again once it did not answer.
_AWAY_S = 10.0
_SPACE = "requests"


class Limiter:
    """Counts in a sliding minute. Safe to use from several threads."""

    def __init__(self, redis_url: str) -> None:
        self._here: RateLimiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: RateLimiter = SlidingWindowCounterRateLimiter(
            RedisStorage(
                redis_url.replace("unix://", "redis+unix://"),
                key_prefix="mcp:limits",
                wrap_exceptions=True,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
            )
        )
        self._away_until_s = 0.0

    def wait_s(self, key: str, per_minute: int) -> int:
        """0 where one more request of ``key`` is within its limit, else the seconds after which to try again."""
        item = RateLimitItemPerMinute(per_minute)
        if time.monotonic() >= self._away_until_s:
            try:
                return _wait_s(self._shared, item, key)
            except StorageError as error:
                self._away_until_s = time.monotonic() + _AWAY_S
                _log.warning("mcp.limits_not_shared", error=type(error.storage_error).__name__)
        return _wait_s(self._here, item, key)


def _wait_s(limiter: RateLimiter, item: RateLimitItemPerMinute, key: str) -> int:
    if limiter.hit(item, _SPACE, key):
        return 0
    return max(1, round(limiter.get_window_stats(item, _SPACE, key).reset_time - time.time()))


def current() -> Limiter:
    """The limiter of this process."""
    return _at(surroundings.redis_url())


@lru_cache(maxsize=2)
def _at(redis_url: str) -> Limiter:
    return Limiter(redis_url)

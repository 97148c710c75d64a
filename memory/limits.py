"""How often somebody may do something: counted in Redis for all processes, in this process while Redis is away.

One mechanism for every limit of the house. What is over its limit is known here until its time is up, so that a flood
costs neither Redis nor a thread.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from functools import lru_cache

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter
from redis import RedisError

from memory import surroundings

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 0.5
#: For how long Redis is not asked again once it did not answer.
_AWAY_S = 10.0
#: Sources that are known to be over their limit. More than this at once are a flood of sources: then all are asked about.
_MOST_OVER = 10_000
#: One household's or server's addresses of IPv6: counted one by one they would never be over a limit.
_IPV6_NET = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """``most`` times in any ``seconds``. ``name`` keeps the counts of rules apart.

    ``kept_here``: what is over is known in this process until its time is up. Not where somebody may lift it elsewhere.
    """

    name: str
    most: int
    seconds: int = 60
    kept_here: bool = True

    @property
    def item(self) -> RateLimitItem:
        """The library's form of it."""
        return RateLimitItemPerSecond(self.most, self.seconds, namespace=self.name)


class Limiter:
    """Counts in sliding windows. Safe to use from several threads."""

    def __init__(self, redis_url: str) -> None:
        self._here: RateLimiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared_storage = RedisStorage(
            redis_url.replace("unix://", "redis+unix://"),
            key_prefix="limits",
            wrap_exceptions=True,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )
        self._shared: RateLimiter = SlidingWindowCounterRateLimiter(self._shared_storage)
        self._away_until_s = 0.0
        self._over: dict[tuple[Rule, str], float] = {}

    def wait_s(self, rule: Rule, key: str) -> int:
        """Count one more of ``key``: 0 where it is within the rule, else the seconds after which to try again.

        What is refused is not counted. May wait for Redis, half a second at most.
        """
        if wait_s := self.known_wait_s(rule, key):
            return wait_s
        wait_s = self._asked(rule, key)
        if wait_s and rule.kept_here and len(self._over) < _MOST_OVER:
            self._over[rule, key] = time.monotonic() + wait_s
        return wait_s

    async def wait_s_async(self, rule: Rule, key: str) -> int:
        """As ``wait_s``, for an event loop: who is known to be over the limit costs no thread."""
        return self.known_wait_s(rule, key) or await asyncio.to_thread(self.wait_s, rule, key)

    def known_wait_s(self, rule: Rule, key: str) -> int:
        """The seconds to wait of one that is known here to be over its limit, else 0; counts nothing, asks nobody."""
        now = time.monotonic()
        until = self._over.get((rule, key), 0.0)
        if until > now:
            return max(1, round(until - now))
        if until or len(self._over) >= _MOST_OVER:
            self._over = {one: end for one, end in self._over.items() if end > now}
        return 0

    def clear(self, rule: Rule, key: str) -> None:
        """Forget what was counted of ``key``."""
        self._over.pop((rule, key), None)
        self._here.clear(rule.item, key)
        if time.monotonic() >= self._away_until_s:
            try:
                self._shared.clear(rule.item, key)
            except StorageError as error:
                self._went_away(error)

    def clear_all(self, rule: Rule) -> int:
        """Forget what all processes counted under ``rule``, of every key; how many counts. Raises ``StorageError``."""
        prefix = self._shared_storage.prefixed_key(f"{{{rule.name}/")  # as the library forms its keys
        client = self._shared_storage.storage
        try:
            return sum(int(client.delete(key)) for key in client.scan_iter(match=f"{prefix}*", count=1000))
        except RedisError as error:
            raise StorageError(error) from error

    def _asked(self, rule: Rule, key: str) -> int:
        if time.monotonic() >= self._away_until_s:
            try:
                return _wait_s(self._shared, rule.item, key)
            except StorageError as error:
                self._went_away(error)
        return _wait_s(self._here, rule.item, key)

    def _went_away(self, error: StorageError) -> None:
        self._away_until_s = time.monotonic() + _AWAY_S
        _log.warning("limits.not_shared", error=type(error.storage_error).__name__)


def _wait_s(limiter: RateLimiter, item: RateLimitItem, key: str) -> int:
    if limiter.hit(item, key):
        return 0
    return max(1, round(limiter.get_window_stats(item, key).reset_time - time.time()))


def source(address: str) -> str:
    """Whom to count for a client's address: of IPv6 the network that one customer is given."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.IPv6Network((int(found), _IPV6_NET), strict=False))
    return str(found)


def current() -> Limiter:
    """The limiter of this process."""
    return _at(surroundings.redis_url())


@lru_cache(maxsize=2)
def _at(redis_url: str) -> Limiter:
    return Limiter(redis_url)

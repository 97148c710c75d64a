"""The channel layer over Redis, with time-outs that suit it.

A receive blocks in Redis for up to five seconds, which is as long as redis-py waits for any answer: a quiet socket would be
closed by whichever comes first. A connection that is lost is told in Redis's own words (``memory.loopredis``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from channels_redis.core import RedisChannelLayer

from memory.loopredis import loop_client

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

#: Longer than a blocking receive, and still an end: an answer that takes this long will not come.
ANSWER_TIMEOUT_S: Final = RedisChannelLayer.brpop_timeout + 5.0
CONNECT_TIMEOUT_S: Final = 2.0


class ChannelLayer(RedisChannelLayer):
    """``hosts`` are addresses."""

    def create_pool(self, index: int) -> ConnectionPool:
        """The connections to one of the hosts."""
        address: str = self.hosts[index]["address"]
        options: dict[str, Any] = {
            "socket_timeout": ANSWER_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
        }
        return loop_client(address, **options).connection_pool

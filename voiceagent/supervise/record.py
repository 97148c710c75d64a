"""The last thing a stop waits for: that the calls of this run are in the database, while there is a worker to put them there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import redis.asyncio
from redis.exceptions import RedisError

from calls.logkeys import HEARTBEAT_MS, LIVE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHIVE_S = 10.0
#: As long as an idle worker takes, for somebody who does not want to wait.
_HURRIED_S = 2.0
_POLL_S = 0.1


async def until_archived(
    redis_url: str, told_ms: int, hurry: asyncio.Event, say: Callable[[str], None], limit_s: float = ARCHIVE_S
) -> None:
    """Wait for the calls that were in progress at ``told_ms`` (Unix) or later, for ``limit_s``, in a ``hurry`` 2 s.

    What is not archived by then waits in Redis for the next start. So it does where Redis does not answer.
    """
    oldest_ms = told_ms - 2 * HEARTBEAT_MS
    begun = time.monotonic()
    said = False
    try:
        async with redis.asyncio.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1) as client:
            while waiting := await client.zcount(LIVE_KEY, oldest_ms, "+inf"):
                if time.monotonic() - begun > (_HURRIED_S if hurry.is_set() else limit_s):
                    say(f"{_calls(waiting)} will be archived at the next start.")
                    return
                if not said:
                    said = True
                    say(f"Archiving {_calls(waiting)}.")
                await asyncio.sleep(_POLL_S)
    except (RedisError, OSError):
        return


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"

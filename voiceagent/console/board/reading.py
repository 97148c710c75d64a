"""What the board reads beside its batches: rows in Redis, dependencies, and what the archive knows of callers and of today."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import TruncHour
from django.utils import timezone
from redis.exceptions import RedisError

from calls.livefeed import WATCHED_KEY, WATCHED_S, shots
from calls.models import Call
from voiceagent import health
from voiceagent.console import threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from calls.livefeed import Shot

#: How long an answer about the dependencies serves all pages of this process.
_PROBED_S: Final = 5.0


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def look(redis: Redis) -> list[Shot]:
    """All processes' rows; from now on they are told to whoever listens. Raises ``RedisError`` or ``OSError``."""
    await redis.set(WATCHED_KEY, 1, ex=WATCHED_S)
    return await shots(redis)


async def try_look(redis: Redis) -> list[Shot] | None:
    """The same; ``None`` where Redis is away."""
    try:
        return await look(redis)
    except (RedisError, OSError):
        return None


class Probes:
    """Which dependencies of ours answer, asked at most every few seconds for all pages of this process."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._found: dict[str, bool] = {}

    @property
    def last(self) -> dict[str, bool]:
        """What was found last."""
        return self._found

    async def now(self) -> dict[str, bool]:
        """Dependency → whether it answered in time."""
        if time.monotonic() - self._asked_at < _PROBED_S:
            return self._found
        self._asked_at = time.monotonic()
        self._found = {name: bool(found["ok"]) for name, found in (await health.dependencies()).items()}
        return self._found


probes = Probes()


async def nth_calls(call_sids: Iterable[str]) -> dict[str, int | None]:
    """Which of its caller's calls each is, by ``call_sid``; ``None`` for a caller without a number. Calls whose row is not
    there yet are left out."""
    return await threads.run(_nth_calls, list(call_sids))


def _nth_calls(call_sids: list[str]) -> dict[str, int | None]:
    before = (
        Call.objects.filter(caller_key=OuterRef("caller_key"), started_at__lte=OuterRef("started_at"))
        .order_by()
        .values("caller_key")
        .annotate(count=Count("pk"))
        .values("count")
    )
    found = Call.objects.filter(call_sid__in=call_sids).annotate(nth=Subquery(before))
    return {
        sid: nth if key else None for sid, key, nth in found.values_list("call_sid", "caller_key", "nth").order_by()
    }


@dataclass(frozen=True, slots=True)
class Today:
    """What an empty board shows. ``hours``: hour of the day and its calls, up to now; ``most`` of any hour."""

    last: Call | None
    hours: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    count: int = 0


def today() -> Today:
    """The last call, and today's by hour in the server's zone; test calls left out."""
    now = timezone.localtime()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    real = Call.objects.filter(is_test=False)
    last = real.filter(status=Call.Status.ENDED, ended_at__gt=now - timedelta(days=365)).order_by("-started_at").first()
    began = real.filter(started_at__gte=midnight).order_by().annotate(hour=TruncHour("started_at"))
    counted = Counter({row["hour"]: row["count"] for row in began.values("hour").annotate(count=Count("pk"))})
    hours = [midnight + timedelta(hours=hour) for hour in range(24)]
    most = max(counted.values(), default=0)
    bars = [
        {"at": at, "count": counted[at], **_bar(counted[at], most), "x": 40 * place, "tick": place % 3 == 0}
        for place, at in enumerate(hours)
    ]
    return Today(last, bars, most, sum(counted.values()))


def _bar(count: int, most: int) -> dict[str, int]:
    """Its place in a chart that is 100 high; what is there at all can be seen."""
    height = max(2, 98 * count // most) if count else 1
    return {"top": 100 - height, "height": height}

"""Where the records live, for code that Django or Celery starts: files, Redis, and the key of caller hashes.

The one place in ``calls`` that reads Django's settings. What runs inside a call gets its configuration handed in.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from django.conf import settings

from calls.breakers import UNGUARDED, Breaker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calls.conf import CartesiaConf

_TIMEOUT_S = 5.0


def recordings_dir() -> Path:
    """The folder of all recordings; made if it is not there, readable by this user only."""
    folder = Path(settings.DATA_DIR) / "recordings"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def caller_secret() -> str:
    """The key of ``memory.callers.caller_key``."""
    return str(settings.CALLER_HASH_KEY)


def cartesia() -> CartesiaConf:
    """Where the voice is, for what is rendered beforehand."""
    conf: CartesiaConf = settings.CARTESIA
    return conf


_guard: list[Breaker] = [UNGUARDED]


def guard_voice(breaker: Breaker) -> None:
    """Let this breaker guard what this process has rendered by the voice vendor."""
    _guard[0] = breaker


def voice_breaker() -> Breaker:
    """The breaker of the voice vendor in this process; one that always admits where none was named."""
    return _guard[0]


@contextmanager
def redis_client() -> Iterator[redis.Redis]:
    """A client of the event streams, closed at the end. Its answers are bytes."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    try:
        yield client
    finally:
        client.close()

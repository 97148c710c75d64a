"""Names of what Redis holds of a caller's memory, and the word that goes round when it was changed from outside.

Whoever erases, forgets or corrects calls ``announce`` after the commit: the card is dropped, and ``CHANGES`` tells all
processes, whose calls in progress look again.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from memory import surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    import redis

_log = structlog.get_logger(__name__)

PREFIX = "memory:"
#: The channel of changes. A message is JSON: ``caller`` (the id of the row) and ``what``.
CHANGES = "memory:changes"


class What(StrEnum):
    """What became of a caller's memory. After ``ERASED`` nothing of it may be used, not even by the call in progress."""

    CHANGED = "changed"
    ERASED = "erased"


def card_key(key_hash: str) -> str:
    """Where a caller's card is; ``key_hash`` is the keyed hash of the number."""
    return f"{PREFIX}card:{key_hash}"


def told_key(call_sid: str) -> str:
    """Where a call keeps what it was told to remember."""
    return f"{PREFIX}told:{call_sid}"


def of_caller(key_hash: str, conversations: Iterable[str]) -> list[str]:
    """Every key that holds something of a caller and of these conversations."""
    return [card_key(key_hash), *map(told_key, conversations)]


def publish(client: redis.Redis, caller_id: UUID, what: What) -> None:
    """Tell all processes. Raises ``RedisError``."""
    client.publish(CHANGES, json.dumps({"caller": str(caller_id), "what": what}))


def announce(key_hash: str, caller_id: UUID, what: What) -> bool:
    """Drop the card and tell all processes. ``False`` while Redis is away: no process can be told then, and a call in
    progress keeps what it holds until its end."""
    try:
        with surroundings.redis_client() as client:
            # The card first: a call that begins at the word must not find the old one.
            client.delete(card_key(key_hash))
            publish(client, caller_id, what)
    except RedisError as error:
        _log.warning("memory.change_not_told", what=what, error=type(error).__name__)
        return False
    return True

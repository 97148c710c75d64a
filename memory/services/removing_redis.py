"""What Redis holds of a caller's memory: the card, what calls were told, and tasks that wait in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from memory import keys, surroundings
from memory.services import traces
from memory.services.subjects import Pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memory.services.subjects import Subject

_QUEUE = "celery"


class Keys:
    """The memory's keys in Redis, as one of the stores of an erasure."""

    name = "redis"

    def names(self, subject: Subject) -> Iterable[str]:
        """None of its own."""
        return ()

    def remove(self, subject: Subject) -> Mapping[str, int]:
        """Keys, and tasks about what is erased. Raises ``RedisError``."""
        with surroundings.redis_client() as client:
            gone: Any = client.delete(*_keys(subject))
            return {"keys": gone, "queued tasks": traces.purge_queue(client, _QUEUE, traces.wanted(subject))}

    def find(self, subject: Subject) -> Mapping[str, int]:
        """Keys that are left. Raises ``RedisError``."""
        with surroundings.redis_client() as client:
            left = cast("Any", client.exists(*_keys(subject)))
        return {"keys": left} if left else {}

    def pending(self, subject: Subject) -> Pending:
        """Nothing waits."""
        return Pending()


def _keys(subject: Subject) -> list[str]:
    return keys.of_caller(subject.caller_hash, subject.conversations if subject.is_call else ())

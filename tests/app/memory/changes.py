"""Hears what the processes are told about one caller's memory."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memory.keys import CHANGES, What

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    import redis

_WAIT_S = 5.0


@contextmanager
def changes_of(client: redis.Redis, caller_id: UUID) -> Iterator[Callable[[], What]]:
    """Listen from here on; calling the result gives the caller's next change. Raises ``AssertionError`` where none comes.

    Channels belong to the whole Redis, not to one of its databases: test sessions beside this one are heard as well.
    """
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANGES)
        assert listener.get_message(timeout=_WAIT_S) is None  # it is Redis's word that it listens

        def next_change() -> What:
            until = time.monotonic() + _WAIT_S
            while (left_s := until - time.monotonic()) > 0:
                message = listener.get_message(timeout=left_s)
                if message is not None and (change := json.loads(message["data"]))["caller"] == str(caller_id):
                    return What(change["what"])
            raise AssertionError(f"no change within {_WAIT_S:.0f} s")

        yield next_change

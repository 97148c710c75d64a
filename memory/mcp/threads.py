"""Where the memory's synchronous work is done for the event loop: threads of our own, never the shared one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from channels.db import database_sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

#: Few: what is asked from outside must not take the connections that calls need.
_THREADS = ThreadPoolExecutor(3, "mcp")


async def in_thread[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``function`` in one of the threads; its database connection is given back afterwards."""
    call = database_sync_to_async(function, thread_sensitive=False, executor=_THREADS)
    result: R = await call(*args, **kwargs)
    return result

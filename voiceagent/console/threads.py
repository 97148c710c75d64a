"""Threads of the console's own for its database work: sockets of operators never queue on the one that Django shares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from channels.db import database_sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

#: Few: what operators look at must not take the connections that calls need.
COUNT = 2
_THREADS = ThreadPoolExecutor(COUNT, thread_name_prefix="console")


async def run[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a synchronous function in one of them, with a connection that is looked after."""
    call = database_sync_to_async(function, thread_sensitive=False, executor=_THREADS)
    result: R = await call(*args, **kwargs)
    return result

"""What a process holds: memory, tasks, sockets, files and threads, measured so that two looks can be compared."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from dataclasses import dataclass

import psutil

#: How much more memory a process may hold after many calls than after the first hundred.
MOST_GROWTH = 0.02
#: The system's count also grows by holes that the allocators keep, which level off: 3 to 4% in 10,000 calls.
MOST_RSS_GROWTH = 0.05
WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Held:
    """What is held between two calls. ``rss_bytes`` is what the system counts, ``blocks`` what Python's allocator has given
    out, ``objects`` what its collector tracks."""

    rss_bytes: int
    blocks: int
    objects: int
    tasks: int
    sockets: int
    files: int
    threads: int

    def growth(self, before: Held) -> float:
        """The share by which the memory in use grew."""
        return self.blocks / before.blocks - 1

    def rss_growth(self, before: Held) -> float:
        """The share by which the process grew, holes between what is in use included."""
        return self.rss_bytes / before.rss_bytes - 1

    def __str__(self) -> str:
        return (
            f"{self.rss_bytes / 1e6:.1f} MB, {self.blocks} blocks, {self.objects} objects, {self.tasks} tasks, {self.sockets} sockets, "
            f"{self.files} files, {self.threads} threads"
        )


async def held() -> Held:
    """What this process holds once everything that is free has been given back."""
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    return Held(
        process.memory_info().rss,
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        len(asyncio.all_tasks()),
        len(process.net_connections()),
        len(process.open_files()),
        process.num_threads(),
    )

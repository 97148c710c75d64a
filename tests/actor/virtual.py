"""An event loop whose clock jumps to the next timer: a conversation of minutes takes milliseconds, always the same.

What is ready runs first; only when nothing is, the time of the next timer has come. A loop that waits for nothing at
all would wait for ever, so it raises.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: this would have hung."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what it was asked to wait for is added to ``now_s``."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        if not ready and timeout:
            self.now_s = round(self.now_s + timeout, 9)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on virtual time, from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

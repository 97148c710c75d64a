"""An event loop whose clock jumps to the next timer: a conversation of minutes takes milliseconds, always the same.

What is ready runs first; only when nothing is, the time of the next timer has come. A loop that waits for nothing at
all would wait for ever, so it raises. Work in threads takes no virtual time: the loop stands still until it is done.
"""

from __future__ import annotations

import asyncio
import selectors
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: this would have hung."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what it was asked to wait for is added to ``now_s``."""

    now_s = 0.0
    until_s: float | None = None
    reached: Callable[[], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.until_s is not None and (timeout is None or self.now_s + timeout > self.until_s + 1e-9):
            self.now_s = self.until_s
            self.reached()
            return ready
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        self.now_s = round(self.now_s + timeout, 9)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on virtual time, from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

        self._jumping.reached = self.stop

    def time(self) -> float:
        return self._jumping.now_s

    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As everywhere, but done before it returns: a database answers in no time at all."""
        if executor is not None:
            return self._done(executor, func, *args)
        with ThreadPoolExecutor(1) as own:
            return self._done(own, func, *args)

    def _done[*Ts, T](self, executor: Executor, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        working = executor.submit(func, *args)
        wait([working])
        return asyncio.wrap_future(working, loop=self)

    def run_for(self, ms: int) -> None:
        """From outside: run what is ready, and what becomes so within this time, and stop there. 0 ms pass as well."""
        self._jumping.until_s = round(self.time() + ms / 1000, 9)
        try:
            self.run_forever()
        finally:
            self._jumping.until_s = None


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

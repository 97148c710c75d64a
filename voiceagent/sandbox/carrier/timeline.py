"""A call's timeline: events in order, and waiting for one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from voiceagent.sandbox.carrier.events import TimelineEvent

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound=TimelineEvent)


class Timeline:
    """Records events; ``listener`` hears each as it happens."""

    def __init__(self, listener: Callable[[TimelineEvent], None] | None = None) -> None:
        self._begun = time.monotonic()
        self._listener = listener
        self.events: list[TimelineEvent] = []
        self._waiting: list[tuple[Callable[[TimelineEvent], bool], asyncio.Future[TimelineEvent]]] = []

    @property
    def begun_at_ms(self) -> float:
        """When the call began, on the machine's monotonic clock."""
        return self._begun * 1000

    def now_ms(self) -> float:
        """Milliseconds since the call began."""
        return (time.monotonic() - self._begun) * 1000

    def add(self, kind: type[TimelineEvent], *facts: Any, at_ms: float | None = None) -> None:
        """Record an event, now unless told otherwise."""
        event = kind(round(self.now_ms() if at_ms is None else at_ms, 1), *facts)
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)
        for waiter in list(self._waiting):
            wanted, future = waiter
            if not future.done() and wanted(event):
                future.set_result(event)

    def all(self, kind: type[E]) -> list[E]:
        """Events of a kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E | None:
        """The newest event of a kind."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    async def wait_for(
        self,
        kind: type[E],
        where: Callable[[E], bool] | None = None,
        *,
        after: int = 0,
        timeout_s: float = 10.0,
    ) -> E:
        """The first event of a kind that fits, from position ``after`` of the timeline on. Raises ``TimeoutError``."""

        def fits(event: TimelineEvent) -> bool:
            return isinstance(event, kind) and (where is None or where(event))

        for event in self.events[after:]:
            if fits(event):
                return event  # type: ignore[return-value]
        future: asyncio.Future[TimelineEvent] = asyncio.get_running_loop().create_future()
        waiter = (fits, future)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await future  # type: ignore[return-value]
        except TimeoutError:
            raise TimeoutError(f"no {kind.__name__} within {timeout_s:g} s") from None
        finally:
            self._waiting.remove(waiter)

"""One socket per call that is kept up: connect within a deadline, serve, and come back after a loss.

Reconnecting is done here and not by the SDK, whose own would replay what waited (audio must be live) and decode
binary frames as text.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from calls.providers.aio import race
from calls.providers.cartesia.errors import VENDOR, VENDOR_EXCEPTIONS, classify
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from calls.providers.cartesia.client import Socket

_CLOSE_WAIT_S = 0.9
_LOSSES: tuple[type[Exception], ...] = (VendorError, *VENDOR_EXCEPTIONS)


@dataclass(frozen=True, slots=True)
class Persistence:
    """How stubbornly a lost socket is replaced. Times in seconds.

    Waits are drawn from 0 to a bound that doubles from ``first_wait_s`` up to ``longest_wait_s``, which is short, as a caller
    speaks to nobody meanwhile; where the vendor asks for more, as long as that. No attempt begins later than ``useful_s`` after
    the first, which is what ends an outage for good: a vendor that refuses at once answers many ``attempts`` in the time of one
    that does not answer. A connection that lived for ``stable_s`` gives the next outage its full time. ``outlasts_breaker``: an
    open breaker is waited for as a vendor is that may come back, else it is a failure for good.
    """

    attempts: int = 50
    first_wait_s: float = 0.25
    longest_wait_s: float = 1.0
    useful_s: float = 12.0
    stable_s: float = 5.0
    outlasts_breaker: bool = True

    def within(self, limit_s: float) -> Persistence:
        """The same, for no longer than this."""
        return replace(self, useful_s=min(self.useful_s, limit_s))

    def retrying(self) -> AsyncRetrying:
        """Attempts at something that raises ``VendorError``; the last one is raised."""
        return AsyncRetrying(
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.useful_s),
            wait=self._wait_s,
            retry=retry_if_exception(self._is_worth_another),
            reraise=True,
        )

    def _is_worth_another(self, error: BaseException) -> bool:
        return isinstance(error, VendorError) and (error.retryable or (error.kind == "open" and self.outlasts_breaker))

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, VendorError) else None
        return max(asked_s or 0.0, wait_random_exponential(self.first_wait_s, self.longest_wait_s)(state))


class Served[S: Socket](Protocol):
    """What a link serves: the ear or the voice of a call."""

    async def open(self) -> S:
        """A new connection. Raises ``VendorError``."""

    async def serve(self, socket: S) -> None:
        """Use the connection until it ends. Raises ``VendorError`` or one of the SDK's exceptions."""

    def lost(self, error: VendorError) -> None:
        """A connection that stood is no more."""

    def went_down(self, error: VendorError, *, final: bool) -> None:
        """There is no connection; ``final`` when nothing more will be tried by itself."""

    async def revived(self) -> bool:
        """After a final failure: wait until it is worth trying again, or say that it never is."""


class Link[S: Socket]:
    """Runs a ``Served`` over one connection after another."""

    def __init__(self, served: Served[S], persistence: Persistence) -> None:
        self._served = served
        self._persistence = persistence
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """Until ``aclose`` or cancellation, or until the served one gives up."""
        if self._closing.is_set():
            return
        self._ended.clear()
        try:
            await race(self._keep_up(), self._closing.wait())
        finally:
            self._ended.set()

    async def aclose(self) -> None:
        """Close the connection with its handshake and let ``run`` return; waits for it less than a second."""
        self._closing.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WAIT_S):
                await self._ended.wait()

    async def _keep_up(self) -> None:
        while True:
            try:
                await self._persistence.retrying().copy(before_sleep=self._between_attempts)(self._session)
            except VendorError as error:
                self._served.went_down(error, final=True)
                if not await self._served.revived():
                    return

    def _between_attempts(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, VendorError):
            self._served.went_down(error, final=False)

    async def _session(self) -> None:
        """One connection from its opening to its loss. Returns only where the next one deserves a fresh start."""
        socket = await self._served.open()
        opened_at = time.monotonic()
        lost = VendorError("cut", VENDOR, detail="closed by the vendor")
        try:
            await self._served.serve(socket)
        except _LOSSES as error:
            lost = classify(error)
        finally:
            with contextlib.suppress(*VENDOR_EXCEPTIONS):
                await socket.close()
        self._served.lost(lost)
        if not lost.retryable or time.monotonic() - opened_at < self._persistence.stable_s:
            raise lost
        self._served.went_down(lost, final=False)

"""The circuit breakers of a process that serves no calls, and their place around what the memory and the recorded phrases
ask of vendors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from calls import metrics, surroundings
from calls.breakers import Breakers
from calls.breakersync import Sharing
from calls.providers.errors import VendorError
from calls.providers.openai.errors import VENDOR_EXCEPTIONS, classify
from memory import guards

if TYPE_CHECKING:
    from collections.abc import Iterator


def install(breakers: Breakers) -> None:
    """Let these breakers guard what the memory and the recorded phrases ask of vendors in this process."""

    @contextmanager
    def guard(operation: str) -> Iterator[None]:
        try:
            permit = breakers.of(operation).admit()
        except VendorError as error:
            raise guards.TurnedAway(str(error)) from None
        try:
            yield
        except VENDOR_EXCEPTIONS as error:
            kind = classify(error, streaming=False).kind
            metrics.vendor_failed(operation, kind)
            permit.failed(kind)
            raise
        except BaseException:
            permit.dropped()
            raise
        permit.ok()

    guards.install(guard)
    surroundings.guard_voice(breakers.of("cartesia.tts"))


def start(redis_url: str) -> Sharing:
    """Breakers for a process without calls, shared with the others until ``stop``. After a fork, never before it."""
    breakers = Breakers()
    install(breakers)
    sharing = Sharing(breakers, redis_url)
    sharing.start()
    return sharing

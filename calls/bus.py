"""The typed event bus of one call: who wants to know, and of what.

The actor publishes every step it took; recorder, metrics, log and console subscribe by class. A subscriber is
called on the loop, in order, and must not block; one that raises is reported and the others still hear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from calls.core.commands import Command
from calls.core.events import Event
from calls.core.state import State


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One event and what followed: ``seq`` counts steps from 1, ``wall_ms`` is Unix time in milliseconds.

    ``waited_us`` is how long the event lay in the mailbox.
    """

    seq: int
    wall_ms: int
    event: Event
    commands: tuple[Command, ...]
    state: State
    waited_us: int = 0


T = TypeVar("T")
Subscriber = Callable[[Any, StepTaken], None]


class Bus:
    """Subscribe by class: ``StepTaken`` itself, or any class of event or command."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._subscribers: defaultdict[type, list[Subscriber]] = defaultdict(list)
        self._on_error = on_error

    def subscribe(self, cls: type[T], subscriber: Callable[[T, StepTaken], None]) -> None:
        """Call ``subscriber(value, step)`` for every value of exactly this class."""
        self._subscribers[cls].append(subscriber)

    def publish(self, step: StepTaken) -> None:
        """Tell the step first, then its event, then its commands in order."""
        for value in (step, step.event, *step.commands):
            for subscriber in self._subscribers.get(type(value), ()):
                try:
                    subscriber(value, step)
                except Exception as error:  # noqa: BLE001 - a subscriber's bug must not touch the call
                    self._on_error(error)

"""How each operation of a vendor fared lately: how often it was asked, how often in vain, and how long its callers waited.

For people, not for breakers: those forget with each ruling what they saw before it. Every process counts for itself and tells
the console (``calls.livefeed``), which puts the processes together. Pure: times are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SPAN_MS: Final = 5 * 60_000
#: The newest attempts that are remembered, and the newest waits that are told to others.
MOST: Final = 4_000
MOST_TOLD: Final = 400


@dataclass(frozen=True, slots=True)
class Fared:
    """``asked`` attempts, ``failed`` of them in vain; ``waits_ms`` of those that were answered, the newest where they are many."""

    asked: int = 0
    failed: int = 0
    waits_ms: tuple[int, ...] = ()

    def told(self) -> dict[str, Any]:
        """As ``of`` reads it, in another process."""
        return {"asked": self.asked, "failed": self.failed, "waits_ms": self.waits_ms}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Fared:
        """What another process told. Raises ``ValueError`` for what is none."""
        try:
            return cls(int(told["asked"]), int(told["failed"]), tuple(int(wait_ms) for wait_ms in told["waits_ms"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not what an operation fared: {type(error).__name__}") from error

    @classmethod
    def together(cls, several: Iterable[Fared]) -> Fared:
        """What several processes saw."""
        each = tuple(several)
        waits_ms = tuple(wait_ms for fared in each for wait_ms in fared.waits_ms)
        return cls(sum(fared.asked for fared in each), sum(fared.failed for fared in each), waits_ms)


class Lately:
    """The attempts of the last ``span_ms`` at one operation, in this process."""

    def __init__(self, span_ms: int = SPAN_MS, most: int = MOST) -> None:
        self._span_ms = span_ms
        self._ends: deque[tuple[int, bool, int | None]] = deque(maxlen=most)

    def add(self, now_ms: int, *, well: bool, wait_ms: int | None) -> None:
        """An attempt ended. ``wait_ms``: until its first answer; ``None`` where nobody waited for one."""
        self._ends.append((now_ms, well, wait_ms))

    def fared(self, now_ms: int) -> Fared:
        """What is remembered."""
        while self._ends and self._ends[0][0] <= now_ms - self._span_ms:
            self._ends.popleft()
        waits_ms = [wait_ms for _, well, wait_ms in self._ends if well and wait_ms is not None]
        failed = sum(not well for _, well, _ in self._ends)
        return Fared(len(self._ends), failed, tuple(waits_ms[-MOST_TOLD:]))

"""What stands between the memory and a vendor: put there by whoever runs it, since the memory knows no circuit breakers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext


class TurnedAway(Exception):
    """The vendor has failed too often lately and was not asked."""


#: Entered around one request, it raises ``TurnedAway`` instead of letting it begin. It sees the SDK's exception, if any.
Guard = Callable[[str], AbstractContextManager[object]]

_guard: Guard = nullcontext


def install(guard: Guard) -> None:
    """Have every request guarded, by the name of its operation (``openai.distil``, ``openai.embeddings``)."""
    global _guard
    _guard = guard


def guarded(operation: str) -> AbstractContextManager[object]:
    """What one request of this operation is made within."""
    return _guard(operation)

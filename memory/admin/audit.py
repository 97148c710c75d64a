"""Operators' looks and changes on record: who, what, of whom, with which outcome (``memory.models.Access``)."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied

from memory.services import accesses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest


@dataclass(slots=True)
class Use:
    """One use, as it goes on record when it is over. ``callers`` are keyed hashes."""

    callers: list[str] = field(default_factory=list)
    items: int = 0
    outcome: str = "done"


def operator(request: HttpRequest) -> str:
    """Who is named in histories, receipts and the record of accesses."""
    return f"operator:{request.user.get_username()}"


@contextmanager
def recorded(request: HttpRequest, action: str, *callers: str, needs: tuple[str, ...] = ()) -> Iterator[Use]:
    """A use of the memory by the signed-in operator. What it comes to is written down before the answer goes out.

    ``needs`` are permissions: raises ``PermissionDenied`` for whoever lacks one, which goes on record as well.
    """
    use = Use(list(callers))
    began_s = time.perf_counter()
    try:
        if not request.user.has_perms(needs):
            raise PermissionDenied
        yield use
    except PermissionDenied:
        use.outcome = "refused"
        raise
    except Exception:
        use.outcome = "failed"
        raise
    finally:
        took_ms = round((time.perf_counter() - began_s) * 1000)
        accesses.note(operator(request), action, use.callers, outcome=use.outcome, items=use.items, took_ms=took_ms)

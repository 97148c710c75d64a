"""The record of who used the memory: one row for each look and each change, written before the answer goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory.models import Access

if TYPE_CHECKING:
    from collections.abc import Collection


def note(
    by: str,
    action: str,
    caller_hashes: Collection[str] = (),
    *,
    outcome: str = "done",
    items: int = 0,
    took_ms: int = 0,
) -> None:
    """Write down a use: a row for each caller whose memory it was, or one of nobody's. Never what was said."""
    Access.objects.bulk_create(
        Access(
            by=by[:160], action=action[:40], caller_hash=caller_hash, outcome=outcome[:40], items=items, took_ms=took_ms
        )
        for caller_hash in dict.fromkeys(caller_hashes or ("",))
    )

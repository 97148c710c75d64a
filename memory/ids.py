"""Keys of the memory's rows: UUIDs of version 7, which sort by when they were made (RFC 9562, section 5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

if TYPE_CHECKING:
    from uuid import UUID


def new_id() -> UUID:
    """A fresh key."""
    return uuid7()

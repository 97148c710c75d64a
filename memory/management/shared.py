"""What the memory's commands share: whose memory is meant, and exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from memory.manager import current

if TYPE_CHECKING:
    from memory.people import Person

#: Exit codes beside 0: some of the input was bad, or nothing could be done.
PARTLY, BAD_INPUT = 1, 2


def person_of(caller: str) -> Person:
    """The caller with this number or id. Raises ``CommandError``, which does not repeat the number."""
    person = current().find(caller.strip())
    if person is None:
        raise CommandError(
            "there is no caller with this number or id; write a number with + and country code", returncode=BAD_INPUT
        )
    return person

"""What a bearer token grants: what may be done, and with the memory of which callers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from mcp.server.auth.provider import AccessToken

from memory import people
from memory.models import Caller

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from memory.people import Person


class Scope(StrEnum):
    """What a token may do. None of them includes another."""

    READ = "read"
    WRITE = "write"
    ERASE = "erase"
    ADMIN = "admin"


class NotAdmitted(LookupError):
    """No caller that this token may reach: there is none, or it is another's. Which of the two is never told."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One verified token. ``by`` is who is named in history and audit; ``rate_key`` counts its requests.

    Callers are those of the token's row ``token_id``, or those in ``callers``, or, with ``every_caller``, all.
    """

    by: str
    rate_key: str
    rate_per_minute: int
    scopes: frozenset[Scope]
    expires_at: datetime
    token_id: UUID | None = None
    callers: frozenset[UUID] = frozenset()
    every_caller: bool = False

    def person(self, named: str) -> Person:
        """The caller with this id or number; the only one there is for the token where nobody is named.

        Raises ``NotAdmitted`` alike for one that is unknown and for one that the token may not reach: both are the
        same query that finds nothing.
        """
        found = self._admitted().filter(**_by_name(named)) if named else self._admitted()
        ids = list(found.values_list("pk", flat=True)[:2])
        if not named and len(ids) != 1:
            raise NotAdmitted("name the caller: this token is not one of a single caller")
        person = people.by_id(ids[0]) if ids else None
        if person is None:
            raise NotAdmitted("no such caller for this token")
        return person

    def admits(self, named: str) -> bool:
        """Whether something may be written of this caller: of one that is not known yet only with every caller."""
        return self.every_caller or self._admitted().filter(**_by_name(named)).exists()

    def _admitted(self) -> QuerySet[Caller]:
        every = Caller.objects.all()
        if self.every_caller:
            return every
        return every.filter(tokens=self.token_id) if self.token_id else every.filter(pk__in=self.callers)


class GrantedToken(AccessToken):
    """The SDK's verified token, with our grant. The secret itself is not kept in it."""

    grant: Grant


def _by_name(named: str) -> dict[str, object]:
    """The column that tells this caller. Whatever is no id is taken for a number."""
    wanted = people.as_id(named)
    return {"key_hash": people.hash_of(named) or "-"} if wanted is None else {"pk": wanted}

"""Bearer tokens of the MCP server: issued once in clear, kept as a hash, found again by it."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Q

from memory.models import ApiToken, Caller

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

#: What a secret begins with, so that scanners of repositories and logs find one that was lost.
MARK = "vamem_"
_SECRET_BYTES = 32
_SHOWN = len(MARK) + 6
#: How exactly the last use is known: a write for every request would be one too many.
_USED_STEP = timedelta(minutes=1)


def issue(
    name: str,
    scopes: Collection[str],
    callers: Collection[UUID] | None,
    expires_at: datetime,
    by: Any = None,
    *,
    rate_per_minute: int = 120,
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is shown this once and cannot be had again.

    ``callers`` are the ids of those whose memory it reaches, ``None`` stands for every caller. ``by`` is the user who
    issues it. Raises ``ValueError`` for scopes or callers that do not exist, ``IntegrityError`` for a name that is taken.
    """
    known = {scope for scope, _ in ApiToken._meta.get_field("scopes").base_field.choices or ()}
    if not scopes or not set(scopes) <= known:
        raise ValueError(f"scopes must be some of {', '.join(sorted(known))}")
    secret = MARK + secrets.token_urlsafe(_SECRET_BYTES)
    with transaction.atomic():
        row = ApiToken.objects.create(
            name=name,
            prefix=secret[:_SHOWN],
            token_hash=hash_of(secret),
            scopes=sorted(set(scopes)),
            all_callers=callers is None,
            rate_per_minute=rate_per_minute,
            created_by=by,
            expires_at=expires_at,
        )
        reached = list(Caller.objects.filter(pk__in=callers or ()))
        if len(reached) != len(set(callers or ())):
            raise ValueError("callers must be ids of callers there are")
        row.callers.set(reached)
    return row, secret


def revoke(token_id: UUID, now: datetime) -> bool:
    """End a token at once. False where it had ended, or never was."""
    return ApiToken.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=now) > 0


def find(secret: str) -> ApiToken | None:
    """The token with this secret, whether or not it still counts."""
    return ApiToken.objects.filter(token_hash=hash_of(secret)).first()


def used(token_id: UUID, now: datetime) -> None:
    """Note the use, to the minute."""
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _USED_STEP)
    ApiToken.objects.filter(stale, pk=token_id).update(last_used_at=now)


def hash_of(secret: str) -> str:
    """64 hex digits. The secret has 256 random bits: guessing is hopeless, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode(errors="backslashreplace")).hexdigest()

"""Which bearer tokens count: those issued in the admin, and JWTs of an outside issuer (RFC 6750, 7519, 9068).

A token that does not count is refused with the reason, which tells its holder what to do and nobody else anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jwt
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from starlette.authentication import AuthenticationError

from memory.mcp.grants import Grant, GrantedToken, Scope
from memory.mcp.threads import in_thread
from memory.services import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp.server.auth.provider import AccessToken

    from memory.conf import JwtConf, McpConf

#: How far clocks of issuers may be off.
_LEEWAY_S = 30
_JWKS_TIMEOUT_S = 5.0
_BY_LENGTH = 160


class TokenRefused(AuthenticationError):
    """Why a token does not count, in words for its holder (``error_description`` of RFC 6750)."""


class TokenUnchecked(AuthenticationError):
    """Whether it counts cannot be said at the moment."""


class Verifier:
    """The SDK's ``TokenVerifier`` over both kinds of token."""

    def __init__(self, conf: McpConf) -> None:
        self._conf = conf

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token with its grant. Raises ``TokenRefused`` and ``TokenUnchecked``."""
        return await in_thread(self.verified, token)

    def verified(self, token: str) -> GrantedToken:
        """As ``verify_token``, synchronous."""
        if token.startswith(tokens.MARK):
            try:
                grant = _of_row(token, timezone.now())
            except (DatabaseError, InterfaceError) as error:
                raise TokenUnchecked("tokens cannot be checked at the moment") from error
        elif self._conf.jwt is not None and token.count(".") == 2:
            grant = _of_jwt(token, self._conf.jwt, self._conf.rate_per_minute)
        else:
            raise TokenRefused("this is no token of this server")
        return GrantedToken(
            token="",
            client_id=grant.by,
            scopes=sorted(grant.scopes),
            expires_at=int(grant.expires_at.timestamp()),
            resource=self._conf.resource_url,
            grant=grant,
        )


def _of_row(secret: str, now: datetime) -> Grant:
    row = tokens.find(secret)
    if row is None:
        raise TokenRefused("the token is unknown: it was never issued here, or was deleted")
    if row.revoked_at is not None:
        raise TokenRefused("the token was revoked")
    if row.expires_at <= now:
        raise TokenRefused(f"the token expired on {row.expires_at:%Y-%m-%d}")
    tokens.used(row.pk, now)
    return Grant(
        by=f"token:{row.name}",
        rate_key=str(row.pk),
        rate_per_minute=row.rate_per_minute,
        scopes=frozenset(map(Scope, row.scopes)),
        expires_at=row.expires_at,
        token_id=row.pk,
        every_caller=row.all_callers,
    )


def _of_jwt(token: str, conf: JwtConf, rate_per_minute: int) -> Grant:
    claims = _claims(token, conf)
    holder = str(claims.get("sub") or claims.get("client_id") or claims.get("azp") or "")
    if not holder:
        raise TokenRefused("the token names neither a subject nor a client")
    every, callers = _callers(claims.get(conf.callers_claim), conf.callers_claim)
    return Grant(
        by=f"token:{holder}"[:_BY_LENGTH],
        rate_key=tokens.hash_of(f"{conf.issuer} {holder}"),
        rate_per_minute=rate_per_minute,
        scopes=_scopes(claims),
        expires_at=_moment(claims["exp"]),
        callers=callers,
        every_caller=every,
    )


def _claims(token: str, conf: JwtConf) -> dict[str, Any]:
    """What the issuer says, its signature, audience and times checked."""
    try:
        key = _keys(conf.jwks_url).get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(conf.algorithms),
            audience=conf.audience,
            issuer=conf.issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenRefused("the token expired") from None
    except jwt.InvalidAudienceError:
        raise TokenRefused("the token was issued for another server") from None
    except jwt.InvalidIssuerError:
        raise TokenRefused("the token is of another issuer") from None
    except jwt.PyJWKClientConnectionError as error:
        raise TokenUnchecked("the issuer's keys cannot be fetched at the moment") from error
    except jwt.PyJWTError:
        raise TokenRefused("the token is not valid: its form, its key or its signature is wrong") from None
    return claims


@lru_cache(maxsize=4)
def _keys(url: str) -> jwt.PyJWKClient:
    """The issuer's keys, fetched again after five minutes, or, at most every half minute, for a key that is new."""
    return jwt.PyJWKClient(url, timeout=_JWKS_TIMEOUT_S)


def _moment(claim: Any) -> datetime:
    """When a token ends. What lies beyond the last year there is ends with it."""
    try:
        return datetime.fromtimestamp(float(claim), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """Ours among the token's: ``scope`` is words in one text (RFC 8693), ``scp`` a list or the same (Entra, Okta).

    Anything else grants nothing.
    """
    found: set[str] = set()
    for claim in (claims.get("scope"), claims.get("scp")):
        found.update(claim.split() if isinstance(claim, str) else map(str, claim) if isinstance(claim, list) else ())
    return frozenset(Scope(word) for word in found & {scope.value for scope in Scope})


def _callers(claim: Any, name: str) -> tuple[bool, frozenset[UUID]]:
    """Whether all callers, and else which. Without the claim: none."""
    if claim == "*":
        return True, frozenset()
    listed: Iterable[Any] = claim if isinstance(claim, list) else () if claim is None else (claim,)
    try:
        return False, frozenset(UUID(str(one)) for one in listed)
    except ValueError:
        raise TokenRefused(f'the claim {name} must be "*" or a list of ids of callers') from None

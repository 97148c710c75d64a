"""Tokens of both kinds: what is kept of one, what it grants, and whom it reaches."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from memory.conf import McpConf
from memory.mcp.grants import NotAdmitted, Scope
from memory.mcp.tokens import TokenRefused, TokenUnchecked, Verifier
from memory.models import ApiToken
from memory.services import tokens
from tests.app.memory.people import JOHN, MARIA, john, maria
from tests.protocol.issuer import STRANGERS_KEY, Issuer, issuer

__all__ = ["issuer"]  # a fixture

pytestmark = pytest.mark.django_db

TOMORROW = timezone.now() + timedelta(days=1)
PLAIN = Verifier(McpConf("https://agent.example.com"))


def test_a_secret_is_shown_once_and_kept_as_a_hash() -> None:
    row, secret = tokens.issue("reader", ["read"], [maria().id], TOMORROW)

    kept = json.dumps(ApiToken.objects.values(*(field.attname for field in ApiToken._meta.fields)).get(), default=str)
    assert secret not in kept
    assert len(row.token_hash) == 64
    assert secret.startswith(row.prefix)
    assert len(secret) - len(row.prefix) > 30
    assert tokens.find(secret) == row
    assert tokens.find(secret + "x") is None


def test_what_makes_no_sense_is_not_issued() -> None:
    with pytest.raises(ValueError, match="scopes must be some of admin, erase, read, write"):
        tokens.issue("a", ["read", "everything"], None, TOMORROW)
    with pytest.raises(ValueError, match="scopes"):
        tokens.issue("a", [], None, TOMORROW)
    with pytest.raises(ValueError, match="callers must be ids of callers there are"):
        tokens.issue("a", ["read"], [tokens.Caller().id], TOMORROW)
    assert not ApiToken.objects.exists()
    tokens.issue("a", ["read"], None, TOMORROW)
    with pytest.raises(IntegrityError):
        tokens.issue("a", ["read"], None, TOMORROW)


def test_a_token_grants_its_scopes_for_its_callers() -> None:
    person, other = maria(), john()
    _, secret = tokens.issue("hers", ["read", "write"], [person.id], TOMORROW, rate_per_minute=7)

    grant = PLAIN.verified(secret).grant

    assert (grant.by, grant.scopes, grant.rate_per_minute) == ("token:hers", {Scope.READ, Scope.WRITE}, 7)
    assert grant.person("").id == grant.person(MARIA).id == grant.person(str(person.id)).id == person.id
    assert grant.person(" +1 (555) 010-0001").id == person.id
    for named in (JOHN, str(other.id), "+15559999999", "anonymous", "nonsense", "\ud800"):
        with pytest.raises(NotAdmitted, match="no such caller for this token"):
            grant.person(named)
    assert grant.admits(MARIA)
    assert not grant.admits(JOHN)
    assert not grant.admits("+15559999999")


def test_a_token_of_every_caller_must_have_one_named() -> None:
    person = maria()
    _, secret = tokens.issue("all", ["read"], None, TOMORROW)
    grant = PLAIN.verified(secret).grant

    assert grant.person(MARIA).id == person.id
    john()
    with pytest.raises(NotAdmitted, match="name the caller"):
        grant.person("")
    assert grant.admits("+15559999999")


def test_a_revoked_token_ends_at_once() -> None:
    row, secret = tokens.issue("hers", ["read"], [maria().id], TOMORROW)
    PLAIN.verified(secret)

    assert tokens.revoke(row.pk, timezone.now())
    assert not tokens.revoke(row.pk, timezone.now())
    with pytest.raises(TokenRefused, match="revoked"):
        PLAIN.verified(secret)


def test_its_last_use_is_known_to_the_minute() -> None:
    row, secret = tokens.issue("hers", ["read"], [maria().id], TOMORROW)
    PLAIN.verified(secret)
    row.refresh_from_db()
    first = row.last_used_at
    assert first is not None
    PLAIN.verified(secret)
    row.refresh_from_db()
    assert row.last_used_at == first

    tokens.used(row.pk, first + timedelta(minutes=2))
    row.refresh_from_db()
    assert row.last_used_at == first + timedelta(minutes=2)


# --- an outside issuer ------------------------------------------------------------------------------------------------


def verifier(issuer: Issuer) -> Verifier:
    return Verifier(McpConf("https://agent.example.com", issuer.conf, rate_per_minute=9))


def test_an_outside_issuers_token_counts(issuer: Issuer) -> None:
    john()
    checks = verifier(issuer)

    token = checks.verified(issuer.token())

    grant = token.grant
    assert (grant.by, grant.scopes, grant.rate_per_minute) == ("token:desk-7", {Scope.READ}, 9)
    assert grant.person("").id == maria().id
    with pytest.raises(NotAdmitted):
        grant.person(JOHN)
    assert token.resource == "https://agent.example.com/mcp"
    checks.verified(issuer.token(scp=["write"], scope=None))
    assert issuer.asked == 1  # its keys are kept for a while


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": int(time.time()) - 3600}, "the token expired"),
        ({"exp": None}, "not valid"),
        ({"aud": "https://other.example.com/mcp"}, "for another server"),
        ({"aud": None}, "not valid"),
        ({"iss": "https://other.example.com"}, "another issuer"),
        ({"key": STRANGERS_KEY}, "not valid"),
        ({"kid": "2"}, "not valid"),
        ({"key": "x" * 40, "algorithm": "HS256"}, "not valid"),
        ({"key": None, "algorithm": "none"}, "not valid"),
        ({"algorithm": "RS512"}, "not valid"),
        ({"sub": None}, "neither a subject nor a client"),
        ({"callers": ["nobody"]}, "the claim callers must be"),
        ({"callers": {"all": True}}, "the claim callers must be"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value,
)
def test_what_is_wrong_with_it_is_said(issuer: Issuer, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenRefused, match=reason):
        verifier(issuer).verified(issuer.token(**changes))


def test_without_its_claim_no_caller_is_reached_and_without_scope_nothing_done(issuer: Issuer) -> None:
    grant = verifier(issuer).verified(issuer.token(callers=None, scope="openid")).grant

    assert grant.scopes == set()
    for named in ("", MARIA):
        with pytest.raises(NotAdmitted):
            grant.person(named)
    assert verifier(issuer).verified(issuer.token(callers="*")).grant.person(MARIA).id == maria().id


def test_while_the_issuer_is_away_nothing_is_said_of_the_token(issuer: Issuer) -> None:
    secret = issuer.token()
    issuer.close()

    with pytest.raises(TokenUnchecked, match="keys cannot be fetched"):
        verifier(issuer).verified(secret)

"""A caller's key: the same for the same line, nothing for a withheld one, useless without the secret."""

from __future__ import annotations

import hashlib

import pytest

from memory.callers import caller_key, normalised


@pytest.mark.parametrize("number", ["+15551234567", " +1 (555) 123-4567 ", "+1-555-123-4567", "15551234567"])
def test_spellings_of_a_number_are_one_caller(number: str) -> None:
    assert caller_key(number, "secret") == caller_key("+15551234567", "secret")


def test_other_numbers_and_other_secrets_have_other_keys() -> None:
    keys = {caller_key(number, secret) for number in ("+15551234567", "+15551234568") for secret in ("a", "b")}

    assert len(keys) == 4
    assert all(len(key) == 64 for key in keys)
    assert hashlib.sha256(b"+15551234567").hexdigest() not in keys


@pytest.mark.parametrize(
    "number",
    [
        "",
        "   ",
        "+",
        "anonymous",
        "Anonymous",
        "RESTRICTED",
        "unavailable",
        "+266696687",
        "266696687",
        "+7378742833",
        "+8656696",
    ],
)
def test_a_withheld_number_has_no_key(number: str) -> None:
    assert normalised(number) == ""
    assert caller_key(number, "secret") == ""


def test_other_identities_count() -> None:
    assert caller_key("client:alice", "secret") == caller_key("client:Alice", "secret")
    assert caller_key("sip:bob@example.com", "secret") != ""
    assert caller_key("half \ud800", "secret") != ""


def test_without_a_secret_there_is_no_key() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        caller_key("+15551234567", "")

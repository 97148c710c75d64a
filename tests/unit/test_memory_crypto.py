"""Sealing: what comes out is what went in, only with its key and only at its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.crypto import Keyring, SealBroken

NEW, OLD = "n" * 32, "o" * 32


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_comes_back(text: str) -> None:
    key, _ = Keyring((NEW,)).new("caller")

    assert key.open(key.seal(text, "here"), "here") == text


def test_a_sealed_value_says_nothing_and_is_never_twice_the_same() -> None:
    key, _ = Keyring((NEW,)).new("caller")
    one, two = key.seal("Maria", "here"), key.seal("Maria", "here")

    assert one != two
    assert b"Maria" not in one


@pytest.mark.parametrize("spoil", [lambda s: s[:-1], lambda s: s[:5], lambda s: b"", lambda s: s[:-1] + b"\x00\x01"])
def test_what_was_changed_is_not_opened(spoil: object) -> None:
    key, _ = Keyring((NEW,)).new("caller")
    sealed = key.seal("Maria", "here")

    with pytest.raises(SealBroken):
        key.open(spoil(sealed), "here")  # type: ignore[operator]


def test_a_value_moved_to_another_place_is_not_opened() -> None:
    key, _ = Keyring((NEW,)).new("caller")

    with pytest.raises(SealBroken):
        key.open(key.seal("Maria", "memory:1:text"), "memory:2:text")


def test_another_callers_key_opens_nothing() -> None:
    ring = Keyring((NEW,))
    mine, _ = ring.new("caller")
    other, sealed = ring.new("other")

    with pytest.raises(SealBroken):
        other.open(mine.seal("Maria", "here"), "here")
    with pytest.raises(SealBroken):
        ring.open(sealed, "caller")


def test_a_new_key_in_front_opens_what_the_old_one_sealed_and_seals_it_anew() -> None:
    key, sealed = Keyring((OLD,)).new("caller")
    both = Keyring((NEW, OLD))
    opened = both.open(sealed, "caller")

    assert opened == key
    assert Keyring((NEW,)).open(both.sealed(opened, "caller"), "caller") == key
    with pytest.raises(SealBroken, match="MEMORY_KEY"):
        Keyring((NEW,)).open(sealed, "caller")


@pytest.mark.parametrize("secrets", [(), ("short",), (NEW, "")])
def test_short_secrets_are_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="32 characters"):
        Keyring(secrets)


def test_keys_are_not_printed() -> None:
    key, _ = Keyring((NEW,)).new("caller")

    assert "key=" not in repr(key)
    assert NEW not in repr(Keyring((NEW,)))


def test_a_digest_depends_on_text_and_caller() -> None:
    ring = Keyring((NEW,))
    one, two = ring.new("a")[0], ring.new("b")[0]

    assert one.digest("x") == one.digest("x")
    assert len({one.digest("x"), one.digest("y"), two.digest("x")}) == 3
